"""One CT series and its structure set to an image with labels."""

from collections.abc import Mapping

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
    _check_frame(chosen, series)
    drawn = _draw(candidate, chosen, series)
    notes += _check_orphans(drawn, settings)
    _check_inside(drawn)
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


def _check_frame(chosen: Chosen, series: SeriesIndex) -> None:
    expected = series.frame_of_reference_uid
    wrong = [r.name for r in chosen.values() if r.frame_of_reference_uid not in ("", expected)]
    if wrong:
        raise CaseRefusedError(
            ImportRefusal.WRONG_FRAME_OF_REFERENCE,
            "regions lie in another frame of reference than the CT",
            {"names": wrong},
        )


def _draw(
    candidate: DicomCandidate, chosen: Chosen, series: SeriesIndex
) -> dict[Structure, DrawnRegion]:
    numbers = [region.number for region in chosen.values()]
    drawn = draw_regions(candidate.structure_set.path, numbers, series)
    return {structure: drawn[region.number] for structure, region in chosen.items()}


def _check_orphans(drawn: Mapping[Structure, DrawnRegion], settings: ImportSettings) -> list[Note]:
    orphans = {s.name: region.orphans for s, region in drawn.items() if region.orphans}
    if not orphans:
        return []
    message = "contours refer to images that are not in the series"
    if not settings.allows_orphans:
        raise CaseRefusedError(ImportRefusal.ORPHAN_REFERENCE, message, {"contours": orphans})
    return [
        Note(
            code=NoteCode.ORPHAN_REFERENCES_PLACED,
            message=f"{message}: they were placed by their planes",
            facts={"contours": orphans},
        )
    ]


def _check_inside(drawn: Mapping[Structure, DrawnRegion]) -> None:
    ends = {s.name: region.beyond_ends for s, region in drawn.items() if region.beyond_ends}
    edges = {s.name: region.beyond_edges for s, region in drawn.items() if region.beyond_edges}
    if ends or edges:
        raise CaseRefusedError(
            ImportRefusal.LABELS_OUTSIDE_IMAGE,
            "contours lie outside the CT: it does not show the whole of a structure",
            {"contours_beyond_first_or_last_slice": ends, "contours_beyond_image_edges": edges},
        )
