"""The API with faults inside: `uvicorn --factory tests.chaos.api_app:create_chaos_app`."""

from fastapi import FastAPI

from services.api.main import create_app
from services.core.storage import StoredKind
from tests.chaos.controls import Point, Switch
from tests.chaos.hooks import hold_after_commits, hold_after_publishing, install


def create_chaos_app() -> FastAPI:
    controls = install(Switch.API_FULL, Switch.API_UNREADABLE)
    hold_after_publishing(controls, StoredKind.SERIES, Point.PUBLISHING)
    hold_after_commits(controls, Point.ANSWERING)
    return create_app()
