"""Slices per second of inference on this CPU, in one run: `python bench/network_throughput.py`.

Compares number formats and memory layouts; the ratio is to float32 in contiguous layout. Training
is measured by training_throughput.py.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch

from ml.config import NetworkConfig, Precision
from ml.networks import build_network
from ml.networks.blocks import channels_last


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A network and an input size."""

    width: float
    size_px: int
    batch: int


SETTINGS = (
    Setting(width=0.25, size_px=128, batch=16),
    Setting(width=0.25, size_px=256, batch=8),
    Setting(width=1.0, size_px=256, batch=4),
)
FORMATS = (Precision.FLOAT32, Precision.BFLOAT16)
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def main() -> None:
    """Print a table for every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, best of {arguments.repeats}")
    for setting in SETTINGS:
        measure(setting, arguments.repeats)


def measure(setting: Setting, repeats: int) -> None:
    """Print slices per second for every format and layout."""
    print(f"\nwidth {setting.width}, {setting.size_px} px, batches of {setting.batch}")
    print(f"{'format':10}{'layout':16}{'slices/s':>9}{'ratio':>7}")
    first: float | None = None
    for precision, layout in product(FORMATS, LAYOUTS):
        rate = _rate(setting, precision, layout, repeats)
        first = first or rate
        name = "channels last" if layout is torch.channels_last else "contiguous"
        print(f"{precision.value:10}{name:16}{rate:9.1f}{rate / first:7.2f}", flush=True)


def _rate(
    setting: Setting, precision: Precision, layout: torch.memory_format, repeats: int
) -> float:
    network = build_network(NetworkConfig(width=setting.width)).eval()
    if layout is torch.channels_last:
        network = channels_last(network)
    images = torch.rand(setting.batch, 1, setting.size_px, setting.size_px)
    images = images.to(memory_format=layout)
    narrow = precision is Precision.BFLOAT16

    @torch.inference_mode()
    def infer() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            network(images)

    return setting.batch / _best_seconds(infer, repeats)


def _best_seconds(action: Callable[[], None], repeats: int) -> float:
    action()  # the first call prepares kernels
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
