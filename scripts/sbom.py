"""Writes one bill of materials an image: `python -m scripts.sbom FOLDER`.

The environment at hand holds every package of both images; what a lock names is an image's. The
result says the same whenever and wherever it is made: no time, no serial number, no paths.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.locks import CUDA_LOCK, ROOT, Locked, normal, read_lock

IMAGES = ("api", "worker")
SPEC_VERSION = "1.6"

Json = dict[str, Any]  # Any: nested json values


def main(folder: Path) -> None:
    """Write api.cdx.json and worker.cdx.json.

    Raises:
        SystemExit: the environment does not hold what is locked.
    """
    environment = describe_environment()
    folder.mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        text = json.dumps(bill_of(image, environment), indent=2, sort_keys=True) + "\n"
        error = JsonStrictValidator(SchemaVersion.from_version(SPEC_VERSION)).validate_str(text)
        if error is not None:
            sys.exit(f"the bill of {image} is no CycloneDX: {error}")
        path = folder / f"{image}.cdx.json"
        path.write_text(text)
        print(f"{path}: {len(json.loads(text)['components'])} components")


def describe_environment() -> Json:
    """Return the bill of the whole environment of this interpreter."""
    done = subprocess.run(
        [
            sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible",
            "--spec-version", SPEC_VERSION, "--output-format", "JSON", sys.executable,
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def bill_of(image: str, environment: Json) -> Json:
    """Return the part of an environment's bill that an image holds.

    Raises:
        SystemExit: something locked is not installed, or in another version.
    """
    locked = read_lock(ROOT / "requirements" / f"{image}.txt")
    if image == "worker":
        locked |= read_lock(CUDA_LOCK)
    installed = {normal(c["name"]): c for c in environment["components"]}
    components = [
        _component(name, entry, installed.get(name)) for name, entry in sorted(locked.items())
    ]
    refs = {component["bom-ref"] for component in components}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": f"cervicontour-{image}",
                "name": f"cervicontour/{image}",
                "version": _own_version(environment),
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [
            {"ref": entry["ref"], "dependsOn": sorted(refs & set(entry.get("dependsOn", ())))}
            for entry in environment.get("dependencies", ())
            if entry["ref"] in refs
        ],
    }


def _component(name: str, entry: Locked, installed: Json | None) -> Json:
    if installed is None and name in read_lock(CUDA_LOCK):
        # A machine without CUDA has no metadata of its libraries: named and hashed, unlicensed.
        installed = {"type": "library", "bom-ref": f"{name}=={entry.version}", "name": name}
    elif installed is None:
        sys.exit(f"{name} is locked and not installed: run make setup")
    elif name != "torch" and installed["version"] != entry.version:
        sys.exit(f"{name} {installed['version']} is installed, {entry.version} is locked")
    return {
        "type": installed["type"],
        "bom-ref": installed["bom-ref"],
        "name": name,
        "version": entry.version,
        "purl": f"pkg:pypi/{name}@{entry.version}",
        **{key: installed[key] for key in ("description", "licenses") if key in installed},
        # One package has a file a platform: these are the only ones that may be installed for it.
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"pkg:pypi/{name}@{entry.version}",
                "hashes": [
                    {"alg": "SHA-256", "content": digest} for digest in sorted(entry.sha256)
                ],
            }
        ],
    }


def _own_version(environment: Json) -> str:
    components = environment["components"]
    root = environment.get("metadata", {}).get("component", {})
    found = [c for c in (*components, root) if c.get("name") == "cervicontour"]
    return found[0]["version"] if found else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
