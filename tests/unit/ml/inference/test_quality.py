import numpy as np
import pytest

from ml.config import PreprocessingConfig
from ml.inference.postprocessing import Components
from ml.inference.quality import (
    QualityCode,
    Result,
    find_warnings,
    lateral_bone_cm2,
    lost_core_fraction,
)
from ml.preprocessing.body import find_body
from ml.preprocessing.crop import Crop, plan_crop
from ml.structures import CERVIX
from tests.factories.volumes import make_body, make_geometry

CONFIG = PreprocessingConfig(crop_size_px=64, pixel_spacing_mm=3.9)
GEOMETRY = make_geometry((20, 96, 96), (5.0, 4.0, 4.0), (-190.0, -190.0, 0.0))


def make_result(labels: np.ndarray | None = None, **changes) -> Result:
    """A pelvis with plausible structures, or with the labels that are given."""
    volume = make_body(GEOMETRY)
    volume.hu[4:16, 44:52, 24:34] = 600  # hips
    volume.hu[4:16, 44:52, 62:72] = 600
    if labels is None:
        labels = plausible_labels()
    crop, body = plan_crop(volume, CONFIG)
    counts = np.bincount(labels.ravel(), minlength=5) * GEOMETRY.voxel_volume_ml
    values = {
        "hu": volume.hu,
        "labels": labels,
        "crop": crop,
        "body": body,
        "components": {name: Components(kept_ml=(1.0,), dropped_ml=()) for name in CERVIX.names},
        "volumes_ml": {s.name: float(counts[s.number]) for s in CERVIX.structures},
    }
    return Result(**(values | changes))


def plausible_labels() -> np.ndarray:
    labels = np.zeros(GEOMETRY.shape, np.uint8)
    labels[5:18, 38:50, 28:38] = 1
    labels[5:12, 50:58, 44:54] = 2
    labels[3:9, 36:46, 42:56] = 3
    labels[3:13, 60:66, 46:52] = 4
    return labels


def codes(result: Result) -> list[tuple[str, str | None]]:
    return [(w.code, w.structure) for w in find_warnings(result, CERVIX)]


class TestWarnings:
    def test_plausible_contours_of_a_pelvis_give_none(self):
        assert codes(make_result()) == []

    def test_a_missing_structure(self):
        labels = plausible_labels()
        labels[labels == 4] = 0

        assert codes(make_result(labels)) == [(QualityCode.EMPTY_STRUCTURE, "Rectum")]

    def test_an_implausible_volume(self):
        labels = plausible_labels()
        labels[labels == 3] = 0
        labels[4, 40, 40] = 3

        (warning,) = find_warnings(make_result(labels), CERVIX)

        assert warning.code is QualityCode.IMPLAUSIBLE_VOLUME
        assert warning.facts == {"volume_ml": 0.1, "low_ml": 20.0, "high_ml": 1000.0}

    @pytest.mark.parametrize(("dropped", "expected"), [((3.0,), 1), ((1.9, 0.2), 0)])
    def test_large_parts_taken_away(self, dropped, expected):
        parts = make_result().components | {
            "Bladder": Components(kept_ml=(80.0,), dropped_ml=dropped)
        }

        found = codes(make_result(components=parts))

        assert found == [(QualityCode.SEVERAL_COMPONENTS, "Bladder")] * expected

    @pytest.mark.parametrize(("end", "name"), [(0, "inferior"), (-1, "superior")])
    def test_a_structure_at_the_end_of_the_scan(self, end, name):
        labels = plausible_labels()
        labels[end, 60:66, 46:52] = 4

        (warning,) = find_warnings(make_result(labels), CERVIX)

        assert (warning.code, warning.structure) == (QualityCode.CUT_AT_LAST_SLICE, "Rectum")
        assert warning.facts == {"end": name}

    def test_a_structure_at_the_images_edge(self):
        labels = plausible_labels()
        labels[6, 0, 46:52] = 3

        assert (QualityCode.TOUCHES_FIELD_OF_VIEW, "Bladder") in codes(make_result(labels))

    def test_a_structure_beside_padding(self):
        result = make_result()
        result.hu[:, :36] = -2048

        assert codes(result) == [(QualityCode.TOUCHES_FIELD_OF_VIEW, "Bladder")]

    def test_a_structure_at_the_crops_border(self):
        result = make_result()
        first = result.crop.rows.covered.start
        result.labels[6, first, 46:52] = 3

        assert codes(result) == [(QualityCode.CROP_LOST_BODY, "Bladder")]

    def test_a_scan_without_hips(self):
        volume = make_body(GEOMETRY)
        volume.hu[:, 60:70, 44:52] = 500  # a spine

        body = find_body(volume.hu, GEOMETRY)

        assert lateral_bone_cm2(body) == 0
        assert codes(make_result(body=body)) == [(QualityCode.NO_PELVIS, None)]

    def test_a_scan_without_a_body(self):
        volume = make_body(GEOMETRY, half_axes_mm=(1e-6, 1e-6))

        body = find_body(volume.hu, GEOMETRY)

        assert codes(make_result(body=body)) == [(QualityCode.NO_PELVIS, None)]


class TestLostCore:
    def test_hips_beside_a_centred_crop_are_not_lost(self):
        crop, body = plan_crop(make_body(GEOMETRY, half_axes_mm=(185.0, 120.0)), CONFIG)

        assert lost_core_fraction(crop, body) == 0

    def test_a_crop_beside_the_body_loses_it(self):
        crop, body = plan_crop(make_body(GEOMETRY), CONFIG)
        beside = Crop(
            config=CONFIG,
            alignment=crop.alignment,
            geometry=crop.geometry,
            center_mm=(crop.center_mm[0] + 60.0, crop.center_mm[1]),
        )

        assert 0.1 < lost_core_fraction(beside, body) < 0.3
        assert (QualityCode.CROP_LOST_BODY, None) in codes(make_result(crop=beside, body=body))
