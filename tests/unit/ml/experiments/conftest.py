from pathlib import Path

import pytest

from ml.config import RunConfig
from ml.data.dataset import open_dataset
from ml.data.phantom_dataset import case_id, write_phantom_dataset
from ml.data.splits import split_patients
from ml.experiments.execution import RunData
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec
from ml.planning.recipes import PAPER_RECIPE, sized


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """Six tiny phantoms, split 4 : 1 : 1."""
    folder = tmp_path_factory.mktemp("experiments") / "phantoms"
    specs = [PhantomSpec(seed=seed, tier=PhantomTier.TINY) for seed in range(6)]
    dataset = write_phantom_dataset(folder, "tiny", specs, 1)
    dataset.with_split(split_patients([case_id(s) for s in specs], seed=0, proportions=(4, 1, 1)))
    return folder


@pytest.fixture
def run_data(phantoms, tmp_path) -> RunData:
    dataset = open_dataset(phantoms)
    assert dataset.split is not None
    return RunData(
        dataset=dataset,
        training=tuple(dataset.case_ids(dataset.split.training)),
        validation=tuple(dataset.case_ids(dataset.split.validation)),
        crops=tmp_path / "crops",
    )


@pytest.fixture
def tiny_config() -> RunConfig:
    return sized(PAPER_RECIPE, pixels=32, width=0.125, epochs=2, slices_per_epoch=16)
