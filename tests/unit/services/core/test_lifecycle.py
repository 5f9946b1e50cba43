import pytest

from services.core.lifecycle import ACTIVE_STATES, TERMINAL_STATES, JobState, is_legal


class TestJobState:
    def test_ended_jobs_never_change(self) -> None:
        assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == TERMINAL_STATES
        assert not any(is_legal(s, t) for s in TERMINAL_STATES for t in JobState)

    def test_every_other_state_is_active(self) -> None:
        assert {JobState.QUEUED, JobState.RUNNING} == ACTIVE_STATES

    @pytest.mark.parametrize(
        ("source", "target", "legal"),
        [
            (JobState.QUEUED, JobState.RUNNING, True),
            (JobState.QUEUED, JobState.SUCCEEDED, False),
            (JobState.QUEUED, JobState.FAILED, False),
            (JobState.RUNNING, JobState.QUEUED, True),
            (JobState.RUNNING, JobState.CANCELLED, True),
        ],
    )
    def test_only_the_table_allows(
        self, source: JobState, target: JobState, *, legal: bool
    ) -> None:
        assert is_legal(source, target) is legal
