import math

import numpy as np
import pytest

from ml.evaluation.edits import compare_structures
from ml.geometry import NotAxialError, Volume, VolumeGeometry
from ml.metrics.overlap import dice
from ml.metrics.path_length import measure_path
from ml.metrics.surface import measure_surfaces
from tests.factories.volumes import make_geometry, possible_alignments, turned

SHAPE = (6, 20, 24)
SPACING = (5.0, 1.0, 2.0)


def box(slices: slice, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slices, rows, columns] = True
    return mask


BLADDER = box(slice(1, 3), slice(2, 8), slice(2, 8))
WIDER = box(slice(1, 4), slice(2, 8), slice(2, 9))
RECTUM = box(slice(0, 2), slice(12, 16), slice(12, 16))


@pytest.fixture
def geometry() -> VolumeGeometry:
    return make_geometry(SHAPE, SPACING)


class TestCompareStructures:
    def test_values_by_hand(self, geometry):
        bladder = compare_structures({"Bladder": BLADDER}, {"Bladder": WIDER}, geometry)["Bladder"]

        # a voxel of 5 x 1 x 2 mm is a hundredth of a millilitre
        assert bladder.found_ml == pytest.approx(0.72)
        assert bladder.edited_ml == pytest.approx(1.26)
        assert bladder.dice == pytest.approx(2 * 72 / (72 + 126))
        # 22 boundary pixels a slice: 11 of them lie on the former contour, none in the new slice
        assert bladder.total_path_length_mm == pytest.approx(3 * 22 * 1.5)
        assert bladder.added_path_length_mm == pytest.approx((2 * 6 + 22) * 1.5)
        assert bladder.relative_added_path == pytest.approx(34 / 66)
        assert (bladder.edited_slices, bladder.slices) == (3, 3)

    def test_measures_are_those_of_ml_metrics_on_the_whole_grid(self, geometry):
        score = compare_structures({"Bladder": BLADDER}, {"Bladder": WIDER}, geometry)["Bladder"]

        surfaces = measure_surfaces(BLADDER, WIDER, SPACING)
        assert score.dice == dice(BLADDER, WIDER)
        assert score.hd95_mm == surfaces.hausdorff95_mm()
        assert score.assd_mm == surfaces.average_mm()
        assert score.surface_dice_2mm == surfaces.surface_dice(2.0)
        assert score.added_path_length_mm == (
            measure_path(BLADDER, WIDER, SPACING[1:]).added_path_length_mm
        )

    def test_an_unedited_structure_is_perfect(self, geometry):
        score = compare_structures({"Bladder": BLADDER}, {"Bladder": BLADDER}, geometry)["Bladder"]

        assert (score.dice, score.surface_dice_2mm) == (1, 1)
        assert (score.hd95_mm, score.assd_mm, score.added_path_length_mm) == (0, 0, 0)
        assert (score.relative_added_path, score.edited_slices, score.slices) == (0, 0, 2)

    def test_structures_of_either_side_are_compared_with_nothing(self, geometry):
        scores = compare_structures(
            {"Rectum": RECTUM, "Bladder": BLADDER},
            {"CTV-N": WIDER, "Bladder": BLADDER},
            geometry,
        )

        assert list(scores) == ["Rectum", "Bladder", "CTV-N"]
        removed, drawn = scores["Rectum"], scores["CTV-N"]
        assert (removed.dice, removed.hd95_mm, removed.assd_mm) == (0, math.inf, math.inf)
        assert (removed.added_path_length_mm, removed.edited_ml) == (0, 0)
        assert math.isnan(removed.relative_added_path)
        assert (drawn.dice, drawn.surface_dice_2mm, drawn.relative_added_path) == (0, 0, 1)
        assert (drawn.found_ml, drawn.edited_slices) == (0, 3)

    def test_a_structure_that_is_empty_on_both_sides_says_nothing(self, geometry):
        none = np.zeros(SHAPE, bool)

        score = compare_structures({"Rectum": none}, {}, geometry)["Rectum"]

        assert math.isnan(score.dice)
        assert math.isnan(score.hd95_mm)
        assert (score.added_path_length_mm, score.edited_slices, score.slices) == (0, 0, 0)

    @pytest.mark.parametrize("alignment", possible_alignments())
    def test_scores_do_not_depend_on_how_the_series_is_stored(self, geometry, alignment):
        stored = turned(Volume(hu=np.zeros(SHAPE, np.int16), geometry=geometry), alignment)

        turned_scores = compare_structures(
            {"Bladder": alignment.from_lps(BLADDER)},
            {"Bladder": alignment.from_lps(WIDER)},
            stored.geometry,
        )

        assert turned_scores == compare_structures(
            {"Bladder": BLADDER}, {"Bladder": WIDER}, geometry
        )

    def test_masks_of_another_grid_are_refused(self, geometry):
        with pytest.raises(ValueError, match="Bladder: a mask"):
            compare_structures({"Bladder": BLADDER[1:]}, {}, geometry)

    def test_a_series_that_is_not_axial_is_refused(self):
        slanted = VolumeGeometry(
            rows=SHAPE[1],
            columns=SHAPE[2],
            pixel_spacing_mm=(1.0, 1.0),
            row_direction=np.array([0.8, 0.6, 0.0]),
            column_direction=np.array([-0.6, 0.8, 0.0]),
            slice_positions_mm=np.array([[0.0, 0.0, 5.0 * i] for i in range(SHAPE[0])]),
        )

        with pytest.raises(NotAxialError):
            compare_structures({"Bladder": BLADDER}, {}, slanted)
