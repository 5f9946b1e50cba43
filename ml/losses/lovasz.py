"""Lovász-softmax loss."""

from torch import nn

from ml.config import LossConfig
from ml.losses.functional import lovasz_softmax, probabilities_of
from ml.tensors import LabelBatch, LogitBatch, Scalar


class LovaszSoftmax(nn.Module):
    """Mean over classes of the Lovász extension of the batch's Jaccard loss.

    Reference: Berman et al. 2018.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.classes = config.lovasz_classes

    def forward(self, logits: LogitBatch, labels: LabelBatch) -> Scalar:
        """Return the loss in float32 or wider."""
        return lovasz_softmax(probabilities_of(logits), labels, classes=self.classes)
