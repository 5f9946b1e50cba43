"""Bills of materials: they name every locked package of an image, and are CycloneDX."""

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.locks import CUDA_LOCK, ROOT, read_lock
from scripts.sbom import SPEC_VERSION, bill_of, describe_environment

# Describing two hundred packages takes 15 s on a quiet machine and minutes on a busy one.


@pytest.fixture(scope="module")
def environment() -> dict[str, Any]:
    return describe_environment()


@pytest.mark.parametrize("image", ["api", "worker"])
def test_a_bill_names_every_locked_package_of_its_image(
    environment: dict[str, Any], image: str
) -> None:
    locked = read_lock(ROOT / "requirements" / f"{image}.txt")
    if image == "worker":
        locked |= read_lock(CUDA_LOCK)

    bill = bill_of(image, environment)

    found = {component["name"]: component for component in bill["components"]}
    assert found.keys() == locked.keys()
    for name, entry in locked.items():
        assert found[name]["version"] == entry.version
        (reference,) = found[name]["externalReferences"]
        assert {h["content"] for h in reference["hashes"]} == set(entry.sha256)
    assert bill["metadata"]["component"]["version"]


def test_licences_are_named_where_packages_are_installed(environment: dict[str, Any]) -> None:
    components = bill_of("api", environment)["components"]
    unlicensed = [c["name"] for c in components if not c.get("licenses")]
    assert len(unlicensed) < len(components) / 10, unlicensed


def test_a_bill_is_cyclonedx_and_says_nothing_of_time_or_place(
    environment: dict[str, Any],
) -> None:
    bill = bill_of("api", environment)
    # a few components suffice for the form: the validator takes a second for every ten
    bill["components"] = bill["components"][:10]
    refs = {component["bom-ref"] for component in bill["components"]}
    bill["dependencies"] = [
        {"ref": d["ref"], "dependsOn": [r for r in d["dependsOn"] if r in refs]}
        for d in bill["dependencies"]
        if d["ref"] in refs
    ]
    text = json.dumps(bill)
    validator = JsonStrictValidator(SchemaVersion.from_version(SPEC_VERSION))
    assert validator.validate_str(text) is None
    assert "serialNumber" not in bill
    assert "timestamp" not in text
    assert str(ROOT) not in text


def test_what_is_locked_and_not_installed_is_refused(environment: dict[str, Any]) -> None:
    without = environment | {
        "components": [c for c in environment["components"] if c["name"] != "fastapi"]
    }
    with pytest.raises(SystemExit, match="fastapi is locked and not installed"):
        bill_of("api", without)
