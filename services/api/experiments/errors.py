"""Why an experiment cannot be made or changed."""

from uuid import UUID

from services.core.errors import ConflictError, ServiceError


class ConfigInvalidError(ServiceError):
    """A setting that does not exist, or a value it cannot have."""

    code = "config_invalid"

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting}: {reason}", setting=setting, reason=reason)
        self.setting = setting


class TooManyRunsError(ServiceError):
    """The plan has more runs than one experiment may have."""

    code = "too_many_runs"

    def __init__(self, runs: int, limit: int) -> None:
        super().__init__(f"the plan has {runs} runs; {limit} are allowed", runs=runs, limit=limit)


class StructureSetDiffersError(ServiceError):
    """The configuration is for other structures than the dataset has."""

    code = "structures_differ"

    def __init__(self, wanted: str, found: str) -> None:
        super().__init__(
            f"the configuration is for structure set {wanted}, the dataset for {found}",
            wanted=wanted,
            found=found,
        )


class DatasetLacksStructureError(ServiceError):
    """No case, or no training case, shows a structure that is to be learned."""

    code = "dataset_lacks_structure"

    def __init__(self, structures: list[str]) -> None:
        super().__init__(f"no training case shows {', '.join(structures)}", structures=structures)


class SplitTooSmallError(ServiceError):
    """A part of the split has no case to train or to validate with."""

    code = "split_too_small"

    def __init__(self, part: str) -> None:
        super().__init__(f"the split has no case for {part}", part=part)


class BatchTooLargeError(ServiceError):
    """A batch has more slices than an epoch draws."""

    code = "batch_larger_than_training_set"

    def __init__(self, batch_size: int, slices: int) -> None:
        super().__init__(
            f"a batch of {batch_size} slices is larger than the {slices} slices of an epoch",
            batch_size=batch_size,
            slices=slices,
        )


class RunNotResumableError(ConflictError):
    """Only a failed or cancelled run can be taken up again."""

    code = "run_not_resumable"

    def __init__(self, run_id: UUID, state: str) -> None:
        super().__init__(f"run {run_id} is {state}", run_id=str(run_id), state=state)


class ReportNotReadyError(ConflictError):
    """The report is not written yet, or could not be."""

    code = "report_not_ready"

    def __init__(self, report_id: UUID, state: str) -> None:
        super().__init__(f"report {report_id} is {state}", report_id=str(report_id), state=state)


class ReportFileNotFoundError(ServiceError):
    """The report has no file of that name."""

    code = "report_file_not_found"

    def __init__(self, report_id: UUID, names: list[str]) -> None:
        super().__init__(
            f"report {report_id} has no such file", report_id=str(report_id), files=names
        )


class NothingToReportError(ConflictError):
    """No run of an experiment succeeded, so there is nothing to compare."""

    code = "nothing_to_report"

    def __init__(self, experiment_id: UUID) -> None:
        super().__init__(
            f"no run of experiment {experiment_id} succeeded", experiment_id=str(experiment_id)
        )


class DatasetVersionsDifferError(ServiceError):
    """Experiments on different cases cannot be paired patient by patient."""

    code = "dataset_versions_differ"

    def __init__(self, versions: list[str]) -> None:
        super().__init__(
            "the experiments were made on different dataset versions", dataset_versions=versions
        )


class ReportInProgressError(ConflictError):
    """A worker has not ended with the report."""

    code = "report_in_progress"

    def __init__(self, report_id: UUID, state: str) -> None:
        super().__init__(f"report {report_id} is {state}", report_id=str(report_id), state=state)


class ReportPurgedError(ServiceError):
    """The files of the report were removed."""

    code = "report_purged"

    def __init__(self, report_id: UUID) -> None:
        super().__init__(f"the files of report {report_id} were removed", report_id=str(report_id))
