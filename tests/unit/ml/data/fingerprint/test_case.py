import json
from dataclasses import asdict

import numpy as np
import pytest

from ml.config import PreprocessingConfig
from ml.data.dataset import LabelledCase
from ml.data.fingerprint.case import CaseFingerprint, measure_case
from ml.geometry import Volume
from ml.structures import CERVIX
from tests.factories.volumes import (
    AIR_HU,
    BODY_HU,
    make_body,
    make_geometry,
    possible_alignments,
    turned,
)

CONFIG = PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=4.0)
GEOMETRY = make_geometry((8, 96, 96), spacing_mm=(5.0, 4.0, 4.0))
CENTER = (10.0, -14.0)


def make_case(boxes, *, change=None, volume=None) -> LabelledCase:
    """A body with labelled boxes by structure name."""
    volume = volume or make_body(GEOMETRY, center_mm=CENTER)
    hu, labels = volume.hu.copy(), np.zeros(volume.hu.shape, np.uint8)
    hu += np.arange(8, dtype=np.int16)[:, None, None]  # no two slices are alike
    for name, box in boxes.items():
        labels[box] = CERVIX.get(name).number
    if change is not None:
        change(hu, labels)
    return LabelledCase(
        case_id="a", patient_id="p", volume=Volume(hu=hu, geometry=volume.geometry), labels=labels
    )


def measure(*args, **options):
    return measure_case(make_case(*args, **options), CERVIX, CONFIG)


BLADDER = {"Bladder": np.s_[2:5, 40:50, 44:54]}


class TestStructures:
    def test_size_and_slices(self):
        bladder = measure(BLADDER).structures["Bladder"]

        assert bladder.volume_ml == pytest.approx(3 * 10 * 10 * 5 * 4 * 4 / 1000)
        assert (bladder.slices, bladder.absent_share, bladder.gap_slices) == (3, 0.625, 0)
        assert (bladder.above_lower_end_mm, bladder.below_upper_end_mm) == (10.0, 15.0)
        assert (bladder.components, bladder.touches_edge) == (1, False)

    def test_hounsfield_units_are_those_inside(self):
        bladder = measure(BLADDER).structures["Bladder"]

        assert bladder.hu_mean == BODY_HU + 3  # slices 2, 3, 4
        assert bladder.hu_sd == pytest.approx(np.sqrt(2 / 3), abs=0.01)

    def test_place_is_relative_to_the_body_and_to_the_other_structures(self):
        boxes = {**BLADDER, "Rectum": np.s_[4:7, 60:64, 46:50]}
        found = measure(boxes).structures

        # centroids of whole boxes; the body's centre is known to half a pixel of its coarse mask
        bladder_mm = np.array([-190 + 48.5 * 4, -190 + 44.5 * 4, 15.0])
        rectum_mm = np.array([-190 + 47.5 * 4, -190 + 61.5 * 4, 25.0])
        for name, place in (("Bladder", bladder_mm), ("Rectum", rectum_mm)):
            expected = place - (*CENTER, 20.0)
            np.testing.assert_allclose(found[name].offset_mm, expected, atol=2.0)
        difference = np.subtract(found["Rectum"].offset_mm, found["Bladder"].offset_mm)
        np.testing.assert_allclose(difference, rectum_mm - bladder_mm, atol=1e-3)

    def test_gaps_and_parts_are_counted(self):
        boxes = {"Bladder": np.s_[[1, 2, 4, 6], 40:50, 44:54]}
        bladder = measure(boxes).structures["Bladder"]

        assert (bladder.slices, bladder.gap_slices, bladder.components) == (4, 2, 3)

    def test_parts_that_meet_at_a_corner_are_one(self):
        def corner(hu, labels):
            labels[5, 50:52, 54:56] = 3

        assert measure(BLADDER, change=corner).structures["Bladder"].components == 1

    @pytest.mark.parametrize(
        ("box", "touches"),
        [
            (np.s_[0:3, 40:50, 44:54], True),
            (np.s_[5:8, 40:50, 44:54], True),
            (np.s_[2:5, 0:9, 44:54], True),
            (np.s_[2:5, 40:50, 90:96], True),
            (np.s_[1:7, 1:95, 1:95], False),
        ],
    )
    def test_the_edges_of_the_scan_are_noticed(self, box, touches):
        assert measure({"Bladder": box}).structures["Bladder"].touches_edge is touches

    def test_what_the_crop_leaves_out_is_counted(self):
        # the crop is 64 pixels of 4 mm around the body's centre: columns 66 +- 32 of x = 10
        inside = measure({"Bladder": np.s_[2:5, 40:44, 25:75]}).structures["Bladder"]
        outside = measure({"Bladder": np.s_[2:5, 40:44, 88:92]}).structures["Bladder"]

        assert inside.outside_crop == 0
        assert outside.outside_crop == 3 * 4 * 4

    def test_an_absent_structure_has_no_entry(self):
        assert set(measure(BLADDER).structures) == {"Bladder"}
        assert measure({}).structures == {}


class TestCase:
    def test_geometry_and_body(self):
        case = measure(BLADDER)

        assert case.shape == (8, 96, 96)
        assert case.spacing_mm == (5.0, 4.0, 4.0)
        assert case.extent_mm == (40.0, 384.0, 384.0)
        assert case.body_found
        assert BODY_HU <= case.hu_percentiles[0] <= case.hu_percentiles[-1] <= BODY_HU + 7

    def test_without_a_body_the_whole_image_counts(self):
        volume = Volume(hu=np.full(GEOMETRY.shape, AIR_HU, np.int16), geometry=GEOMETRY)

        case = measure(BLADDER, volume=volume)

        assert not case.body_found
        assert case.hu_percentiles[3] == pytest.approx(AIR_HU + 3.5)

    def test_identical_neighbours_are_found(self):
        def copy(hu, labels):
            hu[5] = hu[4]

        assert measure(BLADDER).identical_slices == ()
        assert measure(BLADDER, change=copy).identical_slices == (5,)

    def test_hashes_tell_images_and_labels_apart(self):
        def more_labels(hu, labels):
            labels[0, 0, 0] = 1

        one, other = measure(BLADDER), measure(BLADDER, change=more_labels)
        assert one.hu_sha256 == other.hu_sha256
        assert one.sha256 != other.sha256

    @pytest.mark.parametrize("alignment", possible_alignments())
    def test_how_the_patient_lies_changes_nothing(self, alignment):
        boxes = {**BLADDER, "Rectum": np.s_[4:7, 60:64, 46:50]}
        case = make_case(boxes)
        lying = LabelledCase(
            case_id="a",
            patient_id="p",
            volume=turned(case.volume, alignment),
            labels=np.ascontiguousarray(alignment.from_lps(case.labels)),
        )

        expected, found = (measure_case(c, CERVIX, CONFIG) for c in (case, lying))

        assert found.structures == expected.structures
        assert found.spacing_mm == expected.spacing_mm

    def test_json_and_back(self):
        case = measure(BLADDER)
        assert CaseFingerprint.from_dict(json.loads(json.dumps(asdict(case)))) == case
