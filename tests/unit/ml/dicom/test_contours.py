import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.draw import polygon2mask

from ml.dicom.contours import MAX_RING_POINTS, fill, find_edges, mask_to_rings, rings_to_mask

RINGS = st.lists(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(0, 9), st.just(2)),
        elements=st.integers(-8, 40).map(lambda quarters: quarters / 4)
        | st.floats(-3, 11).map(lambda value: round(value, 6)),
    ),
    max_size=4,
)
MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


def union(rings, shape):
    mask = np.zeros(shape, np.bool_)
    for ring in rings:
        mask |= rings_to_mask([ring], shape)
    return mask


class TestRoundTrip:
    @given(MASKS)
    def test_any_mask_comes_back_bit_exact(self, mask):
        np.testing.assert_array_equal(rings_to_mask(mask_to_rings(mask), mask.shape), mask)

    @given(MASKS)
    def test_readers_that_unite_contours_see_the_same(self, mask):
        np.testing.assert_array_equal(union(mask_to_rings(mask), mask.shape), mask)

    @given(MASKS)
    def test_readers_that_round_vertices_to_a_micrometre_see_the_same(self, mask):
        rings = [np.round(ring, 3) for ring in mask_to_rings(mask)]
        np.testing.assert_array_equal(rings_to_mask(rings, mask.shape), mask)

    @given(MASKS)
    def test_another_rasterizer_sees_the_same(self, mask):
        seen = np.zeros(mask.shape, np.bool_)
        for ring in mask_to_rings(mask):
            seen ^= polygon2mask(mask.shape, ring[:, ::-1])
        np.testing.assert_array_equal(seen, mask)


class TestMaskToRings:
    def test_an_empty_mask_has_no_ring(self):
        assert mask_to_rings(np.zeros((4, 5), np.bool_)) == []

    def test_a_single_pixel_keeps_an_area(self):
        mask = np.zeros((4, 5), np.bool_)
        mask[1, 3] = True
        (ring,) = mask_to_rings(mask)
        assert sorted(map(tuple, np.round(ring, 6))) == [(2.51, 1), (3, 0.51), (3, 1.49), (3.49, 1)]

    def test_straight_runs_have_no_inner_vertices(self):
        mask = np.zeros((30, 40), np.bool_)
        mask[5:25, 5:35] = True
        (ring,) = mask_to_rings(mask)
        assert len(ring) == 8
        np.testing.assert_allclose(ring.min(axis=0), [4.51, 4.51])
        np.testing.assert_allclose(ring.max(axis=0), [34.49, 24.49])

    def test_a_hole_is_joined_by_a_bridge_of_no_width(self):
        mask = np.ones((9, 9), np.bool_)
        mask[3:6, 3:6] = False
        (ring,) = mask_to_rings(mask)
        steps = np.roll(ring, -1, axis=0) - ring
        assert np.abs(steps).max(axis=1).min() > 0  # no point twice in a row
        x, y = ring.T
        area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
        assert area == pytest.approx(72, abs=1)

    def test_parts_have_a_ring_each(self):
        mask = np.zeros((9, 9), np.bool_)
        mask[1, 1] = mask[5:7, 5:8] = mask[1:4, 6] = True
        assert len(mask_to_rings(mask)) == 3

    def test_touches_every_border(self):
        mask = np.ones((3, 4), np.bool_)
        (ring,) = mask_to_rings(mask)
        np.testing.assert_allclose(ring.min(axis=0), [-0.49, -0.49])
        np.testing.assert_allclose(ring.max(axis=0), [3.49, 2.49])

    @pytest.mark.parametrize("has_holes", [False, True], ids=["comb", "lattice"])
    @pytest.mark.parametrize("is_tall", [False, True], ids=["wide", "tall"])
    def test_long_outlines_are_cut_and_stay_exact(self, has_holes, is_tall):
        mask = np.zeros((9, 300) if has_holes else (9, 1200), np.bool_)
        mask[1:8, ::2] = True
        mask[(slice(1, 8, 2) if has_holes else 1), :] = True
        mask = mask.T.copy() if is_tall else mask
        rings = mask_to_rings(mask)
        assert 1 < len(rings) < 5
        assert max(map(len, rings)) <= MAX_RING_POINTS
        np.testing.assert_array_equal(rings_to_mask(rings, mask.shape), mask)
        np.testing.assert_array_equal(union(rings, mask.shape), mask)


class TestRingsToMask:
    def test_no_ring_encloses_nothing(self):
        assert not rings_to_mask([], (3, 4)).any()
        assert not rings_to_mask([np.array([[0.0, 0.0], [2.0, 2.0]])], (3, 4)).any()

    def test_counts_pixel_centres(self):
        triangle = np.array([[0.5, 0.5], [4.5, 0.5], [0.5, 4.5]])
        expected = np.zeros((6, 6), np.bool_)
        expected[1, 1:4] = expected[2, 1:3] = expected[3, 1] = True
        np.testing.assert_array_equal(rings_to_mask([triangle], (6, 6)), expected)

    def test_outlines_may_leave_the_image(self):
        square = np.array([[-50.0, -50.0], [50.0, -50.0], [50.0, 50.0], [-50.0, 50.0]])
        assert rings_to_mask([square], (3, 4)).all()
        assert not rings_to_mask([square + 500], (3, 4)).any()
        assert not rings_to_mask([square - 500], (3, 4)).any()

    def test_overlapping_rings_are_exclusive(self):
        outer = np.array([[-0.5, -0.5], [5.5, -0.5], [5.5, 5.5], [-0.5, 5.5]])
        inner = (outer - 2.5) / 3 + 2.5
        mask = rings_to_mask([outer, inner], (6, 6))
        assert mask.sum() == 36 - 4

    @given(st.integers(0, 7), st.floats(0.1, 3), st.floats(-1, 8), st.floats(-1, 8))
    def test_direction_and_start_do_not_matter(self, start, size, x, y):
        angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        ring = np.stack([x + size * np.cos(angles), y + size * np.sin(angles)], axis=1)
        mask = rings_to_mask([ring], (8, 8))
        np.testing.assert_array_equal(rings_to_mask([np.roll(ring, start, axis=0)], (8, 8)), mask)

    def test_a_centre_on_the_outline_belongs_to_one_of_two_neighbours(self):
        left = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
        right = left + np.array([2.0, 0.0])
        one, other = rings_to_mask([left], (3, 6)), rings_to_mask([right], (3, 6))
        assert not (one & other).any()
        assert (one | other)[0, :4].all()

    @given(RINGS, st.integers(1, 60))
    def test_the_size_of_blocks_does_not_matter(self, rings, block):
        edges = find_edges(rings, 8)
        whole = fill(edges, (8, 9), int(edges.counts.sum()) + 1)
        np.testing.assert_array_equal(fill(edges, (8, 9), block), whole)

    def test_an_edge_may_rise_by_next_to_nothing(self):
        least = np.nextafter(0, 1)
        square = np.array([[0.5, 0.0], [3.5, least], [3.5, 2.5], [0.5, 2.5]])
        mask = rings_to_mask([square], (4, 5))
        assert mask[1:3, 1:4].all()
        assert mask.sum() - mask[0].sum() == 6

    def test_edges_across_the_whole_image_take_bounded_memory(self):
        zigzag = np.full((2**13, 2), 5.0)
        zigzag[::2, 0], zigzag[1::2, 1] = 6, 511
        tracemalloc.start()
        try:
            rings_to_mask([zigzag], (512, 512))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 150 * 2**20  # all at once they took 300 MiB
