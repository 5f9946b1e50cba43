import numpy as np
import pytest

from ml.checkpoint import demo_weights_path, load_checkpoint
from ml.geometry import Volume
from ml.inference.predictor import Predictor
from ml.inference.quality import QualityCode
from ml.metrics.overlap import dice
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import Phantom, PhantomSpec, generate_phantom
from ml.structures import CERVIX
from tests.factories.checkpoints import make_checkpoint
from tests.factories.volumes import make_body, make_geometry, possible_alignments, turned


@pytest.fixture
def volume() -> Volume:
    made = make_body(make_geometry((11, 80, 90), (5.0, 4.0, 4.2)), center_mm=(15.0, -10.0))
    made.hu[:] += np.random.default_rng(0).integers(-60, 90, made.hu.shape, np.int16)
    return made


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(make_checkpoint(), batch_size=4)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return generate_phantom(PhantomSpec(seed=77, tier=PhantomTier.SMALL))


@pytest.fixture(scope="module")
def demo() -> Predictor:
    return Predictor(load_checkpoint(demo_weights_path()))


class TestPredictor:
    def test_labels_lie_on_the_series_own_grid(self, predictor, volume):
        prediction = predictor.predict(volume)

        assert prediction.labels.shape == volume.hu.shape
        assert prediction.labels.dtype == np.uint8

    def test_two_predictions_are_equal_bit_by_bit(self, predictor, volume):
        again = Predictor(make_checkpoint(), batch_size=4)

        first, second, third = (p.predict(volume) for p in (predictor, predictor, again))

        assert first.labels.any()
        np.testing.assert_array_equal(first.labels, second.labels)
        np.testing.assert_array_equal(first.labels, third.labels)
        assert first.warnings == second.warnings == third.warnings

    def test_progress_rises_to_one(self, predictor, volume):
        heard: list[float] = []

        predictor.predict(volume, heard.append)

        assert len(heard) == 4
        assert heard == sorted(heard)
        assert heard[-1] == 1.0

    def test_volumes_are_those_of_the_labels(self, predictor, volume):
        prediction = predictor.predict(volume)

        for structure in CERVIX.structures:
            voxels = np.count_nonzero(prediction.labels == structure.number)
            assert prediction.volumes_ml[structure.name] == pytest.approx(
                voxels * volume.geometry.voxel_volume_ml
            )
        assert set(prediction.seconds) == {"prepare", "network", "postprocess"}

    def test_a_scan_without_pelvis_warns(self, predictor, volume):
        codes = {warning.code for warning in predictor.predict(volume).warnings}

        assert QualityCode.NO_PELVIS in codes


class TestDemoWeights:
    """Modest limits on one coarse phantom; the card holds what 15 full ones measured."""

    @pytest.mark.parametrize("alignment", [possible_alignments()[0], possible_alignments()[7]])
    def test_a_phantom_is_contoured_in_any_orientation(self, phantom, demo, alignment):
        stored = turned(phantom.volume, alignment)
        truth = alignment.from_lps(phantom.labels)

        labels = demo.predict(stored).labels

        found = {s.name: dice(labels == s.number, truth == s.number) for s in CERVIX.structures}
        least = {"Bladder": 0.85, "Rectum": 0.75, "CTV-UV": 0.7, "CTV-N": 0.65}
        assert {name: found[name] >= least[name] for name in least} == dict.fromkeys(least, True)
