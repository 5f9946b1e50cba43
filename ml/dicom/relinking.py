"""A structure set given back to the sender: made on a de-identified CT, linked to its own one."""

import json
import warnings
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from ml.dicom.encoding import raw_text
from ml.dicom.identity import ENCODING, IDENTITY_TYPE_2, UTF_8, Identity, read_identity
from ml.dicom.protected_attributes import put_raw
from ml.dicom.rtstruct_check import check_rtstruct
from ml.dicom.rtstruct_items import items, open_structure_set, refusing_damage
from ml.dicom.series import SeriesIndex

_UIDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ReferencedFrameOfReferenceUID",
    "ReferencedSOPInstanceUID",
)
_SEQUENCES = (
    "ReferencedFrameOfReferenceSequence",
    "RTReferencedStudySequence",
    "RTReferencedSeriesSequence",
    "ContourImageSequence",
    "StructureSetROISequence",
    "ROIContourSequence",
    "ContourSequence",
)
"""Those that hold references, on any level."""
_ADDED_BY_DEIDENTIFICATION = (
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Original:
    """What was taken out of a CT series when it was de-identified; to be kept sealed."""

    identity: Identity
    uids: Mapping[str, str]
    """The sender's own UIDs by those that stand for them."""

    @classmethod
    def of(cls, sent: SeriesIndex, stored: SeriesIndex) -> "Original":
        """Note what tells a series from its de-identified self.

        Raises:
            DicomError: INVALID_VALUE, where patient or study cannot be read.
        """
        pairs = zip(stored.instances, sent.instances, strict=True)
        return cls(
            identity=read_identity(sent.instances[0]),
            uids={
                stored.study_instance_uid: sent.study_instance_uid,
                stored.series_instance_uid: sent.series_instance_uid,
                stored.frame_of_reference_uid: sent.frame_of_reference_uid,
                **{ours.sop_instance_uid: theirs.sop_instance_uid for ours, theirs in pairs},
            },
        )

    def to_bytes(self) -> bytes:
        """Return it as json."""
        values = {key: b64encode(value).decode() for key, value in self.identity.values.items()}
        content = {
            "character_sets": list(self.identity.character_sets),
            "values": values,
            "uids": dict(self.uids),
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Original":
        """Read what to_bytes() wrote."""
        read = json.loads(content)
        values = {key: b64decode(value) for key, value in read["values"].items()}
        return cls(
            identity=Identity(character_sets=tuple(read["character_sets"]), values=values),
            uids=read["uids"],
        )

    def series(self, stored: SeriesIndex) -> SeriesIndex:
        """Return a stored series under the sender's own UIDs."""
        return replace(
            stored,
            study_instance_uid=self.uids[stored.study_instance_uid],
            series_instance_uid=self.uids[stored.series_instance_uid],
            frame_of_reference_uid=self.uids[stored.frame_of_reference_uid],
            instances=tuple(
                replace(instance, sop_instance_uid=self.uids[instance.sop_instance_uid])
                for instance in stored.instances
            ),
        )


def relinked_rtstruct(path: Path, stored: SeriesIndex, original: Original) -> bytes:
    """Return a released structure set as one of the sender's own CT, checked anew against it.

    path: a file of write_rtstruct, made on the stored series.

    Raises:
        DicomError: RTSTRUCT_INVALID, where the outcome is not right; INVALID_VALUE, where the
            sender's values have no place beside its region names.
    """
    dataset = open_structure_set(path)
    with refusing_damage():
        _relink(dataset, original.uids)
        _restore(dataset, stored, original.identity)
        content = _encoded(dataset)
    check_rtstruct(BytesIO(content), original.series(stored))
    return content


def _encoded(dataset: FileDataset) -> bytes:
    stream = BytesIO()
    with warnings.catch_warnings():
        # The CT's character set may be misspelt; what is encoded here is ASCII or ready bytes.
        warnings.filterwarnings("ignore", message=".*(Specific Character Set|Unknown encoding)")
        # told that nothing is to be encoded anew, pydicom leaves all bytes alone
        dataset.set_original_encoding(*ENCODING, dataset._character_set)
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _relink(dataset: Dataset, uids: Mapping[str, str]) -> None:
    for keyword in _UIDS:
        for uid in raw_text(dataset, keyword):
            if uid in uids:
                setattr(dataset, keyword, UID(uids[uid]))
    for keyword in _SEQUENCES:
        for item in items(dataset, keyword):
            _relink(item, uids)


def _restore(dataset: Dataset, stored: SeriesIndex, identity: Identity) -> None:
    if raw_text(dataset, "SpecificCharacterSet") == (UTF_8,):  # for the names of its regions
        identity = identity.in_utf8(stored.instances[0])
    for keyword in (*_ADDED_BY_DEIDENTIFICATION, "SpecificCharacterSet"):
        if keyword in dataset:
            delattr(dataset, keyword)
    if identity.character_sets:
        sets = "\\".join(identity.character_sets).encode("ascii")
        put_raw(dataset, "SpecificCharacterSet", sets, ENCODING)
    for keyword, value in identity.values.items():
        if value or keyword in IDENTITY_TYPE_2:
            put_raw(dataset, keyword, value, ENCODING)
        elif keyword in dataset:
            delattr(dataset, keyword)
