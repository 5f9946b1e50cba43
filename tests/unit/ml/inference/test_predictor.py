from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.checkpoint import demo_weights_path, load_checkpoint
from ml.config import (
    PAPER_WINDOW,
    WIDE_WINDOW,
    ConfigError,
    PostprocessingConfig,
    PreprocessingConfig,
)
from ml.geometry import Volume
from ml.inference.answer import answer_labels
from ml.inference.ensemble import EnsembleError
from ml.inference.predictor import Predictor
from ml.inference.quality import QualityCode
from ml.metrics.overlap import dice
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import Phantom, PhantomSpec, generate_phantom
from ml.structures import CERVIX
from tests.factories.checkpoints import (
    TINY_CONFIG,
    ScriptedNetwork,
    make_checkpoint,
    make_scripted,
)
from tests.factories.volumes import make_body, make_geometry, possible_alignments, turned

BLADDER = CERVIX.get("Bladder").number


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


def left_bladder(images: torch.Tensor) -> torch.Tensor:
    """Bladder in the bright pixels of the image's left half, with probability .9."""
    logits = torch.zeros(len(images), 5, *images.shape[2:])
    logits[:, 1:] = -20.0
    half = images.shape[3] // 2
    logits[:, BLADDER, :, :half] = torch.where(images[:, 0, :, :half] > 0.1, 2.1972, -20.0)
    return logits


class TestPostprocessing:
    def test_the_checkpoints_own_is_used_unless_another_is_given(self, volume):
        strict = PostprocessingConfig(thresholds=(0.5, 0.5, 0.95, 0.5))
        config = replace(TINY_CONFIG, postprocessing=strict)
        checkpoint = make_scripted(ScriptedNetwork(left_bladder), config)

        own = Predictor(checkpoint).predict(volume)
        other = Predictor(checkpoint, postprocessing=PostprocessingConfig()).predict(volume)

        assert own.volumes_ml["Bladder"] == 0
        assert other.volumes_ml["Bladder"] > 0

    def test_flip_sees_both_sides(self, volume):
        checkpoint = make_scripted(ScriptedNetwork(left_bladder))
        settings = PostprocessingConfig(thresholds=(0.5, 0.5, 0.4, 0.5), drop_parts=False)

        one, both = (
            Predictor(checkpoint, postprocessing=replace(settings, flip=flip)).predict(volume)
            for flip in (False, True)
        )

        assert both.volumes_ml["Bladder"] == pytest.approx(2 * one.volumes_ml["Bladder"], rel=0.1)

    @pytest.mark.parametrize(("odds", "stays"), [(3.0, True), (-3.0, False)])
    def test_the_presence_gate_decides_by_slice(self, volume, odds, stays):
        checkpoint = make_scripted(ScriptedNetwork(left_bladder, (odds,) * 4))
        gated = PostprocessingConfig(presence_gate=(0.3, 0.7))

        labels = Predictor(checkpoint, postprocessing=gated, batch_size=3).predict(volume).labels

        assert bool(labels.any()) is stays

    def test_a_gate_needs_all_networks_to_have_the_head(self):
        members = [make_scripted(ScriptedNetwork(left_bladder)), make_checkpoint()]

        with pytest.raises(EnsembleError, match="presence"):
            Predictor(members, postprocessing=PostprocessingConfig(presence_gate=(0.3, 0.7)))

    def test_thresholds_must_be_one_for_each_structure(self):
        with pytest.raises(ConfigError, match="thresholds"):
            Predictor(make_checkpoint(), postprocessing=PostprocessingConfig(thresholds=(0.4,)))


class TestEnsembles:
    def test_no_checkpoint_is_refused(self):
        with pytest.raises(EnsembleError, match="at least one"):
            Predictor([])

    def test_a_network_beside_itself_answers_as_it_does_alone(self, volume, predictor):
        twice = Predictor([make_checkpoint(), make_checkpoint()], batch_size=4)

        alone, together = predictor.predict(volume).labels, twice.predict(volume).labels

        assert np.mean(alone != together) < 1e-4

    def test_all_members_count(self, volume, predictor):
        both = Predictor([make_checkpoint(0), make_checkpoint(1)], batch_size=4)

        assert np.mean(both.predict(volume).labels != predictor.predict(volume).labels) > 0.01


class TestContext:
    def test_neighbouring_slices_and_windows_are_the_networks_channels(self, volume):
        preprocessing = PreprocessingConfig(
            crop_size_px=64,
            pixel_spacing_mm=4.0,
            windows=(PAPER_WINDOW, WIDE_WINDOW),
            context_mm=(-3.0, 0.0, 3.0),
        )
        checkpoint = make_checkpoint(config=replace(TINY_CONFIG, preprocessing=preprocessing))

        large, small = (
            Predictor(checkpoint, batch_size=size).predict(volume).labels for size in (11, 2)
        )

        assert large.any()
        assert np.mean(large != small) < 1e-4


class TestAnswer:
    def test_it_lies_on_the_crops_grid_in_half_precision(self, volume, predictor):
        answer = predictor.answer(volume)

        assert answer.logits.shape == (11, 5, 64, 64)
        assert answer.logits.dtype == np.float16
        assert answer.presence is None
        assert answer.spacing_mm == (5.0, 4.0, 4.0)

    def test_presence_has_a_row_for_every_slice(self, volume):
        network = ScriptedNetwork(left_bladder, (0.0, 1.0, 2.0, 3.0))

        presence = Predictor(make_scripted(network), batch_size=4).answer(volume).presence

        assert presence is not None
        assert presence.shape == (11, 4)
        np.testing.assert_allclose(presence[7], 1 / (1 + np.exp([0.0, -1.0, -2.0, -3.0])), 1e-5)

    def test_its_labels_are_those_of_the_prediction(self, predictor):
        """On a CT whose grid the crop's is a part of, nothing is interpolated."""
        volume = make_body(make_geometry((5, 96, 96), (5.0, 4.0, 4.0)))
        volume.hu[:, 40:60, 40:50] = 150
        answer = predictor.answer(volume)

        labels = predictor.predict(volume).labels

        rows, columns = answer.crop.rows, answer.crop.columns
        nearest = np.ix_(
            range(5),
            np.rint(rows.positions).astype(int),
            np.rint(columns.positions).astype(int),
        )
        expected = answer_labels(answer, CERVIX, PostprocessingConfig())[nearest]
        found = labels[:, rows.covered, columns.covered]
        assert np.mean(found == expected) > 0.9


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
