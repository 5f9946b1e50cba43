"""The losses as pure functions of logits (or probabilities) and labels."""

import torch
from torch.nn import functional as F

from ml.tensors import LabelBatch, LogitBatch, PerClass, ProbabilityBatch, Scalar


def cross_entropy(logits: LogitBatch, labels: LabelBatch) -> Scalar:
    """Return the mean over pixels of -log p(label)."""
    return F.cross_entropy(logits, labels)


def soft_dice_per_class(
    probabilities: ProbabilityBatch, labels: LabelBatch, *, smooth: float
) -> PerClass:
    """Return (2 sum p g + s) / (sum p + sum g + s) of every class, over batch and pixels."""
    truth = F.one_hot(labels, probabilities.shape[1]).movedim(-1, 1).to(probabilities.dtype)
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))
    sizes = probabilities.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    return (2 * overlap + smooth) / (sizes + smooth)


def dice_loss(probabilities: ProbabilityBatch, labels: LabelBatch, *, smooth: float) -> Scalar:
    """Return 1 - the mean soft Dice of the foreground classes.

    With smooth = 1 a class absent from the batch still gets a gradient (science: with 1e-5 it
    vanishes).
    """
    return 1 - soft_dice_per_class(probabilities, labels, smooth=smooth)[1:].mean()


def ce_dice_loss(logits: LogitBatch, labels: LabelBatch, *, smooth: float) -> Scalar:
    """Return cross entropy plus Dice loss, weighted 1 : 1."""
    probabilities = torch.softmax(logits, dim=1)
    return cross_entropy(logits, labels) + dice_loss(probabilities, labels, smooth=smooth)
