import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml.metrics.path_length import measure_path

PIXEL = (1.0, 1.0)
masks = arrays(bool, (3, 5, 6))


def square(size: int, slices: tuple[int, int] = (1, 3)) -> np.ndarray:
    """A square from row and column 3 on."""
    mask = np.zeros((5, 20, 20), bool)
    mask[slices[0] : slices[1], 3 : 3 + size, 3 : 3 + size] = True
    return mask


def is_boundary(mask: np.ndarray, z: int, y: int, x: int) -> bool:
    """The definition, pixel by pixel."""
    rows, columns = mask.shape[1:]
    neighbours = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    inside = [0 <= r < rows and 0 <= c < columns and mask[z, r, c] for r, c in neighbours]
    return bool(mask[z, y, x]) and not all(inside)


class TestByHand:
    def test_a_wider_square_adds_two_of_its_sides(self):
        # of the 20 boundary pixels of 6 x 6, the 9 of its first row and column that a square of
        # 5 x 5 has too are shared (its own ends are corners of both), in two slices
        found = measure_path(square(5), square(6), PIXEL)

        assert found.total_path_length_mm == 2 * 20
        assert found.added_path_length_mm == 2 * (20 - 9)
        assert found.relative == pytest.approx(11 / 20)
        assert (found.edited_slices, found.slices) == (2, 2)

    def test_a_hole_has_a_contour_of_its_own(self):
        edited = square(7)
        edited[1, 6, 6] = False

        # the four pixels around the hole
        assert measure_path(square(7), edited, PIXEL).added_path_length_mm == 4

    def test_a_slice_drawn_in_addition_counts_whole(self):
        found = measure_path(square(5), square(5, slices=(1, 4)), PIXEL)

        assert found.added_path_length_mm == 16
        assert found.total_path_length_mm == 3 * 16
        assert (found.edited_slices, found.slices) == (1, 3)

    def test_a_slice_taken_away_is_edited_but_adds_nothing(self):
        found = measure_path(square(5, slices=(1, 4)), square(5), PIXEL)

        assert found.added_path_length_mm == 0
        assert (found.edited_slices, found.slices) == (1, 3)

    @pytest.mark.parametrize(("spacing", "pixel_mm"), [((0.5, 0.5), 0.5), ((1.0, 2.0), 1.5)])
    def test_a_pixel_is_as_long_as_the_mean_spacing(self, spacing, pixel_mm):
        found = measure_path(square(5), square(6), spacing)

        assert found.added_path_length_mm == pytest.approx(22 * pixel_mm)
        assert found.total_path_length_mm == pytest.approx(40 * pixel_mm)
        assert found.relative == pytest.approx(11 / 20)

    def test_an_edit_that_leaves_nothing_adds_nothing(self):
        found = measure_path(square(5), np.zeros((5, 20, 20), bool), PIXEL)

        assert (found.added_path_length_mm, found.total_path_length_mm) == (0, 0)
        assert math.isnan(found.relative)
        assert (found.edited_slices, found.slices) == (2, 2)

    def test_without_a_structure_there_is_no_path(self):
        none = np.zeros((5, 20, 20), bool)

        found = measure_path(none, none, PIXEL)

        assert (found.added_path_length_mm, found.edited_slices, found.slices) == (0, 0, 0)


class TestProperties:
    @given(masks)
    def test_equal_masks_add_nothing(self, mask):
        found = measure_path(mask, mask, PIXEL)

        assert (found.added_path_length_mm, found.edited_slices) == (0, 0)

    @given(masks, masks)
    def test_masks_that_do_not_touch_add_all(self, found, edited):
        path = measure_path(found & ~edited, edited, PIXEL)

        assert path.added_path_length_mm == path.total_path_length_mm

    @given(masks, masks)
    def test_it_is_what_the_definition_says(self, found, edited):
        contour = [i for i in np.ndindex(*edited.shape) if is_boundary(edited, *i)]
        added = [i for i in contour if not is_boundary(found, *i)]

        path = measure_path(found, edited, PIXEL)

        assert path.added_path_length_mm == len(added)
        assert path.total_path_length_mm == len(contour)
        assert path.edited_slices == sum(
            not np.array_equal(a, b) for a, b in zip(found, edited, strict=True)
        )

    @given(masks, masks, st.integers(0, 3))
    def test_room_around_the_masks_changes_nothing(self, found, edited, margin):
        wide = [np.pad(mask, margin) for mask in (found, edited)]

        assert measure_path(wide[0], wide[1], PIXEL) == measure_path(found, edited, PIXEL)
