"""One CT series and its structure set to an image with labels."""

from collections.abc import Callable, Mapping

from ml.data.importing.candidates import DicomCandidate
from ml.data.importing.content import CaseContent
from ml.data.importing.labels import check_complete, choose_structures, merge_masks
from ml.data.importing.refusals import CaseRefusedError, ImportRefusal, Note, NoteCode
from ml.data.importing.settings import ImportSettings
from ml.dicom.rtstruct_import import (
    DrawnRegion,
    Region,
    StructureSetHeader,
    draw_regions,
    read_structure_set_header,
)
from ml.dicom.series import SeriesIndex, index_series, read_volume
from ml.structures import Structure

Chosen = Mapping[Structure, Region]


def read_dicom_case(candidate: DicomCandidate, settings: ImportSettings) -> CaseContent:
    """Read a case; pixels come last, so that most refusals cost no decoding.

    Raises:
        CaseRefusedError: the contours are not those of the series or of the structures.
        DicomError: the series is no volume, or the structure set is damaged.
    """
    series = index_series(candidate.images)
    header = read_structure_set_header(candidate.structure_set.path)
    chosen, unmatched, notes = _choose_regions(header, settings)
    _check_frame(header, chosen, series)
    drawn = _draw(candidate, chosen, series)
    notes += _check_orphans(drawn, settings)
    notes += _without_area(drawn)
    _check_inside(drawn)
    notes += _check_planes(drawn)
    masks = {structure: region.mask for structure, region in drawn.items()}
    labels, label_notes = merge_masks(masks, series.geometry.voxel_volume_ml, settings)
    digest = settings.pseudonyms.digest
    return CaseContent(
        volume=read_volume(series),
        labels=labels,
        notes=(*notes, *label_notes),
        unmatched_names=tuple(unmatched),
        source={
            "kind": "dicom",
            "study": digest("study", series.study_instance_uid),
            "series": digest("series", series.series_instance_uid),
            "structure_set": digest("structure set", header.sop_instance_uid),
            "structure_set_manufacturer": header.manufacturer,
            "patient_position": series.patient_position,
            "region_names": {structure.name: region.name for structure, region in chosen.items()},
        },
    )


def _choose_regions(
    header: StructureSetHeader, settings: ImportSettings
) -> tuple[dict[Structure, Region], list[str], list[Note]]:
    """Find the region of every structure; where names meet, a region without contours gives way.

    Planning systems keep such regions as placeholders of their templates.
    """
    drawn = [(region.name, region) for region in header.regions if region.contour_count]
    empty = [(region.name, region) for region in header.regions if not region.contour_count]
    chosen, unmatched = choose_structures(drawn, settings)
    placeholders, unmatched_empty = choose_structures(empty, settings)
    notes = [
        Note(
            code=NoteCode.EMPTY_REGION_IGNORED,
            message=f"{placeholder.name!r} has no contours; {chosen[structure][0]!r} was taken",
            facts={"structure": structure.name, "names": [name, chosen[structure][0]]},
        )
        for structure, (name, placeholder) in placeholders.items()
        if structure in chosen
    ]
    regions = {s: region for s, (_, region) in {**placeholders, **chosen}.items()}
    names = [region.name for region in header.regions]
    check_complete(list(regions), settings, {"names": names})
    return regions, [*unmatched, *unmatched_empty], notes


def _check_frame(header: StructureSetHeader, chosen: Chosen, series: SeriesIndex) -> None:
    expected = series.frame_of_reference_uid
    wrong = [r.name for r in chosen.values() if not header.is_in_frame(r, expected)]
    if wrong:
        raise CaseRefusedError(
            ImportRefusal.WRONG_FRAME_OF_REFERENCE,
            "regions lie, or may lie, in another frame of reference than the CT",
            {"names": wrong},
        )


def _draw(
    candidate: DicomCandidate, chosen: Chosen, series: SeriesIndex
) -> dict[Structure, DrawnRegion]:
    numbers = [region.number for region in chosen.values()]
    drawn = draw_regions(candidate.structure_set.path, numbers, series)
    return {structure: drawn[region.number] for structure, region in chosen.items()}


def _counts(
    drawn: Mapping[Structure, DrawnRegion], count: Callable[[DrawnRegion], int]
) -> dict[str, int]:
    """Return the contours of a kind by the names of the structures that have any."""
    return {s.name: count(region) for s, region in drawn.items() if count(region)}


def _notes(code: NoteCode, message: str, counts: Mapping[str, int]) -> list[Note]:
    return [Note(code=code, message=message, facts={"contours": counts})] if counts else []


def _check_orphans(drawn: Mapping[Structure, DrawnRegion], settings: ImportSettings) -> list[Note]:
    orphans = _counts(drawn, lambda region: region.orphans)
    message = "contours refer to images that are not in the series"
    if orphans and not settings.allows_orphans:
        raise CaseRefusedError(ImportRefusal.ORPHAN_REFERENCE, message, {"contours": orphans})
    message = f"{message}: they were placed by their planes"
    return _notes(NoteCode.ORPHAN_REFERENCES_PLACED, message, orphans)


def _without_area(drawn: Mapping[Structure, DrawnRegion]) -> list[Note]:
    """Name structures with contours that enclose nothing; systems leave such beside the others."""
    counts = _counts(drawn, lambda region: region.without_area)
    message = "contours are points, lines or of fewer than three points: they enclose nothing"
    return _notes(NoteCode.CONTOURS_WITHOUT_AREA, message, counts)


def _check_inside(drawn: Mapping[Structure, DrawnRegion]) -> None:
    ends = _counts(drawn, lambda region: region.beyond_ends)
    edges = _counts(drawn, lambda region: region.beyond_edges)
    if ends or edges:
        raise CaseRefusedError(
            ImportRefusal.LABELS_OUTSIDE_IMAGE,
            "contours lie outside the CT: it does not show the whole of a structure",
            {"contours_beyond_first_or_last_slice": ends, "contours_beyond_image_edges": edges},
        )


def _check_planes(drawn: Mapping[Structure, DrawnRegion]) -> list[Note]:
    """Refuse images with contours of several planes; tell of contours between the slices."""
    several = _counts(drawn, lambda region: region.other_planes)
    if several:
        raise CaseRefusedError(
            ImportRefusal.CONTOURS_OTHER_PLANES,
            "contours of several planes refer to one image of the CT",
            {"contours": several},
        )
    counts = _counts(drawn, lambda region: region.between_slices)
    message = "contours lie between the slices: others nearer to a slice were taken in their stead"
    return _notes(NoteCode.CONTOURS_BETWEEN_SLICES, message, counts)
