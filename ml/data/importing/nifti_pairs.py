"""Which NIfTI files of a folder belong together, in the layouts that are in use.

case/image.nii.gz, case/labels.nii.gz              one label map
case/ct.nii.gz, case/segmentations/bladder.nii.gz  a mask for every structure (TotalSegmentator)
imagesTr/p1_0000.nii.gz, labelsTr/p1.nii.gz        nnU-Net, with its dataset.json
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml.data.importing.candidates import Candidate, NiftiCandidate, RefusedCandidate, refused
from ml.data.importing.refusals import CaseRefusedError, ImportRefusal
from ml.dicom.files import SourceFile

IMAGE_NAMES = frozenset({"image", "ct", "img"})
LABEL_NAMES = frozenset({"labels", "label", "segmentation", "seg", "mask"})
MASK_FOLDERS = frozenset({"segmentations", "segmentation", "masks", "structures"})
_ENDINGS = (".nii.gz", ".nii")
_CHANNEL = "_0000"


def is_nifti(file: SourceFile) -> bool:
    """Tell by its ending whether a file is NIfTI."""
    return file.name.lower().endswith(_ENDINGS)


def pair_niftis(files: Sequence[SourceFile]) -> Iterator[Candidate]:
    """Yield a candidate for every image, and a refusal for whatever lacks its other half.

    Of two files that differ in their ending alone nobody can tell which one counts.
    """
    folders: dict[str, dict[str, SourceFile]] = defaultdict(dict)
    places = Counter(_place(file) for file in files)
    for file in files:
        folder, stem = _place(file)
        folders[folder][stem] = file
    for candidate in _pair(folders):
        doubled = [file.name for file in _files_of(candidate) if places[_place(file)] > 1]
        if doubled:
            message = f"{doubled[0]} is there as .nii and as .nii.gz"
            yield _refused(candidate.name, ImportRefusal.AMBIGUOUS_CT, message)
        else:
            yield candidate


def _pair(folders: dict[str, dict[str, SourceFile]]) -> Iterator[Candidate]:
    for folder in sorted(folders):
        kind = folder.rpartition("/")[2]
        if kind.startswith("images"):
            yield from _nnunet_images(folder, folders)
        elif kind.startswith("labels"):
            yield from _labels_without_image(folder, folders)
        elif kind.lower() in MASK_FOLDERS:
            yield from _masks_without_image(folder, folders)
        else:
            yield from _case_folder(folder, folders)


def _place(file: SourceFile) -> tuple[str, str]:
    folder, _, name = file.name.rpartition("/")
    return folder, _stem(name)


def _files_of(candidate: Candidate) -> Iterator[SourceFile]:
    if isinstance(candidate, NiftiCandidate):
        yield candidate.image
        if candidate.labels is not None:
            yield candidate.labels
        yield from (file for _, file in candidate.masks)


def _stem(name: str) -> str:
    ending = next(ending for ending in _ENDINGS if name.lower().endswith(ending))
    return name[: -len(ending)]


def _nnunet_images(folder: str, folders: dict[str, dict[str, SourceFile]]) -> Iterator[Candidate]:
    partners = folders.get(_sibling(folder, "images", "labels"), {})
    for stem, image in folders[folder].items():
        if stem[-5:-4] == "_" and stem[-4:].isdigit() and not stem.endswith(_CHANNEL):
            continue
        name = stem.removesuffix(_CHANNEL)
        path = f"{folder}/{name}"
        if name not in partners:
            yield _refused(path, ImportRefusal.MISSING_LABELS, "there is no label map of this name")
            continue
        try:
            label_names = _dataset_labels(image.path.parent.parent / "dataset.json")
        except CaseRefusedError as error:
            yield refused(path, error)
            continue
        channels = [s for s in folders[folder] if s[:-5] == name and s != stem]
        yield NiftiCandidate(
            name=path,
            image=image,
            labels=partners[name],
            label_names=label_names,
            further_channels=len(channels),
        )


def _case_folder(folder: str, folders: dict[str, dict[str, SourceFile]]) -> Iterator[Candidate]:
    """Yield the case of a folder that holds an image, or labels that lack theirs."""
    inside = folders[folder]
    images = [stem for stem in inside if stem.lower() in IMAGE_NAMES]
    labels = [stem for stem in inside if stem.lower() in LABEL_NAMES]
    if len(images) > 1 or len(labels) > 1:
        message = "the folder holds several images or label maps"
        yield _refused(folder, ImportRefusal.AMBIGUOUS_CT, message)
    elif not images and labels:
        yield _refused(folder, ImportRefusal.MISSING_CT, "there are labels and no image")
    elif not images:
        for stem in inside:
            message = "neither an image nor labels by its name"
            yield _refused(f"{folder}/{stem}", ImportRefusal.MISSING_LABELS, message)
    else:
        yield _with_labels(folder, images[0], labels, folders)


def _with_labels(
    folder: str, image: str, labels: Sequence[str], folders: dict[str, dict[str, SourceFile]]
) -> Candidate:
    inside = folders[folder]
    masks = [(stem, file) for stem, file in inside.items() if stem not in (image, *labels)]
    for name in sorted(folders):
        parent, _, kind = name.rpartition("/")
        if parent == folder and kind.lower() in MASK_FOLDERS:
            masks += folders[name].items()
    if not labels and not masks:
        message = "there are neither labels nor masks beside the image"
        return _refused(folder, ImportRefusal.MISSING_LABELS, message)
    return NiftiCandidate(
        name=folder or image,
        image=inside[image],
        labels=inside[labels[0]] if labels else None,
        masks=() if labels else tuple(masks),
    )


def _labels_without_image(
    folder: str, folders: dict[str, dict[str, SourceFile]]
) -> Iterator[Candidate]:
    images = folders.get(_sibling(folder, "labels", "images"), {})
    for stem in folders[folder]:
        if stem not in images and stem + _CHANNEL not in images:
            message = "there is no image of this name"
            yield _refused(f"{folder}/{stem}", ImportRefusal.MISSING_CT, message)


def _masks_without_image(
    folder: str, folders: dict[str, dict[str, SourceFile]]
) -> Iterator[Candidate]:
    parent = folder.rpartition("/")[0]
    if not any(stem.lower() in IMAGE_NAMES for stem in folders.get(parent, {})):
        message = "there are masks and no image"
        yield _refused(parent or folder, ImportRefusal.MISSING_CT, message)


def _sibling(folder: str, old: str, new: str) -> str:
    parent, slash, kind = folder.rpartition("/")
    return f"{parent}{slash}{new}{kind.removeprefix(old)}"


def _dataset_labels(path: Path) -> tuple[tuple[str, int], ...]:
    """Return names and values of nnU-Net's dataset.json: version 2 maps names, version 1 values."""
    if not path.is_file():
        return ()
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        pairs = [(k, v) if str(v).isdecimal() else (v, k) for k, v in labels.items()]
        return tuple((str(name), int(value)) for name, value in pairs if int(value))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"dataset.json cannot be understood: {type(error).__name__}: {error}"
        raise CaseRefusedError(ImportRefusal.UNKNOWN_LABEL_VALUES, message) from error


def _refused(name: str, code: ImportRefusal, message: str) -> RefusedCandidate:
    return refused(name, CaseRefusedError(code, message))
