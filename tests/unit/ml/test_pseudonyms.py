import os
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from ml.pseudonyms import (
    KeyChangedError,
    KeyFile,
    KeyFileError,
    KeyMissingError,
    Pseudonyms,
    read_key,
    read_or_make_key,
)

ONE, OTHER = Pseudonyms(key=b"1" * 32), Pseudonyms(key=b"2" * 32)


class TestPseudonyms:
    def test_one_key_gives_one_name_and_another_key_another(self):
        assert ONE.patient("MRN-1") == ONE.patient("MRN-1")
        assert len({ONE.patient("MRN-1"), ONE.patient("MRN-2"), OTHER.patient("MRN-1")}) == 3

    def test_they_do_not_show_what_they_stand_for(self):
        assert "MRN" not in ONE.patient("MRN-1")
        assert "MRN" not in ONE.case("2.25.1/2.25.2", "MRN-1")

    def test_kinds_do_not_meet(self):
        assert ONE.digest("study", "1") != ONE.digest("series", "1")

    def test_kept_ids_give_legal_folder_names(self):
        kept = Pseudonyms(key=b"1" * 32, keeps_ids=True)
        assert kept.patient("M/R N") == "M/R N"
        assert kept.case("2.25.1", "../M/R N").startswith("M-R-N-")
        assert kept.case("2.25.1", "..").startswith("case-")
        assert kept.case("a", "x") != kept.case("b", "x")


class TestKey:
    def test_is_made_once_for_its_owner_alone(self, tmp_path):
        path = tmp_path / "private" / "key"
        key = read_or_make_key(path)
        assert len(key) == 32
        assert read_or_make_key(path) == key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert read_or_make_key(tmp_path / "other") != key

    @pytest.mark.parametrize("text", ["", "no key", "abcd"])
    def test_a_file_without_a_key_is_refused(self, tmp_path, text):
        (tmp_path / "key").write_text(text)
        with pytest.raises(KeyFileError):
            read_or_make_key(tmp_path / "key")

    def test_a_key_made_by_another_process_meanwhile_stays(self, tmp_path, monkeypatch):
        path, draw, others = tmp_path / "key", secrets.token_hex, []

        def draw_too_late(count):
            monkeypatch.setattr(secrets, "token_hex", draw)
            others.append(read_or_make_key(path))
            return draw(count)

        monkeypatch.setattr(secrets, "token_hex", draw_too_late)

        assert [read_or_make_key(path)] == others
        assert [read_or_make_key(path)] == others
        assert [file.name for file in tmp_path.iterdir()] == ["key"]

    def test_the_file_is_never_there_without_its_key(self, tmp_path, monkeypatch):
        path, link = tmp_path / "key", os.link

        def link_seen(source, target):
            assert not path.exists()
            link(source, target)
            assert len(path.read_text()) == 65

        monkeypatch.setattr(os, "link", link_seen)

        assert len(read_or_make_key(path)) == 32

    def test_all_that_come_at_once_get_one_key(self, tmp_path):
        start = Barrier(8)

        def make(path):
            start.wait()
            return read_or_make_key(path)

        with ThreadPoolExecutor(8) as pool:
            for attempt in range(20):
                keys = list(pool.map(make, [tmp_path / f"{attempt}"] * 8))
                assert len(set(keys)) == 1


class TestKeyFile:
    @pytest.fixture
    def file(self, tmp_path) -> KeyFile:
        return KeyFile(path=tmp_path / "private" / "a.key", note=tmp_path / "key-ids" / "a.id")

    def test_is_made_where_there_never_was_one(self, file):
        key = file.ensure(lambda: False)
        assert file.ensure(pytest.fail) == file.read() == key
        assert key.hex() not in file.note.read_text()

    def test_nothing_else_makes_it(self, file):
        with pytest.raises(KeyMissingError):
            file.read()
        assert not file.path.parent.exists()

    @pytest.mark.parametrize("told_by", ["note", "rows"])
    def test_no_other_one_takes_the_place_of_a_lost_one(self, file, told_by):
        file.ensure(lambda: False)
        file.path.rename(file.path.with_name("elsewhere"))
        if told_by == "rows":
            file.note.unlink()
        for use in (file.read, lambda: file.ensure(lambda: told_by == "rows")):
            with pytest.raises(KeyMissingError):
                use()
        assert not file.path.exists()

    def test_another_one_is_told_from_it(self, file):
        file.ensure(lambda: False)
        file.path.write_text(secrets.token_hex())
        for use in (file.read, lambda: file.ensure(pytest.fail)):
            with pytest.raises(KeyChangedError):
                use()

    def test_one_that_was_there_before_notes_were_is_noted(self, file):
        key = read_or_make_key(file.path)
        assert file.ensure(pytest.fail) == key
        assert file.note.exists()

    def test_one_that_another_process_makes_meanwhile_is_taken(self, file):
        def make_first() -> bool:
            file.ensure(lambda: False)
            return True

        assert file.ensure(make_first) == read_key(file.path)

    def test_all_that_come_at_once_get_one_key(self, file):
        start = Barrier(8)

        def make(_):
            start.wait()
            return file.ensure(file.note.exists)

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(make, range(8)))) == 1
        assert [path.name for path in file.path.parent.iterdir()] == ["a.key"]
        assert [path.name for path in file.note.parent.iterdir()] == ["a.id"]
