import numpy as np
import pytest

from ml.config import PostprocessingConfig
from ml.inference.postprocessing import postprocess
from ml.structures import CERVIX

SPACING = (5.0, 2.0, 2.0)
VOXEL_ML = 0.02
BLADDER = CERVIX.get("Bladder").number
RECTUM = CERVIX.get("Rectum").number
CTV_N = CERVIX.get("CTV-N").number


@pytest.fixture
def labels() -> np.ndarray:
    return np.zeros((12, 60, 60), np.uint8)


class TestParts:
    def test_only_the_largest_part_of_the_bladder_stays(self, labels):
        labels[2:6, 10:30, 10:30] = BLADDER
        labels[9:11, 40:46, 40:46] = BLADDER

        components = postprocess(labels, CERVIX, SPACING)

        assert np.count_nonzero(labels == BLADDER) == 4 * 20 * 20
        assert components["Bladder"].kept_ml == pytest.approx((4 * 400 * VOXEL_ML,))
        assert components["Bladder"].dropped_ml == pytest.approx((2 * 36 * VOXEL_ML,))

    def test_nodal_volumes_on_both_sides_stay_and_crumbs_go(self, labels):
        labels[2:8, 10:20, 10:20] = CTV_N
        labels[2:8, 10:20, 40:50] = CTV_N
        labels[10, 50:53, 50:53] = CTV_N

        components = postprocess(labels, CERVIX, SPACING)

        assert len(components["CTV-N"].kept_ml) == 2
        assert len(components["CTV-N"].dropped_ml) == 1
        assert not labels[10].any()

    def test_parts_that_touch_at_a_corner_are_one(self, labels):
        labels[2:5, 10:20, 10:20] = RECTUM
        labels[5:8, 20:30, 20:30] = RECTUM

        postprocess(labels, CERVIX, SPACING)

        assert np.count_nonzero(labels == RECTUM) == 600

    def test_the_largest_part_stays_however_small(self, labels):
        labels[4, 4, 4] = RECTUM

        postprocess(labels, CERVIX, SPACING)

        assert labels[4, 4, 4] == RECTUM

    def test_what_does_not_exist_has_no_parts(self, labels):
        assert postprocess(labels, CERVIX, SPACING)["Rectum"].kept_ml == ()


class TestConfiguration:
    def test_parts_stay_where_none_are_to_be_dropped(self, labels):
        labels[2:6, 10:30, 10:30] = BLADDER
        labels[9:11, 40:46, 40:46] = BLADDER
        before = labels.copy()

        components = postprocess(labels, CERVIX, SPACING, PostprocessingConfig(drop_parts=False))

        np.testing.assert_array_equal(labels, before)
        assert len(components["Bladder"].kept_ml) == 2
        assert components["Bladder"].dropped_ml == ()

    def test_a_filled_gap_keeps_a_structure_in_one_part(self, labels):
        labels[2:5, 10:30, 10:30] = BLADDER
        labels[6:8, 10:30, 10:30] = BLADDER

        components = postprocess(labels, CERVIX, SPACING, PostprocessingConfig(fill_gap_slices=1))

        assert np.count_nonzero(labels == BLADDER) == 6 * 400
        assert components["Bladder"].dropped_ml == ()

    def test_by_default_no_gap_is_filled(self, labels):
        labels[2:5, 10:30, 10:30] = BLADDER
        labels[6:8, 10:30, 10:30] = BLADDER

        postprocess(labels, CERVIX, SPACING)

        assert np.count_nonzero(labels == BLADDER) == 3 * 400


class TestHoles:
    def test_a_hole_in_the_bladder_is_filled(self, labels):
        labels[2:6, 10:30, 10:30] = BLADDER
        labels[3, 15:20, 15:20] = 0

        postprocess(labels, CERVIX, SPACING)

        assert (labels[2:6, 10:30, 10:30] == BLADDER).all()

    def test_another_structure_in_a_hole_keeps_its_voxels(self, labels):
        labels[2:6, 10:30, 10:30] = BLADDER
        labels[2:6, 15:20, 15:20] = 0
        labels[2:6, 17, 17] = RECTUM

        postprocess(labels, CERVIX, SPACING)

        assert (labels[2:6, 17, 17] == RECTUM).all()
        assert np.count_nonzero(labels == BLADDER) == 4 * (400 - 1)

    def test_a_wide_ring_of_nodal_volume_stays_a_ring(self, labels):
        labels[2:6, 10:40, 10:40] = CTV_N
        labels[2:6, 14:36, 14:36] = 0

        postprocess(labels, CERVIX, SPACING)

        assert not labels[3, 20, 20]

    def test_a_bay_open_to_the_outside_is_no_hole(self, labels):
        labels[2:6, 10:30, 10:30] = BLADDER
        labels[3, 15:20, 20:30] = 0

        postprocess(labels, CERVIX, SPACING)

        assert not labels[3, 17, 25]
