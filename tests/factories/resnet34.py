"""Weights with the names of torchvision's ResNet34."""

import torch

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Channels and blocks."""


def torchvision_resnet34(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors with the names and shapes of torchvision's resnet34."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}
    norms = {"bn1": 64}
    before = 64
    for number, (channels, blocks) in enumerate(STAGES, start=1):
        for block in range(blocks):
            path = f"layer{number}.{block}"
            shapes[f"{path}.conv1.weight"] = (channels, before, 3, 3)
            shapes[f"{path}.conv2.weight"] = (channels, channels, 3, 3)
            norms |= {f"{path}.bn1": channels, f"{path}.bn2": channels}
            if before != channels:
                shapes[f"{path}.downsample.0.weight"] = (channels, before, 1, 1)
                norms[f"{path}.downsample.1"] = channels
            before = channels
    for name, channels in norms.items():
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
    shapes |= {"fc.weight": (1000, 512), "fc.bias": (1000,)}
    generator = torch.Generator().manual_seed(seed)
    values = {n: torch.rand(s, generator=generator) for n, s in shapes.items()}
    return values | {f"{n}.num_batches_tracked": torch.tensor(7) for n in norms}
