from collections.abc import Callable
from pathlib import Path

import pytest

from services.core.api_keys import is_key, key_sha256
from services.core.errors import ServiceError
from services.core.unit_of_work import UnitOfWork
from services.embedded.admin_key import KEY_FILE_NAME, admin_key

NewUnitOfWork = Callable[[], UnitOfWork]


class TestAdminKey:
    def test_one_is_drawn_at_the_first_start_and_kept(
        self, tmp_path: Path, unit_of_work: NewUnitOfWork
    ) -> None:
        keys = {admin_key(tmp_path, unit_of_work) for _ in range(3)}
        (key,) = keys
        path = tmp_path / KEY_FILE_NAME
        assert is_key(key)
        assert path.read_text().strip() == key
        assert path.stat().st_mode & 0o777 == 0o600
        with unit_of_work() as uow:
            (row,) = uow.api_keys.page(10)
        assert (row.key_sha256, row.role, row.expires_at) == (key_sha256(key), "admin", None)

    def test_a_database_that_is_new_learns_the_key_there_is(
        self, tmp_path: Path, unit_of_work: NewUnitOfWork
    ) -> None:
        key = "cck_" + "x" * 43
        (tmp_path / KEY_FILE_NAME).write_text(f"{key}\n")
        assert admin_key(tmp_path, unit_of_work) == key
        with unit_of_work() as uow:
            assert uow.api_keys.find_valid(key_sha256(key)) is not None

    def test_a_revoked_key_is_not_brought_back(
        self, tmp_path: Path, unit_of_work: NewUnitOfWork
    ) -> None:
        admin_key(tmp_path, unit_of_work)
        with unit_of_work() as uow:
            uow.api_keys.revoke(uow.api_keys.page(1)[0].id)
            uow.commit()
        with pytest.raises(ServiceError):
            admin_key(tmp_path, unit_of_work)
        (tmp_path / KEY_FILE_NAME).unlink()
        assert is_key(admin_key(tmp_path, unit_of_work))
