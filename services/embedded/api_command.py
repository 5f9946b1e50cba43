"""How the API is served, wherever it is; the image's command says the same."""

import sys

API_OPTIONS = (
    "--factory",
    # Whom to believe a forwarded address, the API's own setting says.
    "--no-proxy-headers",
    # uvicorn's own protocol bounds no head of a request.
    "--http",
    "services.api.request_heads:BoundedHttpProtocol",
    # There are none; a connection that asks for one would leave the protocol.
    "--ws",
    "none",
)
"""Options of uvicorn."""


def api_command(app: str, host: str, port: int) -> list[str]:
    """Return the command line that serves an application, made by a function like `create_app`."""
    uvicorn = [sys.executable, "-m", "uvicorn", app, *API_OPTIONS]
    return [*uvicorn, "--host", host, "--port", str(port)]
