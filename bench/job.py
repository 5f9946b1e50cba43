"""Where the time of one job goes: 150 slices of 512 x 512 through the running service.

    python bench/job.py [--jobs 3]

Starts the embedded stack (real API and workers), posts a phantom sampled to 150 slices and reads
the stages the job reports. The packaged network is small; so that the share of everything else
can be judged for the paper's network too, its time is measured on the same slices.
"""

import argparse
import io
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import psutil

from ml.config import NetworkConfig, PreprocessingConfig
from ml.dicom.contours import mask_to_rings
from ml.dicom.rtstruct_read import read_rtstruct
from ml.dicom.series import index_series, list_source_files
from ml.geometry import Volume, VolumeGeometry
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.ct_writer import CtOptions, write_ct_series
from services.embedded.supervisor import EmbeddedStack

SLICES = 150
SEED = 900_002
MEBIBYTE = 1024 * 1024


def main() -> None:
    """Run the jobs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_ct_series(tall_phantom(), root / "ct", CtOptions(identity="bench"))
        archive = zip_of(root / "ct")
        print(f"{SLICES} slices, zip of {len(archive) / MEBIBYTE:.0f} MiB, median of {jobs} jobs")
        rows, peak_mib = run_jobs(root, archive, jobs)
    rows["(network at the paper's size)"] = paper_network_seconds()
    report(rows, peak_mib)


def tall_phantom() -> Volume:
    """Return a phantom whose slices are repeated at a finer spacing until there are 150."""
    volume = generate_phantom(PhantomSpec(seed=SEED, tier=PhantomTier.FULL)).volume
    geometry = volume.geometry
    factor = -(-SLICES // geometry.shape[0])
    hu = np.repeat(volume.hu, factor, axis=0)[:SLICES]
    step = geometry.normal * geometry.slice_spacing_mm / factor
    positions = geometry.slice_positions_mm[0] + np.arange(SLICES)[:, None] * step
    finer = VolumeGeometry(
        rows=geometry.rows,
        columns=geometry.columns,
        pixel_spacing_mm=geometry.pixel_spacing_mm,
        row_direction=geometry.row_direction,
        column_direction=geometry.column_direction,
        slice_positions_mm=positions,
    )
    return Volume(hu=hu, geometry=finer)


def zip_of(folder: Path) -> bytes:
    """Return the folder's files as a stored zip, as export tools write it."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return body.getvalue()


def run_jobs(root: Path, archive: bytes, jobs: int) -> tuple[dict[str, float], float]:
    """Return the median seconds of every stage and the peak memory of the worker's child."""
    with (
        EmbeddedStack(root / "service") as stack,
        httpx.Client(base_url=stack.base_url, headers=stack.headers, timeout=120) as client,
    ):
        runs = [one_job(client, root, archive) for _ in range(jobs)]
        peak_mib = max(peak_memory(process) for process in worker_processes(root))
    return {name: median(run[name] for run in runs) for name in runs[0]}, peak_mib


def one_job(client: httpx.Client, root: Path, archive: bytes) -> dict[str, float]:
    """Post, wait, and split the time into stages."""
    started = time.perf_counter()
    posted = client.post(
        "/v1/autocontour", content=archive, headers={"Content-Type": "application/zip"}
    ).raise_for_status()
    posting = time.perf_counter() - started
    while (job := client.get(posted.headers["Location"]).json())["state"] in ("queued", "running"):
        time.sleep(0.1)
    if job["state"] != "succeeded":
        raise RuntimeError(job["error"])
    path = root / "rtstruct.dcm"
    path.write_bytes(client.get(f"{posted.headers['Location']}/rtstruct").content)
    validating = timed(lambda: index_series(list_source_files(root / "ct")))
    contours = contour_seconds(root, path)
    seconds = job["seconds"]
    return {
        "upload": max(posting - validating, 0.0),
        "validate": validating,
        "read": seconds["reading"],
        "preprocess": seconds["contouring_prepare"],
        "network": seconds["contouring_network"],
        "postprocess": seconds["contouring_postprocess"],
        "contours": contours,
        "write": max(seconds["writing"] - contours, 0.0),
        "check": seconds["checking"],
    }


def contour_seconds(root: Path, rtstruct: Path) -> float:
    """Return the time of tracing every slice of every structure of the result again."""
    masks = read_rtstruct(rtstruct, index_series(list_source_files(root / "ct")))
    return timed(
        lambda: [mask_to_rings(plane) for mask in masks.values() for plane in mask if plane.any()]
    )


def timed(action) -> float:  # noqa: ANN001 (any callable)
    """Return the seconds an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def worker_processes(root: Path) -> list[psutil.Process]:
    """Return the processes of the inference worker of this stack."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        command = " ".join(process.info["cmdline"] or [])
        ours = environment.get("CERVICONTOUR_DATA_DIR", "").startswith(str(root))
        if ours and "inference" in command:
            found.append(process)
    return found


def peak_memory(process: psutil.Process) -> float:
    """Return the peak resident memory in MiB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def paper_network_seconds() -> float:
    """Return the time of the full-size network over 150 crops of 256 x 256."""
    import torch  # noqa: PLC0415 (after the stack: nothing forks any more)

    from ml.networks import build_network  # noqa: PLC0415
    from ml.networks.blocks import channels_last  # noqa: PLC0415

    size = PreprocessingConfig().crop_size_px
    network = channels_last(build_network(NetworkConfig()).eval())
    batch = torch.rand(8, 1, size, size).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(batch)
        return timed(lambda: network(batch)) * SLICES / len(batch)


def report(rows: dict[str, float], peak_mib: float) -> None:
    """Print the stages, their shares and the memory."""
    paper = rows.pop("(network at the paper's size)")
    total = sum(rows.values())
    for name, seconds in rows.items():
        print(f"{name:12} {seconds:8.2f} s {seconds / total:7.1%}")
    rest = total - rows["network"]
    print(f"{'total':12} {total:8.2f} s")
    print(f"all but the network, packaged weights:    {rest / total:.1%} of the job")
    print(f"all but the network, the paper's network: {rest / (rest + paper):.1%} of the job")
    print(f"(the paper's network takes {paper:.1f} s for these slices on this processor)")
    print(f"peak memory of the worker: {peak_mib:.0f} MiB")


if __name__ == "__main__":
    main()
