"""What a run minimises."""

from typing import cast

import torch
from torch import nn

from ml.config import Precision, RunConfig
from ml.losses import build_loss
from ml.losses.functional import presence_loss
from ml.networks.base import SegmentationNetwork
from ml.tensors import ImageBatch, LabelBatch, LogitBatch, Scalar

_AUTOCAST = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}


class Objective:
    """The configured loss and, where the network has that head, the presence loss with its weight.

    Convolutions run at the configured precision, losses in float32: sorting and long sums lose
    too much in a narrower format.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self._loss = build_loss(config.loss).to(device)
        self._presence_weight = config.loss.presence_weight
        self._has_presence = config.network.presence_head
        self._precision = config.training.precision

    def __call__(
        self, network: nn.Module, images: ImageBatch, labels: LabelBatch
    ) -> tuple[Scalar, LogitBatch]:
        """Return the loss and the logits, both in float32."""
        kind = _AUTOCAST.get(self._precision)
        images = images.to(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, kind, enabled=kind is not None):
            if self._has_presence:
                logits, presence = cast("SegmentationNetwork", network).forward_with_presence(
                    images
                )
            else:
                logits, presence = network(images), None
        logits = logits.float()
        loss = self._loss(logits, labels)
        if presence is not None:
            loss = loss + self._presence_weight * presence_loss(presence.float(), labels)
        return loss, logits
