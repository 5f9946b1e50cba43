import json
import shutil

import numpy as np
import pytest

from ml.data.importing import run
from ml.data.importing.refusals import ImportRefusal
from ml.data.importing.report import ImportReport, write_report
from ml.data.importing.run import Status, plan_import
from ml.name_map import NameMap
from tests.factories.imports import box_masks, import_folder, write_dicom_case


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 3):
        write_dicom_case(tmp_path / "in" / f"p{number}", number=number)
    return tmp_path / "in"


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


class TestResuming:
    def test_what_is_there_is_not_read_again(self, folder, tmp_path, monkeypatch):
        _, first = import_folder(folder, tmp_path / "out")
        monkeypatch.setattr(run, "read_dicom_case", None)

        _, second = import_folder(folder, tmp_path / "out")

        assert statuses(second) == [Status.ALREADY_IMPORTED] * 3
        assert [o.case_id for o in second] == [o.case_id for o in first]

    def test_an_import_killed_while_it_writes_is_continued(self, folder, tmp_path, monkeypatch):
        save, calls = np.save, []

        def save_until_killed(path, array):
            calls.append(path)
            if len(calls) == 4:
                raise KeyboardInterrupt
            save(path, array)

        monkeypatch.setattr(np, "save", save_until_killed)
        with pytest.raises(KeyboardInterrupt):
            import_folder(folder, tmp_path / "out")
        monkeypatch.undo()
        left = [path.name for path in (tmp_path / "out" / "cases").iterdir()]
        assert len([name for name in left if name.startswith(".")]) == 1

        dataset, outcomes = import_folder(folder, tmp_path / "out")

        assert statuses(outcomes) == [Status.ALREADY_IMPORTED, Status.IMPORTED, Status.IMPORTED]
        assert len(list((tmp_path / "out" / "cases").iterdir())) == len(dataset.facts()) == 3

    def test_changed_files_and_settings_are_read_again(self, folder, tmp_path):
        import_folder(folder, tmp_path / "out")
        shutil.rmtree(folder / "p1")
        write_dicom_case(folder / "p1", number=1, masks=box_masks({"Bladder": "Blase"}))

        _, outcomes = import_folder(folder, tmp_path / "out")
        assert statuses(outcomes) == [Status.IMPORTED] + [Status.ALREADY_IMPORTED] * 2

        names = NameMap(ignored=("Blase",))
        _, outcomes = import_folder(folder, tmp_path / "out", names=names)
        assert statuses(outcomes) == [Status.REFUSED] + [Status.IMPORTED] * 2

    def test_notes_are_kept(self, tmp_path):
        masks = box_masks()
        masks["Rectum"][1] = False
        write_dicom_case(tmp_path / "in", masks=masks)

        _, (first,) = import_folder(tmp_path / "in", tmp_path / "out")
        _, (second,) = import_folder(tmp_path / "in", tmp_path / "out")

        assert second.notes == first.notes != ()

    def test_a_full_disk_stops_the_import(self, folder, tmp_path, monkeypatch):
        def full(path, array):
            raise OSError("no space left")

        monkeypatch.setattr(np, "save", full)
        with pytest.raises(OSError, match="no space left"):
            import_folder(folder, tmp_path / "out")


class TestOneBadCase:
    def test_that_breaks_the_reader_is_refused_with_what_happened(
        self, folder, tmp_path, monkeypatch
    ):
        read = run.read_dicom_case

        def read_or_break(candidate, settings):
            if "p2" in candidate.name:
                raise OSError("the disk failed")
            return read(candidate, settings)

        monkeypatch.setattr(run, "read_dicom_case", read_or_break)

        _, outcomes = import_folder(folder, tmp_path / "out")

        assert statuses(outcomes) == [Status.IMPORTED, Status.REFUSED, Status.IMPORTED]
        assert outcomes[1].code == ImportRefusal.UNREADABLE
        assert "the disk failed" in str(outcomes[1].message)

    def test_leaves_the_order_and_the_others_alone_in_several_processes(self, folder, tmp_path):
        shutil.rmtree(folder / "p2" / "ct")

        dataset, outcomes = import_folder(folder, tmp_path / "out", processes=2)

        assert [o.name for o in outcomes] == [f"p{n}/rs.{n}.dcm" for n in (1, 2, 3)]
        assert statuses(outcomes) == [Status.IMPORTED, Status.REFUSED, Status.IMPORTED]
        assert len(dataset.facts()) == 2


class TestReport:
    def test_says_what_happened_for_programs_and_people(self, folder, tmp_path):
        masks = {**box_masks(), "PTV | all": box_masks()["Rectum"]}
        write_dicom_case(folder / "p4", number=4, masks=masks)
        shutil.rmtree(folder / "p2" / "ct")
        (folder / "broken.dcm").write_bytes(b"no DICOM at all")
        (folder / "readme.txt").write_text("hello")
        plan = plan_import(folder)
        _, outcomes = import_folder(folder, tmp_path / "out")
        report = ImportReport(plan=plan, outcomes=tuple(outcomes), other_cases=("case-7",))

        write_report(report, tmp_path / "private")

        values = json.loads((tmp_path / "private" / "import-report.json").read_text())
        assert values["counts"] == {"imported": 3, "already_imported": 0, "refused": 1}
        assert [case["code"] for case in values["cases"]] == [None, "missing_ct", None, None]
        assert values["unmatched_names"] == {"PTV | all": 1}
        assert values["unreadable_files"] == ["broken.dcm"]
        assert values["skipped_files"] == {"other_dicom_objects": 0, "not_dicom": 1}
        text = (tmp_path / "private" / "import-report.md").read_text()
        assert "3 imported, 0 already imported, 1 refused." in text
        assert "| p2/rs.2.dcm | missing_ct | the CT that" in text
        assert "| PTV \\| all | 1 |" in text
        assert "- broken.dcm" in text
        assert "- case-7" in text
