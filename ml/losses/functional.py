"""The losses as pure functions of logits (or probabilities) and labels.

Half-precision input is widened to float32 and autocast is switched off inside, because sorting and
sums over all pixels lose too much in narrower formats; float64 stays float64.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ml.config import LovaszClasses
from ml.tensors import (
    ClassMaps,
    LabelBatch,
    LogitBatch,
    MaskBatch,
    PerClass,
    PixelIndices,
    PixelMask,
    PixelValues,
    PresenceBatch,
    PresenceLogits,
    ProbabilityBatch,
    Scalar,
)


def cross_entropy(
    logits: LogitBatch, labels: LabelBatch, class_weights: PerClass | None = None
) -> Scalar:
    """Return the mean over pixels of -log p(label).

    Args:
        logits: scores of every class.
        labels: class of every pixel.
        class_weights: weights of the classes; the sum over pixels is divided by the sum of the
            weights of their labels, so that a common factor of the weights has no effect.
    """
    with _full_precision(logits):
        logits = widened(logits)
        weights = None if class_weights is None else class_weights.to(logits.dtype)
        return F.cross_entropy(logits, labels, weights)


def symmetric_cross_entropy(
    logits: LogitBatch,
    labels: LabelBatch,
    *,
    alpha: float,
    beta: float,
    log_zero: float,
    class_weights: PerClass | None = None,
) -> Scalar:
    """Return alpha CE + beta RCE; the reverse cross entropy resists labels that are wrong.

    RCE = - sum_k p_k log q_k with q the one-hot label and log 0 := log_zero, which for one pixel
    is |log_zero| (1 - p(label)). Class weights, where given, weigh both parts; the published loss
    has none.

    Reference: Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, 2019.
    """
    with _full_precision(logits):
        logits = widened(logits)
        probability = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        reverse = -log_zero * _weighted_mean(1 - probability, labels, class_weights)
        return alpha * cross_entropy(logits, labels, class_weights) + beta * reverse


def soft_dice_per_class(
    probabilities: ProbabilityBatch, labels: LabelBatch, *, smooth: float
) -> PerClass:
    """Return (2 sum p g + s) / (sum p + sum g + s) of every class, over batch and pixels."""
    with _full_precision(probabilities):
        probabilities = widened(probabilities)
        truth = F.one_hot(labels, probabilities.shape[1]).movedim(-1, 1).to(probabilities.dtype)
        overlap = (probabilities * truth).sum(dim=(0, 2, 3))
        sizes = probabilities.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
        return (2 * overlap + smooth) / (sizes + smooth)


def dice_loss(probabilities: ProbabilityBatch, labels: LabelBatch, *, smooth: float) -> Scalar:
    """Return 1 - the mean soft Dice of the foreground classes.

    With smooth = 1 a class absent from the batch still gets a gradient; with 1e-5 it vanishes.
    """
    return 1 - soft_dice_per_class(probabilities, labels, smooth=smooth)[1:].mean()


def lovasz_softmax(
    probabilities: ProbabilityBatch, labels: LabelBatch, *, classes: LovaszClasses
) -> Scalar:
    """Return the mean over classes of the Lovász extension of the batch's Jaccard loss.

    Args:
        probabilities: softmax of the logits; all pixels of the batch count together, so that
            slices without a structure do not make its Jaccard index undefined.
        labels: class of every pixel.
        classes: `present` averages over the classes the labels hold, `all` over every class; of an
            absent class only its most confident pixel then costs something.

    Reference: Berman et al., The Lovász-Softmax Loss, 2018, equations 8, 9 and 11; written
    from the paper.
    """
    with _full_precision(probabilities):
        probabilities = widened(probabilities)
        sizes = torch.bincount(labels.flatten(), minlength=probabilities.shape[1]).tolist()
        counted = [c for c, n in enumerate(sizes) if n or classes == LovaszClasses.ALL]
        losses = [_lovasz_of_class(probabilities[:, c], labels == c, sizes[c]) for c in counted]
        return torch.stack(losses).mean()


def presence_loss(presence_logits: PresenceLogits, labels: LabelBatch) -> Scalar:
    """Return the binary cross entropy of "the slice shows structure k", mean over both.

    Args:
        presence_logits: log odds of every structure, numbered from class 1.
        labels: class of every pixel; a structure is present from one pixel on.
    """
    with _full_precision(presence_logits):
        presence_logits = widened(presence_logits)
        truth = presence_of(labels, presence_logits.shape[1]).to(presence_logits.dtype)
        return F.binary_cross_entropy_with_logits(presence_logits, truth)


def presence_of(labels: LabelBatch, structure_count: int) -> PresenceBatch:
    """Tell which structures, numbered from class 1, every slice shows."""
    numbers = torch.arange(1, structure_count + 1, device=labels.device)
    return (labels.flatten(1)[:, None] == numbers[:, None]).any(dim=2)


def probabilities_of(logits: LogitBatch) -> ProbabilityBatch:
    """Return the softmax over classes, in float32 or wider."""
    with _full_precision(logits):
        return widened(logits).softmax(dim=1)


def widened(values: Tensor) -> Tensor:
    """Return half-precision values as float32, others unchanged."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _weighted_mean(values: ClassMaps, labels: LabelBatch, class_weights: PerClass | None) -> Scalar:
    if class_weights is None:
        return values.mean()
    weights = class_weights.to(values.dtype)[labels]
    return (weights * values).sum() / weights.sum()


