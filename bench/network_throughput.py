"""Slices per second of the networks on this CPU, in one run: `python bench/network_throughput.py`.

Compares number formats and memory layouts; the ratio is to float32 in contiguous layout.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn

from ml.config import NetworkConfig, Precision, TrainingConfig
from ml.losses import LOSSES
from ml.networks import build_network
from ml.networks.blocks import channels_last
from ml.training.schedule import build_optimizer


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
    """Print slices per second of training and inference for every format and layout."""
    print(f"\nwidth {setting.width}, {setting.size_px} px, batches of {setting.batch}")
    print(f"{'format':10}{'layout':16}{'train/s':>9}{'ratio':>7}{'infer/s':>9}{'ratio':>7}")
    first: tuple[float, float] | None = None
    for precision, layout in product(Precision, LAYOUTS):
        rates = _rates(setting, precision, layout, repeats)
        first = first or rates
        name = "channels last" if layout is torch.channels_last else "contiguous"
        cells = "".join(f"{r:9.1f}{r / f:7.2f}" for r, f in zip(rates, first, strict=True))
        print(f"{precision.value:10}{name:16}{cells}", flush=True)


def _rates(
    setting: Setting, precision: Precision, layout: torch.memory_format, repeats: int
) -> tuple[float, float]:
    config = TrainingConfig()
    network = build_network(NetworkConfig(width=setting.width))
    if layout is torch.channels_last:
        network = channels_last(network)
    images = torch.rand(setting.batch, 1, setting.size_px, setting.size_px)
    images = images.to(memory_format=layout)
    labels = torch.randint(0, 5, (setting.batch, setting.size_px, setting.size_px))
    loss, optimizer = LOSSES[config.loss](), build_optimizer(network, config)
    narrow = precision is Precision.BFLOAT16

    def forward(module: nn.Module) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            return module(images).float()

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(forward(network), labels).backward()
        optimizer.step()

    @torch.inference_mode()
    def infer() -> None:
        forward(network)

    network.train()
    training = setting.batch / _best_seconds(train, repeats)
    network.eval()
    return training, setting.batch / _best_seconds(infer, repeats)


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
