"""What needs no network: position alone, intensity alone, and the nearest training case.

A trained network that does not beat all three by a margin has learnt nothing of use (e.8.4).
Position and intensity label what raises the Dice they may expect, which is the best either can do
for pooled cases.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ml.arrays import (
    AnyCounts,
    AnyImage,
    AnyIndices,
    AnyLabels,
    CoordinatesMm,
    CropLabelVolume,
    CropVolume,
    LabelVolume,
)
from ml.config import PreprocessingConfig
from ml.data.dataset import LabelledCase
from ml.evaluation.body_frame import FramedVolume, frame_volume
from ml.evaluation.evaluate import Predict
from ml.geometry import Volume
from ml.preprocessing.intensity import guard_range_hu, window_to_unit
from ml.structures import StructureSet

POSITION, INTENSITY, NEAREST = "position atlas", "intensity threshold", "nearest case"
SLAB_MM = 5.0
"""Thickness of the atlas's slabs."""
BIN_HU = 10.0
"""Width of the histogram's bins."""
LOOK_PIXEL_MM = 8.0
"""In-plane sampling at which cases are compared."""
LOOK_HEIGHTS_MM = np.arange(-120.0, 121.0, 10.0)
"""Heights at which cases are compared."""


def fit_baselines(
    cases: Iterable[LabelledCase], config: PreprocessingConfig, structures: StructureSet
) -> dict[str, Predict]:
    """Learn the three baselines from training cases, each of which is read once.

    Args:
        cases: the training cases; the nearest-case baseline keeps them open.
        config: the network's crop; its first window is what cases are compared in.
        structures: the labels.

    Returns:
        For each of POSITION, INTENSITY and NEAREST what contours a volume.

    Raises:
        ValueError: there is no case.
        NotAxialError: a case does not lie along the patient's axes.
    """
    position = _PositionCounts(structures)
    intensity = _IntensityCounts(config, structures)
    known: list[KnownCase] = []
    for case in cases:
        framed = frame_volume(case.volume, config)
        hu, labels = framed.hu(), framed.crop_labels(case.labels)
        position.add(framed.heights_mm, labels)
        intensity.add(hu, labels)
        known.append(KnownCase(case=case, look=_look(framed.heights_mm, hu, config)))
    if not known:
        raise ValueError("baselines need a training case")
    return {
        POSITION: position.atlas(config).predict,
        INTENSITY: intensity.rule(config).predict,
        NEAREST: NearestCase(config=config, cases=tuple(known)).predict,
    }


def best_dice_share(hits: AnyCounts, counts: AnyCounts) -> float:
    """Return the share of hits from which on labelling a cell raises the expected Dice.

    Cells are taken by falling share; Dice is 2 hits / (all hits + labelled).

    Args:
        hits: how often the structure was in each cell.
        counts: how often the cell was seen; at least the hits.

    Returns:
        A share in (0, 1]; infinite where there is no hit at all.
    """
    seen = hits > 0
    if not seen.any():
        return np.inf
    shares = hits[seen] / counts[seen]
    order = np.argsort(-shares, kind="stable")
    found = np.cumsum(hits[seen][order], dtype=np.float64)
    labelled = np.cumsum(counts[seen][order], dtype=np.float64)
    best = int(np.argmax(2 * found / (found[-1] + labelled)))
    return float(shares[order][best])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PositionAtlas:
    """Labels by how often a structure was at the same place of the body-centred frame."""

    config: PreprocessingConfig
    shares: dict[int, AnyCounts]
    """Per slab the share of training slices with each structure, over rows and columns."""
    thresholds: AnyCounts
    """Of every structure."""

    def predict(self, volume: Volume) -> LabelVolume:
        """Contour a volume without looking at its HU beyond the body's outline."""
        framed = frame_volume(volume, self.config)
        size = self.config.crop_size_px
        labels = np.zeros((len(framed.heights_mm), size, size), np.uint8)
        for plane, slab in zip(labels, _slab_numbers(framed.heights_mm), strict=True):
            if slab in self.shares:
                plane[:] = _decide(self.shares[slab], self.thresholds)
        return framed.volume_labels(labels)


