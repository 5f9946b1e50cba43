"""One or several networks that answer as one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ml.checkpoint import Checkpoint
from ml.networks.base import SegmentationNetwork
from ml.networks.blocks import channels_last
from ml.tensors import ImageBatch, LogitBatch, PresenceProbabilities


class EnsembleError(ValueError):
    """Checkpoints cannot answer together."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NetworkAnswer:
    """What is thought of a batch of slices."""

    logits: LogitBatch
    presence: PresenceProbabilities | None
    """Of every structure in every slice; None where nobody asked."""


class Ensemble:
    """Networks of equal input and output; their mean probability is the answer.

    Mirroring adds the answer to the image turned left to right, turned back, to the mean. The
    mean's logarithm stands for logits. One network without mirroring answers with its own logits.
    """

    def __init__(
        self, checkpoints: Sequence[Checkpoint], device: torch.device, *, flip: bool
    ) -> None:
        """Load the weights of at least one checkpoint.

        Raises:
            EnsembleError: checkpoints differ in preprocessing or classes.
        """
        _check_alike(checkpoints)
        # measured (bench/network_throughput.py): the CPU's convolutions are faster in this layout
        self._networks = [
            channels_last(c.build_network().requires_grad_(requires_grad=False).to(device))
            for c in checkpoints
        ]
        self.has_presence = all(c.run_config.network.presence_head for c in checkpoints)
        self._device = device
        self._flip = flip

    @torch.inference_mode()
    def answer(self, images: ImageBatch, *, with_presence: bool) -> NetworkAnswer:
        """Ask all networks.

        Raises:
            NoPresenceHeadError: presence is wanted of a network without that head.
        """
        images = images.to(self._device).to(memory_format=torch.channels_last)
        if len(self._networks) == 1 and not self._flip:
            return _ask(self._networks[0], images, with_presence=with_presence)
        answers = (
            _ask(network, images, with_presence=with_presence, mirrored=mirrored)
            for network in self._networks
            for mirrored in ((False, True) if self._flip else (False,))
        )
        total = _log_probabilities(next(answers))
        count = 1
        for answer in answers:
            added = _log_probabilities(answer)
            total = NetworkAnswer(
                logits=torch.logaddexp(total.logits, added.logits),
                presence=_sum(total.presence, added.presence),
            )
            count += 1
        presence = None if total.presence is None else total.presence / count
        return NetworkAnswer(logits=total.logits, presence=presence)


def _check_alike(checkpoints: Sequence[Checkpoint]) -> None:
    first = checkpoints[0].run_config
    for other in (checkpoint.run_config for checkpoint in checkpoints[1:]):
        if other.preprocessing != first.preprocessing:
            raise EnsembleError("checkpoints differ in preprocessing")
        classes = (other.structure_set, other.network.class_count)
        if classes != (first.structure_set, first.network.class_count):
            raise EnsembleError("checkpoints differ in their structures")


def _ask(
    network: SegmentationNetwork, images: ImageBatch, *, with_presence: bool, mirrored: bool = False
) -> NetworkAnswer:
    if mirrored:
        images = images.flip(-1)
    if with_presence:
        logits, odds = network.forward_with_presence(images)
        presence = odds.sigmoid()
    else:
        logits, presence = network(images), None
    return NetworkAnswer(logits=logits.flip(-1) if mirrored else logits, presence=presence)


def _log_probabilities(answer: NetworkAnswer) -> NetworkAnswer:
    return NetworkAnswer(logits=answer.logits.log_softmax(dim=1), presence=answer.presence)


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else first + second
