"""Examples that are to be the same every time do not depend on what was imported before."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def drawn() -> list[list[int]]:
    seen: list[list[int]] = []

    @settings(derandomize=True, max_examples=50)
    @given(st.lists(st.integers()))
    def note(numbers: list[int]) -> None:
        seen.append(numbers)

    note()
    return seen


def test_a_module_that_is_imported_changes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = drawn()
    path = tmp_path / "peculiar.py"
    path.write_text(f"NUMBERS = {list(range(700_001, 700_101))}\n")
    spec = importlib.util.spec_from_file_location("peculiar", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "peculiar", module)

    assert drawn() == before
