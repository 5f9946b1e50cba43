import sys

from uvicorn.config import Config
from uvicorn.main import main as uvicorn_main

from services.api.request_heads import BoundedHttpProtocol
from services.embedded.api_command import API_OPTIONS, api_command


def nothing() -> None: ...


class TestApiCommand:
    def test_uvicorn_takes_it_as_it_is_meant(self) -> None:
        python, dash_m, module, *arguments = api_command("some.module:create", "127.0.0.1", 8001)
        assert (python, dash_m, module) == (sys.executable, "-m", "uvicorn")

        taken = uvicorn_main.make_context("uvicorn", arguments).params

        assert (taken["app"], taken["host"], taken["port"]) == (
            "some.module:create",
            "127.0.0.1",
            8001,
        )
        assert (taken["factory"], taken["proxy_headers"]) == (True, False)
        config = Config(nothing, http=taken["http"], ws=taken["ws"], log_config=None)
        config.load()
        assert config.http_protocol_class is BoundedHttpProtocol
        assert config.ws_protocol_class is None

    def test_every_option_is_in_it(self) -> None:
        command = " ".join(api_command("some.module:create", "127.0.0.1", 8001))
        assert " ".join(API_OPTIONS) in command
