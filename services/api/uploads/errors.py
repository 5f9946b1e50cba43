"""What can be wrong with an upload before anyone looks at its DICOM."""

from collections.abc import Sequence
from enum import StrEnum

from services.core.errors import ServiceError


class UploadErrorCode(StrEnum):
    """Stable reasons for a refusal; clients may branch on them, so values never change."""

    EMPTY_UPLOAD = "empty_upload"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    MALFORMED_MULTIPART = "malformed_multipart"
    UNEXPECTED_FORM_FIELD = "unexpected_form_field"
    UPLOAD_STALLED = "upload_stalled"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_FILES = "too_many_files"
    NOT_A_ZIP = "not_a_zip"
    DAMAGED_ARCHIVE = "damaged_archive"
    UNSUPPORTED_ARCHIVE = "unsupported_archive"
    ENCRYPTED_ARCHIVE = "encrypted_archive"
    ZIP_BOMB = "zip_bomb"
    PATH_TRAVERSAL = "path_traversal"


class UploadError(ServiceError):
    """An upload was refused."""

    def __init__(
        self,
        code: UploadErrorCode,
        message: str,
        *,
        file_names: Sequence[str] = (),
        facts: dict[str, object] | None = None,
    ) -> None:
        named = {"file_names": list(file_names)} if file_names else {}
        super().__init__(message, **named, **(facts or {}))
        self.code = code.value
