"""Real CT series with structures, as bytes to be posted."""

from pathlib import Path

from tests.factories.imports import write_dicom_case


def case_files(folder: Path, *numbers: int) -> dict[str, bytes]:
    """File name to bytes of patients' CT images and structure sets."""
    for number in numbers:
        write_dicom_case(folder / f"p{number}", number=number)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
