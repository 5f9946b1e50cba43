"""Contours and structure set of one CT against rt-utils doing it alone.

    python bench/rtstruct.py [--slices 150] [--repeats 3]

Five structures of a thorax (body, lungs with vessels, heart, cord) on 512 x 512 slices. Every
run is a process of its own, so that peaks of memory can be told apart; the masks are loaded
before the clock starts and their own memory does not count.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from statistics import median

import numpy as np

from ml.arrays import MaskVolume
from ml.dicom.rtstruct import Provenance, write_rtstruct
from ml.dicom.series import index_series, list_source_files
from ml.geometry import LEFT, POSTERIOR, Volume, VolumeGeometry
from ml.phantom.ct_writer import CtOptions, write_ct_series
from ml.structures import CERVIX

SIZE = 512
SPACING_MM = 0.9766
MEBIBYTE = 2**20


def main() -> None:
    """Make the case, run both writers in processes of their own, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--run", choices=list(WRITERS), help="one run on a case made before")
    parser.add_argument("--case", type=Path)
    arguments = parser.parse_args()
    if arguments.run is not None:
        print(json.dumps(measure(WRITERS[arguments.run], arguments.case)))
        return
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder)
        make_case(case, arguments.slices)
        results = {name: run_apart(name, case, arguments.repeats) for name in WRITERS}
    report(results, arguments)


def make_case(case: Path, slices: int) -> None:
    """Write a CT series and the masks of five structures."""
    side = (SIZE - 1) * SPACING_MM / 2
    positions = np.array([[-side, -side, 3.0 * z] for z in range(slices)])
    geometry = VolumeGeometry(
        rows=SIZE,
        columns=SIZE,
        pixel_spacing_mm=(SPACING_MM, SPACING_MM),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=positions,
    )
    masks = thorax(slices)
    hu = np.where(masks["Body"], 20, -1000).astype(np.int16)
    write_ct_series(Volume(hu=hu, geometry=geometry), case / "ct", CtOptions(identity="bench"))
    for name, mask in masks.items():
        np.save(case / f"{name}.npy", mask)


def thorax(slices: int) -> dict[str, MaskVolume]:
    """Return ragged outlines of the usual sizes; lungs with vessels as holes."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    phases, heights = rng.uniform(0, 2 * np.pi, (8, 2)), rng.uniform(1.0, 4.0, 8)
    vessels = rng.uniform(-1, 1, (60, 4))

    def blob(w: float, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
        dx, dy = x - centre[0], y - centre[1]
        angle = np.arctan2(dy, dx)
        waves = [
            heights[k] * np.sin((k + 2) * angle + phases[k, 0] + 3 * w * phases[k, 1])
            for k in range(8)
        ]
        return np.hypot(dx / radii[0], dy / radii[1]) <= 1 + sum(waves) / max(radii) / 2

    names = ("Body", "Lung_L", "Lung_R", "Heart", "Cord")
    masks = {name: np.zeros((slices, SIZE, SIZE), np.bool_) for name in names}
    for z, w in enumerate(np.linspace(-1, 1, slices)):
        masks["Body"][z] = blob(w, (0, 0), (195, 133))
        masks["Cord"][z] = (x / 7) ** 2 + ((y - 77) / 6) ** 2 <= 1
        shrink = np.sqrt(1 - 0.9 * w * w)
        if abs(w) < 0.5:
            thin = np.sqrt(1 - (2 * w) ** 2)
            masks["Heart"][z] = blob(w, (20, -30), (56 * thin + 1, 46 * thin + 1))
        for side, name in ((1, "Lung_L"), (-1, "Lung_R")):
            lung = blob(w, (87 * side, -5), (64 * shrink, 90 * shrink)) & ~masks["Heart"][z]
            for vx, vy, radius, _ in vessels[np.abs(vessels[:, 3] - w) < 0.25]:
                centre_x, centre_y = side * (87 + 46 * vx), 61 * vy
                lung &= (x - centre_x) ** 2 + (y - centre_y) ** 2 > (1.5 + 2 * abs(radius)) ** 2
            masks[name][z] = lung
    return masks


def write_ours(ct: Path, masks: dict[str, MaskVolume], path: Path) -> None:
    """Index the series, contour the masks, write the structure set."""
    provenance = Provenance(
        software_version="bench",
        model_version="bench",
        weights_sha256="0" * 64,
        created_at=datetime.now(UTC),
    )
    structures = [
        replace(CERVIX.structures[0], number=number, name=name)
        for number, name in enumerate(masks, start=1)
    ]
    series = index_series(list_source_files(ct))
    write_rtstruct(series, zip(structures, masks.values(), strict=True), provenance, path)


def write_by_rt_utils(ct: Path, masks: dict[str, MaskVolume], path: Path) -> None:
    """Let rt-utils read the series, contour the masks and write."""
    from rt_utils import RTStructBuilder  # noqa: PLC0415  # its memory belongs to its own run

    with redirect_stdout(StringIO()):
        structure_set = RTStructBuilder.create_new(dicom_series_path=str(ct))
        for name, mask in masks.items():
            structure_set.add_roi(mask=np.moveaxis(mask, 0, 2), name=name)
        structure_set.save(str(path))


Writer = Callable[[Path, dict[str, MaskVolume], Path], None]
WRITERS: dict[str, Writer] = {"rt-utils alone": write_by_rt_utils, "cervicontour": write_ours}


def measure(writer: Writer, case: Path) -> dict[str, float]:
    """Return seconds, growth of the peak memory and bytes of one run in this process."""
    masks = {file.stem: np.load(file) for file in sorted(case.glob("*.npy"))}
    path = case / "out.dcm"
    __import__("rt_utils")  # both writers need it: loaded before the clock starts
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading the masks
    before = resident_bytes("VmRSS")
    start = time.perf_counter()
    writer(case / "ct", masks, path)
    seconds = time.perf_counter() - start
    growth = resident_bytes("VmHWM") - before
    return {"seconds": seconds, "mebibytes": growth / MEBIBYTE, "bytes": path.stat().st_size}


def resident_bytes(field: str) -> int:
    """Return the resident memory of this process, or its peak, as the kernel counts it.

    Not getrusage: its peak is inherited from the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def run_apart(name: str, case: Path, repeats: int) -> dict[str, float]:
    """Return the medians of several processes."""
    command = [sys.executable, __file__, "--run", name, "--case", str(case)]
    runs = []
    for _ in range(repeats):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: median(run[key] for run in runs) for key in runs[0]}


def report(results: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    """Print the table."""
    print(
        f"{arguments.slices} slices of {SIZE} x {SIZE}, 5 structures, "
        f"median of {arguments.repeats} runs"
    )
    print(f"{'writer':16}{'seconds':>10}{'peak growth MiB':>18}{'file MB':>10}")
    for name, row in results.items():
        size_mb = row["bytes"] / 1e6
        print(f"{name:16}{row['seconds']:10.2f}{row['mebibytes']:18.1f}{size_mb:10.2f}")
    base, ours = results.values()
    print(
        f"{'ratio':16}{base['seconds'] / ours['seconds']:9.1f}x"
        f"{base['mebibytes'] / ours['mebibytes']:17.1f}x{base['bytes'] / ours['bytes']:9.1f}x"
    )


if __name__ == "__main__":
    main()
