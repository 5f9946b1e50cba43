import os
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from ml.data.importing.pseudonyms import KeyFileError, Pseudonyms, read_or_make_key

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
