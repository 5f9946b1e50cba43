"""What workers do to files that the API took: whatever the files are, it ends with a refusal."""

from pathlib import Path

from ml.dicom.catalogue import catalogue, group_series
from ml.dicom.errors import DicomError
from ml.dicom.rtstruct_import import draw_regions, read_structure_set_header
from ml.dicom.rtstruct_read import read_rtstruct
from ml.dicom.series import SeriesIndex, index_series, list_source_files, read_volume


def read_series(folder: Path) -> str:
    """Read a stored series as the contouring of a job does."""
    try:
        read_volume(index_series(list_source_files(folder)))
    except DicomError as error:
        return error.code.value
    return "read"


def read_edit(path: Path, ct_folder: Path) -> str:
    """Read a stored structure set as its comparison does."""
    try:
        return _draw(path, index_series(list_source_files(ct_folder)))
    except DicomError as error:
        return error.code.value


def read_cases(folder: Path) -> str:
    """Read the files of a source as the making of a dataset version does."""
    found = catalogue(list_source_files(folder))
    outcomes: list[str] = []
    for objects in group_series(found.objects).values():
        try:
            series = index_series([o.source for o in objects])
            read_volume(series)
            structures = [o.source.path for o in found.objects if o.is_structure_set]
            outcomes.extend(_draw(path, series) for path in structures)
        except DicomError as error:
            outcomes.append(error.code.value)
    return " ".join(sorted(set(outcomes)))


def _draw(path: Path, series: SeriesIndex) -> str:
    header = read_structure_set_header(path)
    draw_regions(path, [region.number for region in header.regions], series)
    read_rtstruct(path, series)
    return "drawn"
