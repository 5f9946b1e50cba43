"""Which slices a batch is made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ml.config import PreprocessingConfig
from ml.data.cases import Case
from ml.preprocessing.channels import context_taps
from ml.tensors import ContextBatch, LabelBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceBatch:
    """Slices of several patients."""

    hu: ContextBatch
    """HU of every slice at its heights of context, clipped to the guard range."""
    labels: LabelBatch
    """Of the slice itself."""


class SliceSampler:
    """Draws batches of slices with a preference for those that show a structure.

    Its generator is the only state, so that a run can be resumed.

    Raises:
        ValueError: no slice can be drawn: there is none, or all are empty and have no weight.
    """

    def __init__(
        self, cases: Sequence[Case], *, empty_slice_weight: float, generator: np.random.Generator
    ) -> None:
        self.generator = generator
        self._slices = [(c, i) for c, case in enumerate(cases) for i in range(len(case.labels))]
        shown = [np.asarray(case.labels).any(axis=(1, 2)) for case in cases]
        weights = np.where(np.concatenate([*shown, []]), 1.0, empty_slice_weight)
        if not weights.any():
            raise ValueError("no slice can be drawn: none shows a structure, or there is none")
        self._chances = weights / weights.sum()

    def __len__(self) -> int:
        """Count the slices that can be drawn."""
        return len(self._slices)

    def draw_epoch(self, batch_size: int, slices: int | None = None) -> list[list[tuple[int, int]]]:
        """Draw (case, slice) pairs for an epoch of whole batches.

        Below the number of slices nothing is drawn twice in an epoch.
        """
        count = slices or len(self)
        count = max(count // batch_size, 1) * batch_size
        available = int(np.count_nonzero(self._chances))
        numbers = np.arange(len(self))
        order = self.generator.choice(
            numbers, size=count, replace=count > available, p=self._chances
        )
        drawn = [self._slices[i] for i in order]
        return [drawn[i : i + batch_size] for i in range(0, count, batch_size)]


class SliceReader:
    """Reads slices of cases together with their context."""

    def __init__(self, cases: Sequence[Case], config: PreprocessingConfig) -> None:
        self._cases = cases
        self._taps = [
            context_taps(len(case.labels), case.spacing_mm[0], config.context_mm) for case in cases
        ]

    def read(self, slices: Sequence[tuple[int, int]]) -> SliceBatch:
        """Read slices given as (case, slice) pairs; between slices HU are interpolated."""
        hu = self._gather(slices, [self._taps[c].lower[i] for c, i in slices])
        share = torch.from_numpy(np.stack([self._taps[c].share[i] for c, i in slices]))
        if share.any():
            upper = self._gather(slices, [self._taps[c].upper[i] for c, i in slices])
            hu += (upper - hu) * share[:, :, None, None]
        labels = torch.from_numpy(np.stack([self._cases[c].labels[i] for c, i in slices]))
        return SliceBatch(hu=hu, labels=labels.long())

    def _gather(
        self, slices: Sequence[tuple[int, int]], taps: Sequence[np.ndarray]
    ) -> ContextBatch:
        pairs = zip(slices, taps, strict=True)
        return torch.from_numpy(np.stack([self._cases[c].hu[tap] for (c, _), tap in pairs])).float()


def iterate_case(case: Case, config: PreprocessingConfig, batch_size: int) -> Iterator[SliceBatch]:
    """Yield all slices of a case in order."""
    reader = SliceReader([case], config)
    for start in range(0, len(case.labels), batch_size):
        stop = min(start + batch_size, len(case.labels))
        yield reader.read([(0, i) for i in range(start, stop)])
