"""Runs the whole embedded service through its work, and leaves what there is to look at.

`python -m tests.integration.offline_service FOLDER [--own-network]`; a program of its own, so that
it can be put into a network namespace that has nothing but a loopback.
"""

import argparse
import fcntl
import io
import json
import socket
import struct
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pydicom

from services.embedded.supervisor import EmbeddedStack
from tests.factories.service_client import (
    TINY,
    ask,
    contour,
    index_cohort,
    start_experiment,
    wait_for,
    write_clinic,
)
from tests.factories.uploads import encode, make_slice, make_zip
from tests.integration.deployment import PARSE_SECONDS

MARKER = "ZQXMARKER"
"""In every text of the CT and in the names of its files: nothing else says it."""
TEXTS = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "PatientComments",
    "PatientAddress",
    "InstitutionName",
    "ReferringPhysicianName",
    "OperatorsName",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "AccessionNumber",
    "StudyID",
    "StationName",
    "Manufacturer",
    "ImageComments",
    "RequestingPhysician",
)
IFF_UP = 1
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914


def raise_loopback() -> None:
    """Do what `ip link set lo up` does, where there is no ip."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        found = fcntl.ioctl(probe, SIOCGIFFLAGS, request)
        (flags,) = struct.unpack("16xh14x", found)
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def marked(content: bytes) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    for keyword in TEXTS:
        setattr(dataset, keyword, MARKER)
    dataset.private_block(0x0011, "VENDOR", create=True).add_new(1, "LO", MARKER)
    return encode(dataset)


def marked_ct(clinic: Path) -> dict[str, bytes]:
    folder = min((clinic / "cohort").iterdir()) / "ct"
    paths = sorted(folder.rglob("*.dcm"))
    return {f"{MARKER}/{MARKER} {n}.dcm": marked(p.read_bytes()) for n, p in enumerate(paths)}


def bad_uploads() -> dict[str, tuple[str, bytes]]:
    """Content-Type and body of every kind of refusal, each with the marker wherever it fits."""
    good = {f"{MARKER}{n}.dcm": marked(encode(make_slice(n))) for n in (1, 2, 3)}
    first = next(iter(good.values()))
    no_ct = pydicom.dcmread(io.BytesIO(first))
    no_ct.Modality = MARKER
    broken = pydicom.dcmread(io.BytesIO(first))
    broken.PixelSpacing = None
    broken.SeriesInstanceUID = "1.2.3"
    zipped = "application/zip"
    encrypted = io.BytesIO()
    with zipfile.ZipFile(encrypted, "w") as archive:
        archive.writestr(f"../{MARKER}", b"")
    return {
        "not dicom": (zipped, make_zip({f"{MARKER}.dcm": MARKER.encode() * 100})),
        "truncated": (zipped, make_zip({**good, f"{MARKER}2.dcm": first[:400]})),
        "pixels gone": (zipped, make_zip({**good, f"{MARKER}3.dcm": first[:-100]})),
        "duplicate": (zipped, make_zip({**good, f"{MARKER}4.dcm": first})),
        "not ct": (zipped, make_zip({**good, f"{MARKER}2.dcm": encode(no_ct)})),
        "two series": (zipped, make_zip({**good, f"{MARKER}2.dcm": encode(broken)})),
        "single slice": (zipped, make_zip({f"{MARKER}1.dcm": first})),
        "escaping name": (zipped, encrypted.getvalue()),
        "no zip": (zipped, MARKER.encode()),
        "no type": (f"text/{MARKER}", MARKER.encode()),
        "no form": (f"multipart/form-data; boundary={MARKER}", MARKER.encode()),
    }


def refuse_everything(client: httpx.Client) -> dict[str, str]:
    codes: dict[str, str] = {}
    for name, (content_type, body) in bad_uploads().items():
        headers = {"Content-Type": content_type}
        answer = client.post("/v1/series", content=body, headers=headers)
        assert answer.is_client_error, (name, answer.text)
        codes[name] = answer.json()["code"]
    for path in (f"/v1/series/{MARKER}", f"/{MARKER}", f"/v1/contour-jobs?state={MARKER}"):
        assert client.get(path).is_client_error
    return codes


def fail_a_job(client: httpx.Client, data_dir: Path, ct: dict[str, bytes]) -> str:
    """Have a worker meet a file that was damaged after it was received."""
    fewer = dict(list(ct.items())[1:])
    series = ask(client, "POST", "/v1/series", content=make_zip(fewer), headers=ZIP)
    (data_dir / "series" / series["id"] / "00002.dcm").write_bytes(f"{MARKER} ".encode() * 99)
    job = ask(client, "POST", "/v1/contour-jobs", json={"series_id": series["id"]})
    wait = wait_for(client, job["links"]["self"], "failed")
    client.delete(f"/v1/series/{series['id']}")
    return wait["error"]["code"]


ZIP = {"Content-Type": "application/zip"}


def work(stack: EmbeddedStack, clinic: Path, data_dir: Path) -> dict[str, Any]:
    """A job, an edit, every refusal, a failure, a dataset, an experiment and its report."""
    with httpx.Client(
        base_url=stack.base_url, headers=stack.headers, trust_env=False, timeout=60
    ) as client:
        ct = marked_ct(clinic)
        job = contour(client, make_zip(ct))
        rtstruct = client.get(f"/v1/contour-jobs/{job['id']}/rtstruct").content
        edited = ask(
            client,
            "POST",
            f"/v1/contour-jobs/{job['id']}/edited-rtstructs?reviewer=Dr%20A",
            content=rtstruct,
            headers={"Content-Type": "application/dicom"},
        )
        wait_for(client, f"/v1/edited-rtstructs/{edited['id']}", "succeeded")
        outcome = {
            "patient": str(pydicom.dcmread(io.BytesIO(rtstruct)).PatientName),
            "refusals": refuse_everything(client),
            "failure": fail_a_job(client, data_dir, ct),
        }
        version = index_cohort(client, "offline")
        asked = {"kind": "training", "settings": TINY, "budget": {"max_epochs": 1}}
        experiment = start_experiment(client, version, **asked)
        wait_for(client, experiment["links"]["self"], "finished")
        report = ask(client, "GET", experiment["links"]["reports"])["items"][0]
        wait_for(client, report["links"]["self"], "succeeded")
        return outcome


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--own-network", action="store_true")
    parser.add_argument("--deidentify", action="store_true")
    arguments = parser.parse_args()
    if arguments.own_network:
        raise_loopback()
    clinic, data_dir = write_clinic(arguments.folder / "clinic"), arguments.folder / "data"
    variables = {
        "CERVICONTOUR_DATASETS_DIR": str(clinic),
        "CERVICONTOUR_THREAD_COUNT": "1",
        "CERVICONTOUR_PARSE_TIME_LIMIT_SECONDS": str(PARSE_SECONDS),
        "CERVICONTOUR_DEIDENTIFY_STORED_SERIES": str(arguments.deidentify),
        "CERVICONTOUR_LOG_LEVEL": "DEBUG",
    }
    with EmbeddedStack(data_dir, variables=variables) as stack:
        outcome = work(stack, clinic, data_dir)
    (arguments.folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
