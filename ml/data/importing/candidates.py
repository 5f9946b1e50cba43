"""What a folder offers for import: pairs of an image and its truth, and pairs that lack one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ml.data.importing.refusals import CaseRefusedError, Facts
from ml.dicom.errors import DicomError
from ml.dicom.files import SourceFile


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomCandidate:
    """A structure set and the CT series it belongs to."""

    name: str
    """Path of the structure set."""
    structure_set: SourceFile
    images: tuple[SourceFile, ...]
    """Files of the series, and damaged ones beside them that may belong to it."""
    series_instance_uid: str
    patient_id: str
    """As the CT has it; a study's UID where it has none."""

    @property
    def identity(self) -> str:
        """The UID of the CT series: other contours of the same CT are the same case."""
        return self.series_instance_uid

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """Everything the case is made of."""
        return (self.structure_set, *self.images)

    @property
    def own_name(self) -> str:
        """What the case is called where ids are kept."""
        return self.patient_id


@dataclass(frozen=True, kw_only=True, slots=True)
class NiftiCandidate:
    """An image and one label map, or an image and a mask for every structure."""

    name: str
    """Path of the case's folder, or of its image without ending."""
    image: SourceFile
    labels: SourceFile | None
    masks: tuple[tuple[str, SourceFile], ...] = ()
    """Names of structures and their files."""
    label_names: tuple[tuple[str, int], ...] = ()
    """Values of the label map by name, where a dataset.json beside it tells them."""
    further_channels: int = 0

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """Everything the case is made of."""
        labels = () if self.labels is None else (self.labels,)
        return (self.image, *labels, *(file for _, file in self.masks))

    @property
    def identity(self) -> str:
        """The path: NIfTI says nothing else of what it is, so that one path is one case."""
        return self.name

    @property
    def patient_id(self) -> str:
        """The last part of the name: a folder or a file for each patient."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def own_name(self) -> str:
        """What the case is called where ids are kept."""
        return self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedCandidate:
    """Something that would be a case if nothing were wrong with it."""

    name: str
    code: str
    message: str
    facts: Facts


def refused(name: str, error: CaseRefusedError | DicomError) -> RefusedCandidate:
    """Keep what a refusal says; exceptions themselves do not pass between processes."""
    files = list(error.file_names) if isinstance(error, DicomError) else []
    facts = {"files": files, **error.facts} if files else error.facts
    return RefusedCandidate(
        name=name, code=error.code.value, message=error.message, facts=dict(facts)
    )


ReadableCandidate = DicomCandidate | NiftiCandidate
Candidate = ReadableCandidate | RefusedCandidate


def hash_files(files: tuple[SourceFile, ...]) -> str:
    """Hash the contents of files; neither their names nor their order in the folder count."""
    digests = sorted(_hash_file(file.path) for file in files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
