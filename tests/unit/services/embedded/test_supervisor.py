from pathlib import Path

import pytest

from services.embedded.supervisor import EmbeddedStack


class TestDataFolder:
    @pytest.mark.parametrize(
        ("mode", "is_open"), [(0o700, False), (0o755, True), (0o750, True), (0o701, True)]
    )
    def test_a_folder_that_others_can_enter_is_known(
        self, tmp_path: Path, mode: int, is_open: bool
    ) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        folder.chmod(mode)
        assert EmbeddedStack(folder).is_open_to_others is is_open
