"""One run from its configuration to a checkpoint, in a folder that can be taken up again.

<folder>/
  config.json            what was asked
  training/              the state after the last epoch, and a line of json for every epoch
  checkpoint.safetensors the kept weights, with their card beside them
  outcome.json           written last: what the run came to, or why it failed
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ml.checkpoint import Checkpoint, CheckpointCard, save_checkpoint
from ml.config import RunConfig
from ml.data.cases import Case, cache_cases
from ml.data.dataset import Dataset
from ml.networks.blocks import channels_last
from ml.networks.imagenet import load_imagenet_encoder
from ml.networks.resaunet import ResAUNet
from ml.planning.plan import PlannedRun
from ml.planning.ranking import RunOutcome
from ml.training.data import TrainingData
from ml.training.loop import train
from ml.training.objective import Objective
from ml.training.reporter import FileReporter, Reporter, StopRequestedError
from ml.training.run_card import library_versions
from ml.training.state import STATE_FILE, TrainingState, is_same_run, save_state, start_state
from ml.training.step import NonFiniteLossError
from ml.training.validation import validate
from ml.whole_files import write_whole

CONFIG_FILE = "config.json"
EPOCHS_FILE = "epochs.jsonl"
OUTCOME_FILE = "outcome.json"
CHECKPOINT_FILE = "checkpoint.safetensors"
NON_FINITE_LOSS = "non_finite_loss"
RESEARCH_USE = "Research only: trained by a researcher, not reviewed; not for clinical use."


class ExperimentError(Exception):
    """An experiment cannot go on as asked."""


class RunStoppedError(Exception):
    """A run was stopped from outside before it was over; it can be taken up again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """The cases of a run, and where their crops are kept."""

    dataset: Dataset
    training: tuple[str, ...]
    """Ids of cases."""
    validation: tuple[str, ...]
    crops: Path
    encoder_weights: Path | None = None
    """ImageNet weights of ResNet34 that fresh ResAU-Nets start from, in a local file."""
    device: str = "cpu"
    """Torch's name of where networks are trained."""


def execute_run(
    run: PlannedRun, data: RunData, folder: Path, reporter: Reporter | None = None
) -> RunOutcome:
    """Train a run, or go on with it, or return what it came to if it is over.

    A run that is over goes on if it is now asked for more epochs, time or patience. A loss that is
    not finite ends the run with a failure; everything else that goes wrong is raised, and the run
    can be taken up again. Files are replaced, never written into, so a folder of hard links to
    another run's files goes on by itself and leaves those as they are.

    Raises:
        ExperimentError: the folder holds another run.
        RunStoppedError: the reporter stopped it, be it while the best weights are measured.
        EncoderWeightsError: the file of encoder weights cannot be used.
    """
    _claim(folder, run.config)
    finished = read_outcome(folder)
    if finished is not None:
        return finished
    try:
        outcome = _carry_out(run, data, folder, reporter or FileReporter(folder / EPOCHS_FILE))
    except NonFiniteLossError as error:
        outcome = _failed(run, NON_FINITE_LOSS, str(error))
    except StopRequestedError as error:
        raise RunStoppedError(run.name) from error
    _write_json(folder / OUTCOME_FILE, dataclasses.asdict(outcome))
    return outcome


def read_outcome(folder: Path) -> RunOutcome | None:
    """Read what a finished run came to, or None while it is not over."""
    path = folder / OUTCOME_FILE
    if not path.exists():
        return None
    values = json.loads(path.read_text())
    # outcomes of earlier versions have no code, and knew this failure alone
    values.setdefault("failure_code", NON_FINITE_LOSS if values.get("failure") else None)
    return RunOutcome(**values)


def cache_crops(configs: Sequence[RunConfig], data: RunData, processes: int) -> None:
    """Make the crops that runs will read, once for all that share a preprocessing."""
    for preprocessing in dict.fromkeys(config.preprocessing for config in configs):
        case_ids = [*data.training, *data.validation]
        cache_cases(data.dataset, case_ids, preprocessing, data.crops, processes)


