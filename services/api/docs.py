"""/docs without the internet: a hospital's network has none, FastAPI's own page needs a CDN."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

ASSETS_PACKAGE = "fastapi_offline"
"""Only its copy of Swagger UI is used, not its code."""
ASSETS_PATH = "/docs-assets"


def add_docs(app: FastAPI) -> None:
    """Serve Swagger UI at /docs from this process alone."""
    folder = Path(str(files(ASSETS_PACKAGE) / "static"))
    app.mount(ASSETS_PATH, StaticFiles(directory=folder), name="docs-assets")
    app.add_api_route("/docs", _docs_page, include_in_schema=False)


def _docs_page(request: Request) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="CerviContour API",
        swagger_js_url=f"{root}{ASSETS_PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{ASSETS_PATH}/swagger-ui.css",
        swagger_favicon_url=f"{root}{ASSETS_PATH}/favicon.png",
    )
