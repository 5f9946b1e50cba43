"""An edited RTSTRUCT is compared with what the job released, structure by structure."""

import copy
from collections.abc import Mapping
from uuid import UUID

import numpy as np
import pydicom
import pytest

from ml.dicom.series import index_series, list_source_files
from ml.structures import CERVIX
from services.core.lifecycle import JobState
from services.core.queue import TaskName
from services.core.storage import RTSTRUCT_NAME, StoredKind
from services.core.tables.reviews import EditedRtstruct
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from tests.factories.reviews import add_edit, write_edit
from tests.factories.rows import job_of
from tests.factories.workers import run_contour_job, run_task

SHAPE = (3, 32, 32)


def box(number: int, columns: slice = slice(4, 12)) -> np.ndarray:
    """What the scripted network draws of a structure."""
    mask = np.zeros(SHAPE, np.bool_)
    mask[:, 6 * number - 4 : 6 * number, columns] = True
    return mask


def boxes() -> dict[str, np.ndarray]:
    return {structure.name: box(structure.number) for structure in CERVIX.structures}


def compare(
    worker: WorkerContext, job_id: UUID, masks: Mapping[str, np.ndarray], change=None
) -> EditedRtstruct:
    """Contour the job, send the masks as its edit and have them compared."""
    uow = worker.unit_of_work()
    if job_of(uow, job_id).state is JobState.QUEUED:
        run_contour_job(worker, job_id)
    edited_id = add_edit(uow, job_id).id
    folder = worker.storage.folder(StoredKind.SERIES, job_of(uow, job_id).series_id)
    series = index_series(list_source_files(folder))
    with worker.storage.staging() as staged:
        write_edit(staged / RTSTRUCT_NAME, series, masks)
        if change is not None:
            dataset = pydicom.dcmread(staged / RTSTRUCT_NAME)
            change(dataset)
            dataset.save_as(staged / RTSTRUCT_NAME)
        worker.storage.publish(StoredKind.EDITED_RTSTRUCTS, staged, edited_id)
    run_task(worker, TaskName.EDITED_RTSTRUCT_COMPARE, edited_id)
    with uow:
        return uow.edited_rtstructs.get(edited_id)


def scores_of(edited: EditedRtstruct) -> dict:
    assert edited.state is JobState.SUCCEEDED, (edited.error_code, edited.error_detail)
    assert edited.scores is not None
    return edited.scores["structures"]


def warnings_of(edited: EditedRtstruct) -> list[tuple[str, str | None]]:
    assert edited.scores is not None, (edited.error_code, edited.error_detail)
    return [(warning["code"], warning["structure"]) for warning in edited.scores["warnings"]]


