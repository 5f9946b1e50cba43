import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import PreprocessingConfig
from ml.geometry import align_to_lps
from ml.preprocessing.crop import AxisMap, Crop, plan_crop
from ml.preprocessing.intensity import guard_range_hu
from tests.factories.volumes import AIR_HU, make_body, make_geometry, possible_alignments, turned

COARSE = PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=4.0)


def axis(image_spacing: float, crop_spacing: float, offset: float = 0.0) -> AxisMap:
    return AxisMap(
        image_mm=np.arange(60) * image_spacing + offset,
        image_spacing_mm=image_spacing,
        crop_mm=np.arange(32) * crop_spacing + 5.0,
        crop_spacing_mm=crop_spacing,
    )


class TestAxisMap:
    def test_equal_grids_copy_pixels(self):
        same = axis(1.0, 1.0)

        expected = np.eye(60, dtype=np.float32)[5:37][:, same.window]
        np.testing.assert_allclose(same.weights, expected, atol=1e-6)

    def test_half_a_pixel_apart_neighbours_share(self):
        weights = axis(1.0, 1.0, offset=0.5).weights

        assert sorted(weights[10][weights[10] > 0]) == [0.5, 0.5]

    @given(
        image_spacing=st.floats(0.6, 3.0), crop_spacing=st.floats(0.6, 3.0), offset=st.floats(-3, 3)
    )
    def test_a_ramp_stays_where_it_is(self, image_spacing, crop_spacing, offset):
        grid = axis(image_spacing, crop_spacing, offset)
        ripple = 0.0 if image_spacing >= crop_spacing else image_spacing**2 / crop_spacing / 8
        reach = max(image_spacing, crop_spacing)  # nearer the end the kernel takes in air
        inside = (grid.crop_mm >= grid.image_mm[0] + reach) & (
            grid.crop_mm <= grid.image_mm[-1] - reach
        )

        resampled = grid.weights @ grid.image_mm[grid.window]

        np.testing.assert_allclose(resampled[inside], grid.crop_mm[inside], atol=ripple + 1e-4)

    def test_beyond_the_image_weights_fade_to_air(self):
        grid = axis(1.0, 1.0, offset=20.0)

        assert grid.weights[:14].sum() == 0

    def test_a_finer_image_is_averaged_not_picked(self):
        weights = axis(1.0, 3.0).weights[10]

        np.testing.assert_allclose(weights[weights > 0], [1 / 3, 1 / 3, 1 / 3], rtol=1e-6)


class TestPlanCrop:
    @given(x=st.floats(-30, 30), y=st.floats(-30, 30))
    @settings(max_examples=10)
    def test_the_crop_is_centred_on_the_body(self, x, y):
        crop, _ = plan_crop(make_body(make_geometry(), center_mm=(x, y)), COARSE)

        assert crop.center_mm == pytest.approx((x, y), abs=1.0)
        assert crop.columns.crop_mm.mean() == pytest.approx(crop.center_mm[0])

    def test_the_network_sees_the_same_in_every_orientation(self):
        volume = make_body(make_geometry((6, 90, 80), (5.0, 4.0, 4.5)), center_mm=(12.0, -9.0))
        volume.hu[2:, 50:60, 40:45] = 150
        expected = plan_crop(volume, COARSE)[0].guarded_hu(volume.hu)

        for alignment in possible_alignments():
            stored = turned(volume, alignment)
            crop, _ = plan_crop(stored, COARSE)
            seen = crop.guarded_hu(crop.alignment.to_lps(stored.hu))

            assert crop.alignment == alignment
            # the coarse body mask starts at another corner, so the centre may move a little
            assert np.abs(seen - expected).mean() < 6

    def test_labels_never_move_the_crop(self):
        volume = make_body(make_geometry())

        assert plan_crop(volume, COARSE)[0].center_mm == plan_crop(volume, COARSE)[0].center_mm


class TestHu:
    def test_outside_the_image_there_is_air(self):
        geometry = make_geometry((4, 40, 40), (5.0, 4.0, 4.0), (-80.0, -80.0, 0.0))
        crop, _ = plan_crop(make_body(geometry, half_axes_mm=(60.0, 50.0)), COARSE)

        hu = crop.guarded_hu(np.full(geometry.shape, 150, np.int16))

        assert hu.shape == (4, 64, 64)
        assert (hu[:, 0] == guard_range_hu(COARSE)[0]).all()
        assert hu[:, 32, 32] == pytest.approx(150)

    def test_padding_does_not_bleed_beyond_the_guard(self):
        geometry = make_geometry()
        volume = make_body(geometry)
        crop, _ = plan_crop(volume, COARSE)
        air = crop.guarded_hu(volume.hu)
        volume.hu[volume.hu == AIR_HU] = -3024

        np.testing.assert_array_equal(crop.guarded_hu(volume.hu), air)


class TestLabels:
    def test_on_an_equal_grid_labels_are_copied(self):
        geometry = make_geometry()
        crop = Crop(
            config=COARSE,
            alignment=align_to_lps(geometry),
            geometry=geometry,
            center_mm=(0.0, 0.0),
        )
        labels = np.random.default_rng(0).integers(0, 5, geometry.shape).astype(np.uint8)

        np.testing.assert_array_equal(crop.labels(labels), labels[:, 16:80, 16:80])

    def test_the_largest_share_gives_the_label(self):
        geometry = make_geometry((1, 16, 16), (5.0, 1.0, 1.0), (0.0, 0.0, 0.0))
        crop = Crop(
            config=PreprocessingConfig(crop_size_px=32, pixel_spacing_mm=5.0),
            alignment=align_to_lps(geometry),
            geometry=geometry,
            center_mm=(9.0, 9.0),
        )
        labels = np.zeros(geometry.shape, np.uint8)
        labels[:, :, [6, 9, 10]] = 1
        labels[:, :, [7, 8]] = 2

        # by hand, 5 mm about 6.5: columns 4 and 9 count half, so 0 and 1 have .3 each and 2 has .4
        assert crop.columns.crop_mm[15] == 6.5
        assert crop.labels(labels)[0, 15, 15] == 2
