"""Experiments, their runs and reports."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from uuid import UUID

from services.client.errors import ClientError
from services.client.events import Change, follow
from services.client.models import (
    Epoch,
    Experiment,
    ExperimentReport,
    Json,
    Leaderboard,
    Plan,
    Run,
)
from services.client.transport import Transport, path_to
from services.client.waiting import Patience, check_succeeded, wait_until_over

Id = UUID | str


class Experiments:
    """Questions that training answers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(self, kind: str, dataset_version_id: Id, options: Json | None = None) -> Experiment:
        """Queue every run of an experiment; `options` as POST /v1/experiments takes them."""
        return self._transport.post(
            path_to("experiments"), Experiment, _body(kind, dataset_version_id, options)
        )

    def plan(self, kind: str, dataset_version_id: Id, options: Json | None = None) -> Plan:
        """Return the runs that start() would queue, and how long they may take."""
        body = _body(kind, dataset_version_id, options) | {"dry_run": True}
        return self._transport.post(path_to("experiments"), Plan, body)

    def list_all(self, *, state: str | None = None) -> Iterator[Experiment]:
        """Yield experiments, newest first."""
        return self._transport.pages(path_to("experiments"), Experiment, {"state": state})

    def get(self, experiment_id: Id) -> Experiment:
        """Return an experiment."""
        return self._transport.get(path_to("experiments", experiment_id), Experiment)

    def cancel(self, experiment_id: Id) -> Experiment:
        """End queued runs at once and ask running ones to stop."""
        return self._transport.post(path_to("experiments", experiment_id, "cancel"), Experiment)

    def events(self, experiment_id: Id) -> Iterator[Change]:
        """Yield every change of an experiment, its runs and epochs until all is over."""
        return follow(self._transport, path_to("experiments", experiment_id, "events"))

    def leaderboard(self, experiment_id: Id) -> Leaderboard:
        """Return the configurations in order of validation Dice."""
        path = path_to("experiments", experiment_id, "leaderboard")
        return self._transport.get(path, Leaderboard)

    def runs(self, experiment_id: Id) -> Iterator[Run]:
        """Yield the runs of an experiment in the order of the plan."""
        return self._transport.pages(path_to("experiments", experiment_id, "runs"), Run)

    def epochs(self, run_id: Id) -> Iterator[Epoch]:
        """Yield the finished epochs of a run."""
        return self._transport.pages(path_to("runs", run_id, "epochs"), Epoch)

    def resume_run(self, run_id: Id) -> Run:
        """Queue a failed or cancelled run again, behind its last finished epoch."""
        return self._transport.post(path_to("runs", run_id, "resume"), Run)

    def download_scores(self, experiment_id: Id, path: Path) -> Path:
        """Write the scores of every run, case and structure to a CSV file."""
        return self._transport.download(path_to("experiments", experiment_id, "scores.csv"), path)

    def report(
        self,
        experiment_ids: Sequence[Id],
        on_progress: Callable[[ExperimentReport], None] | None = None,
        patience: Patience | None = None,
    ) -> ExperimentReport:
        """Return the latest report on exactly these experiments once it is written.

        One is asked for where there is none.

        Raises:
            WorkFailedError: it could not be written.
        """
        found = self._find_report([str(i) for i in experiment_ids])
        if found is None:
            body = {"experiment_ids": [str(i) for i in experiment_ids]}
            found = self._transport.post(path_to("experiment-reports"), ExperimentReport, body)
        path = path_to("experiment-reports", found.id)
        report = wait_until_over(
            lambda: self._transport.get(path, ExperimentReport), on_progress, patience
        )
        check_succeeded(report)
        return report

    def download_report(self, report: ExperimentReport, folder: Path) -> list[Path]:
        """Write every file of a report into a folder, which is made where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        return [
            self._transport.download(
                path_to("experiment-reports", report.id, "files", name), folder / _plain(name)
            )
            for name in report.links.files
        ]

    def _find_report(self, experiment_ids: Sequence[str]) -> ExperimentReport | None:
        wanted = {path_to("experiments", experiment_id) for experiment_id in experiment_ids}
        reports = self._transport.pages(
            path_to("experiment-reports"), ExperimentReport, {"experiment_id": experiment_ids[0]}
        )
        for report in reports:
            is_usable = not report.is_over or report.state == "succeeded"
            if is_usable and set(report.links.experiments) == wanted:
                return report
        return None


def _body(kind: str, dataset_version_id: Id, options: Json | None) -> Json:
    return {"kind": kind, "dataset_version_id": str(dataset_version_id), **(options or {})}


def _plain(name: str) -> str:
    """Return the name of a file that stays in its folder.

    Raises:
        ClientError: it is a path.
    """
    if PurePosixPath(name).name != name or "\\" in name or ":" in name:
        raise ClientError("unexpected_answer", f"the report has a file called {name!r}")
    return name
