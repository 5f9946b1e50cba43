import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ml.data.dataset import create_dataset, forget_cases, open_dataset
from ml.data.importing import run
from ml.data.importing.refusals import ImportRefusal
from ml.data.importing.report import ImportReport, write_report
from ml.data.importing.run import (
    Status,
    import_cases,
    merge_plans,
    plan_import,
    plan_import_files,
    planned_case_ids,
)
from ml.dicom.files import list_source_files
from ml.name_map import NameMap
from ml.pseudonyms import Pseudonyms
from tests.factories.imports import (
    box_labels,
    box_masks,
    import_folder,
    import_settings,
    only_case,
    write_dicom_case,
)


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
                raise OSError("the file is damaged")  # of a library: without a number
            return read(candidate, settings)

        monkeypatch.setattr(run, "read_dicom_case", read_or_break)

        _, outcomes = import_folder(folder, tmp_path / "out")

        assert statuses(outcomes) == [Status.IMPORTED, Status.REFUSED, Status.IMPORTED]
        assert outcomes[1].code == ImportRefusal.UNREADABLE
        assert "the file is damaged" in str(outcomes[1].message)

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EISDIR])
    def test_that_may_not_be_read_is_refused(self, folder, tmp_path, monkeypatch, number):
        fail_reading(monkeypatch, OSError(number, os.strerror(number)))

        _, outcomes = import_folder(folder, tmp_path / "out")

        assert statuses(outcomes) == [Status.IMPORTED, Status.REFUSED, Status.IMPORTED]
        assert outcomes[1].code == ImportRefusal.UNREADABLE

    @pytest.mark.parametrize(
        ("error", "number", "reason"),
        [
            (OSError(errno.EIO, "Input/output error"), errno.EIO, "Input/output"),
            (OSError(errno.ESTALE, "Stale file handle"), errno.ESTALE, "Stale"),
            (OSError(errno.EMFILE, "Too many open files"), errno.EMFILE, "Too many"),
            (FileNotFoundError(errno.ENOENT, "No such file"), errno.ENOENT, "No such"),
            (MemoryError(), errno.ENOMEM, "memory"),
        ],
    )
    def test_that_a_disk_or_the_machine_fails_to_read_stops_the_import(
        self, folder, tmp_path, monkeypatch, error, number, reason
    ):
        with monkeypatch.context() as failing:
            fail_reading(failing, error)
            with pytest.raises(OSError, match=reason) as caught:
                import_folder(folder, tmp_path / "out")
            assert caught.value.errno == number

        _, outcomes = import_folder(folder, tmp_path / "out")

        assert [outcome.status for outcome in outcomes[1:]] == [Status.IMPORTED] * 2

    def test_leaves_the_order_and_the_others_alone_in_several_processes(self, folder, tmp_path):
        shutil.rmtree(folder / "p2" / "ct")

        dataset, outcomes = import_folder(folder, tmp_path / "out", processes=2)

        assert [o.name for o in outcomes] == [f"p{n}/rs.{n}.dcm" for n in (1, 2, 3)]
        assert statuses(outcomes) == [Status.IMPORTED, Status.REFUSED, Status.IMPORTED]
        assert len(dataset.facts()) == 2


def fail_reading(monkeypatch, error):
    """Have the second patient not be readable."""
    read = run.read_dicom_case

    def read_or_fail(candidate, settings):
        if "p2" in candidate.name:
            raise error
        return read(candidate, settings)

    monkeypatch.setattr(run, "read_dicom_case", read_or_fail)


def source_plan(folder):
    """The plan of one source, whose files are named with the source in front."""
    files = list_source_files(folder)
    return plan_import_files([replace(f, name=f"{folder.name}/{f.name}") for f in files])


def edited_masks(last=1):
    """Masks of which the rectum has lost its first slices."""
    masks = box_masks()
    masks["Rectum"][:last] = False
    return masks


def import_plans(plans, out, processes=1, **changes):
    dataset = create_dataset(out, "merged")
    plan = merge_plans(plans)
    return dataset, list(import_cases(plan, dataset, import_settings(**changes), processes))


