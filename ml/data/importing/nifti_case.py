"""One NIfTI image and its label map or masks to an image with labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ml.arrays import HuVolume, MaskVolume
from ml.data.importing.candidates import NiftiCandidate
from ml.data.importing.content import CaseContent
from ml.data.importing.labels import check_complete, choose_structures, merge_masks
from ml.data.importing.nifti import check_same_grid, read_nifti, to_hu, to_label_values
from ml.data.importing.refusals import CaseRefusedError, ImportRefusal, Note, NoteCode
from ml.data.importing.settings import ImportSettings
from ml.dicom.files import SourceFile
from ml.geometry import Volume, VolumeGeometry
from ml.structures import Structure

AIR_HU = -500
"""A CT shows some air or lung below this, in the rectum or around the patient."""


def read_nifti_case(candidate: NiftiCandidate, settings: ImportSettings) -> CaseContent:
    """Read a case.

    Raises:
        CaseRefusedError: files that are no volumes, do not lie on one grid, or lack structures.
    """
    array = read_nifti(candidate.image.path)
    if candidate.labels is None:
        masks, names, unmatched, notes = _masks_of_files(candidate, array.geometry, settings)
    else:
        label_names, path = candidate.label_names, candidate.labels.path
        masks, names, unmatched, notes = _masks_of_values(
            path, label_names, array.geometry, settings
        )
    labels, label_notes = merge_masks(masks, array.geometry.voxel_volume_ml, settings)
    hu = to_hu(array, candidate.image.path)
    notes += _image_notes(candidate, hu)
    return CaseContent(
        volume=Volume(hu=hu, geometry=array.geometry),
        labels=labels,
        notes=(*notes, *label_notes),
        unmatched_names=tuple(unmatched),
        source={"kind": "nifti", "region_names": {s.name: name for s, name in names.items()}},
    )


Masks = tuple[dict[Structure, MaskVolume], dict[Structure, str], list[str], list[Note]]
"""Masks, what they were called, names that mean no structure, and notes."""


def _masks_of_files(
    candidate: NiftiCandidate, grid: VolumeGeometry, settings: ImportSettings
) -> Masks:
    chosen, unmatched = choose_structures(candidate.masks, settings)
    check_complete(list(chosen), settings, {"names": [name for name, _ in candidate.masks]})
    masks = {structure: _read_mask(file, grid) for structure, (_, file) in chosen.items()}
    return masks, {structure: name for structure, (name, _) in chosen.items()}, unmatched, []


def _read_mask(file: SourceFile, grid: VolumeGeometry) -> MaskVolume:
    array = read_nifti(file.path)
    check_same_grid(grid, array.geometry, file.path.name)
    values = to_label_values(array, file.path)
    levels = np.unique(values)
    if len(levels) > 2 or (len(levels) == 2 and levels[0] != 0):
        raise CaseRefusedError(
            ImportRefusal.NIFTI_INVALID,
            f"{file.path.name}: a mask holds 0 and one other value",
            {"file": file.path.name, "values": levels[:20].tolist()},
        )
    return values > 0


def _masks_of_values(
    path: Path,
    label_names: Sequence[tuple[str, int]],
    grid: VolumeGeometry,
    settings: ImportSettings,
) -> Masks:
    values_of, unmatched = _label_values(label_names, settings)
    array = read_nifti(path)
    check_same_grid(grid, array.geometry, path.name)
    labels = to_label_values(array, path)
    found = [int(value) for value in np.unique(labels) if value]
    known = [value for values in values_of.values() for value in values]
    named = [value for _, value in label_names]
    notes = _ignored_values([value for value in found if value not in known], named)
    check_complete(list(values_of), settings, {"label_values": found})
    masks = {structure: np.isin(labels, values) for structure, values in values_of.items()}
    names = {s: f"value {' and '.join(map(str, values))}" for s, values in values_of.items()}
    return masks, names, unmatched, notes


def _label_values(
    label_names: Sequence[tuple[str, int]], settings: ImportSettings
) -> tuple[Mapping[Structure, tuple[int, ...]], list[str]]:
    """Return what the mapping file says of values, else what the dataset.json says.

    Raises:
        CaseRefusedError: UNKNOWN_LABEL_VALUES, nothing tells what the values mean.
    """
    names = settings.names
    if names.label_values:
        return {names.structures.get(n): values for n, values in names.label_values.items()}, []
    if not label_names:
        raise CaseRefusedError(
            ImportRefusal.UNKNOWN_LABEL_VALUES,
            "nothing tells what the values mean: name them under [labels] in a mapping file",
        )
    chosen, unmatched = choose_structures(label_names, settings)
    return {structure: (value,) for structure, (_, value) in chosen.items()}, unmatched


def _ignored_values(values: Sequence[int], named: Sequence[int]) -> list[Note]:
    """Note values of other structures; those that a dataset.json names are known as such."""
    unexplained = [value for value in values if value not in named]
    if not unexplained:
        return []
    message = "voxels of values that mean no structure count as background"
    return [
        Note(
            code=NoteCode.LABEL_VALUES_IGNORED, message=message, facts={"label_values": unexplained}
        )
    ]


def _image_notes(candidate: NiftiCandidate, hu: HuVolume) -> list[Note]:
    notes = []
    if candidate.further_channels:
        message = "only the first channel was taken for the CT"
        facts = {"channels": candidate.further_channels}
        code = NoteCode.FURTHER_CHANNELS_IGNORED
        notes.append(Note(code=code, message=message, facts=facts))
    lowest = int(hu.min())
    if lowest > AIR_HU:
        message = f"no voxel below {AIR_HU} HU: the image may be no CT, or not in Hounsfield units"
        notes.append(Note(code=NoteCode.UNUSUAL_HU, message=message, facts={"lowest_hu": lowest}))
    return notes
