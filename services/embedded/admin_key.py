"""The administrator's key of an embedded service: drawn once, kept beside its data."""

import os
from collections.abc import Callable
from pathlib import Path

from services.api.api_keys.service import ApiKeyService
from services.core.actor import Role
from services.core.api_keys import draw_key
from services.core.unit_of_work import UnitOfWork

KEY_FILE_NAME = "admin-key"
KEY_NAME = "embedded administrator"
OWNER_ONLY = 0o600


def admin_key(data_dir: Path, new_unit_of_work: Callable[[], UnitOfWork]) -> str:
    """Return the key in data_dir, drawn where there is none, and have the database know it.

    It never expires: whoever reads the file reads the database beside it, too. Remove the file and
    revoke the key to have another drawn.
    """
    path = data_dir / KEY_FILE_NAME
    if not path.exists():
        _write(path, draw_key())
    key = path.read_text().strip()
    ApiKeyService(new_unit_of_work).bring_in(KEY_NAME, Role.ADMIN, key)
    return key


def _write(path: Path, key: str) -> None:
    # The file first: a start that is cut short finds it, and the database learns of it then.
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w") as file:
        file.write(f"{key}\n")
    part.replace(path)
