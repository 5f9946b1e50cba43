"""The synthetic patients behind the demonstration weights; no pixel of a real one."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ml.config import PreprocessingConfig
from ml.data.cases import Case, cache_case, open_case
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom

TRAINING_SEEDS_FROM = 10_000
VALIDATION_SEEDS_FROM = 20_000
TEST_SEEDS_FROM = 30_000
"""Seeds of the three parts lie far apart, so no phantom is in two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoCohort:
    """How many phantoms each part has."""

    training: int = 150
    validation: int = 12
    test: int = 15

    @property
    def training_seeds(self) -> range:
        """Seeds the weights are found on."""
        return range(TRAINING_SEEDS_FROM, TRAINING_SEEDS_FROM + self.training)

    @property
    def validation_seeds(self) -> range:
        """Seeds the epoch is chosen on."""
        return range(VALIDATION_SEEDS_FROM, VALIDATION_SEEDS_FROM + self.validation)

    @property
    def test_seeds(self) -> range:
        """Seeds that played no part in finding the weights."""
        return range(TEST_SEEDS_FROM, TEST_SEEDS_FROM + self.test)


def cache_phantoms(
    seeds: Sequence[int], config: PreprocessingConfig, folder: Path, processes: int
) -> list[Case]:
    """Return the cached crops of full-size phantoms, generating those that are missing."""
    missing = [seed for seed in seeds if not (folder / patient_id(seed) / "case.json").exists()]
    # spawn, not fork: a caller may have started threads of its own
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(partial(_cache_phantom, config=config, folder=folder), missing, chunksize=1)
    return [open_case(folder / patient_id(seed)) for seed in seeds]


def patient_id(seed: int) -> str:
    """Name the phantom of a seed."""
    return f"phantom-{seed:06d}"


def _cache_phantom(seed: int, config: PreprocessingConfig, folder: Path) -> None:
    phantom = generate_phantom(PhantomSpec(seed=seed, tier=PhantomTier.FULL))
    cache_case(patient_id(seed), phantom.volume, phantom.labels, config, folder)
