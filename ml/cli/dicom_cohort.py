"""Phantoms as DICOM folders of several planning systems, each with names of its own."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ml.data.phantom_dataset import case_id
from ml.data.pools import map_in_processes
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.files import RECORD_NAME, StorageOptions, write_phantom
from ml.phantom.orientation import PatientPosition

Names = tuple[tuple[str, str], ...]

NAMES_OF_SYSTEMS: tuple[Names, ...] = (
    (),
    (("CTV-N", "CTVn_Pelvis"), ("CTV-UV", "CTVt"), ("Bladder", "BLADDER_O"), ("Rectum", "RECTUM")),
    (("CTV-N", "CTV LN"), ("CTV-UV", "CTV-T"), ("Bladder", "Harnblase"), ("Rectum", "Rektum")),
    (("CTV-N", "ctv_nodes"), ("CTV-UV", "CTV uterus"), ("Rectum", "Rectum contoured")),
)
"""As planning systems and clinics of several countries write the structures."""
POSITIONS = (PatientPosition.HFS, PatientPosition.FFS, PatientPosition.HFP)


def write_dicom_cohort(
    folder: Path, specs: Sequence[PhantomSpec], processes: int, on_case: Callable[[str], None]
) -> None:
    """Write CT series and RTSTRUCT of every phantom to folder/<case id>; whole ones are kept."""
    jobs = [(folder, number, spec) for number, spec in enumerate(specs)]
    for name in map_in_processes(_write, jobs, processes):
        on_case(name)


def _write(job: tuple[Path, int, PhantomSpec]) -> str:
    folder, number, spec = job
    name = case_id(spec)
    if not (folder / name / RECORD_NAME).exists():  # written last
        shutil.rmtree(folder / name, ignore_errors=True)
        storage = StorageOptions(
            position=POSITIONS[number % len(POSITIONS)],
            structure_names=NAMES_OF_SYSTEMS[number % len(NAMES_OF_SYSTEMS)],
        )
        write_phantom(generate_phantom(spec), folder / name, storage)
    return name