class TestScores:
    def test_an_unchanged_file_needed_no_edit(self, worker: WorkerContext, job_id: UUID) -> None:
        edited = compare(worker, job_id, boxes())

        scores = scores_of(edited)
        assert set(scores) == set(CERVIX.names)
        for score in scores.values():
            assert (score["dice"], score["hd95_mm"], score["added_path_length_mm"]) == (1, 0, 0)
            assert (score["edited_slices"], score["slices"]) == (0, 3)
        assert warnings_of(edited) == []

    def test_a_wider_box_costs_its_new_edge(self, worker: WorkerContext, job_id: UUID) -> None:
        edited = compare(worker, job_id, boxes() | {"Bladder": box(3, slice(4, 13))})

        score = scores_of(edited)["Bladder"]
        # 4 x 8 pixels of 1 mm became 4 x 9: four boundary pixels of 22 are new in each slice
        assert score["dice"] == pytest.approx(2 * 32 / (32 + 36))
        assert score["added_path_length_mm"] == 3 * 4
        assert score["relative_added_path"] == pytest.approx(4 / 22)
        assert score["edited_slices"] == 3
        assert (score["found_ml"], score["edited_ml"]) == pytest.approx((0.288, 0.324))
        assert scores_of(edited)["Rectum"]["dice"] == 1

    def test_infinity_is_null_beside_what_it_means(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        edited = compare(worker, job_id, boxes() | {"Rectum": np.zeros(SHAPE, np.bool_)})

        score = scores_of(edited)["Rectum"]
        assert (score["dice"], score["hd95_mm"], score["assd_mm"]) == (0, None, None)
        assert score["relative_added_path"] is None
        assert (score["is_only_found"], score["is_only_edited"]) == (True, False)

    def test_progress_is_kept_out_of_the_result_and_the_row_is_done(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        edited = compare(worker, job_id, boxes())
        assert (edited.stage.value, edited.progress) == ("done", 1.0)


class TestNames:
    def test_synonyms_of_other_systems_are_understood(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        own = boxes()
        renamed = {"Harnblase": own["Bladder"], "CTVn": own["CTV-N"], "rectum": own["Rectum"]}

        scores = scores_of(compare(worker, job_id, renamed))

        assert {name: score["dice"] for name, score in scores.items()} == {
            "CTV-N": 1,
            "Bladder": 1,
            "Rectum": 1,
        }

    def test_what_is_left_out_is_listed(self, worker: WorkerContext, job_id: UUID) -> None:
        masks = {"Bladder": box(3), "PTV 45": box(1), "Rectum": box(4), "CTV-N": box(1)}

        edited = compare(worker, job_id, masks)

        assert warnings_of(edited) == [
            ("region_ignored", None),
            ("structure_not_sent", "CTV-UV"),
        ]
        assert edited.scores is not None
        assert edited.scores["warnings"][0]["facts"] == {"region": "PTV 45"}
        assert "CTV-UV" not in scores_of(edited)

    def test_two_regions_of_one_meaning_fail_with_their_names(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        edited = compare(worker, job_id, {"Bladder": box(3), "Blase": box(3)})

        assert (edited.state, edited.error_code) == (JobState.FAILED, "ambiguous_structure")
        assert edited.error_context == {"structure": "Bladder", "regions": ["Bladder", "Blase"]}

    def test_an_empty_placeholder_gives_way_to_a_drawn_region(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        nothing = np.zeros(SHAPE, np.bool_)
        masks = {"Bladder": nothing, "Harnblase": nothing, "Blase": box(3)}

        edited = compare(worker, job_id, masks)

        assert scores_of(edited)["Bladder"]["dice"] == 1
        assert {code for code, _ in warnings_of(edited)} == {"structure_not_sent"}

    def test_a_region_of_another_frame_of_reference_is_left_out(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        def move_first(dataset: pydicom.Dataset) -> None:
            dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "2.25.77"

        edited = compare(worker, job_id, boxes(), move_first)

        assert "CTV-N" not in scores_of(edited)
        assert warnings_of(edited) == [("region_ignored", None), ("structure_not_sent", "CTV-N")]

    def test_a_region_of_no_frame_is_left_out_where_there_are_several(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        def unsettle_first(dataset: pydicom.Dataset) -> None:
            dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = ""
            second = copy.deepcopy(dataset.ReferencedFrameOfReferenceSequence[0])
            second.FrameOfReferenceUID = "2.25.77"
            dataset.ReferencedFrameOfReferenceSequence.append(second)

        edited = compare(worker, job_id, boxes(), unsettle_first)

        assert warnings_of(edited) == [("region_ignored", None), ("structure_not_sent", "CTV-N")]

    def test_a_region_of_no_frame_lies_in_the_only_one(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        def empty_first(dataset: pydicom.Dataset) -> None:
            dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = ""

        assert warnings_of(compare(worker, job_id, boxes(), empty_first)) == []


class TestOddContours:
    def test_contours_beyond_the_ends_are_told_and_not_counted(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        def raise_last(dataset: pydicom.Dataset) -> None:
            contour = dataset.ROIContourSequence[2].ContourSequence[-1]
            del contour.ContourImageSequence
            points = np.add(np.array(contour.ContourData, float).reshape(-1, 3), (0, 0, 30))
            contour.ContourData = [f"{value:g}" for value in points.ravel()]

        edited = compare(worker, job_id, boxes(), raise_last)

        assert warnings_of(edited) == [("contours_beyond_ends", "Bladder")]
        assert scores_of(edited)["Bladder"]["edited_slices"] == 1

    def test_contours_that_enclose_nothing_are_told(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        def shorten_last(dataset: pydicom.Dataset) -> None:
            contour = dataset.ROIContourSequence[2].ContourSequence[-1]
            contour.ContourData = list(contour.ContourData)[:6]
            contour.NumberOfContourPoints = 2

        edited = compare(worker, job_id, boxes(), shorten_last)

        assert warnings_of(edited) == [("contours_without_area", "Bladder")]

    @pytest.mark.parametrize(
        ("is_referenced", "code"),
        [(True, "contours_other_planes"), (False, "contours_between_slices")],
    )
    def test_contours_off_the_plane_of_others_are_told_and_not_counted(
        self, worker: WorkerContext, job_id: UUID, is_referenced: bool, code: str
    ) -> None:
        def add_twin(dataset: pydicom.Dataset) -> None:
            contours = dataset.ROIContourSequence[2].ContourSequence
            twin = copy.deepcopy(contours[0])
            if not is_referenced:
                del twin.ContourImageSequence
            points = np.add(np.array(twin.ContourData, float).reshape(-1, 3), (0, 0, 0.3))
            twin.ContourData = [f"{value:g}" for value in points.ravel()]
            contours.append(twin)

        edited = compare(worker, job_id, boxes(), add_twin)

        assert warnings_of(edited) == [(code, "Bladder")]
        assert scores_of(edited)["Bladder"]["dice"] == 1


class TestFailure:
    def test_damaged_contours_fail_with_a_code(self, worker: WorkerContext, job_id: UUID) -> None:
        def tilt(dataset: pydicom.Dataset) -> None:
            contour = dataset.ROIContourSequence[2].ContourSequence[0]
            contour.ContourData = [f"{value:g}" for value in (0, 0, 0, 9, 0, 9, 0, 9, 30)]
            contour.NumberOfContourPoints = 3

        edited = compare(worker, job_id, boxes(), tilt)

        assert (edited.state, edited.error_code) == (JobState.FAILED, "rtstruct_invalid")

    def test_contours_that_lost_points_fail_with_a_code(
        self, worker: WorkerContext, job_id: UUID
    ) -> None:
        def cut(dataset: pydicom.Dataset) -> None:
            contour = dataset.ROIContourSequence[2].ContourSequence[0]
            contour.ContourData = list(contour.ContourData)[:-3]

        edited = compare(worker, job_id, boxes(), cut)

        assert (edited.state, edited.error_code) == (JobState.FAILED, "rtstruct_invalid")

    def test_a_removed_file_is_told(
        self, worker: WorkerContext, uow: UnitOfWork, job_id: UUID
    ) -> None:
        run_contour_job(worker, job_id)
        edited_id = add_edit(uow, job_id).id

        run_task(worker, TaskName.EDITED_RTSTRUCT_COMPARE, edited_id)

        with uow:
            assert uow.edited_rtstructs.get(edited_id).error_code == "stored_files_missing"
