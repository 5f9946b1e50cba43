"""The synthetic patients behind the demonstration weights; no pixel of a real one."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ml.config import PreprocessingConfig
from ml.data.cases import Case, cache_case, coarsen_case, open_case
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom

TRAINING_SEEDS_FROM = 10_000
SMALL_SEEDS_FROM = 15_000
VALIDATION_SEEDS_FROM = 20_000
TEST_SEEDS_FROM = 30_000
"""Seeds of the parts lie far apart, so no phantom is in two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoCohort:
    """How many phantoms each part has."""

    full: int = 80
    """Training phantoms of 512 x 512 pixels."""
    small: int = 80
    """Training phantoms of 256 x 256 pixels: more anatomies for a third of the time each, and
    coarser scans to learn from."""
    validation: int = 12
    test: int = 15

    @property
    def training_specs(self) -> list[PhantomSpec]:
        """Phantoms the weights are found on."""
        return _specs(TRAINING_SEEDS_FROM, self.full) + _specs(
            SMALL_SEEDS_FROM, self.small, PhantomTier.SMALL
        )

    @property
    def validation_specs(self) -> list[PhantomSpec]:
        """Phantoms the epoch is chosen on."""
        return _specs(VALIDATION_SEEDS_FROM, self.validation)

    @property
    def test_specs(self) -> list[PhantomSpec]:
        """Phantoms that played no part in finding the weights."""
        return _specs(TEST_SEEDS_FROM, self.test)


def cache_phantoms(
    specs: Sequence[PhantomSpec], config: PreprocessingConfig, folder: Path, processes: int
) -> list[Case]:
    """Return the cached crops of full-size phantoms, generating those that are missing."""
    missing = [s for s in specs if not (folder / patient_id(s) / "case.json").exists()]
    # spawn, not fork: a caller may have started threads of its own
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(partial(_cache_phantom, config=config, folder=folder), missing, chunksize=1)
    return [open_case(folder / patient_id(spec)) for spec in specs]


def coarsen_phantoms(cases: Sequence[Case], folder: Path) -> list[Case]:
    """Return cached copies of half the resolution, making those that are missing."""
    for case in cases:
        if not (folder / case.patient_id / "case.json").exists():
            coarsen_case(case, folder)
    return [open_case(folder / case.patient_id) for case in cases]


def patient_id(spec: PhantomSpec) -> str:
    """Name a phantom by its seed."""
    return f"phantom-{spec.seed:06d}"


def _specs(first: int, count: int, tier: PhantomTier = PhantomTier.FULL) -> list[PhantomSpec]:
    return [PhantomSpec(seed=seed, tier=tier) for seed in range(first, first + count)]


def _cache_phantom(spec: PhantomSpec, config: PreprocessingConfig, folder: Path) -> None:
    phantom = generate_phantom(spec)
    cache_case(patient_id(spec), phantom.volume, phantom.labels, config, folder)
