"""Cross entropy."""

from torch import nn

from ml.config import LossConfig
from ml.losses.class_weights import ClassWeights
from ml.losses.functional import cross_entropy
from ml.tensors import LabelBatch, LogitBatch, Scalar


class CrossEntropy(nn.Module):
    """Mean of -log p(label), optionally weighted by class."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.weights = ClassWeights(config.class_weights)

    def forward(self, logits: LogitBatch, labels: LabelBatch) -> Scalar:
        """Return the loss in float32 or wider."""
        return cross_entropy(logits, labels, self.weights())
