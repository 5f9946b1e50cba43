"""Questions answered by training: experiments, their runs, and what the runs measured."""

import datetime as dt
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from services.core.database import JSON_TYPE, Base, UtcDateTime, text_enum
from services.core.lifecycle import ExperimentKind, ExperimentState
from services.core.tables.leased import Json, Leased, Sha256, lease_indexes


class Experiment(Base):
    """A question; its runs answer it."""

    __tablename__ = "experiment"
    __table_args__ = (sa.Index(None, "created_at", "id"), sa.Index(None, "state", "created_at"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[ExperimentKind] = mapped_column(text_enum(ExperimentKind, length=32))
    name: Mapped[str] = mapped_column(sa.String(120))
    dataset_version_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("dataset_version.id"), index=True
    )
    request: Mapped[Json] = mapped_column(JSON_TYPE)
    """As it was asked, defaults filled in."""
    state: Mapped[ExperimentState] = mapped_column(
        text_enum(ExperimentState), default=ExperimentState.RUNNING
    )
    correlation_id: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)


class Run(Leased):
    """One training of an experiment."""

    __tablename__ = "run"
    __table_args__ = (*lease_indexes(), sa.UniqueConstraint("experiment_id", "position"))

    experiment_id: Mapped[UUID] = mapped_column(sa.ForeignKey("experiment.id"))
    position: Mapped[int]
    """In the plan, from 0."""
    label: Mapped[str] = mapped_column(sa.String(255))
    """What it answers for; runs that differ by their seed alone share it."""
    seed: Mapped[int]
    config: Mapped[Json] = mapped_column(JSON_TYPE)
    """Everything that decides it besides its data."""
    max_epochs: Mapped[int]
    restart_after: Mapped[int] = mapped_column(default=0)
    """Fencing token up to which earlier starts left nothing that is gone on with."""
    epochs: Mapped[int] = mapped_column(default=0)
    """Finished so far."""
    training_seconds: Mapped[float] = mapped_column(default=0.0)
    """Of the finished epochs."""
    best_mean_dice: Mapped[float | None]
    """Over structures, on the validation cases, of the best epoch so far."""
    validation_loss: Mapped[float | None]
    """Of the weights that were kept; as the next two, None before the run succeeded."""
    validation_dice: Mapped[dict[str, float | None] | None] = mapped_column(JSON_TYPE)
    """By structure."""
    mean_dice: Mapped[float | None]
    """Of the weights that were kept: mean over structures, on the validation cases."""
    test_dice: Mapped[float | None]
    """Mean over structures of the mean over test cases, in 3-D on the CT's own grid."""
    weights_sha256: Mapped[str | None] = mapped_column(Sha256)
    card: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """Data, code and library versions, as beside the checkpoint."""
    device: Mapped[str | None] = mapped_column(sa.String(16))
    software_version: Mapped[str | None] = mapped_column(sa.String(32))


class RunEpoch(Base):
    """What an epoch of a run came to."""

    __tablename__ = "run_epoch"

    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey("run.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    """Counted from 1."""
    training_loss: Mapped[float]
    validation_loss: Mapped[float | None]
    """None where it is no finite number."""
    validation_dice: Mapped[dict[str, float | None]] = mapped_column(JSON_TYPE)
    """By structure, mean over cases, on the network's grid."""
    mean_dice: Mapped[float | None]
    learning_rate: Mapped[float]
    seconds: Mapped[float]
    is_best: Mapped[bool]
    """Whether no epoch before had a validation loss as low."""
    is_best_dice: Mapped[bool]
    recorded_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)


class RunScore(Base):
    """How well a run found one structure of one case; the columns of ml.evaluation.rows.

    Where the measure is not a number, NULL stands; an infinite distance is infinite.
    """

    __tablename__ = "run_score"
    __table_args__ = (sa.Index(None, "run_id", "id"),)

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True
    )
    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey("run.id"))
    part: Mapped[str] = mapped_column(sa.String(32))
    case: Mapped[str] = mapped_column(sa.String(128))
    patient: Mapped[str] = mapped_column(sa.String(128))
    structure: Mapped[str] = mapped_column(sa.String(64))
    dice: Mapped[float | None]
    background_dice: Mapped[float | None]
    prediction_ml: Mapped[float | None]
    reference_ml: Mapped[float | None]
    hd95_mm: Mapped[float | None]
    hd95_pooled_mm: Mapped[float | None]
    hd100_mm: Mapped[float | None]
    hd_equation7_mm: Mapped[float | None]
    assd_mm: Mapped[float | None]
    surface_dice_1mm: Mapped[float | None]
    surface_dice_2mm: Mapped[float | None]
    surface_dice_3mm: Mapped[float | None]
    slice_dice: Mapped[float | None]
    slice_dice_both_empty_1: Mapped[float | None]
    slice_hd95_mm: Mapped[float | None]
    slices_with_both: Mapped[int]
    true_positive_slices: Mapped[int]
    false_positive_slices: Mapped[int]
    false_negative_slices: Mapped[int]
    true_negative_slices: Mapped[int]
    superior_end_error_slices: Mapped[float | None]
    inferior_end_error_slices: Mapped[float | None]
    slice_spacing_mm: Mapped[float | None]
    extent_diagonal_mm: Mapped[float | None]


class Report(Leased):
    """Tables, figures and statistics over the runs of one or several experiments."""

    __tablename__ = "report"
    __table_args__ = (*lease_indexes(),)

    title: Mapped[str] = mapped_column(sa.String(255))
    is_automatic: Mapped[bool]
    """Whether the end of an experiment asked for it."""
    summary: Mapped[Json | None] = mapped_column(JSON_TYPE)
    """Means, intervals and paired comparisons."""
    file_names: Mapped[list[str] | None] = mapped_column(JSON_TYPE)
    purged_at: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    """When its files were removed."""


class ReportExperiment(Base):
    """An experiment that a report shows."""

    __tablename__ = "report_experiment"

    report_id: Mapped[UUID] = mapped_column(sa.ForeignKey("report.id"), primary_key=True)
    experiment_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("experiment.id"), primary_key=True, index=True
    )
    position: Mapped[int]
    """In the order asked for, from 0."""
