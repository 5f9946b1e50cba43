"""One edited RTSTRUCT against the contours that the job released."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml.dicom.rtstruct_import import (
    DrawnRegion,
    Region,
    draw_regions,
    read_structure_set_header,
)
from ml.dicom.series import SeriesIndex, index_series, list_source_files
from ml.evaluation.edits import EditScore, compare_structures
from ml.name_map import AmbiguousNamesError, NameMap
from services.core.errors import ServiceError
from services.core.lifecycle import JobStage
from services.core.repositories.leases import Claim
from services.core.storage import RTSTRUCT_NAME, StoredKind
from services.core.tables.leased import Json
from services.worker.context import WorkerContext
from services.worker.lease import Lease
from services.worker.leased_work import finish
from services.worker.numbers import finite_or_none

READING_SHARE = 0.1
"""Of the work; the comparison of each structure takes an equal share of the rest."""

NAMES = NameMap()
"""Names and synonyms of ml.structures."""


class AmbiguousRegionsError(ServiceError):
    """Several drawn regions mean one structure."""

    code = "ambiguous_structure"

    def __init__(self, structure: str, names: Sequence[str]) -> None:
        super().__init__(
            f"several regions mean {structure}", structure=structure, regions=list(names)
        )
        self.structure = structure


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureFile:
    """A structure set in storage, and which of its regions means which structure."""

    path: Path
    regions: dict[str, Region]
    """By the structure's own name."""
    ignored: tuple[Region, ...]
    """Mean no structure, or lie, or may lie, in another frame of reference."""


def compare_edited_rtstruct(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Compare an edited RTSTRUCT with the job's own and keep the scores."""
    with worker.unit_of_work() as uow:
        job_id = uow.edited_rtstructs.get(claim.resource_id).job_id
        series_id = uow.contour_jobs.get(job_id).series_id
    lease.report(JobStage.READING, 0.0)
    storage = worker.storage
    series = index_series(list_source_files(storage.folder(StoredKind.SERIES, series_id)))
    found = _open(storage.file(StoredKind.RESULTS, job_id, RTSTRUCT_NAME), series)
    edited_path = storage.file(StoredKind.EDITED_RTSTRUCTS, claim.resource_id, RTSTRUCT_NAME)
    edited = _open(edited_path, series)
    warnings = list(_left_out(found, edited))
    scores: dict[str, Json] = {}
    names = [name for name in NAMES.structures.names if name in edited.regions]
    for place, name in enumerate(names):
        lease.report(JobStage.COMPARING, READING_SHARE + (1 - READING_SHARE) * place / len(names))
        # one structure at a time: the masks of all at once would fill the memory
        region = _draw(edited, name, series)
        warnings += _oddities(name, region)
        masks = {name: region.mask}
        own = {name: _draw(found, name, series).mask} if name in found.regions else {}
        scores[name] = _json(compare_structures(own, masks, series.geometry)[name])
    outcome = {"scores": {"structures": scores, "warnings": warnings}}
    finish(worker, claim, outcome)


def _open(path: Path, series: SeriesIndex) -> StructureFile:
    """Find the regions of the structures; a region without contours gives way to a drawn one.

    Planning systems keep such regions as placeholders of their templates.

    Raises:
        AmbiguousRegionsError: several regions mean one structure.
        DicomError: RTSTRUCT_INVALID.
    """
    header = read_structure_set_header(path)
    here = series.frame_of_reference_uid
    usable = [region for region in header.regions if header.is_in_frame(region, here)]
    drawn = _choose([region for region in usable if region.contour_count])
    # one by one: several placeholders of one structure contradict nobody
    empty = [_choose([region]) for region in usable if not region.contour_count]
    meant = [region for chosen in (drawn, *empty) for region in chosen.values()]
    regions = {name: region for chosen in (*empty, drawn) for name, region in chosen.items()}
    return StructureFile(
        path=path,
        regions=regions,
        ignored=tuple(region for region in header.regions if region not in meant),
    )


def _choose(regions: Sequence[Region]) -> dict[str, Region]:
    try:
        chosen, _ = NAMES.choose([(region.name, region) for region in regions])
    except AmbiguousNamesError as error:
        raise AmbiguousRegionsError(error.structure, error.names) from error
    return {structure.name: region for structure, (_, region) in chosen.items()}


def _draw(file: StructureFile, name: str, series: SeriesIndex) -> DrawnRegion:
    number = file.regions[name].number
    return draw_regions(file.path, [number], series)[number]


def _left_out(found: StructureFile, edited: StructureFile) -> Iterator[Json]:
    for region in edited.ignored:
        yield _warning(
            "region_ignored",
            None,
            "A region means none of the structures, or may lie in another frame of reference.",
            {"region": region.name},
        )
    for name in found.regions:
        if name not in edited.regions:
            yield _warning(
                "structure_not_sent",
                name,
                f"The edited RTSTRUCT has no region for {name}; it was not compared.",
                {},
            )


def _oddities(name: str, region: DrawnRegion) -> Iterator[Json]:
    """Tell what of a region does not fit the series; the rest of it is compared."""
    facts = {
        "orphans": (region.orphans, "refer to images that are not in the series"),
        "beyond_ends": (region.beyond_ends, "lie beyond the first or last slice"),
        "without_area": (region.without_area, "enclose nothing: points, lines, or too few points"),
        "other_planes": (region.other_planes, "lie off the plane of others of the same image"),
        "between_slices": (region.between_slices, "lie between slices that have their own"),
        "beyond_edges": (region.beyond_edges, "reach beyond the edges of their image"),
    }
    for key, (count, what) in facts.items():
        if count:
            message = f"{count} contour{'s'[: count > 1]} of {name} {what}."
            yield _warning(f"contours_{key}", name, message, {"contours": count})


def _warning(code: str, structure: str | None, message: str, facts: Json) -> Json:
    return {"code": code, "structure": structure, "message": message, "facts": facts}


def _json(score: EditScore) -> Json:
    """Return a score without numbers that json does not know, and with what they say."""
    return {key: finite_or_none(value) for key, value in dataclasses.asdict(score).items()} | {
        "is_only_found": score.found_ml > 0 and score.edited_ml == 0,
        "is_only_edited": score.edited_ml > 0 and score.found_ml == 0,
    }
