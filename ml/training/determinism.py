"""Runs that can be repeated bit by bit."""

import typing
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic


@contextmanager
def deterministic_algorithms(device: torch.device) -> Iterator[None]:
    """Let PyTorch refuse operations without a deterministic implementation, on CPU.

    On other devices nothing changes: gradients of interpolation and of the cross entropy of maps
    have no such implementation for CUDA. All draws come from generators a run owns, so the global
    ones of Python and NumPy play no part.
    """
    # a property its module sets up at run time, which type checkers cannot see
    memory = typing.cast("typing.Any", torch.utils.deterministic)
    before = torch.are_deterministic_algorithms_enabled()
    fill_before = memory.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(mode=True)
        # filling new memory finds reads of what was never written, at 7 % of a step's time
        memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before)
        memory.fill_uninitialized_memory = fill_before
