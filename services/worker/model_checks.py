"""What weights go through before they may contour: the files, the network, and what it finds."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from ml.data.dataset import LabelledCase, open_dataset
from ml.evaluation.evaluate import score_case
from ml.evaluation.measures import DSC, mean_of_finite, mean_over_structures
from ml.evaluation.rows import CaseScore, RunLabel
from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.structures import CERVIX
from services.core.errors import ServiceError, UnavailableError
from services.core.lifecycle import AliasName, JobErrorCode, JobStage
from services.core.model_errors import BelowMinimumError, StructuresDifferError, WeightsChangedError
from services.core.repositories.leases import Claim
from services.core.repositories.model_versions import ServedVersion
from services.core.storage import CARD_NAME, WEIGHTS_NAME, Storage, StoredKind
from services.core.tables.leased import Json
from services.core.tables.model_versions import ModelVersion
from services.core.unit_of_work import UnitOfWork
from services.worker.context import WorkerContext
from services.worker.lease import Lease
from services.worker.leased_work import finish, refuse
from services.worker.networks import LoadedNetwork, WeightsUnusableError
from services.worker.numbers import finite_or_none

PHANTOM = PhantomSpec(seed=910_001, tier=PhantomTier.SMALL)
"""Contoured where there are no test cases; far from the seeds of cohorts and packaged weights."""

CONTOURING_SHARE = (0.1, 0.95)
"""Progress at the begin and the end of the evaluation."""


class WorseThanProductionError(ServiceError):
    """On the same cases production is better by more than was allowed."""

    code = JobErrorCode.WORSE_THAN_PRODUCTION

    def __init__(self, *, candidate: float, production: float, margin: float) -> None:
        super().__init__(
            f"mean Dice {candidate:.3f}, of production {production:.3f} on the same cases",
            candidate=candidate,
            production=production,
            margin=margin,
        )


class NoTestCasesError(ServiceError):
    """The dataset version has nothing to judge weights on."""

    code = JobErrorCode.NO_TEST_CASES

    def __init__(self, version_id: UUID) -> None:
        super().__init__(
            f"dataset version {version_id} has no test case", dataset_version_id=str(version_id)
        )


@dataclass(kw_only=True, slots=True)
class _Check:
    """One version on its way, and what was found of it so far."""

    worker: WorkerContext
    lease: Lease
    version: ModelVersion
    production: ServedVersion | None
    results: Json = field(default_factory=dict[str, Json])

    def note(self, name: str, error: ServiceError | None, **values: object) -> None:
        """Keep the values of a check; raise the error if it was not passed."""
        self.results[name] = {"ok": error is None, **values}
        if error is not None:
            raise error


def check_model_version(worker: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Check a version and publish its files, or end it with the reason and without files.

    Raises:
        UnavailableError: a disk or a database failed, which says nothing of the weights; what was
            sent stays for the next start.
    """
    with worker.unit_of_work() as uow:
        version = uow.model_versions.get(claim.resource_id)
        production = uow.model_aliases.served(AliasName.PRODUCTION)
    check = _Check(worker=worker, lease=lease, version=version, production=production)
    try:
        with worker.storage.staging() as folder:
            outcome = {"card": _check_all(check, folder), "checks": check.results}
            lease.check()
            finish(worker, claim, outcome, lambda _: _publish(worker.storage, version.id, folder))
    except UnavailableError:
        raise
    except ServiceError as error:
        if not refuse(worker, claim, error, lambda uow: _give_up(check, uow)):
            return
    worker.storage.delete(StoredKind.MODEL_UPLOADS, version.id)


def _publish(storage: Storage, version_id: UUID, folder: Path) -> None:
    storage.publish(StoredKind.MODEL_VERSIONS, folder, version_id)


def _give_up(check: _Check, uow: UnitOfWork) -> None:
    uow.model_versions.note_checks(check.version.id, check.results)
    # left by a start that died between publishing and its commit
    check.worker.storage.delete(StoredKind.MODEL_VERSIONS, check.version.id)


def _check_all(check: _Check, folder: Path) -> Json:
    """Bring the files into the folder, check everything and return the card."""
    check.lease.report(JobStage.READING, 0.0)
    source = _source_of(check.version, check.worker.storage)
    _copy_weights(check, source, folder / WEIGHTS_NAME)
    card = _copy_card(check, source, folder / CARD_NAME)
    network = _load(check, folder / WEIGHTS_NAME)
    _evaluate(check, network)
    return card


def _source_of(version: ModelVersion, storage: Storage) -> Path:
    if version.run_id is not None:
        return storage.folder(StoredKind.RUNS, version.run_id)
    return storage.folder(StoredKind.MODEL_UPLOADS, version.id)


def _copy_weights(check: _Check, source: Path, target: Path) -> None:
    expected, found = check.version.weights_sha256, None
    if (source / WEIGHTS_NAME).is_file():
        shutil.copyfile(source / WEIGHTS_NAME, target)
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    error = None
    if found != expected:
        error = WeightsChangedError(check.version.id, expected=expected, found=found)
    check.note("checksum", error, expected=expected, found=found)


