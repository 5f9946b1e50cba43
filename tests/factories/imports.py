"""Folders of cases as researchers have them, and what was done wrong in them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from ml.data.dataset import Dataset as LabelDataset
from ml.data.dataset import LabelledCase, create_dataset
from ml.data.importing.run import CaseOutcome, import_cases, plan_import
from ml.data.importing.settings import ImportSettings
from ml.dicom.rtstruct import write_rtstruct
from ml.dicom.series import index_series, list_source_files
from ml.geometry import VolumeGeometry
from ml.name_map import NameMap
from ml.pseudonyms import Pseudonyms
from ml.structures import CERVIX
from tests.factories.ct import CtSpec, write_ct
from tests.factories.structures import PROVENANCE, make_structure

CT_SPEC = CtSpec(slices=6, rows=24, columns=20)
BOXES = {
    "CTV-N": np.s_[1:4, 3:9, 3:9],
    "CTV-UV": np.s_[1:5, 3:9, 11:17],
    "Bladder": np.s_[2:5, 12:20, 3:9],
    "Rectum": np.s_[0:3, 12:20, 11:15],
}
"""Voxels of the structures in a case's own grid: no two alike, so that a swap shows."""
KEY = bytes(range(32))


def box_labels(shape: tuple[int, int, int] = (6, 24, 20)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    for structure in CERVIX.structures:
        labels[BOXES[structure.name]] = structure.number
    return labels


def box_masks(
    names: Mapping[str, str] | None = None, shape: tuple[int, int, int] = (6, 24, 20)
) -> dict[str, np.ndarray]:
    """Masks of the four boxes under the names given instead of their own."""
    labels = box_labels(shape)
    return {(names or {}).get(s.name, s.name): labels == s.number for s in CERVIX.structures}


def write_dicom_case(
    folder: Path,
    *,
    number: int = 1,
    spec: CtSpec = CT_SPEC,
    masks: Mapping[str, np.ndarray] | None = None,
    edit: Callable[[Dataset], object] | None = None,
) -> Path:
    """Write a patient's CT into folder/ct and its structure set to folder/rs.<number>.dcm.

    edit changes the structure set. Hounsfield units are those of the spec plus the number.
    """

    def identify(ds: Dataset, index: int) -> None:
        ds.PatientID, ds.PatientName = f"MRN-{number}", f"Secret^{number}"
        ds.StudyInstanceUID = f"2.25.77.{number}"
        ds.SeriesInstanceUID = f"2.25.77.{number}.1"
        ds.FrameOfReferenceUID = f"2.25.77.{number}.9"
        ds.SOPInstanceUID = f"2.25.77.{number}.1.{index + 1}"
        ds.RescaleIntercept += number  # patients do not look alike

    ct_folder = folder / "ct"
    write_ct(ct_folder, spec, identify)
    path = folder / f"rs.{number}.dcm"
    regions = enumerate((masks if masks is not None else box_masks()).items(), start=1)
    write_rtstruct(
        index_series(list_source_files(ct_folder)),
        [(make_structure(n, name), mask) for n, (name, mask) in regions],
        PROVENANCE,
        path,
    )
    if edit is not None:
        edit_file(path, edit)
    return path


def edit_file(path: Path, edit: Callable[[Dataset], object]) -> None:
    ds = dcmread(path)
    edit(ds)
    ds.save_as(path)


def import_settings(**changes) -> ImportSettings:
    return ImportSettings(**({"pseudonyms": Pseudonyms(key=KEY), "names": NameMap()} | changes))


def import_folder(
    folder: Path, out: Path, processes: int = 1, **changes
) -> tuple[LabelDataset, list[CaseOutcome]]:
    """Import a folder; return the dataset and the outcomes in order of names."""
    dataset = create_dataset(out, "imported")
    outcomes = import_cases(plan_import(folder), dataset, import_settings(**changes), processes)
    return dataset, list(outcomes)


def only_case(dataset: LabelDataset) -> LabelledCase:
    (facts,) = dataset.facts()
    return dataset.read_case(facts.case_id)


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray, *, qform: bool = True) -> None:
    """Write voxels (i, j, k) with an affine to right-anterior-superior millimetres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    if qform:
        image.set_qform(affine, code=1)
    nibabel.save(image, path)


def nifti_affine(geometry: VolumeGeometry) -> np.ndarray:
    """The affine of an array (column, row, slice) on an evenly spaced grid."""
    affine = np.eye(4)
    affine[:3, 0] = geometry.row_direction * geometry.pixel_spacing_mm[1]
    affine[:3, 1] = geometry.column_direction * geometry.pixel_spacing_mm[0]
    affine[:3, 2] = geometry.normal * geometry.slice_spacing_mm
    affine[:3, 3] = geometry.slice_positions_mm[0]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
