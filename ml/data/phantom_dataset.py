"""Phantoms as a dataset: the cohort a paper's split is dealt from, and the held-out kinds.

A phantom of 256 x 256 pixels takes 2.3 s of one core.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml.data.dataset import (
    DATASET_FILE,
    Dataset,
    DatasetError,
    LabelledCase,
    create_dataset,
    open_dataset,
    write_case,
)
from ml.data.pools import map_in_processes
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import GENERATOR_VERSION, Phantom, PhantomSpec, generate_phantom
from ml.phantom.variants import PhantomVariant

COHORT_SIZE = 156
"""The paper's patients: 111 train, 30 validate, 15 test."""
COHORT_SEEDS_FROM = 100_000
HELD_OUT_SEEDS_FROM = 200_000
"""The kinds lie ten thousand seeds apart, and far from the cohort."""
SEEDS_OF_A_KIND = 10_000


def paper_cohort_specs(tier: PhantomTier) -> list[PhantomSpec]:
    """Return as many phantoms of the training distribution as the paper has patients."""
    seeds = range(COHORT_SEEDS_FROM, COHORT_SEEDS_FROM + COHORT_SIZE)
    return [PhantomSpec(seed=seed, tier=tier) for seed in seeds]


def held_out_specs(tier: PhantomTier, count: int) -> list[PhantomSpec]:
    """Return count phantoms of every held-out kind, grouped by kind.

    Raises:
        ValueError: count is beyond the seeds of a kind.
    """
    if not 0 <= count <= SEEDS_OF_A_KIND:
        raise ValueError(f"a kind has 0 to {SEEDS_OF_A_KIND} phantoms, not {count}")
    kinds = [v for v in PhantomVariant if v is not PhantomVariant.STANDARD]
    firsts = [HELD_OUT_SEEDS_FROM + i * SEEDS_OF_A_KIND for i in range(len(kinds))]
    return [
        PhantomSpec(seed=seed, tier=tier, variant=kind)
        for kind, first in zip(kinds, firsts, strict=True)
        for seed in range(first, first + count)
    ]


def case_id(spec: PhantomSpec) -> str:
    """Name a phantom by its seed and, unless it is a standard one, its variant."""
    name = f"phantom-{spec.seed:06d}"
    return name if spec.variant is PhantomVariant.STANDARD else f"{name}-{spec.variant}"


def write_phantom_dataset(
    folder: Path,
    name: str,
    specs: Sequence[PhantomSpec],
    processes: int,
    on_case: Callable[[str], None] | None = None,
) -> Dataset:
    """Write the phantoms a dataset lacks; those it has of this generator and spec are kept.

    A dataset that is there keeps its split and its other cases.

    Args:
        folder: The dataset's; made if need be.
        name: The dataset's.
        specs: One case each.
        processes: How many work at once, each with one thread; 1 works in the caller's.
        on_case: Called with the id of every case as soon as it is there.

    Raises:
        DatasetError: two specs have one case id.
    """
    ids = [case_id(spec) for spec in specs]
    if len(set(ids)) < len(ids):
        raise DatasetError("two phantoms of one seed and variant: their cases would have one id")
    dataset = _open_or_create(folder, name)
    present = {facts.case_id: facts.source for facts in dataset.facts()}
    missing = [spec for spec in specs if not _is_of(present.get(case_id(spec)), spec)]
    report = on_case or _ignore
    for kept in sorted(set(ids) - {case_id(spec) for spec in missing}):
        report(kept)
    jobs = [(dataset, spec) for spec in missing]
    for written in map_in_processes(_write, jobs, processes):
        report(written)
    return dataset


def phantom_source(phantom: Phantom) -> dict[str, Any]:  # Any: json facts
    """Return what made a phantom and the facts its scores may be grouped by."""
    anatomy, tissue, scan = phantom.anatomy, phantom.tissue, phantom.acquisition
    return {
        **_identity(phantom.spec),
        "uterus": anatomy.uterus.position.value,
        "tumour": anatomy.uterus.tumour_radius is not None,
        "rectal_content": anatomy.rectum.content.value,
        "bladder_ml": round(anatomy.bladder.volume_ml * anatomy.volume_scale),
        "body_width_mm": round(anatomy.width_mm),
        "intravenous_contrast": tissue.intravenous_contrast,
        "oral_contrast": tissue.oral_contrast,
        "slice_thickness_mm": round(scan.slice_thickness_mm, 3),
        "pixel_mm": round(scan.pixel_mm, 4),
    }


def _open_or_create(folder: Path, name: str) -> Dataset:
    split = open_dataset(folder).split if (folder / DATASET_FILE).exists() else None
    return create_dataset(folder, name, split=split)


def _identity(spec: PhantomSpec) -> dict[str, Any]:  # Any: json facts
    return {
        "generator": "phantom",
        "generator_version": GENERATOR_VERSION,
        "seed": spec.seed,
        "tier": spec.tier.value,
        "variant": spec.variant.value,
    }


def _is_of(source: dict[str, Any] | None, spec: PhantomSpec) -> bool:  # Any: json facts
    return source is not None and _identity(spec).items() <= source.items()


def _ignore(_: str) -> None:
    pass


def _write(job: tuple[Dataset, PhantomSpec]) -> str:
    dataset, spec = job
    phantom = generate_phantom(spec)
    case = LabelledCase(
        case_id=case_id(spec),
        patient_id=case_id(spec),
        volume=phantom.volume,
        labels=phantom.labels,
        source=phantom_source(phantom),
    )
    return write_case(dataset, case).case_id
