"""Symmetric cross entropy."""

from torch import nn

from ml.config import LossConfig
from ml.losses.class_weights import ClassWeights
from ml.losses.functional import symmetric_cross_entropy
from ml.tensors import LabelBatch, LogitBatch, Scalar


class SymmetricCrossEntropy(nn.Module):
    """Cross entropy plus reverse cross entropy, which resists wrong labels.

    Reference: Wang et al. 2019.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.alpha = config.sce_alpha
        self.beta = config.sce_beta
        self.log_zero = config.sce_log_zero
        self.weights = ClassWeights(config.class_weights)

    def forward(self, logits: LogitBatch, labels: LabelBatch) -> Scalar:
        """Return the loss in float32 or wider."""
        return symmetric_cross_entropy(
            logits,
            labels,
            alpha=self.alpha,
            beta=self.beta,
            log_zero=self.log_zero,
            class_weights=self.weights(),
        )
