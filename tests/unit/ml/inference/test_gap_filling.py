import numpy as np
import pytest

from ml.inference.gap_filling import fill_gaps

PIXEL_MM = (2.0, 2.0)


def disc(radius_mm: float, center_mm: tuple[float, float] = (60.0, 60.0)) -> np.ndarray:
    y, x = np.ogrid[:60, :60]
    return (2 * y - center_mm[0]) ** 2 + (2 * x - center_mm[1]) ** 2 <= radius_mm**2


@pytest.fixture
def labels() -> np.ndarray:
    """Discs of 40, 30, nothing, nothing and 30 mm in slices 2 to 6 of 9."""
    made = np.zeros((9, 60, 60), np.uint8)
    for index, radius in ((2, 40.0), (3, 30.0), (6, 30.0)):
        made[index][disc(radius)] = 3
    return made


class TestFillGaps:
    def test_between_equal_slices_the_shape_is_copied(self, labels):
        fill_gaps(labels, 3, 2, PIXEL_MM)

        assert np.array_equal(labels[4] == 3, disc(30.0))
        assert np.array_equal(labels[5] == 3, disc(30.0))

    def test_between_a_large_and_a_small_disc_the_radius_runs_evenly(self):
        labels = np.zeros((4, 60, 60), np.uint8)
        labels[0][disc(42.0)], labels[3][disc(18.0)] = 1, 1

        fill_gaps(labels, 1, 2, PIXEL_MM)

        radii = [2 * np.sqrt(np.count_nonzero(part) / np.pi) for part in labels]
        assert radii[1:3] == pytest.approx([34.0, 26.0], abs=1.0)

    def test_distances_are_millimetres_on_both_axes(self):
        labels = np.zeros((3, 40, 80), np.uint8)
        y, x = np.ogrid[:40, :80]
        for index, radius in ((0, 36.0), (2, 12.0)):
            labels[index][(2 * y - 40.0) ** 2 + (1 * x - 40.0) ** 2 <= radius**2] = 1

        fill_gaps(labels, 1, 1, (2.0, 1.0))

        rows, columns = np.nonzero(labels[1])
        assert np.ptp(rows) * 2 == pytest.approx(48.0, abs=3.0)
        assert np.ptp(columns) == pytest.approx(48.0, abs=3.0)

    @pytest.mark.parametrize("longest", [0, 1])
    def test_longer_gaps_stay(self, labels, longest):
        before = labels.copy()

        fill_gaps(labels, 3, longest, PIXEL_MM)

        np.testing.assert_array_equal(labels, before)

    def test_nothing_grows_beyond_the_first_and_last_slice(self, labels):
        fill_gaps(labels, 3, 5, PIXEL_MM)

        assert not labels[:2].any()
        assert not labels[7:].any()

    def test_slices_that_have_the_structure_stay_as_they_are(self, labels):
        before = labels.copy()

        fill_gaps(labels, 3, 2, PIXEL_MM)

        np.testing.assert_array_equal(labels[[2, 3, 6]], before[[2, 3, 6]])

    def test_only_background_gives_way(self, labels):
        labels[4, 28:32] = 4

        fill_gaps(labels, 3, 2, PIXEL_MM)

        assert (labels[4, 28:32] == 4).all()
        assert (labels[4] == 3).any()

    def test_a_structure_that_is_nowhere_stays_nowhere(self, labels):
        before = labels.copy()

        fill_gaps(labels, 1, 2, PIXEL_MM)

        np.testing.assert_array_equal(labels, before)