def _claim(folder: Path, config: RunConfig) -> None:
    path = folder / CONFIG_FILE
    claimed = RunConfig.from_dict(json.loads(path.read_text())) if path.exists() else None
    if claimed == config:
        return
    if claimed is not None and not is_same_run(claimed, config):
        raise ExperimentError(f"{folder} holds a run of another configuration")
    folder.mkdir(parents=True, exist_ok=True)
    # what the run came to as it was first asked for says nothing of the run it is now
    (folder / OUTCOME_FILE).unlink(missing_ok=True)
    _write_json(path, config.to_dict())


def _carry_out(run: PlannedRun, data: RunData, folder: Path, reporter: Reporter) -> RunOutcome:
    cases = _load(run.config, data)
    device = torch.device(data.device)
    _start_from_encoder(run.config, data, folder / "training", device)
    state = train(run.config, cases, folder / "training", reporter, device=device)
    if not state.is_over(run.config.training):
        raise RunStoppedError(run.name)
    if not state.best_weights:
        raise NonFiniteLossError(math.nan, "no epoch had a finite one on the validation cases")
    return _finish(run, state, cases, folder, reporter)


def _load(config: RunConfig, data: RunData) -> TrainingData:
    def cached(case_ids: tuple[str, ...]) -> list[Case]:
        return cache_cases(data.dataset, case_ids, config.preprocessing, data.crops, 1)

    return TrainingData(
        training=cached(data.training),
        validation=cached(data.validation),
        structures=data.dataset.structures,
        facts={
            "dataset": data.dataset.name,
            "split_seed": data.dataset.split.seed if data.dataset.split else None,
            "encoder_weights_sha256": _sha256(data.encoder_weights),
        },
    )


def _sha256(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _start_from_encoder(
    config: RunConfig, data: RunData, folder: Path, device: torch.device
) -> None:
    """Write the state of a run before its first epoch, with the encoder's weights in it."""
    if data.encoder_weights is None or (folder / STATE_FILE).exists():
        return
    state = start_state(config, device)
    if not isinstance(state.network, ResAUNet):
        raise ExperimentError("encoder weights are for ResAU-Net alone")
    load_imagenet_encoder(state.network, data.encoder_weights)
    if state.mean_network is not None:
        state.mean_network.load_state_dict(state.network.state_dict())
    folder.mkdir(parents=True, exist_ok=True)
    save_state(state, config, folder)


def _finish(
    run: PlannedRun, state: TrainingState, cases: TrainingData, folder: Path, reporter: Reporter
) -> RunOutcome:
    """Keep the best weights, measured once more on the validation cases."""
    card = CheckpointCard(
        model_version=run.name,
        intended_use=RESEARCH_USE,
        data={
            "training": len(cases.training),
            "validation": len(cases.validation),
            "sha256": cases.sha256(),
            **cases.facts,
        },
        parameters=sum(p.numel() for p in state.network.parameters()),
        library_versions=library_versions(),
    )
    checkpoint = Checkpoint(run_config=run.config, card=card, weights=state.best_weights, sha256="")
    network = channels_last(checkpoint.build_network())
    objective = Objective(run.config, torch.device("cpu"))
    found = validate(
        network,
        objective,
        cases.validation,
        run.config,
        cases.structures,
        reporter.should_stop,
    )
    card = dataclasses.replace(
        card,
        metrics={
            "validation": {"loss": found.loss, "dice": found.dice},
            "epochs": state.epoch,
            "steps": state.step,
        },
    )
    save_checkpoint(dataclasses.replace(checkpoint, card=card), folder / CHECKPOINT_FILE)
    return RunOutcome(
        label=run.label,
        seed=run.seed,
        validation_loss=found.loss,
        validation_dice=found.dice,
        epochs=state.epoch,
    )


def _failed(run: PlannedRun, code: str, reason: str) -> RunOutcome:
    return RunOutcome(
        label=run.label,
        seed=run.seed,
        validation_loss=math.nan,
        validation_dice={},
        epochs=0,
        failure=reason,
        failure_code=code,
    )


def _write_json(path: Path, values: object) -> None:
    write_whole(path, json.dumps(values, indent=1) + "\n")