class _PositionCounts:
    """Per slab the slices seen, then the hits of every structure."""

    def __init__(self, structures: StructureSet) -> None:
        self._structures = structures
        self._slabs: dict[int, AnyCounts] = {}

    def add(self, heights_mm: CoordinatesMm, labels: CropLabelVolume) -> None:
        shape = (self._structures.class_count, *labels.shape[1:])
        for slab, plane in zip(_slab_numbers(heights_mm), labels, strict=True):
            counts = self._slabs.setdefault(slab, np.zeros(shape, np.float32))
            counts[0] += 1
            for structure in self._structures.structures:
                counts[structure.number] += plane == structure.number

    def atlas(self, config: PreprocessingConfig) -> PositionAtlas:
        everything = np.stack(list(self._slabs.values()), axis=1)
        thresholds = [best_dice_share(hits, everything[0]) for hits in everything[1:]]
        return PositionAtlas(
            config=config,
            shares={slab: counts[1:] / counts[0] for slab, counts in self._slabs.items()},
            thresholds=np.array(thresholds),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class IntensityThreshold:
    """Labels by how often a structure had the same Hounsfield units."""

    config: PreprocessingConfig
    label_of_bin: AnyLabels

    def predict(self, volume: Volume) -> LabelVolume:
        """Contour a volume by its HU alone."""
        framed = frame_volume(volume, self.config)
        return framed.volume_labels(self.label_of_bin[_bins(framed.hu(), self.config)])


class _IntensityCounts:
    """Of every label, background included, the pixels in every bin."""

    def __init__(self, config: PreprocessingConfig, structures: StructureSet) -> None:
        self._config = config
        self._counts = np.zeros((structures.class_count, _bin_count(config)))

    def add(self, hu: CropVolume, labels: CropLabelVolume) -> None:
        classes, bins = self._counts.shape
        cells = labels.astype(np.int64) * bins + _bins(hu, self._config)
        counted = np.bincount(cells.reshape(-1), minlength=classes * bins)
        self._counts += counted.reshape(classes, bins)

    def rule(self, config: PreprocessingConfig) -> IntensityThreshold:
        seen = self._counts.sum(axis=0)
        thresholds = np.array([best_dice_share(hits, seen) for hits in self._counts[1:]])
        label_of_bin = _decide(self._counts[1:] / np.maximum(seen, 1), thresholds)
        return IntensityThreshold(config=config, label_of_bin=label_of_bin)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KnownCase:
    """A training case and how it looks from afar."""

    case: LabelledCase
    look: AnyImage
    """Windowed values at LOOK_HEIGHTS_MM; nan beyond the scan."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NearestCase:
    """Copies the labels of the training case that looks most alike."""

    config: PreprocessingConfig
    cases: tuple[KnownCase, ...]

    def predict(self, volume: Volume) -> LabelVolume:
        """Contour a volume as its nearest training case was; nothing beyond that case's scan."""
        framed = frame_volume(volume, self.config)
        look = _look(framed.heights_mm, framed.hu(), self.config)
        nearest = min(self.cases, key=lambda known: _difference(known.look, look))
        source = frame_volume(nearest.case.volume, self.config)
        labels = source.crop_labels(nearest.case.labels)
        return framed.volume_labels(_at_heights(labels, source, framed))


def _slab_numbers(heights_mm: CoordinatesMm) -> list[int]:
    return np.floor(heights_mm / SLAB_MM).astype(int).tolist()


def _bin_count(config: PreprocessingConfig) -> int:
    low_hu, high_hu = guard_range_hu(config)
    return int((high_hu - low_hu) // BIN_HU) + 1


def _bins(hu: CropVolume, config: PreprocessingConfig) -> AnyIndices:
    bins = ((hu - guard_range_hu(config)[0]) // BIN_HU).astype(np.int64)
    return np.clip(bins, 0, _bin_count(config) - 1)


def _decide(shares: AnyCounts, thresholds: AnyCounts) -> AnyLabels:
    """Return the structure whose share exceeds its threshold most, or background."""
    shape = (-1,) + (1,) * (shares.ndim - 1)
    excess = shares / thresholds.reshape(shape)
    return np.where(excess.max(axis=0) >= 1, excess.argmax(axis=0) + 1, 0).astype(np.uint8)


def _look(heights_mm: CoordinatesMm, hu: CropVolume, config: PreprocessingConfig) -> AnyImage:
    stride = max(1, round(LOOK_PIXEL_MM / config.pixel_spacing_mm))
    coarse = window_to_unit(hu[:, ::stride, ::stride], config.windows[0])
    look = coarse[np.abs(heights_mm[:, None] - LOOK_HEIGHTS_MM).argmin(axis=0)]
    look[(heights_mm[0] > LOOK_HEIGHTS_MM) | (heights_mm[-1] < LOOK_HEIGHTS_MM)] = np.nan
    return look


def _difference(first: AnyImage, second: AnyImage) -> float:
    """Return the mean absolute difference where both are known."""
    known = np.isfinite(first) & np.isfinite(second)
    return float(np.abs(first[known] - second[known]).mean()) if known.any() else np.inf


def _at_heights(labels: AnyLabels, source: FramedVolume, target: FramedVolume) -> AnyLabels:
    """Return the source's slice nearest to every height of the target, empty beyond its scan."""
    distance = np.abs(target.heights_mm[:, None] - source.heights_mm)
    copied = labels[distance.argmin(axis=1)]
    reach = source.crop.geometry.slice_spacing_mm / 2 + target.crop.geometry.slice_spacing_mm / 2
    copied[distance.min(axis=1) > reach] = 0
    return copied
