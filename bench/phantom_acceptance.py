"""Measure phantoms against the acceptance criteria of the generator; prints a table.

Usage: python bench/phantom_acceptance.py [--cases 60] [--tier small] [--variant standard]
       python bench/phantom_acceptance.py --dataset folder
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ml.data.dataset import Dataset, open_dataset
from ml.data.pools import map_in_processes
from ml.geometry import Volume
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import GENERATOR_VERSION, PhantomSpec, generate_phantom
from ml.phantom.variants import PhantomVariant
from ml.structures import CERVIX

COARSE_MM = 6.0
COARSE_SHAPE = (46, 46, 46)
"""Cells of the common grid on which baselines are compared: 276 mm cubed."""
VOLUME_LIMITS_ML = {
    "Bladder": (40, 600),
    "Rectum": (30, 180),
    "CTV-N": (200, 500),
    "CTV-UV": (35, 380),
}
"""CTV-UV from 35 ml: after hysterectomy little more than cuff, vagina and parametria is left."""
PRESENCE_BAND = (0.2, 0.7)
"""Share of a case's slices that do not hold a structure."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Case:
    """What the table needs of one phantom."""

    seed: int
    seconds: float
    volumes_ml: dict[str, float]
    body_area_cm2: float
    fat_hu: float
    muscle_hu: float
    bone_overlap: float
    absent_share: dict[str, float]
    first_mm: dict[str, float]
    last_mm: dict[str, float]
    labels: np.ndarray
    """Coarse labels about the body's centre: what a body-centred crop sees."""
    hu: np.ndarray


def make(spec: PhantomSpec) -> Case:
    """Make a phantom and reduce it to numbers."""
    started = time.process_time()
    phantom = generate_phantom(spec)
    seconds = time.process_time() - started
    return measure(phantom.volume, phantom.labels, spec.seed, seconds)


def read(dataset: Dataset, case_id: str) -> Case:
    """Read a phantom of a dataset and reduce it to numbers."""
    case = dataset.read_case(case_id)
    return measure(case.volume, case.labels, case.source["seed"], 0.0)


def measure(volume: Volume, labels: np.ndarray, seed: int, seconds: float) -> Case:
    """Reduce a phantom to numbers."""
    hu, geometry = volume.hu, volume.geometry
    z = geometry.slice_positions_mm[:, 2]
    names = {s.name: s.number for s in CERVIX.structures}
    found = {name: np.flatnonzero((labels == n).any(axis=(1, 2))) for name, n in names.items()}
    body = _body(hu)
    area = np.median(body.sum(axis=(1, 2))) * np.prod(geometry.pixel_spacing_mm) / 100
    coarse_labels, coarse_hu = _coarse(volume, labels, body)
    organs = (
        (labels == names["Bladder"]) | (labels == names["Rectum"]) | (labels == names["CTV-UV"])
    )
    fat = hu[body & (hu > -150) & (hu < -60)]
    lean = hu[body & (hu > 20) & (hu < 80) & (labels == 0)]
    return Case(
        seed=seed,
        seconds=seconds,
        volumes_ml={
            k: float((labels == n).sum() * geometry.voxel_volume_ml) for k, n in names.items()
        },
        body_area_cm2=float(area),
        fat_hu=float(fat.mean()),
        muscle_hu=float(np.median(lean)),
        bone_overlap=float((hu[organs] > 400).mean()),
        absent_share={k: 1 - len(v) / len(hu) for k, v in found.items()},
        first_mm={k: float(z[v[0]] - z[0]) for k, v in found.items()},
        last_mm={k: float(z[v[-1]] - z[0]) for k, v in found.items()},
        labels=coarse_labels,
        hu=coarse_hu,
    )


def _body(hu: np.ndarray) -> np.ndarray:
    return hu > -300


