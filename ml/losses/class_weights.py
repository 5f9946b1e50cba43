"""The class weights of a loss, on the device the loss is moved to."""

import torch
from torch import nn

from ml.tensors import PerClass


class ClassWeights(nn.Module):
    """Holds weights of the classes, or none."""

    values: PerClass | None

    def __init__(self, weights: tuple[float, ...] | None) -> None:
        super().__init__()
        values = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("values", values, persistent=False)

    def forward(self) -> PerClass | None:
        """Return the weights, background first."""
        return self.values