def _copy_card(check: _Check, source: Path, target: Path) -> Json:
    """Write the card under the version's name; return it without what json does not know."""
    try:
        content = (source / CARD_NAME).read_bytes()
        card: Json = json.loads(content)
        values = {**card, "model_version": check.version.name}
    except (FileNotFoundError, ValueError, TypeError) as error:
        check.note("card", WeightsUnusableError(f"no card ({type(error).__name__})"))
        raise
    found = hashlib.sha256(content).hexdigest()
    expected = check.version.request.get("card_sha256", found)  # a run has no manifest
    changed = None
    if found != expected:
        changed = WeightsChangedError(check.version.id, expected=expected, found=found)
    check.note("card", changed, expected=expected, found=found)
    target.write_text(json.dumps(values, indent=2) + "\n")
    return json.loads(
        target.read_text(),
        parse_constant=lambda _: None,
        parse_float=lambda text: finite_or_none(float(text)),
    )


def _load(check: _Check, path: Path) -> LoadedNetwork:
    try:
        network = check.worker.networks.load_file(path)
    except WeightsUnusableError as error:
        check.note("loads", error, reason=error.context["reason"])
        raise
    check.note("loads", None, device=check.worker.networks.options.device)
    expected, found = CERVIX.name, network.structures.name
    error = StructuresDifferError(expected=expected, found=found) if found != expected else None
    check.note("structures", error, expected=expected, found=found)
    return network


def _evaluate(check: _Check, candidate: LoadedNetwork) -> None:
    """Contour the same cases with the candidate and with production, and judge."""
    production = check.worker.networks.get(check.production)
    cases = _cases(check)
    case_ids: list[str] = []
    rows: dict[str, list[CaseScore]] = {"candidate": [], "production": []}
    for case, (begin, end) in zip(cases, _shares(check), strict=False):
        case_ids.append(case.case_id)
        middle = (begin + end) / 2
        rows["candidate"] += _score(check, candidate, case, (begin, middle))
        rows["production"] += _score(check, production, case, (middle, end))
    found = {name: _mean_dice(of) for name, of in rows.items()}
    check.note(
        "contours",
        None,
        cases=case_ids,
        production_version=production.model_version,
        production_sha256=production.weights_sha256,
        **found,
    )
    if check.version.dataset_version_id is not None:
        _judge(check, found["candidate"], found["production"])


def _cases(check: _Check) -> Iterator[LabelledCase]:
    version_id = check.version.dataset_version_id
    if version_id is None:
        phantom = generate_phantom(PHANTOM)
        name = f"phantom-{PHANTOM.seed}"
        yield LabelledCase(
            case_id=name, patient_id=name, volume=phantom.volume, labels=phantom.labels
        )
        return
    dataset = open_dataset(check.worker.storage.folder(StoredKind.DATASETS, version_id))
    case_ids = dataset.case_ids(dataset.split.test) if dataset.split else []
    if not case_ids:
        check.note("contours", NoTestCasesError(version_id), cases=[])
    yield from dataset.read_cases(case_ids[: check.version.request["evaluation_cases"]])


def _shares(check: _Check) -> list[tuple[float, float]]:
    begin, end = CONTOURING_SHARE
    count = check.version.request["evaluation_cases"]
    step = (end - begin) / count
    return [(begin + step * number, begin + step * (number + 1)) for number in range(count)]


def _score(
    check: _Check, network: LoadedNetwork, case: LabelledCase, share: tuple[float, float]
) -> Iterator[CaseScore]:
    def report(done: float) -> None:
        check.lease.report(JobStage.CONTOURING, share[0] + (share[1] - share[0]) * done)

    labels = network.predictor.predict(case.volume, report).labels
    return score_case(case, labels, CERVIX, RunLabel(part="test"))


def _mean_dice(rows: Sequence[CaseScore]) -> Json:
    by_structure = {
        name: finite_or_none(mean_of_finite([row.dice for row in rows if row.structure == name]))
        for name in CERVIX.names
    }
    mean = finite_or_none(mean_over_structures(rows, DSC))
    return {"mean_dice": mean, "structures": by_structure}


def _judge(check: _Check, candidate: Json, production: Json) -> None:
    minimum: Json = check.version.request["minimum"]
    asked = {"mean_dice": minimum["mean_dice"]} | minimum["structures"]
    found = {"mean_dice": candidate["mean_dice"]} | candidate["structures"]
    # what no case shows cannot be judged here; the run's own scores were, when it was promoted
    lacking = {
        name: {"minimum": least, "found": found[name]}
        for name, least in asked.items()
        if least is not None and found[name] is not None and found[name] < least
    }
    check.note("minimum", BelowMinimumError(lacking) if lacking else None, asked=asked, found=found)
    mine, theirs = candidate["mean_dice"], production["mean_dice"]
    margin: float = check.version.request["margin"]
    error = None
    if mine is not None and theirs is not None and theirs - mine > margin:
        error = WorseThanProductionError(candidate=mine, production=theirs, margin=margin)
    check.note("production", error, candidate=mine, production=theirs, margin=margin)
