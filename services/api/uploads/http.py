"""Request bodies of the routes that take files: how they arrive and are documented."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Depends, Request

from services.api.slots import Slots
from services.api.uploads.stream import Body

_BINARY = {"type": "string", "format": "binary"}


def upload_request_body(description: str) -> dict[str, Any]:  # Any: OpenAPI
    """Describe a body of files for OpenAPI."""
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": _BINARY}},
    }
    return {
        "requestBody": {
            "required": True,
            "description": f"{description} Zips in multipart bodies are unpacked; zips inside zips "
            "are not.",
            "content": {
                "application/zip": {"schema": _BINARY},
                "multipart/form-data": {"schema": form},
                'multipart/related; type="application/dicom"': {"schema": _BINARY},
            },
        }
    }


UPLOAD_REQUEST_BODY = upload_request_body(
    "One CT series: a zip, or its files. Files that are no images are skipped and listed."
)

FILE_REQUEST_BODY: dict[str, Any] = {  # Any: OpenAPI
    "requestBody": {
        "required": True,
        "description": "One DICOM file, as it is or as the one file of a form.",
        "content": {
            "application/dicom": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _BINARY},
                }
            },
        },
    }
}


async def _body(request: Request) -> AsyncGenerator[Body]:
    announced = request.headers.get("content-length", "")
    slots: Slots = request.app.state.upload_slots
    with slots.taken(request.state.actor.id):
        yield Body(
            content_type=request.headers.get("content-type", ""),
            announced_bytes=int(announced) if announced.isdecimal() else None,
            chunks=request.stream(),
        )


UploadBody = Annotated[Body, Depends(_body)]
