"""Requests made from the API's own description, valid and not: none makes it fail.

`CERVICONTOUR_FUZZ_EXAMPLES=1000` sends as many to every route.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from services.api.main import create_app
from services.api.problems import PROBLEM_MEDIA_TYPE, PROBLEMS
from services.core.settings import Settings
from tests.factories.access import add_key, bearer
from tests.factories.servers import serving
from tests.fakes import BoundedThreads, FakeJobQueue

EXAMPLES = int(os.environ.get("CERVICONTOUR_FUZZ_EXAMPLES", "5"))
"""Of every route, with and without a key; about a minute together."""
MAY_BE_UNAVAILABLE = "/health/ready"
"""Answers 503 where no worker reports: that is what it is for."""


def operations() -> list[Any]:
    app = create_app(Settings(), FakeJobQueue(), BoundedThreads())
    schema: Any = schemathesis.openapi.from_dict(app.openapi())
    return [found.ok() for found in schema.get_all_operations()]


OPERATIONS = operations()


@pytest.fixture(scope="module")
def client(
    migrated_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    data_dir = tmp_path_factory.mktemp("data")
    shutil.copy(migrated_file, data_dir / "cervicontour.sqlite")
    settings = Settings(data_dir=data_dir, requests_per_minute=0, failed_logins_per_minute=0)
    app = create_app(settings, FakeJobQueue(), BoundedThreads())
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=280) as client:
        yield client, bearer(add_key(app.state.dependencies.new_unit_of_work))


@pytest.mark.filterwarnings("ignore")  # generators and the client warn of what they are made to do
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_request_makes_the_api_fail(
    operation: Any, client: tuple[httpx.Client, dict[str, str]]
) -> None:
    sender, key = client
    cases = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @seed(5)
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.filter_too_much,
            HealthCheck.data_too_large,
        ],
    )
    @given(case=cases, has_key=st.sampled_from([True, True, True, False]))
    def send(case: Any, has_key: bool) -> None:
        values = case.as_transport_kwargs(base_url=str(sender.base_url))
        values.pop("cookies", None)
        if isinstance(values.get("data"), bytes):
            values["content"] = values.pop("data")
        files = values.pop("files", None)  # as requests takes them; of any type where it is invalid
        if files:
            values["files"] = [
                (name, (file_name, c if isinstance(c, bytes) else str(c).encode()))
                for name, (file_name, c, *_) in files
            ]
        headers = {k: str(v) for k, v in (values.pop("headers", None) or {}).items()}
        headers = {k: v for k, v in headers.items() if can_be_sent(k, v)}
        response = sender.request(**values, headers=headers | (key if has_key else {}))
        check(operation, response)

    send()


def can_be_sent(name: str, value: str) -> bool:
    """Tell whether a client sends the header at all; the key is given or withheld by the test."""
    is_plain = value.isascii() and value.isprintable() and value == value.strip()
    return is_plain and name.lower() != "authorization"


def check(operation: Any, response: Any) -> None:
    status = response.status_code
    if operation.path == MAY_BE_UNAVAILABLE and status == 503:
        return
    assert status < 500, response.text
    if status >= 400:
        assert response.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
        problem = response.json()
        assert problem["code"] in PROBLEMS
        assert problem["status"] == status
    documented = operation.definition.raw["responses"]
    generic = {400, 404, 405}
    assert str(status) in documented or status in generic, (status, response.text)
