"""The OpenAPI description: FastAPI's own, plus what problem details need."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.api.problems import Problem

DESCRIPTION = """\
Posts a planning CT, returns an RTSTRUCT with bladder, rectum, CTV-N and CTV-UV.
**Not a medical device: every RTSTRUCT is UNAPPROVED and needs review.**

Every failure is `application/problem+json` (RFC 9457) with a stable `code`.
Every answer carries `X-Correlation-ID`; send one of your own (8 to 64 of `A-Za-z0-9_-`) to find
your request in the logs. Lists go newest first; follow `next_cursor`.
"""
TAGS = [
    {"name": "autocontour", "description": "CT in, job out, in one request."},
    {"name": "series", "description": "CT series in storage."},
    {"name": "contour jobs", "description": "Contouring requests and their results."},
    {"name": "datasets", "description": "Cases to learn from, and where they come from."},
    {"name": "dataset versions", "description": "Cases as they were read once, with their split."},
    {"name": "experiments", "description": "Training, comparisons and what they came to."},
    {"name": "reviews", "description": "What readers say of contours, and make of them."},
    {"name": "quality", "description": "How contours fare: acceptability, agreement, drift."},
    {"name": "model versions", "description": "Weights that may contour, and their shadows."},
    {"name": "model aliases", "description": "Which model version contours."},
    {"name": "health", "description": "For load balancers, schedulers and people."},
]


def add_openapi(app: FastAPI) -> None:
    """Make the application describe itself completely."""

    def openapi() -> dict[str, Any]:  # Any: OpenAPI
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    app.openapi = openapi  # FastAPI's documented way to extend the description


def _describe(app: FastAPI) -> dict[str, Any]:  # Any: OpenAPI
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        tags=TAGS,
        routes=app.routes,
    )
    # FastAPI's `model=` of a response always means application/json, so the schema comes in here.
    schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    return schema
