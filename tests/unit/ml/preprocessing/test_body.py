import numpy as np
import pytest

from ml.preprocessing.body import find_body
from tests.factories.volumes import AIR_HU, axes_mm, make_body, make_geometry

GEOMETRY = make_geometry((6, 128, 128), (5.0, 3.5, 3.5), (-220.0, -220.0, 0.0))


class TestFindBody:
    def test_the_centre_of_an_ellipse_is_found(self):
        volume = make_body(GEOMETRY, center_mm=(23.0, -31.0))

        center = find_body(volume.hu, GEOMETRY).center_mm()

        assert center == pytest.approx((23.0, -31.0), abs=0.5)

    def test_a_couch_under_the_body_is_left_out(self):
        volume = make_body(GEOMETRY, half_axes_mm=(150.0, 100.0))
        without = find_body(volume.hu, GEOMETRY).center_mm()
        _, y, x = axes_mm(GEOMETRY)
        couch = (y > 100) & (y < 112) & (np.abs(x) < 200)
        volume.hu[np.broadcast_to(couch, GEOMETRY.shape)] = 100

        center = find_body(volume.hu, GEOMETRY).center_mm()

        assert center == pytest.approx(without, abs=1.5)

    @pytest.mark.parametrize("padding", [-2000, -2048, -3024])
    def test_padding_outside_a_circular_field_of_view_is_air(self, padding):
        volume = make_body(GEOMETRY, center_mm=(10.0, 5.0))
        without = find_body(volume.hu, GEOMETRY).center_mm()
        _, y, x = axes_mm(GEOMETRY)
        volume.hu[np.broadcast_to(np.hypot(x, y) > 205, GEOMETRY.shape)] = padding

        assert find_body(volume.hu, GEOMETRY).center_mm() == without

    def test_gas_inside_belongs_to_the_body(self):
        volume = make_body(GEOMETRY)
        solid = find_body(volume.hu, GEOMETRY).mask.sum()
        volume.hu[:, 50:60, 55:70] = AIR_HU

        assert find_body(volume.hu, GEOMETRY).mask.sum() == solid

    def test_a_body_cut_by_the_image_reaches_its_border(self):
        volume = make_body(GEOMETRY, half_axes_mm=(400.0, 120.0))

        mask = find_body(volume.hu, GEOMETRY).mask

        assert mask[:, mask.shape[1] // 2, [0, -1]].all()

    def test_only_bone_in_the_body_counts(self):
        volume = make_body(GEOMETRY)
        volume.hu[:, 60:64, 60:64] = 700
        volume.hu[:, :2, :2] = 700

        body = find_body(volume.hu, GEOMETRY)

        assert body.bone.sum() == 4 * 4 * len(body.slice_indices)

    def test_without_a_patient_the_centre_is_the_images(self):
        volume = make_body(GEOMETRY, half_axes_mm=(1e-6, 1e-6))

        body = find_body(volume.hu, GEOMETRY)

        assert body.is_empty
        assert body.center_mm() == pytest.approx((2.25, 2.25))
