"""The phantom's skeleton beside outlined real ones; skipped where they are not at hand."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from ml.phantom.anatomy import sample_anatomy
from ml.phantom.grid import Placement, make_grid, spread
from ml.phantom.skeleton import build_skeleton

CHECKOUT = Path(__file__).parents[4]
REAL = Path(os.environ.get("CERVICONTOUR_REAL_DATA", CHECKOUT.parent / "shared" / "data"))
MAPS = REAL / "pelvic-labelmaps" / "annotations"
PELVIS, FEMUR, SACRUM, SPINE = 1, 2, 3, 4
SPACING = (3.0, 2.0, 2.0)
"""Of the label maps when every second pixel is kept."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MAPS.is_dir(), reason="the folder of real data is not there"),
]


def read_labels(case):
    raw = zlib.decompress((MAPS / case / "label.zraw").read_bytes())
    return np.frombuffer(raw, "<i2").reshape(-1, 512, 512)[:, ::2, ::2]


def head_centre(femur, columns):
    """Find the middle of the largest ball in the upper femur of a side, in voxels."""
    side = np.zeros_like(femur)
    side[:, :, columns] = femur[:, :, columns]
    top = int(np.flatnonzero(side.any(axis=(1, 2)))[-1])
    side[: top - 18] = False  # 54 mm: the head without the shaft, which may be as wide
    inner = np.asarray(distance_transform_edt(side, SPACING))
    return np.array(np.unravel_index(inner.argmax(), inner.shape), float)


def phantom_bones(shape, heads, seed):
    """Build the bones of a drawn patient about given femoral heads, on the label map's voxels."""
    distance = abs(heads[0][2] - heads[1][2]) * SPACING[2]
    scale = distance / 180
    middle = (heads[0] + heads[1]) / 2
    z, y, x = ((np.arange(n) - m) * s for n, m, s in zip(shape, middle, SPACING, strict=True))
    placement = Placement(
        scale=(scale, scale, scale), shift_mm=(0.0, 0.0, 0.0), roll_degrees=0.0, warp_sd_mm=0.0
    )
    grid = make_grid((x, y, z), placement, np.random.default_rng(0))
    anatomy = sample_anatomy(np.random.default_rng(seed))
    return spread(build_skeleton(grid, anatomy).everything, grid.whole) < 0


@pytest.mark.parametrize("case", [f"Pelvic-Ref-{n:03d}" for n in (1, 2, 4, 5)])
def test_bones_overlap_with_those_of_a_real_pelvis(case):
    labels = read_labels(case)
    femur = labels == FEMUR
    half = labels.shape[2] // 2
    heads = [head_centre(femur, s) for s in (slice(0, half), slice(half, None))]
    real = np.isin(labels, [PELVIS, FEMUR, SACRUM, SPINE])
    # Within the phantom's reach: what is outlined ends elsewhere in each case.
    level = round((heads[0][0] + heads[1][0]) / 2)
    part = slice(max(level - 20, 0), level + 45)

    drawn = phantom_bones(labels.shape, heads, seed=0)[part]

    shared = np.count_nonzero(drawn & real[part])
    dice = 2 * shared / (np.count_nonzero(drawn) + np.count_nonzero(real[part]))
    assert dice > 0.4
