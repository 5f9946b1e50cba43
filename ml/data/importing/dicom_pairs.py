"""Which CT series every structure set of a folder belongs to, whatever the folder's layout."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ml.data.importing.candidates import (
    Candidate,
    DicomCandidate,
    hash_files,
    refused,
)
from ml.data.importing.refusals import CaseRefusedError, ImportRefusal
from ml.dicom.catalogue import Catalogue, DicomObject, group_series
from ml.dicom.errors import DicomError
from ml.dicom.files import SourceFile
from ml.dicom.rtstruct_import import StructureSetHeader, read_structure_set_header

Series = dict[str, list[DicomObject]]


def pair_structure_sets(found: Catalogue) -> Iterator[Candidate]:
    """Yield a candidate for every structure set, and a refusal for every CT without one."""
    objects = _without_copies(found.objects)
    series = group_series(objects)
    paired: dict[str, list[DicomObject]] = defaultdict(list)
    for structure_set in (o for o in objects if o.is_structure_set):
        try:
            header = read_structure_set_header(structure_set.source.path)
            paired[_find_series(header, series)].append(structure_set)
        except (CaseRefusedError, DicomError) as error:
            yield refused(structure_set.source.name, error)
    damaged = _damaged_beside(found.unreadable, objects)
    for uid, images in series.items():
        yield from _candidates(images, paired.get(uid, []), damaged.get(uid, ()))


def _candidates(
    images: list[DicomObject],
    structure_sets: list[DicomObject],
    damaged: Sequence[SourceFile],
) -> Iterator[Candidate]:
    if not structure_sets:
        message = f"no structure set refers to this CT series of {len(images)} images"
        refusal = CaseRefusedError(ImportRefusal.MISSING_LABELS, message)
        yield refused(images[0].source.name, refusal)
    for structure_set in structure_sets:
        if len(structure_sets) > 1:
            names = [found.source.name for found in structure_sets]
            message = f"{len(names)} structure sets belong to the same CT series"
            refusal = CaseRefusedError(
                ImportRefusal.SEVERAL_STRUCTURE_SETS, message, {"files": names}
            )
            yield refused(structure_set.source.name, refusal)
            continue
        yield DicomCandidate(
            name=structure_set.source.name,
            structure_set=structure_set.source,
            images=(*(image.source for image in images), *damaged),
            series_instance_uid=images[0].series_instance_uid,
            patient_id=images[0].patient_id or images[0].study_instance_uid,
        )


def _find_series(header: StructureSetHeader, series: Series) -> str:
    """Return the series a structure set refers to, else the one in its frame of reference."""
    referenced = [uid for uid in header.series_instance_uids if uid in series]
    frames = set(header.frame_of_reference_uids)
    in_frame = [uid for uid, images in series.items() if images[0].frame_of_reference_uid in frames]
    fitting = referenced or in_frame
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CaseRefusedError(
            ImportRefusal.AMBIGUOUS_CT,
            f"{len(fitting)} CT series fit the structure set",
            {"files": [series[uid][0].source.name for uid in fitting]},
        )
    in_study = [
        images[0].source.name
        for images in series.values()
        if images[0].study_instance_uid == header.study_instance_uid
    ]
    if in_study:
        raise CaseRefusedError(
            ImportRefusal.WRONG_FRAME_OF_REFERENCE,
            "the CT of the same study lies in another frame of reference",
            {"files": in_study},
        )
    raise CaseRefusedError(
        ImportRefusal.MISSING_CT, "the CT that the structure set refers to is not in the folder"
    )


def _without_copies(objects: Sequence[DicomObject]) -> list[DicomObject]:
    """Leave out further files of an instance that hold the same bytes; others stay and clash."""
    kept: dict[str, list[DicomObject]] = defaultdict(list)
    hashes: dict[str, set[str]] = {}
    for found in objects:
        uid = found.sop_instance_uid
        if kept[uid]:  # each file is hashed once, and most of them never
            if uid not in hashes:
                hashes[uid] = {hash_files((kept[uid][0].source,))}
            content = hash_files((found.source,))
            if content in hashes[uid]:
                continue
            hashes[uid].add(content)
        kept[uid].append(found)
    return sorted((o for some in kept.values() for o in some), key=lambda o: o.source.name)


def _damaged_beside(
    unreadable: Sequence[SourceFile], objects: Sequence[DicomObject]
) -> dict[str, list[SourceFile]]:
    """Count a damaged file to the CT series of its folder, where there is only one.

    A series whose last slice is damaged looks whole without it.
    """
    by_folder: dict[object, set[str]] = defaultdict(set)
    for found in objects:
        if found.is_ct:
            by_folder[found.source.path.parent].add(found.series_instance_uid)
    damaged: dict[str, list[SourceFile]] = defaultdict(list)
    for file in unreadable:
        series = by_folder[file.path.parent]
        if len(series) == 1:
            damaged[next(iter(series))].append(file)
    return damaged
