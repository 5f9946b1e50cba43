"""The demonstration: a synthetic patient goes through the running service, as users send theirs."""

import json
import time
import zipfile
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ml.arrays import LabelVolume, MaskVolume
from ml.dicom.rtstruct_read import read_rtstruct
from ml.dicom.series import index_series, list_source_files, read_volume
from ml.evaluation.contact_sheet import Layer, LineStyle, SheetOptions, write_contact_sheet
from ml.geometry import Volume
from ml.metrics.overlap import dice
from ml.metrics.surface import hausdorff95_mm
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.files import write_phantom
from ml.structures import CERVIX
from services.embedded.supervisor import EmbeddedStack

DEMO_SEED = 900_001
"""Far from the seeds the demonstration weights were trained, validated and tested on."""

POLL_SECONDS = 0.3
DEADLINE_SECONDS = 900.0


class DemoFailedError(RuntimeError):
    """The service did not deliver contours; the message is what it answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoFiles:
    """Where the demonstration puts things."""

    root: Path

    @property
    def phantom(self) -> Path:
        """Folder of the synthetic patient: ct/, rtstruct.dcm and labels.npz (the truth)."""
        return self.root / f"phantom-{DEMO_SEED}"

    @property
    def archive(self) -> Path:
        """The CT series as one zip: what is posted."""
        return self.root / "ct.zip"

    @property
    def rtstruct(self) -> Path:
        """The RTSTRUCT the service returned."""
        return self.root / "rtstruct.dcm"

    @property
    def contact_sheet(self) -> Path:
        """Slices with the true and the returned contours."""
        return self.root / "contours.png"


def run_demo(root: Path, console: Console) -> None:
    """Post a synthetic CT to a freshly started service and judge what comes back.

    Raises:
        DemoFailedError: the job did not end in an RTSTRUCT.
    """
    files = DemoFiles(root=root)
    root.mkdir(parents=True, exist_ok=True)
    _prepare_phantom(files, console)
    console.print("Starting API and workers (SQLite, filesystem broker) ...")
    with EmbeddedStack(root / "service") as stack:
        console.print(f"  API at {stack.base_url}, documentation at {stack.base_url}/docs")
        console.print(f"  key of its administrator in {stack.key_path}")
        with httpx.Client(base_url=stack.base_url, headers=stack.headers, timeout=60.0) as client:
            job = _contour(client, files, console)
    _show_result(files, job, console)


def _prepare_phantom(files: DemoFiles, console: Console) -> None:
    if files.archive.exists():
        console.print(f"Synthetic patient of an earlier run: {files.phantom}")
        return
    console.print(f"Making a synthetic pelvic CT (seed {DEMO_SEED}, 512 x 512) ...")
    phantom = generate_phantom(PhantomSpec(seed=DEMO_SEED, tier=PhantomTier.FULL))
    write_phantom(phantom, files.phantom)
    partial = files.archive.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((files.phantom / "ct").iterdir()):
            archive.write(path, path.name)
    partial.replace(files.archive)


def _contour(client: httpx.Client, files: DemoFiles, console: Console) -> dict[str, Any]:
    """Post the archive, follow the job and save its RTSTRUCT; returns the job as json."""
    with files.archive.open("rb") as archive:
        posted = client.post("/v1/autocontour", files={"file": ("ct.zip", archive)})
    if posted.status_code != HTTPStatus.ACCEPTED:
        raise DemoFailedError(f"the upload was refused: {posted.text}")
    location = posted.headers["Location"]
    console.print(f"Posted {files.archive.stat().st_size / 1e6:.1f} MB, job at {location}")
    job = _follow(client, location, console)
    if job["state"] != "succeeded":
        raise DemoFailedError(f"the job {job['state']}: {json.dumps(job.get('error'))}")
    files.rtstruct.write_bytes(client.get(f"{location}/rtstruct").raise_for_status().content)
    return job


def _follow(client: httpx.Client, location: str, console: Console) -> dict[str, Any]:
    columns = (TextColumn("{task.description:>12}"), BarColumn(), TimeElapsedColumn())
    deadline = time.monotonic() + DEADLINE_SECONDS
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("queued", total=1.0)
        while time.monotonic() < deadline:
            job = client.get(location).raise_for_status().json()
            progress.update(bar, completed=job["progress"], description=job["stage"])
            if job["state"] not in ("queued", "running"):
                return job
            time.sleep(POLL_SECONDS)
    raise DemoFailedError(f"the job was not finished after {DEADLINE_SECONDS:.0f} s")


def _show_result(files: DemoFiles, job: dict[str, Any], console: Console) -> None:
    series = index_series(list_source_files(files.phantom / "ct"))
    volume = read_volume(series)
    found = read_rtstruct(files.rtstruct, series)
    with np.load(files.phantom / "labels.npz") as archive:
        truth: LabelVolume = archive["labels"]
    console.print(_accuracy_table(truth, found, volume))
    for warning in job["warnings"]:
        console.print(f"  QA warning: {warning['message']}")
    _draw(files, volume, truth, found)
    console.print(f"RTSTRUCT        {files.rtstruct}")
    console.print(f"Contact sheet   {files.contact_sheet}   (dashed: truth, solid: service)")
    console.print(
        "\nYour own series: run [bold]make serve[/] and, in another shell,\n"
        '  curl -i -H "Authorization: Bearer $(cat var/service/admin-key)" \\\n'
        "    -F file=@your-ct-series.zip http://127.0.0.1:8000/v1/autocontour\n"
        "then poll the Location it answers and fetch <Location>/rtstruct.\n"
        "The packaged weights know phantoms only: demonstration, not for clinical use."
    )


def _accuracy_table(truth: LabelVolume, found: dict[str, MaskVolume], volume: Volume) -> Table:
    table = Table(title="Service against truth (synthetic)")
    for heading in ("structure", "Dice", "95HD mm", "truth ml", "returned ml"):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    voxel_ml = volume.geometry.voxel_volume_ml
    for structure in CERVIX.structures:
        true_mask = truth == structure.number
        mask = found[structure.name]
        distance = hausdorff95_mm(true_mask, mask, volume.geometry.spacing_mm)
        table.add_row(
            structure.name,
            f"{dice(true_mask, mask):.3f}",
            f"{distance:.1f}",
            f"{true_mask.sum() * voxel_ml:.0f}",
            f"{mask.sum() * voxel_ml:.0f}",
        )
    return table


def _draw(
    files: DemoFiles, volume: Volume, truth: LabelVolume, found: dict[str, MaskVolume]
) -> None:
    returned = np.zeros(truth.shape, np.uint8)
    for structure in CERVIX.structures:
        returned[found[structure.name]] = structure.number
    layers = (
        Layer(name="truth", labels=truth, style=LineStyle.DASHED),
        Layer(name="service", labels=returned),
    )
    write_contact_sheet(volume, layers, files.contact_sheet, SheetOptions(margin_mm=40.0))
