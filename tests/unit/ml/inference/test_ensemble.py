import dataclasses

import pytest
import torch

from ml.config import NetworkConfig, PreprocessingConfig
from ml.inference.ensemble import Ensemble, EnsembleError
from ml.networks.base import NoPresenceHeadError
from tests.factories.checkpoints import (
    TINY_CONFIG,
    ScriptedNetwork,
    make_checkpoint,
    make_scripted,
)

CPU = torch.device("cpu")


def constant(value: float, presence: float = 0.0) -> ScriptedNetwork:
    """A network whose logit of class 1 is the value everywhere, 0 for the other four."""

    def logits(images: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(len(images), 5, *images.shape[2:])
        out[:, 1] = value
        return out

    return ScriptedNetwork(logits, (presence,) * 4)


def brightness() -> ScriptedNetwork:
    """A network that sees class 1 where the image is bright and lies in the left half."""

    def logits(images: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(len(images), 5, *images.shape[2:])
        half = images.shape[3] // 2
        out[:, 1, :, :half] = images[:, 0, :, :half]
        return out

    return ScriptedNetwork(logits)


class TestOneNetwork:
    def test_its_own_logits_are_the_answer(self):
        checkpoint = make_checkpoint()
        images = torch.rand(2, 1, 64, 64)

        answer = Ensemble([checkpoint], CPU, flip=False).answer(images, with_presence=False)

        with torch.inference_mode():
            torch.testing.assert_close(
                answer.logits, checkpoint.build_network()(images), atol=1e-4, rtol=1e-4
            )
        assert answer.presence is None

    def test_presence_is_a_probability(self):
        ensemble = Ensemble([make_scripted(constant(0.0, presence=1.0))], CPU, flip=False)

        presence = ensemble.answer(torch.rand(3, 1, 4, 4), with_presence=True).presence

        torch.testing.assert_close(presence, torch.full((3, 4), 0.731059))

    def test_presence_of_a_network_without_the_head_is_refused(self):
        ensemble = Ensemble([make_checkpoint()], CPU, flip=False)

        assert not ensemble.has_presence
        with pytest.raises(NoPresenceHeadError):
            ensemble.answer(torch.rand(1, 1, 64, 64), with_presence=True)


class TestSeveralNetworks:
    def test_probabilities_are_averaged(self):
        members = [make_scripted(constant(v)) for v in (0.0, 2.0, 5.0)]
        images = torch.rand(1, 1, 4, 4)

        answer = Ensemble(members, CPU, flip=False).answer(images, with_presence=False)

        each = [m.build_network()(images).softmax(1) for m in members]
        torch.testing.assert_close(answer.logits.softmax(1), sum(each) / 3)

    def test_presence_is_averaged(self):
        members = [make_scripted(constant(0.0, presence=p)) for p in (-40.0, 40.0, 40.0)]

        answer = Ensemble(members, CPU, flip=False).answer(
            torch.rand(1, 1, 4, 4), with_presence=True
        )

        torch.testing.assert_close(answer.presence, torch.full((1, 4), 2 / 3))

    def test_a_certain_network_does_not_make_the_answer_infinite(self):
        members = [make_scripted(constant(v)) for v in (1e4, -1e4)]

        answer = Ensemble(members, CPU, flip=False).answer(
            torch.rand(1, 1, 4, 4), with_presence=False
        )

        assert answer.logits.isfinite().all()

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"preprocessing": PreprocessingConfig(crop_size_px=96)}, "preprocessing"),
            ({"network": NetworkConfig(width=0.125, class_count=3)}, "structures"),
        ],
    )
    def test_members_that_do_not_fit_are_refused(self, changes, reason):
        other = make_checkpoint(config=dataclasses.replace(TINY_CONFIG, **changes))

        with pytest.raises(EnsembleError, match=reason):
            Ensemble([make_checkpoint(), other], CPU, flip=False)

    def test_networks_of_other_widths_may_join(self):
        wide = dataclasses.replace(TINY_CONFIG, network=NetworkConfig(width=0.25))
        ensemble = Ensemble([make_checkpoint(), make_checkpoint(config=wide)], CPU, flip=False)

        answer = ensemble.answer(torch.rand(1, 1, 64, 64), with_presence=False)

        assert answer.logits.shape == (1, 5, 64, 64)


class TestFlip:
    def test_the_answer_is_the_mean_over_the_image_and_its_mirror(self):
        checkpoint = make_scripted(brightness())
        images = torch.rand(2, 1, 4, 6)

        answer = Ensemble([checkpoint], CPU, flip=True).answer(images, with_presence=False)

        network = checkpoint.build_network()
        mirrored = network(images.flip(-1)).softmax(1).flip(-1)
        expected = (network(images).softmax(1) + mirrored) / 2
        torch.testing.assert_close(answer.logits.softmax(1), expected)

    def test_mirrored_images_get_mirrored_answers(self):
        ensemble = Ensemble([make_checkpoint()], CPU, flip=True)
        images = torch.rand(1, 1, 64, 64)

        plain = ensemble.answer(images, with_presence=False).logits
        mirrored = ensemble.answer(images.flip(-1), with_presence=False).logits

        torch.testing.assert_close(mirrored.flip(-1), plain, atol=1e-4, rtol=1e-4)
