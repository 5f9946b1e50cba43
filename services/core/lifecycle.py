"""The states of what workers work on and the only ways from one to the next."""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Tell whether the job will never change again."""
        return not LEGAL_TRANSITIONS[self]


class JobStage(StrEnum):
    """What a job is doing; for people who watch it."""

    WAITING = "waiting"
    READING = "reading"
    CONTOURING = "contouring"
    WRITING = "writing"
    CHECKING = "checking"
    IMPORTING = "importing"
    TRAINING = "training"
    SCORING = "scoring"
    COMPARING = "comparing"
    DONE = "done"


class JobErrorCode(StrEnum):
    """Reasons for FAILED besides the codes of ml.dicom.errors; clients may branch on them."""

    WORKER_LOST = "worker_lost"
    """Its worker died or fell silent in every attempt."""
    TIME_LIMIT = "time_limit"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    STORED_FILES_MISSING = "stored_files_missing"
    NON_FINITE_LOSS = "non_finite_loss"
    """A training's loss left the real numbers."""
    WEIGHTS_CHANGED = "weights_changed"
    """Weights are not those that were trained, sent or checked."""
    WEIGHTS_UNUSABLE = "weights_unusable"
    """Weights and card do not make a network."""
    STRUCTURES_DIFFER = "structures_differ"
    BELOW_MINIMUM = "below_minimum"
    WORSE_THAN_PRODUCTION = "worse_than_production"
    NO_TEST_CASES = "no_test_cases"
    RESULT_PURGED = "result_purged"
    SERIES_PURGED = "series_purged"
    INTERNAL_ERROR = "internal_error"


LEGAL_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        # back to QUEUED when the lease of a lost worker has run out
        {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""Every update of a state is one of these."""


def is_legal(source: JobState, target: JobState) -> bool:
    """Tell whether a job may go from one state to another."""
    return target in LEGAL_TRANSITIONS[source]


TERMINAL_STATES = frozenset(state for state in JobState if state.is_terminal)
ACTIVE_STATES = frozenset(JobState) - TERMINAL_STATES

RESUMABLE_STATES = frozenset({JobState.FAILED, JobState.CANCELLED})
"""From these a training run may be queued again, when somebody asks for it."""


class DatasetSourceKind(StrEnum):
    """Where cases come from."""

    FOLDER = "folder"
    """Below the folder that is mounted for datasets."""
    UPLOAD = "upload"
    EDITED_RTSTRUCT = "edited_rtstruct"
    """A contoured series with the structures as a clinician corrected them."""


class CaseStatus(StrEnum):
    """What became of a candidate of a dataset version."""

    IMPORTED = "imported"
    ALREADY_IMPORTED = "already_imported"
    """As the version before has it."""
    REPLACED = "replaced"
    """Another source has later structures of the same CT series."""
    REFUSED = "refused"


class CasePart(StrEnum):
    """What a case is for."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


class ExperimentKind(StrEnum):
    """What an experiment asks."""

    TRAINING = "training"
    GRID_SEARCH = "grid_search"
    LOSS_COMPARISON = "loss_comparison"
    NETWORK_COMPARISON = "network_comparison"


class ExperimentState(StrEnum):
    """Whether an experiment has runs that are not over."""

    RUNNING = "running"
    FINISHED = "finished"
    """Every run ended, in whatever way."""


class ModelVersionOrigin(StrEnum):
    """How weights came here."""

    RUN = "run"
    IMPORT = "import"


class AliasName(StrEnum):
    """What a model version may be."""

    PRODUCTION = "production"
    """Contours every job."""
    SHADOW = "shadow"
    """Contours every job once more; its result is compared and never returned."""


class DeletionCause(StrEnum):
    """Why something was deleted."""

    REQUESTED = "requested"
    """Somebody asked for it."""
    RETENTION = "retention"
    """Its time was over."""
