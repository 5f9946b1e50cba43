"""A running service spoken to over HTTP, and a small clinic to train it with."""

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx

from ml.data.phantom_dataset import case_id
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.phantom.files import write_phantom
from tests.waiting import turns

Json = dict[str, Any]

PATIENCE_SECONDS = 600.0
CASES = 6
TINY = {
    "preprocessing.crop_size_px": 32,
    "preprocessing.pixel_spacing_mm": 7.8125,
    "network.width": 0.125,
    "training.slices_per_epoch": 64,
    "training.batch_size": 16,
}
"""Networks of seconds; what they learn is not the matter here."""


def write_clinic(folder: Path) -> Path:
    """Tiny phantoms as a clinic would have them: CT and RTSTRUCT, a folder each, in `cohort`."""
    for seed in range(CASES):
        spec = PhantomSpec(seed=seed, tier=PhantomTier.TINY)
        write_phantom(generate_phantom(spec), folder / "cohort" / case_id(spec))
    return folder


def zip_of_a_ct(clinic: Path) -> bytes:
    """The CT of the first case."""
    packed = io.BytesIO()
    folder = min((clinic / "cohort").iterdir())
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((folder / "ct").rglob("*.dcm")):
            archive.write(path, path.name)
    return packed.getvalue()


def ask(client: httpx.Client, method: str, path: str, **options: Any) -> Json:
    response = client.request(method, path, **options)
    assert response.is_success, (path, response.status_code, response.text)
    return response.json()


def wait_for(client: httpx.Client, path: str, state: str) -> Json:
    found: Json = {}
    for _ in turns(PATIENCE_SECONDS):
        found = ask(client, "GET", path)
        if found["state"] == state:
            return found
        assert found["state"] in ("queued", "running"), found
        time.sleep(0.2)
    raise AssertionError(found)


def contour(client: httpx.Client, ct_zip: bytes) -> Json:
    made = ask(
        client,
        "POST",
        "/v1/autocontour",
        content=ct_zip,
        headers={"Content-Type": "application/zip"},
    )
    return wait_for(client, made["job"]["links"]["self"], "succeeded")


def index_cohort(client: httpx.Client, name: str) -> Json:
    dataset = ask(client, "POST", "/v1/datasets", json={"name": name, "folder": "cohort"})
    split = {"seed": 0, "proportions": [4, 1, 1]}
    path = f"/v1/datasets/{dataset['id']}/versions"
    version = ask(client, "POST", path, json={"split": split})
    return wait_for(client, f"/v1/dataset-versions/{version['id']}", "succeeded")


def start_experiment(client: httpx.Client, version: Json, **question: Any) -> Json:
    body = {"dataset_version_id": version["id"], "recipe": "paper", "seeds": [0]} | question
    return ask(client, "POST", "/v1/experiments", json=body)


def runs_of(client: httpx.Client, experiment: Json) -> list[Json]:
    return ask(client, "GET", experiment["links"]["runs"])["items"]
