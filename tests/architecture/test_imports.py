"""What importing a process' code loads; import-linter cannot see a parent package's __init__."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REGISTRIES = {"ml/networks/__init__.py", "ml/losses/__init__.py"}
"""The two packages whose __init__ holds a dict."""


def loaded_by(statement: str, folder: Path = ROOT) -> set[str]:
    script = f"import sys; {statement}; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import services.api.main",
        "import services.api.main; services.api.main.create_app().openapi()",
        "import ml.dicom.series, ml.geometry, ml.structures, ml.config",
        "import ml.planning.plan, ml.planning.recipes, ml.planning.ranking",
        "import ml.grading, ml.name_map",
    ],
)
def test_the_api_and_the_rim_load_no_tensor_or_image_library(statement: str) -> None:
    assert not loaded_by(statement) & {"torch", "torchvision", "cv2", "scipy", "rt_utils"}


def test_importing_the_api_loads_neither_celery_nor_pydicom() -> None:
    # Each is about a third of a second; the lifespan loads them.
    assert not loaded_by("import services.api.main") & {"celery", "kombu", "pydicom", "alembic"}


def test_planning_grading_and_names_need_the_standard_library_alone() -> None:
    modules = "ml.planning.plan, ml.planning.recipes, ml.planning.ranking, ml.grading, ml.name_map"
    assert not loaded_by(f"import {modules}") & {"numpy", "jaxtyping", "pydicom"}


def test_the_client_loads_nothing_of_the_service_or_the_networks() -> None:
    foreign = {"fastapi", "sqlalchemy", "celery", "numpy", "pydicom", "torch", "ml"}
    assert not loaded_by("import services.client.cli.main") & foreign


def test_importing_the_api_does_nothing(tmp_path: Path) -> None:
    # a folder of its own: other tests write into the repository meanwhile
    loaded_by("import services.api.main", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_init_files_are_empty() -> None:
    written = {
        path.relative_to(ROOT).as_posix()
        for folder in ("ml", "services")
        for path in (ROOT / folder).rglob("__init__.py")
        if path.stat().st_size
    }
    assert written <= REGISTRIES


@pytest.mark.parametrize("folder", ["ml", "services"])
def test_every_package_has_an_init_file(folder: str) -> None:
    packages = {path.parent for path in (ROOT / folder).rglob("*.py")}
    assert not [p for p in packages if not (p / "__init__.py").is_file()]


def test_migrations_are_no_package() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists(), "it would shadow alembic itself"


def test_resources_have_routes_service_and_schemas() -> None:
    resources = {path.parent for path in (ROOT / "services" / "api").rglob("routes.py")}
    assert resources
    for resource in resources:
        assert (resource / "service.py").is_file(), resource
        assert (resource / "schemas.py").is_file(), resource