def files_of(folder):
    """What every file holds, which one it is, and when it was written."""
    return {
        path.relative_to(folder).as_posix(): (
            path.read_bytes(),
            path.stat().st_ino,
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestPlanImportFiles:
    def test_finds_what_a_folder_offers_under_the_names_given(self, folder):
        plan, named = plan_import(folder), source_plan(folder)

        assert [c.name for c in named.candidates] == [f"in/{c.name}" for c in plan.candidates]
        assert named.skipped_files == plan.skipped_files


class TestMergedPlans:
    @pytest.fixture
    def plans(self, tmp_path):
        """A source of three patients, and one with an edit of the first's contours."""
        for number in (1, 2, 3):
            write_dicom_case(tmp_path / "base" / f"p{number}", number=number)
        write_dicom_case(tmp_path / "edit" / "p1", number=1, masks=edited_masks())
        return [source_plan(tmp_path / "base"), source_plan(tmp_path / "edit")]

    def labels_of(self, dataset, outcome):
        return dataset.read_case(outcome.case_id).labels

    def test_keep_their_order_and_add_up(self, plans):
        merged = merge_plans(plans)

        assert merged.candidates == (*plans[0].candidates, *plans[1].candidates)
        both = replace(plans[0], unreadable_files=("a",), skipped_files={"not_dicom": 2})
        twice = merge_plans([both, both])
        assert (twice.unreadable_files, twice.skipped_files) == (("a", "a"), {"not_dicom": 4})
        assert merge_plans([]).candidates == ()

    @pytest.mark.parametrize("processes", [1, 2])
    def test_an_edit_takes_the_place_of_what_it_edits(self, plans, tmp_path, processes):
        dataset, outcomes = import_plans(plans, tmp_path / "out", processes)

        assert [o.name for o in outcomes] == [
            *(f"base/p{number}/rs.{number}.dcm" for number in (1, 2, 3)),
            "edit/p1/rs.1.dcm",
        ]
        imported = Status.IMPORTED
        assert statuses(outcomes) == [Status.REPLACED, imported, imported, imported]
        assert outcomes[0].facts == {"successor": "edit/p1/rs.1.dcm"}
        assert outcomes[0].case_id is None
        assert len(dataset.facts()) == 3
        kept = box_labels()
        kept[:1][kept[:1] == 4] = 0
        np.testing.assert_array_equal(self.labels_of(dataset, outcomes[3]), kept)
        np.testing.assert_array_equal(self.labels_of(dataset, outcomes[1]), box_labels())

    def test_a_second_run_reads_and_writes_nothing(self, plans, tmp_path, monkeypatch):
        _, first = import_plans(plans, tmp_path / "out")
        before = files_of(tmp_path / "out" / "cases")
        monkeypatch.setattr(run, "read_dicom_case", None)

        _, second = import_plans(plans, tmp_path / "out")

        there = Status.ALREADY_IMPORTED
        assert statuses(second) == [Status.REPLACED, there, there, there]
        assert [o.case_id for o in second] == [o.case_id for o in first]
        assert second[0] == first[0]
        assert files_of(tmp_path / "out" / "cases") == before

    def test_an_edit_replaces_what_an_earlier_import_brought(self, plans, tmp_path):
        _, first = import_plans(plans[:1], tmp_path / "out")

        dataset, second = import_plans(plans, tmp_path / "out")

        there = Status.ALREADY_IMPORTED
        assert statuses(second) == [Status.REPLACED, there, there, Status.IMPORTED]
        assert second[3].case_id == first[0].case_id
        assert not (self.labels_of(dataset, second[3])[0] == 4).any()

    def test_without_the_edit_the_first_contours_come_back(self, plans, tmp_path):
        import_plans(plans, tmp_path / "out")

        dataset, outcomes = import_plans(plans[:1], tmp_path / "out")

        assert outcomes[0].status is Status.IMPORTED
        np.testing.assert_array_equal(self.labels_of(dataset, outcomes[0]), box_labels())

    def test_an_edit_that_is_refused_replaces_nothing(self, tmp_path):
        write_dicom_case(tmp_path / "base", number=1)
        write_dicom_case(tmp_path / "edit", number=1, masks=box_masks({"Rectum": "Enddarm"}))
        plans = [source_plan(tmp_path / "base"), source_plan(tmp_path / "edit")]

        for status in (Status.IMPORTED, Status.ALREADY_IMPORTED):
            dataset, outcomes = import_plans(plans, tmp_path / "out")

            assert statuses(outcomes) == [status, Status.REFUSED]
            np.testing.assert_array_equal(only_case(dataset).labels, box_labels())

    def test_the_last_of_several_edits_counts(self, tmp_path):
        for last, name in enumerate(("base", "first", "second")):
            write_dicom_case(tmp_path / name, number=1, masks=edited_masks(last))
        write_dicom_case(tmp_path / "bad", number=1, masks=box_masks({"Rectum": "Enddarm"}))
        plans = [source_plan(tmp_path / name) for name in ("base", "first", "second", "bad")]

        dataset, outcomes = import_plans(plans, tmp_path / "out")

        assert statuses(outcomes) == [
            Status.REPLACED,
            Status.REPLACED,
            Status.IMPORTED,
            Status.REFUSED,
        ]
        assert [o.facts.get("successor") for o in outcomes[:2]] == ["second/rs.1.dcm"] * 2
        assert not (only_case(dataset).labels[:2] == 4).any()

    def test_an_edit_that_changed_no_voxel_is_no_duplicate(self, tmp_path):
        write_dicom_case(tmp_path / "base", number=1)
        write_dicom_case(
            tmp_path / "edit", number=1, edit=lambda ds: setattr(ds, "SeriesDescription", "edited")
        )
        plans = [source_plan(tmp_path / name) for name in ("base", "edit")]
        import_plans(plans[:1], tmp_path / "out")

        dataset, outcomes = import_plans(plans, tmp_path / "out")

        assert statuses(outcomes) == [Status.REPLACED, Status.IMPORTED]
        assert len(dataset.facts()) == 1

    def test_the_report_names_the_successor(self, plans, tmp_path):
        _, outcomes = import_plans(plans, tmp_path / "out")
        report = ImportReport(plan=merge_plans(plans), outcomes=tuple(outcomes), other_cases=())

        write_report(report, tmp_path / "private")

        text = (tmp_path / "private" / "import-report.md").read_text()
        assert "3 imported, 0 already imported, 1 replaced, 0 refused." in text
        assert "| base/p1/rs.1.dcm | edit/p1/rs.1.dcm |" in text
        in_dataset = text.partition("## In the dataset")[2].partition("##")[0]
        assert "base/p1" not in in_dataset
        assert "edit/p1" in in_dataset


class TestTheNextVersion:
    """A dataset's next version is a folder of hard links to all files of the former one."""

    @pytest.fixture
    def versions(self, folder, tmp_path):
        import_folder(folder, tmp_path / "v1")
        (tmp_path / "v1" / "cases" / ".stopped.part").mkdir()
        (tmp_path / "v1" / "cases" / ".stopped.part" / "hu.npy").write_bytes(b"half")
        (tmp_path / "v1" / "dataset.json.part").write_bytes(b"half")
        shutil.copytree(tmp_path / "v1", tmp_path / "v2", copy_function=os.link)
        return tmp_path / "v1", tmp_path / "v2"

    def test_leaves_the_former_as_it_was_when_names_are_mapped_otherwise(self, folder, versions):
        former, following = versions
        before = files_of(former)
        names = NameMap(names={"Rectum": ("Rectum",), "Bladder": ("Bladder",)})

        _, outcomes = import_folder(folder, following, names=names)

        assert statuses(outcomes) == [Status.IMPORTED] * 3
        assert files_of(former) == before
        shared = {inode for _, inode, _ in before.values()}
        assert not shared & {inode for _, inode, _ in files_of(following).values()}

    def test_shares_what_did_not_change(self, folder, versions):
        former, following = versions
        write_dicom_case(folder / "p2", number=2, masks=edited_masks())
        before = files_of(former)

        dataset, outcomes = import_folder(folder, following)

        assert statuses(outcomes) == [
            Status.ALREADY_IMPORTED,
            Status.IMPORTED,
            Status.ALREADY_IMPORTED,
        ]
        assert files_of(former) == before
        inodes = {inode for _, inode, _ in before.values()}
        for outcome in outcomes:
            arrays = dataset.folder / "cases" / str(outcome.case_id) / "hu.npy"
            is_shared = outcome.status is Status.ALREADY_IMPORTED
            assert (arrays.stat().st_ino in inodes) is is_shared

    def test_forgets_cases_that_the_new_import_does_not_name(self, folder, versions):
        former, following = versions
        before = files_of(former)
        shutil.rmtree(folder / "p3")
        named = planned_case_ids(plan_import(folder), import_settings())

        forgotten = forget_cases(open_dataset(following), named)
        dataset, outcomes = import_folder(folder, following)

        assert len(forgotten) == 1
        assert {o.case_id for o in outcomes} == named == {f.case_id for f in dataset.facts()}
        assert [path.name for path in (following / "cases").iterdir() if path.name[0] == "."] == []
        assert files_of(former) == before
        assert len(open_dataset(former).facts()) == 3

    def test_a_case_under_another_name_is_not_lost_with_the_old_name(self, folder, versions):
        _, following = versions
        other = import_settings(pseudonyms=Pseudonyms(key=b"7" * 32))
        plan = plan_import(folder)

        forget_cases(open_dataset(following), planned_case_ids(plan, other))
        outcomes = list(import_cases(plan, open_dataset(following), other))

        assert statuses(outcomes) == [Status.IMPORTED] * 3


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
        assert values["counts"] == {
            "imported": 3,
            "already_imported": 0,
            "replaced": 0,
            "refused": 1,
        }
        assert [case["code"] for case in values["cases"]] == [None, "missing_ct", None, None]
        assert values["unmatched_names"] == {"PTV | all": 1}
        assert values["unreadable_files"] == ["broken.dcm"]
        assert values["skipped_files"] == {"other_dicom_objects": 0, "not_dicom": 1}
        text = (tmp_path / "private" / "import-report.md").read_text()
        assert "3 imported, 0 already imported, 0 replaced, 1 refused." in text
        assert "| p2/rs.2.dcm | missing_ct | the CT that" in text
        assert "| PTV \\| all | 1 |" in text
        assert "- broken.dcm" in text
        assert "- case-7" in text