def _coarse(volume: Volume, labels: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    geometry = volume.geometry
    centre = [
        float(
            np.average(np.arange(n), weights=body.sum(axis=tuple(a for a in range(3) if a != axis)))
        )
        for axis, n in enumerate(body.shape)
    ]
    centre[0] = (
        (COARSE_SHAPE[0] / 2) * COARSE_MM / geometry.spacing_mm[0]
    )  # from the scan's first slice
    axes = [
        np.rint(c + (np.arange(n) - n / 2 + 0.5) * COARSE_MM / s).astype(int)
        for c, n, s in zip(centre, COARSE_SHAPE, geometry.spacing_mm, strict=True)
    ]
    inside = np.ix_(*[(a >= 0) & (a < n) for a, n in zip(axes, body.shape, strict=True)])
    picks = np.ix_(*[np.clip(a, 0, n - 1) for a, n in zip(axes, body.shape, strict=True)])
    mask = np.zeros(COARSE_SHAPE, bool)
    mask[inside] = True
    coarse = np.where(mask, labels[picks], 0)
    return coarse.astype(np.uint8), np.where(mask, volume.hu[picks], -1000)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return the overlap of two masks, 1 if both are empty."""
    total = a.sum() + b.sum()
    return 1.0 if total == 0 else 2.0 * float((a & b).sum()) / float(total)


def mean_dice(truth: np.ndarray, guess: np.ndarray) -> list[float]:
    """Return the Dice of every structure."""
    return [dice(truth == s.number, guess == s.number) for s in CERVIX.structures]


def atlas_baseline(cases: list[Case]) -> np.ndarray:
    """Position alone: the most likely label by frequency among the other cases."""
    rows = []
    onehot = np.stack([[c.labels == k for k in range(CERVIX.class_count)] for c in cases]).astype(
        np.float32
    )
    total = onehot.sum(axis=0)
    for index, case in enumerate(cases):
        frequency = (total - onehot[index]) / (len(cases) - 1)
        # A voxel is called a structure where that maximises Dice: above about half its mean.
        frequency[0] *= 0.5
        rows.append(mean_dice(case.labels, frequency.argmax(axis=0)))
    return np.mean(rows, axis=0)


def threshold_baseline(cases: list[Case]) -> np.ndarray:
    """Intensity alone: every HU bin gets the label that is most frequent in it, weighted."""
    bins = np.arange(-1024, 1600, 12)
    counts = np.zeros((CERVIX.class_count, len(bins) + 1))
    for case in cases:
        index = np.digitize(case.hu, bins)
        for k in range(CERVIX.class_count):
            counts[k] += np.bincount(index[case.labels == k], minlength=len(bins) + 1)
    counts[0] *= 0.1
    choice = counts.argmax(axis=0)
    return np.mean([mean_dice(c.labels, choice[np.digitize(c.hu, bins)]) for c in cases], axis=0)


def copy_baseline(cases: list[Case]) -> np.ndarray:
    """The labels of the case whose windowed image is nearest."""
    images = np.stack([np.clip(c.hu, -150, 250)[::2, ::2, ::2].ravel() for c in cases])
    rows = []
    for index, case in enumerate(cases):
        distance = np.abs(images - images[index]).mean(axis=1)
        distance[index] = np.inf
        rows.append(mean_dice(case.labels, cases[int(distance.argmin())].labels))
    return np.mean(rows, axis=0)


def _in_band(absent: float) -> bool:
    low, high = PRESENCE_BAND
    return low <= absent <= high


def report(cases: list[Case]) -> None:
    """Print the table."""
    print(f"{len(cases)} phantoms of generator version {GENERATOR_VERSION}")
    for s in CERVIX.structures:
        volumes = [c.volumes_ml[s.name] for c in cases]
        absent = [c.absent_share[s.name] for c in cases]
        low, high = VOLUME_LIMITS_ML[s.name]
        outside = sum(not low <= v <= high for v in volumes)
        print(
            f"{s.name:8s} ml min {min(volumes):5.0f} median {statistics.median(volumes):5.0f} "
            f"max {max(volumes):5.0f} outside {low}-{high}: {outside:2d} | absent slices "
            f"{min(absent):.2f} {statistics.median(absent):.2f} {max(absent):.2f}"
            f" outside 0.2-0.7: {sum(not _in_band(v) for v in absent):2d}"
            f" | first SD {statistics.stdev(c.first_mm[s.name] for c in cases):4.1f}"
            f" last SD {statistics.stdev(c.last_mm[s.name] for c in cases):4.1f} mm"
        )
    for name in ("body_area_cm2", "fat_hu", "muscle_hu", "bone_overlap", "seconds"):
        values = [getattr(c, name) for c in cases]
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:14s} min {low:8.3f} median {middle:8.3f} max {high:8.3f}")
    for name, limit, baseline in (
        ("position only", 0.55, atlas_baseline(cases)),
        ("threshold", 0.50, threshold_baseline(cases)),
        ("nearest copy", 0.65, copy_baseline(cases)),
    ):
        by = " ".join(f"{s.name} {v:.2f}" for s, v in zip(CERVIX.structures, baseline, strict=True))
        print(f"{name:14s} mDSC {baseline.mean():.3f} (must stay below {limit}): {by}")


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--tier", type=PhantomTier, default=PhantomTier.SMALL)
    parser.add_argument(
        "--variant", type=PhantomVariant, choices=list(PhantomVariant), default="standard"
    )
    parser.add_argument("--dataset", type=Path, help="measure a dataset's phantoms instead")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    specs = [
        PhantomSpec(seed=args.first_seed + i, tier=args.tier, variant=PhantomVariant(args.variant))
        for i in range(args.cases)
    ]
    if args.dataset is None:
        cases = list(map_in_processes(make, specs, args.processes))
    else:
        dataset = open_dataset(args.dataset)
        ids = [f.case_id for f in dataset.facts() if f.source["variant"] == args.variant]
        cases = list(map_in_processes(partial(read, dataset), ids, args.processes))
    report(cases)


if __name__ == "__main__":
    main()
