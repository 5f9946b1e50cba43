from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ml.cli.main import cli
from ml.data.phantom_dataset import case_id, write_phantom_dataset
from ml.data.splits import split_patients
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec

TINY_RUN = (
    "--recipe",
    "paper",
    "--set",
    "preprocessing.crop_size_px=32",
    "--set",
    "preprocessing.pixel_spacing_mm=7.8",
    "--set",
    "network.width=0.125",
    "--set",
    "training.max_epochs=1",
    "--set",
    "training.slices_per_epoch=16",
)


def call(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """Five tiny phantoms, split 3 : 1 : 1."""
    folder = tmp_path_factory.mktemp("cli") / "dataset"
    specs = [PhantomSpec(seed=seed, tier=PhantomTier.TINY) for seed in range(5)]
    opened = write_phantom_dataset(folder, "tiny", specs, 1)
    opened.with_split(split_patients([case_id(s) for s in specs], seed=0, proportions=(3, 1, 1)))
    return folder


@pytest.fixture(scope="session")
def weights(dataset, tmp_path_factory) -> Path:
    """Weights of one epoch."""
    out = tmp_path_factory.mktemp("cli") / "run"
    result = call("train", dataset, "--out", out, *TINY_RUN)
    assert result.exit_code == 0, result.output
    return out / "checkpoint.safetensors"
