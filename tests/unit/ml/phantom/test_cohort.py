import dataclasses
import hashlib
import statistics

import numpy as np
import pytest

from ml.phantom.acquisition import PhantomTier
from ml.phantom.anatomy import UterusPosition, sample_anatomy
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.structures import CERVIX
from tests.factories.phantoms import make_phantom

# Wider than a cohort's: 12 coarse cases, and after hysterectomy only cuff and parametria are left.
LIMITS_ML = {
    "Bladder": (35, 600),
    "Rectum": (25, 200),
    "CTV-N": (170, 560),
    "CTV-UV": (15, 420),
}

# A bladder of the published median fills less than a third of a scan of the published length, and
# so does what is left of CTV-UV after hysterectomy.
ABSENT_AT_MOST = {"Bladder": 0.85, "Rectum": 0.7, "CTV-N": 0.7, "CTV-UV": 0.85}


@pytest.fixture
def tiny_phantom():
    return make_phantom()


@pytest.fixture
def small_phantom():
    return make_phantom(tier=PhantomTier.SMALL)


@pytest.fixture
def tiny_cohort():
    return [make_phantom(seed) for seed in range(100, 112)]


def digest(phantom):
    return hashlib.sha256(phantom.volume.hu.tobytes() + phantom.labels.tobytes()).hexdigest()


def volume_ml(phantom, name):
    number = CERVIX.get(name).number
    return np.count_nonzero(phantom.labels == number) * phantom.volume.geometry.voxel_volume_ml


class TestGeneratePhantom:
    def test_a_seed_always_gives_the_same_pixels_and_labels(self, tiny_phantom):
        again = generate_phantom(tiny_phantom.spec)
        assert digest(again) == digest(tiny_phantom)
        assert again.anatomy == tiny_phantom.anatomy

    def test_different_seeds_give_different_phantoms(self, tiny_cohort):
        assert len({digest(p) for p in tiny_cohort}) == len(tiny_cohort)

    def test_labels_lie_on_the_volumes_grid(self, tiny_phantom):
        assert tiny_phantom.labels.shape == tiny_phantom.volume.hu.shape == (16, 64, 64)
        assert set(np.unique(tiny_phantom.labels)) == {0, 1, 2, 3, 4}

    def test_all_tiers_show_the_same_patient(self, tiny_phantom, small_phantom):
        small = small_phantom
        assert small.anatomy == tiny_phantom.anatomy
        assert small.tissue == tiny_phantom.tissue
        assert small.volume.hu.shape[1:] == (256, 256)
        for name in ("Bladder", "Rectum", "CTV-N", "CTV-UV"):
            assert volume_ml(tiny_phantom, name) == pytest.approx(volume_ml(small, name), rel=0.3)
            centre = centroid_mm(small, name)
            assert np.linalg.norm(centroid_mm(tiny_phantom, name) - centre) < 6

    @pytest.mark.slow
    def test_a_full_phantom_has_a_scanners_matrix_and_the_small_ones_borders(self, small_phantom):
        small = small_phantom
        full = generate_phantom(PhantomSpec(seed=7, tier=PhantomTier.FULL))
        assert full.volume.hu.shape == (len(small.volume.hu), 512, 512)
        for name in CERVIX.names:
            assert volume_ml(full, name) == pytest.approx(volume_ml(small, name), rel=0.03)


class TestAnatomicalPlausibility:
    @pytest.mark.parametrize("name", CERVIX.names)
    def test_volumes_stay_within_published_ranges(self, tiny_cohort, name):
        low, high = LIMITS_ML[name]
        assert all(low <= volume_ml(p, name) <= high for p in tiny_cohort)

    def test_bladder_volume_is_near_the_drawn_one(self, tiny_cohort):
        for phantom in tiny_cohort:
            scale = np.prod(phantom.anatomy.placement.scale)
            drawn = phantom.anatomy.bladder.volume_ml * scale
            assert 0.6 < volume_ml(phantom, "Bladder") / drawn < 1.15

    def test_organs_hold_no_bone(self, tiny_cohort):
        for phantom in tiny_cohort:
            organ = np.isin(phantom.labels, [2, 3, 4])
            assert (phantom.volume.hu[organ] > 400).mean() < 0.01

    def test_fat_and_muscle_have_their_hounsfield_units(self, tiny_cohort):
        for phantom in tiny_cohort:
            hu = phantom.volume.hu
            fat = hu[(hu > -150) & (hu < -70)]
            lean = hu[(hu > 20) & (hu < 80) & (phantom.labels == 0)]
            assert -123 < fat.mean() < -89
            assert 30 < np.median(lean) < 66

    def test_femoral_heads_are_bone(self, tiny_phantom):
        placement = tiny_phantom.anatomy.placement
        geometry = tiny_phantom.volume.geometry
        heights = np.abs(tiny_phantom.acquisition.slice_positions_mm)
        index = int(heights.argmin())
        in_plane = tiny_phantom.volume.hu[index]
        origin = np.asarray(tiny_phantom.acquisition.origin_mm)
        for sign in (-1, 1):
            x = sign * 90 * placement.scale[0] + placement.shift_mm[0]
            spot = np.array([[x, placement.shift_mm[1], 0.0]]) + origin
            column, row = np.rint(geometry.mm_to_pixels(index, spot)[0]).astype(int)
            assert in_plane[row - 1 : row + 2, column - 1 : column + 2].mean() > 150

    def test_bladder_lies_before_uterus_before_rectum(self, tiny_cohort):
        for phantom in tiny_cohort:
            bladder = centroid_mm(phantom, "Bladder")
            rectum = centroid_mm(phantom, "Rectum")
            assert bladder[1] < rectum[1] - 25
            assert abs(bladder[0] - rectum[0]) < 25


class TestVariation:
    @pytest.mark.parametrize("name", CERVIX.names)
    def test_every_structure_is_absent_from_a_good_part_of_the_slices(self, tiny_cohort, name):
        number = CERVIX.get(name).number
        for phantom in tiny_cohort:
            absent = (~(phantom.labels == number).any(axis=(1, 2))).mean()
            assert 0.2 <= absent <= ABSENT_AT_MOST[name]

    @pytest.mark.parametrize("name", CERVIX.names)
    def test_structures_start_and_stop_elsewhere_in_each_scan(self, tiny_cohort, name):
        number = CERVIX.get(name).number
        first, last = [], []
        for phantom in tiny_cohort:
            found = np.flatnonzero((phantom.labels == number).any(axis=(1, 2)))
            z = phantom.volume.geometry.slice_positions_mm[:, 2]
            first.append(float(z[found[0]] - z[0]))
            last.append(float(z[found[-1]] - z[0]))
        assert statistics.stdev(first) > 8
        assert statistics.stdev(last) > 12

    def test_sampled_patients_cover_every_uterine_position(self):
        drawn = {sample_anatomy(np.random.default_rng(seed)).uterus.position for seed in range(60)}
        assert drawn == set(UterusPosition)

    def test_parameters_are_plain_values(self, tiny_phantom):
        def leaves(value):
            if isinstance(value, dict):
                return [x for v in value.values() for x in leaves(v)]
            if isinstance(value, list | tuple):
                return [x for v in value for x in leaves(v)]
            return [value]

        kinds = {type(v) for v in leaves(dataclasses.asdict(tiny_phantom.anatomy))}
        assert not any(issubclass(kind, np.generic) for kind in kinds)


def centroid_mm(phantom, name):
    indices = np.argwhere(phantom.labels == CERVIX.get(name).number).astype(float)
    return phantom.volume.geometry.index_to_mm(indices).mean(axis=0)
