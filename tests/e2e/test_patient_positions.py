"""An asymmetric patient, posted in every patient position, comes back in the same millimetres."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest

from ml.geometry import LEFT, POSTERIOR, SUPERIOR, Volume, VolumeGeometry
from ml.phantom.ct_writer import CtOptions, write_ct_series
from ml.phantom.orientation import PatientPosition, RowOrder
from ml.structures import CERVIX
from services.embedded.supervisor import EmbeddedStack
from tests.e2e.intensity_worker import FAT_HU, STRUCTURE_HU
from tests.factories.service_client import wait_for
from tests.integration.deployment import PARSE_SECONDS

pytestmark = pytest.mark.integration

AIR_HU = -1000
ORIGIN_MM = np.array([-171.3, -212.9, 431.5])
SPACING_MM = (4.0, 1.1, 1.3)
SHAPE = (24, 200, 240)
CENTROID_TOLERANCE_MM = 0.5

# Boxes in patient millimetres relative to the origin: first corner, last corner; x, y, z.
BOXES_MM = (
    ((90, 60, 8), (130, 150, 72)),
    ((150, 95, 20), (180, 125, 60)),
    ((145, 50, 12), (205, 80, 52)),
    ((160, 140, 16), (185, 170, 84)),
)


def asymmetric_volume() -> Volume:
    geometry = VolumeGeometry(
        rows=SHAPE[1],
        columns=SHAPE[2],
        pixel_spacing_mm=SPACING_MM[1:],
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=ORIGIN_MM + np.arange(SHAPE[0])[:, None] * SPACING_MM[0] * SUPERIOR,
    )
    z, y, x = np.meshgrid(
        *(np.arange(n) * s for n, s in zip(SHAPE, SPACING_MM, strict=True)), indexing="ij"
    )
    hu = np.full(SHAPE, AIR_HU, np.int16)
    hu[((x - 156) / 140) ** 2 + ((y - 110) / 95) ** 2 <= 1] = FAT_HU
    for value, (first, last) in zip(STRUCTURE_HU, BOXES_MM, strict=True):
        inside = np.ones(SHAPE, bool)
        for axis, low, high in zip((x, y, z), first, last, strict=True):
            inside &= (axis >= low) & (axis <= high)
        # a missing corner: no flip or quarter turn of the box is the box
        inside &= ~((x > (first[0] + last[0]) / 2) & (y < (first[1] + last[1]) / 2))
        hu[inside] = value
    return Volume(hu=hu, geometry=geometry)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    stack = EmbeddedStack(
        tmp_path_factory.mktemp("positions"),
        worker_app="tests.e2e.intensity_worker",
        variables={"CERVICONTOUR_PARSE_TIME_LIMIT_SECONDS": str(PARSE_SECONDS)},
    )
    with (
        stack,
        httpx.Client(
            base_url=stack.base_url, headers=stack.headers, trust_env=False, timeout=60.0
        ) as client,
    ):
        yield client


@pytest.mark.parametrize("row_order", RowOrder)
@pytest.mark.parametrize("position", PatientPosition)
def test_centroids_come_back_within_half_a_millimetre(
    service: httpx.Client, tmp_path: Path, position: PatientPosition, row_order: RowOrder
) -> None:
    volume = asymmetric_volume()
    options = CtOptions(identity="asymmetric", position=position, row_order=row_order)
    paths = write_ct_series(volume, tmp_path / "ct", options)
    truth = _true_centroids(volume)

    rtstruct = _contour(service, paths)

    assert pydicom.dcmread(paths[0]).PatientPosition == position
    for structure in CERVIX.structures:
        found = _contour_centroid(rtstruct, structure.name)
        assert np.abs(found - truth[structure.name]).max() < CENTROID_TOLERANCE_MM, structure.name


def _true_centroids(volume: Volume) -> dict[str, np.ndarray]:
    centroids = {}
    for structure, value in zip(CERVIX.structures, STRUCTURE_HU, strict=True):
        indices = np.argwhere(volume.hu == value).astype(float)
        centroids[structure.name] = volume.geometry.index_to_mm(indices).mean(axis=0)
    return centroids


def _contour(client: httpx.Client, paths: list[Path]) -> pydicom.Dataset:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    posted = client.post(
        "/v1/autocontour", content=body.getvalue(), headers={"Content-Type": "application/zip"}
    )
    assert posted.status_code == 202, posted.text
    location = posted.headers["Location"]
    wait_for(client, location, "succeeded")
    return pydicom.dcmread(io.BytesIO(client.get(f"{location}/rtstruct").content))


def _contour_centroid(rtstruct: pydicom.Dataset, name: str) -> np.ndarray:
    """Area-weighted centroid of a region's polygons, from nothing but their points."""
    numbers = {roi.ROIName: roi.ROINumber for roi in rtstruct.StructureSetROISequence}
    moments, area = np.zeros(3), 0.0
    for region in rtstruct.ROIContourSequence:
        if region.ReferencedROINumber != numbers[name]:
            continue
        for contour in region.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            x, y = points[:, 0], points[:, 1]
            cross = x * np.roll(y, -1) - np.roll(x, -1) * y
            signed = cross.sum() / 2
            center = np.array(
                [((x + np.roll(x, -1)) * cross).sum(), ((y + np.roll(y, -1)) * cross).sum()]
            )
            moments += np.append(center / 6, signed * points[0, 2]) * np.sign(signed)
            area += abs(signed)
    return moments / area
