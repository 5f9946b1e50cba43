import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import PreprocessingConfig
from ml.geometry import AxisAlignment, Volume, align_to_lps
from ml.inference.uncropping import Uncropper
from ml.preprocessing.crop import Crop, plan_crop
from tests.factories.volumes import axes_mm, make_body, make_geometry, possible_alignments, turned

CONFIG = PreprocessingConfig(crop_size_px=128, pixel_spacing_mm=1.953)
HALF_A_TRAINING_PIXEL_MM = 1.953 / 2


def there_and_back(volume: Volume, labels: np.ndarray) -> np.ndarray:
    """Send labels on the series' own grid through the crop and its inverse."""
    return through(plan_crop(volume, CONFIG)[0], labels)


def through(crop: Crop, labels: np.ndarray) -> np.ndarray:
    cropped = torch.from_numpy(crop.labels(crop.alignment.to_lps(labels)))
    logits = torch.nn.functional.one_hot(cropped.long(), 5).movedim(-1, 1).float()
    out = np.zeros_like(labels)
    covered = Uncropper(crop, torch.device("cpu")).labels(logits)
    crop.alignment.to_lps(out)[:, crop.rows.covered, crop.columns.covered] = covered
    return out


def centroid_mm(volume: Volume, mask: np.ndarray) -> np.ndarray:
    return volume.geometry.index_to_mm(np.argwhere(mask).astype(float)).mean(axis=0)


def ellipse(
    x: float, y: float, radius: float, spacing: tuple[float, float], alignment: AxisAlignment
) -> tuple[Volume, np.ndarray]:
    """A body as it is stored, and the labels of an ellipse on its grid."""
    rows, columns = (int(380 / s) for s in spacing)
    geometry = make_geometry((3, rows, columns), (5.0, *spacing))
    z_mm, y_mm, x_mm = axes_mm(geometry)
    inside = ((x_mm - x) ** 2 + ((y_mm - y) / 1.3) ** 2 <= radius**2) & (z_mm > 2)
    labels = np.ascontiguousarray(alignment.from_lps(np.where(inside, np.uint8(3), 0)))
    return turned(make_body(geometry), alignment), labels.astype(np.uint8)


class TestThereAndBack:
    @given(
        x=st.floats(-60, 60),
        y=st.floats(-60, 60),
        radius=st.floats(14, 30),
        spacing=st.tuples(st.floats(0.9, 3.0), st.floats(0.9, 3.0)),
        alignment=st.sampled_from(possible_alignments()),
    )
    @settings(max_examples=25)
    def test_an_ellipse_comes_back_within_half_a_training_pixel(
        self, x, y, radius, spacing, alignment
    ):
        stored, labels = ellipse(x, y, radius, spacing, alignment)

        back = there_and_back(stored, labels)

        moved = centroid_mm(stored, back == 3) - centroid_mm(stored, labels == 3)
        assert np.abs(moved).max() <= HALF_A_TRAINING_PIXEL_MM
        assert set(np.unique(back)) == {0, 3}
        overlap = 2 * np.count_nonzero((back == 3) & (labels == 3))
        assert overlap / (np.count_nonzero(back) + np.count_nonzero(labels)) > 0.9

    def test_ellipses_come_back_where_they_were(self):
        """Where the edges fall on the coarse grid moves each a little, all of them nowhere."""
        random = np.random.default_rng(0)
        alignments = possible_alignments()
        moved = []
        for number in range(96):
            x, y = random.uniform(-60, 60, 2)
            radius, *spacing = random.uniform((14, 0.9, 0.9), (30, 3.0, 3.0))
            alignment = alignments[number % len(alignments)]
            stored, labels = ellipse(x, y, radius, (spacing[0], spacing[1]), alignment)
            back = there_and_back(stored, labels)
            moved.append(centroid_mm(stored, back == 3) - centroid_mm(stored, labels == 3))

        assert np.abs(np.mean(moved, axis=0)).max() <= 0.04
        assert np.std(moved, axis=0).max() <= 0.2

    def test_on_the_training_grid_every_voxel_comes_back(self):
        step = CONFIG.pixel_spacing_mm
        geometry = make_geometry((2, 128, 128), (5.0, step, step), (-63.5 * step, -63.5 * step, 0))
        labels = np.random.default_rng(0).integers(0, 5, geometry.shape).astype(np.uint8)
        crop = Crop(
            config=CONFIG,
            alignment=align_to_lps(geometry),
            geometry=geometry,
            center_mm=(0.0, 0.0),
        )

        np.testing.assert_array_equal(through(crop, labels), labels)

    def test_outside_the_crop_is_background(self):
        geometry = make_geometry((2, 160, 160), (5.0, 2.5, 2.5))
        volume = make_body(geometry)
        everything = np.full(geometry.shape, 1, np.uint8)

        back = there_and_back(volume, everything)

        rows = np.flatnonzero(back.any(axis=(0, 2)))
        assert (len(rows) - 1) * 2.5 <= CONFIG.crop_size_mm < (len(rows) + 1) * 2.5
        assert back[:, rows[0] : rows[-1] + 1].any(axis=1).sum() == 2 * len(rows)


class TestForegroundBox:
    @given(seed=st.integers(0, 10_000))
    @settings(max_examples=20)
    def test_leaving_out_background_changes_no_voxel(self, seed):
        geometry = make_geometry((2, 100, 110), (5.0, 3.7, 3.3))
        crop, _ = plan_crop(make_body(geometry), CONFIG)
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(2, 5, 128, 128, generator=generator)
        logits[:, 0] += 6
        logits[:, 0, 40:47, 50:53] -= 8
        uncropper = Uncropper(crop, torch.device("cpu"))
        # a constant on all classes wins nothing, yet a foreground in two corners opens the box
        opened = logits.clone()
        opened[:, 1, 0, 0] = opened[:, 1, -1, -1] = 1e3

        boxed, whole = uncropper.labels(logits), uncropper.labels(opened)

        inner = np.s_[:, 4:-4, 4:-4]
        np.testing.assert_array_equal(boxed[inner], whole[inner])

    def test_nothing_found_is_all_background(self):
        crop, _ = plan_crop(make_body(make_geometry()), CONFIG)
        logits = torch.zeros(1, 5, 128, 128)
        logits[:, 0] = 1

        assert not Uncropper(crop, torch.device("cpu")).labels(logits).any()
