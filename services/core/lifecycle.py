"""The states of a contouring job and the only ways from one to the next."""

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
    DONE = "done"


class JobErrorCode(StrEnum):
    """Reasons for FAILED besides the codes of ml.dicom.errors; clients may branch on them."""

    WORKER_LOST = "worker_lost"
    """Its worker died or fell silent in every attempt."""
    TIME_LIMIT = "time_limit"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    STORED_FILES_MISSING = "stored_files_missing"
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