def _lovasz_of_class(probability: ClassMaps, truth: MaskBatch, size: int) -> Scalar:
    """Return sum m_i w_i of the errors m; the weights w are constant between two orders."""
    errors = torch.where(truth, 1 - probability, probability).flatten()
    if not size:
        return errors.max()
    return torch.dot(errors, _lovasz_weights(errors.detach(), truth.flatten(), size))


@torch.no_grad()
def _lovasz_weights(errors: PixelValues, truth: PixelMask, size: int) -> PixelValues:
    """Return by how much every error raises the Jaccard loss of those larger than it.

    With the intersection I and the union U that are left once the larger errors and this one are
    made, a pixel of the class raises the loss by 1 / U, any other by I / (U (U - 1)): the
    differences of equation 9 without their cancellation. Once all pixels inside the class, or all
    outside, have had their turn, I is 0 or U all pixels, so the smaller errors need no sorting;
    they are most of them, as one of the two sides is far larger.
    """
    weights = truth.to(errors.dtype) / len(errors)
    infinite = errors.new_tensor(torch.inf)
    least_inside = torch.where(truth, errors, infinite).min()
    least_outside = torch.where(truth, infinite, errors).min()
    unsettled = torch.nonzero(errors >= torch.maximum(least_inside, least_outside)).flatten()
    order = unsettled[_descending(errors[unsettled])]
    hits = truth[order]
    missed = hits.cumsum(0)
    intersection = (size - missed).to(errors.dtype)
    made = torch.arange(1, len(order) + 1, device=errors.device)
    union = (size + made - missed).to(errors.dtype)
    weights[order] = torch.where(hits, 1 / union, intersection / (union * (union - 1)))
    return weights


def _descending(values: PixelValues) -> PixelIndices:
    """Return the indices of non-negative values, largest first."""
    if values.device.type != "cpu" or values.dtype != torch.float32:
        return values.argsort(descending=True)
    # Non-negative floats are ordered like their bits, so one number holds value and index;
    # numpy sorts whole numbers with vector instructions, in half the time of torch's argsort.
    keys = (values.numpy().view(np.int32).astype(np.int64) << 32) | np.arange(len(values))
    keys.sort()
    return torch.from_numpy((keys & 0xFFFFFFFF)[::-1].copy())


def _full_precision(values: Tensor) -> torch.autocast:
    return torch.autocast(values.device.type, enabled=False)
