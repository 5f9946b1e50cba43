"""The data set of a structure set without its contours: rt-utils' shell, repaired and completed.

rt-utils 1.2.7 is given stand-ins for the slices, so it opens no file, decodes no pixel and
copies no attribute. What it knows to write (references, regions, observations) is kept; what it
invents (manufacturer, institution, label, descriptions) is replaced.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID
from rt_utils import ds_helper
from rt_utils.rtstruct import RTStruct

from ml.dicom.encoding import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from ml.dicom.identity import IDENTITY_TYPE_2, read_identity
from ml.dicom.series import SeriesIndex
from ml.structures import Structure

MANUFACTURER = "CerviContour"
SERIES_DESCRIPTION = "CerviContour AUTO, NOT FOR CLINICAL USE WITHOUT REVIEW"
STRUCTURE_SET_LABEL = "AUTO UNAPPROVED"
STRUCTURE_SET_DESCRIPTION = (
    "Automatic contours. Unapproved: not for clinical use without review and correction by a "
    "qualified clinician."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What made the contours."""

    software_version: str
    model_version: str
    weights_sha256: str
    created_at: datetime
    """Written as date and time of its own zone."""


def start_structure_set(series: SeriesIndex) -> RTStruct:
    """Return rt-utils' shell with references to every slice of the series and no region."""
    slices = _stand_ins(series)
    with _contained():
        return RTStruct(slices, ds_helper.create_rtstruct_dataset(slices))


def add_region(shell: RTStruct, structure: Structure) -> Dataset:
    """Add a region without contours, and return its ROI Contour item."""
    nothing = np.zeros((1, 1, len(shell.series_data)), np.bool_)
    with _contained():
        shell.add_roi(mask=nothing, color=list(structure.color_rgb), name=structure.name)
    region = shell.ds.StructureSetROISequence[-1]
    contour = shell.ds.ROIContourSequence[-1]
    observation = shell.ds.RTROIObservationsSequence[-1]
    region.ROINumber = structure.number
    contour.ReferencedROINumber = structure.number
    observation.ReferencedROINumber = observation.ObservationNumber = structure.number
    observation.RTROIInterpretedType = structure.interpreted_type.value
    del observation.ROIObservationDescription  # rt-utils' own drawing options: not in the IOD
    del region.ROIDescription  # empty
    del contour.ContourSequence  # no items: allowed only by its absence
    return contour


def complete_structure_set(
    dataset: FileDataset, series: SeriesIndex, provenance: Provenance, uids: tuple[str, str]
) -> None:
    """Give the shell its identity: patient and study as in the CT, and what made it.

    uids: of the instance and of its series.
    """
    instance_uid, series_uid = uids
    dataset.SOPInstanceUID = instance_uid
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    dataset.SeriesInstanceUID = series_uid
    dataset.FrameOfReferenceUID = series.frame_of_reference_uid
    dataset.OperatorsName = ""
    _set_times(dataset, provenance.created_at)
    del dataset.InstitutionName  # rt-utils writes the laboratory it comes from
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = [
        f"{MANUFACTURER} {provenance.software_version}"[:64],
        f"model {provenance.model_version}"[:64],
        f"weights sha256 {provenance.weights_sha256[:32]}",
    ]
    dataset.SeriesDescription = SERIES_DESCRIPTION
    dataset.StructureSetLabel = STRUCTURE_SET_LABEL
    dataset.StructureSetDescription = STRUCTURE_SET_DESCRIPTION
    dataset.ApprovalStatus = "UNAPPROVED"
    names = [region.ROIName for region in dataset.StructureSetROISequence]
    _copy_identity(dataset, series, is_ascii=all(name.isascii() for name in names))


def _set_times(dataset: Dataset, created_at: datetime) -> None:
    date, time = created_at.strftime("%Y%m%d"), created_at.strftime("%H%M%S.%f")
    for event in ("InstanceCreation", "Series", "StructureSet"):
        setattr(dataset, f"{event}Date", date)
        setattr(dataset, f"{event}Time", time)


def _copy_identity(dataset: Dataset, series: SeriesIndex, *, is_ascii: bool) -> None:
    """Copy patient and study from the first slice, byte for byte under the CT's character set.

    Bytes are only decoded where region names need UTF-8: systems match patients by these
    values, and decoding what a scanner encoded wrongly would change them.
    """
    first = series.instances[0]
    identity = read_identity(first)
    if not is_ascii:
        identity = identity.in_utf8(first)
    del dataset.SpecificCharacterSet  # rt-utils assumes Latin 1
    if identity.character_sets:
        dataset["SpecificCharacterSet"] = DataElement(  # as it stands, misspelt or not
            "SpecificCharacterSet", "CS", list(identity.character_sets), already_converted=True
        )
    for keyword, value in identity.values.items():
        if value or keyword in IDENTITY_TYPE_2:
            # No VR is written in implicit VR; as OB, pydicom leaves the bytes alone.
            dataset[keyword] = DataElement(keyword, "OB", value)
        elif keyword in dataset:
            delattr(dataset, keyword)


def _stand_ins(series: SeriesIndex) -> list[Dataset]:
    """Return what rt-utils reads of each slice; the empty masks never use the unit geometry."""
    common = Dataset()
    common.StudyInstanceUID = series.study_instance_uid
    common.SeriesInstanceUID = series.series_instance_uid
    common.FrameOfReferenceUID = series.frame_of_reference_uid
    common.StudyDate = common.StudyTime = common.StudyID = ""
    common.ImagePositionPatient = [0, 0, 0]
    common.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    common.PixelSpacing = [1, 1]
    slices: list[Dataset] = []
    for instance in series.instances:
        slice_ = Dataset(dict(common.items()))  # Dataset(common) would share its dictionary
        slice_.SOPClassUID = instance.sop_class_uid
        slice_.SOPInstanceUID = instance.sop_instance_uid
        slices.append(slice_)
    return slices


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Keep rt-utils' prints, and its use of what pydicom 4 removes, to itself."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
