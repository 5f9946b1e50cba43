"""What a run was, in json beside its state: enough to repeat it and to tell it from others."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ml
from ml.config import RunConfig
from ml.training.data import TrainingData
from ml.training.state import TrainingState
from ml.whole_files import write_whole

RUN_CARD_FILE = "run.json"
LIBRARIES = ("torch", "numpy", "scipy")


def run_card(config: RunConfig, data: TrainingData, state: TrainingState) -> dict[str, Any]:
    """Collect the facts of a run; values are plain json types."""
    settings = config.to_dict()
    batch_size = config.training.batch_size
    return {
        "config": settings,
        "config_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "seed": config.training.seed,
        "batch_size": batch_size,
        "micro_batch_size": config.training.micro_batch_size or batch_size,
        "epochs": state.epoch,
        "steps": state.step,
        "seconds": state.seconds,
        "best_validation_loss": state.early_stopping.best_loss,
        "best_validation_dice": state.best_dice,
        "parameters": sum(p.numel() for p in state.network.parameters()),
        "data": {
            **data.facts,
            "sha256": data.sha256(),
            "cases": data.manifest(),
            "patients": {
                "training": sorted({case.patient_id for case in data.training}),
                "validation": sorted({case.patient_id for case in data.validation}),
            },
        },
        "code": {"version": version("cervicontour"), "sha256": code_sha256()},
        "library_versions": library_versions(),
        "platform": platform.platform(),
    }


def library_versions() -> dict[str, str]:
    """Return the versions of what numbers depend on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def write_run_card(card: dict[str, Any], folder: Path) -> Path:  # Any: json
    """Write the card, replacing the former in one rename."""
    path = folder / RUN_CARD_FILE
    write_whole(path, json.dumps(card, indent=1) + "\n")
    return path


def code_sha256() -> str:
    """Hash the modules of ml: versions alone do not tell two states of the code apart."""
    folder = Path(ml.__path__[0])
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
