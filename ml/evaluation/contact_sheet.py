"""A picture of a CT with outlined structures: the look that numbers cannot replace."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ml.arrays import LabelVolume, MaskSlice
from ml.geometry import Volume, VolumeGeometry, align_to_lps
from ml.structures import CERVIX, StructureSet

TITLE_HEIGHT = 16
LEGEND_HEIGHT = 22


class LineStyle(StrEnum):
    """How a layer's outlines are drawn."""

    SOLID = "solid"
    DASHED = "dashed"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layer:
    """One set of outlines on the volume's own grid."""

    name: str
    labels: LabelVolume
    style: LineStyle = LineStyle.SOLID


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetOptions:
    """Appearance of a contact sheet."""

    slice_count: int = 12
    columns: int = 4
    tile_px: int = 320
    """Width of one slice; its height follows from the field of view."""
    margin_mm: float | None = None
    """Show this much around the outlines; the whole image without it."""
    level_hu: float = 50.0
    width_hu: float = 400.0
    structures: StructureSet = CERVIX


def write_contact_sheet(
    volume: Volume,
    layers: Sequence[Layer],
    path: Path,
    options: SheetOptions | None = None,
) -> None:
    """Write a PNG of evenly chosen slices, patient's right on the left, front up.

    Raises:
        NotAxialError: the series does not lie along the patient's axes.
        ValueError: a layer's shape is not the volume's.
    """
    options = options or SheetOptions()
    for layer in layers:
        if layer.labels.shape != volume.hu.shape:
            raise ValueError(f"layer {layer.name!r} is not on the volume's grid")
    alignment = align_to_lps(volume.geometry)
    hu = alignment.to_lps(volume.hu)
    turned = [(layer, alignment.to_lps(layer.labels)) for layer in layers]
    geometry = alignment.geometry_to_lps(volume.geometry)
    rows, columns = _window([labels for _, labels in turned], geometry, options.margin_mm)
    _, between_rows, between_columns = geometry.spacing_mm
    ratio = (rows.stop - rows.start) * between_rows
    ratio /= (columns.stop - columns.start) * between_columns
    size = options.tile_px, max(1, round(options.tile_px * ratio))
    chosen = _choose_slices([labels for _, labels in turned], len(hu), options.slice_count)
    sheet = _blank(len(chosen), size, options)
    draw = ImageDraw.Draw(sheet)
    for place, index in enumerate(chosen):
        left = place % options.columns * size[0]
        top = LEGEND_HEIGHT + place // options.columns * (size[1] + TITLE_HEIGHT)
        tile = _tile(hu[index, rows, columns], size, options)
        for layer, labels in turned:
            _outline(tile, labels[index, rows, columns], layer.style, options.structures)
        height_mm = float(geometry.slice_positions_mm[index, 2])
        draw.text((left + 4, top + 2), f"z {height_mm:.1f} mm", fill=(230, 230, 230))
        sheet.paste(tile, (left, top + TITLE_HEIGHT))
    _legend(draw, layers, options)
    sheet.save(path, format="PNG")


def _choose_slices(layers: Sequence[LabelVolume], slice_count: int, wanted: int) -> list[int]:
    occupied = np.zeros(slice_count, bool)
    for labels in layers:
        occupied |= labels.any(axis=(1, 2))
    found = np.flatnonzero(occupied)
    first, last = (int(found[0]), int(found[-1])) if len(found) else (0, slice_count - 1)
    return sorted({round(v) for v in np.linspace(first, last, wanted)})


def _window(
    layers: Sequence[LabelVolume], geometry: VolumeGeometry, margin_mm: float | None
) -> tuple[slice, slice]:
    """Return the rows and columns to show."""
    occupied = np.zeros((geometry.rows, geometry.columns), bool)
    for labels in layers:
        occupied |= labels.any(axis=0)
    if margin_mm is None or not occupied.any():
        return slice(0, geometry.rows), slice(0, geometry.columns)
    windows = []
    for axis, spacing_mm in enumerate(geometry.pixel_spacing_mm):
        found = np.flatnonzero(occupied.any(axis=1 - axis))
        margin = round(margin_mm / spacing_mm)
        stop = min(int(found[-1]) + 1 + margin, occupied.shape[axis])
        windows.append(slice(max(int(found[0]) - margin, 0), stop))
    return windows[0], windows[1]


def _blank(count: int, size: tuple[int, int], options: SheetOptions) -> Image.Image:
    rows = math.ceil(count / options.columns)
    width = size[0] * min(count, options.columns)
    return Image.new("RGB", (width, LEGEND_HEIGHT + rows * (size[1] + TITLE_HEIGHT)), (0, 0, 0))


def _tile(hu: np.ndarray, size: tuple[int, int], options: SheetOptions) -> Image.Image:
    low = options.level_hu - options.width_hu / 2
    gray = np.clip((hu.astype(np.float32) - low) / options.width_hu * 255, 0, 255)
    image = Image.fromarray(gray.astype(np.uint8))
    return image.resize(size, Image.Resampling.BILINEAR).convert("RGB")


def _outline(
    tile: Image.Image, labels: np.ndarray, style: LineStyle, structures: StructureSet
) -> None:
    pixels = np.array(tile)
    for structure in structures.structures:
        mask = Image.fromarray((labels == structure.number).astype(np.uint8) * 255)
        inside = np.asarray(mask.resize(tile.size, Image.Resampling.BILINEAR)) > 127
        edge = _edge(inside)
        if style is LineStyle.DASHED:
            rows, columns = np.indices(edge.shape)
            edge &= (rows + columns) % 6 < 3
        pixels[edge] = structure.color_rgb
    tile.paste(Image.fromarray(pixels))


def _edge(inside: MaskSlice) -> MaskSlice:
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def _legend(draw: ImageDraw.ImageDraw, layers: Sequence[Layer], options: SheetOptions) -> None:
    x = 6.0
    for structure in options.structures.structures:
        draw.rectangle((x, 6, x + 10, 16), fill=structure.color_rgb)
        draw.text((x + 14, 5), structure.name, fill=(255, 255, 255))
        x += 22 + draw.textlength(structure.name)
    for layer in layers:
        text = f"{layer.name}: {layer.style.value}"
        draw.text((x + 8, 5), text, fill=(200, 200, 200))
        x += 16 + draw.textlength(text)
