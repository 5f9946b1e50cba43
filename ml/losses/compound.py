"""Sums of losses, weighted 1 : 1."""

from torch import nn

from ml.config import LossConfig
from ml.losses.ce import CrossEntropy
from ml.losses.dice import Dice
from ml.losses.lovasz import LovaszSoftmax
from ml.tensors import LabelBatch, LogitBatch, Scalar


class CrossEntropyDice(nn.Module):
    """Cross entropy plus batch Dice of the foreground."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.cross_entropy = CrossEntropy(config)
        self.dice = Dice(config)

    def forward(self, logits: LogitBatch, labels: LabelBatch) -> Scalar:
        """Return the loss in float32 or wider."""
        return self.cross_entropy(logits, labels) + self.dice(logits, labels)


class CrossEntropyLovasz(nn.Module):
    """Cross entropy plus Lovász-softmax."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.cross_entropy = CrossEntropy(config)
        self.lovasz = LovaszSoftmax(config)

    def forward(self, logits: LogitBatch, labels: LabelBatch) -> Scalar:
        """Return the loss in float32 or wider."""
        return self.cross_entropy(logits, labels) + self.lovasz(logits, labels)
