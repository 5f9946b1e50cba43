"""Create the tables of datasets, experiments, model versions and reviews."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

IN_USE = sa.text("state NOT IN ('failed', 'cancelled')")


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column(
            "mapping", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("name", name=op.f("uq_dataset_name")),
    )
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_dataset_created_at_id"), ["created_at", "id"], unique=False
        )

    op.create_table(
        "report",
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("is_automatic", sa.Boolean(), nullable=False),
        sa.Column(
            "summary", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column(
            "file_names", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column(
            "error_context", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
    )
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_report_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_report_state_created_at"), ["state", "created_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_report_state_lease_until"), ["state", "lease_until"], unique=False
        )

    op.create_table(
        "dataset_source",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("content", sa.String(length=255), nullable=False),
        sa.Column("file_count", sa.Integer(), nullable=True),
        sa.Column("byte_count", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_dataset_source_dataset_id_dataset")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_source")),
        sa.UniqueConstraint(
            "dataset_id", "kind", "content", name=op.f("uq_dataset_source_dataset_id_kind_content")
        ),
    )
    with op.batch_alter_table("dataset_source", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_dataset_source_dataset_id"), ["dataset_id"], unique=False
        )

    op.create_table(
        "dataset_version",
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "request", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("content_sha256", sa.String(length=64), nullable=True),
        sa.Column("structure_set", sa.String(length=32), nullable=False),
        sa.Column("facts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("case_count", sa.Integer(), nullable=True),
        sa.Column("refused_count", sa.Integer(), nullable=True),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column(
            "error_context", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_dataset_version_dataset_id_dataset")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_version")),
        sa.UniqueConstraint(
            "dataset_id", "number", name=op.f("uq_dataset_version_dataset_id_number")
        ),
    )
    with op.batch_alter_table("dataset_version", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_dataset_version_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_dataset_version_dataset_id"), ["dataset_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_dataset_version_state_created_at"), ["state", "created_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_dataset_version_state_lease_until"),
            ["state", "lease_until"],
            unique=False,
        )

    op.create_table(
        "dataset_case",
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("case_id", sa.String(length=128), nullable=True),
        sa.Column("patient", sa.String(length=128), nullable=True),
        sa.Column("part", sa.String(length=16), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column(
            "facts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "notes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "unmatched_names",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["dataset_version.id"],
            name=op.f("fk_dataset_case_version_id_dataset_version"),
        ),
        sa.PrimaryKeyConstraint("version_id", "position", name=op.f("pk_dataset_case")),
    )
    op.create_table(
        "experiment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("dataset_version_id", sa.Uuid(), nullable=False),
        sa.Column(
            "request", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_version_id"],
            ["dataset_version.id"],
            name=op.f("fk_experiment_dataset_version_id_dataset_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiment")),
    )
    with op.batch_alter_table("experiment", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_experiment_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_experiment_dataset_version_id"), ["dataset_version_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_experiment_state_created_at"), ["state", "created_at"], unique=False
        )

    op.create_table(
        "report_experiment",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("experiment_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiment.id"],
            name=op.f("fk_report_experiment_experiment_id_experiment"),
        ),
        sa.ForeignKeyConstraint(
            ["report_id"], ["report.id"], name=op.f("fk_report_experiment_report_id_report")
        ),
        sa.PrimaryKeyConstraint("report_id", "experiment_id", name=op.f("pk_report_experiment")),
    )
    with op.batch_alter_table("report_experiment", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_report_experiment_experiment_id"), ["experiment_id"], unique=False
        )

    op.create_table(
        "run",
        sa.Column("experiment_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column(
            "config", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("max_epochs", sa.Integer(), nullable=False),
        sa.Column("restart_after", sa.Integer(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("training_seconds", sa.Double(), nullable=False),
        sa.Column("best_mean_dice", sa.Double(), nullable=True),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.Column(
            "validation_dice",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=True,
        ),
        sa.Column("mean_dice", sa.Double(), nullable=True),
        sa.Column("test_dice", sa.Double(), nullable=True),
        sa.Column("weights_sha256", sa.String(length=64), nullable=True),
        sa.Column("card", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("device", sa.String(length=16), nullable=True),
        sa.Column("software_version", sa.String(length=32), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column(
            "error_context", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name=op.f("fk_run_experiment_id_experiment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint(
            "experiment_id", "position", name=op.f("uq_run_experiment_id_position")
        ),
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_run_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_run_state_created_at"), ["state", "created_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_run_state_lease_until"), ["state", "lease_until"], unique=False
        )

    op.create_table(
        "model_version",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("dataset_version_id", sa.Uuid(), nullable=True),
        sa.Column(
            "request", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("structure_set", sa.String(length=32), nullable=False),
        sa.Column("card", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column(
            "checks", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column(
            "error_context", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_version_id"],
            ["dataset_version.id"],
            name=op.f("fk_model_version_dataset_version_id_dataset_version"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_model_version_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version")),
    )
    with op.batch_alter_table("model_version", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_model_version_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            "uq_model_version_name_in_use",
            ["name"],
            unique=True,
            sqlite_where=IN_USE,
            postgresql_where=IN_USE,
        )
        batch_op.create_index(
            "uq_model_version_run_id_in_use",
            ["run_id"],
            unique=True,
            sqlite_where=IN_USE,
            postgresql_where=IN_USE,
        )
        batch_op.create_index(
            batch_op.f("ix_model_version_state_created_at"), ["state", "created_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_model_version_state_lease_until"), ["state", "lease_until"], unique=False
        )
        batch_op.create_index(
            "uq_model_version_weights_sha256_in_use",
            ["weights_sha256"],
            unique=True,
            sqlite_where=IN_USE,
            postgresql_where=IN_USE,
        )

    op.create_table(
        "run_epoch",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("training_loss", sa.Double(), nullable=False),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.Column(
            "validation_dice",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("mean_dice", sa.Double(), nullable=True),
        sa.Column("learning_rate", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("is_best", sa.Boolean(), nullable=False),
        sa.Column("is_best_dice", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_epoch_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "epoch", name=op.f("pk_run_epoch")),
    )
    op.create_table(
        "run_score",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("part", sa.String(length=32), nullable=False),
        sa.Column("case", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("structure", sa.String(length=64), nullable=False),
        sa.Column("dice", sa.Double(), nullable=True),
        sa.Column("background_dice", sa.Double(), nullable=True),
        sa.Column("prediction_ml", sa.Double(), nullable=True),
        sa.Column("reference_ml", sa.Double(), nullable=True),
        sa.Column("hd95_mm", sa.Double(), nullable=True),
        sa.Column("hd95_pooled_mm", sa.Double(), nullable=True),
        sa.Column("hd100_mm", sa.Double(), nullable=True),
        sa.Column("hd_equation7_mm", sa.Double(), nullable=True),
        sa.Column("assd_mm", sa.Double(), nullable=True),
        sa.Column("surface_dice_1mm", sa.Double(), nullable=True),
        sa.Column("surface_dice_2mm", sa.Double(), nullable=True),
        sa.Column("surface_dice_3mm", sa.Double(), nullable=True),
        sa.Column("slice_dice", sa.Double(), nullable=True),
        sa.Column("slice_dice_both_empty_1", sa.Double(), nullable=True),
        sa.Column("slice_hd95_mm", sa.Double(), nullable=True),
        sa.Column("slices_with_both", sa.Integer(), nullable=False),
        sa.Column("true_positive_slices", sa.Integer(), nullable=False),
        sa.Column("false_positive_slices", sa.Integer(), nullable=False),
        sa.Column("false_negative_slices", sa.Integer(), nullable=False),
        sa.Column("true_negative_slices", sa.Integer(), nullable=False),
        sa.Column("superior_end_error_slices", sa.Double(), nullable=True),
        sa.Column("inferior_end_error_slices", sa.Double(), nullable=True),
        sa.Column("slice_spacing_mm", sa.Double(), nullable=True),
        sa.Column("extent_diagonal_mm", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_score_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_score")),
    )
    with op.batch_alter_table("run_score", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_score_run_id_id"), ["run_id", "id"], unique=False)

    model_alias = op.create_table(
        "model_alias",
        sa.Column("alias", sa.String(length=16), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.id"],
            name=op.f("fk_model_alias_model_version_id_model_version"),
        ),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_model_alias")),
    )
    op.bulk_insert(
        model_alias,
        [{"alias": alias, "revision": 0} for alias in ("production", "shadow")],
    )
    op.create_table(
        "model_alias_change",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alias", sa.String(length=16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=True),
        sa.Column("replaced_id", sa.Uuid(), nullable=True),
        sa.Column("is_rollback", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.id"],
            name=op.f("fk_model_alias_change_model_version_id_model_version"),
        ),
        sa.ForeignKeyConstraint(
            ["replaced_id"],
            ["model_version.id"],
            name=op.f("fk_model_alias_change_replaced_id_model_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_alias_change")),
        sa.UniqueConstraint("alias", "revision", name=op.f("uq_model_alias_change_alias_revision")),
    )
    op.create_table(
        "review",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("reviewer", sa.String(length=80), nullable=False),
        sa.Column("minutes", sa.Double(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["contour_job.id"], name=op.f("fk_review_job_id_contour_job")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
    )
    with op.batch_alter_table("review", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_review_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_review_job_id_reviewer"), ["job_id", "reviewer"], unique=False
        )

    op.create_table(
        "shadow_contour",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column(
            "scores", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column(
            "volumes_ml", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column(
            "warnings", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "seconds", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("weights_sha256", sa.String(length=64), nullable=True),
        sa.Column("software_version", sa.String(length=32), nullable=True),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column(
            "error_context", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["contour_job.id"], name=op.f("fk_shadow_contour_job_id_contour_job")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.id"],
            name=op.f("fk_shadow_contour_model_version_id_model_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_contour")),
        sa.UniqueConstraint(
            "job_id", "model_version_id", name=op.f("uq_shadow_contour_job_id_model_version_id")
        ),
    )
    with op.batch_alter_table("shadow_contour", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_shadow_contour_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_shadow_contour_model_version_id_created_at"),
            ["model_version_id", "created_at"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_shadow_contour_state_created_at"), ["state", "created_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_shadow_contour_state_lease_until"),
            ["state", "lease_until"],
            unique=False,
        )

    op.create_table(
        "edited_rtstruct",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("review_id", sa.Uuid(), nullable=True),
        sa.Column("reviewer", sa.String(length=80), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column(
            "scores", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column(
            "error_context", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["contour_job.id"], name=op.f("fk_edited_rtstruct_job_id_contour_job")
        ),
        sa.ForeignKeyConstraint(
            ["review_id"], ["review.id"], name=op.f("fk_edited_rtstruct_review_id_review")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edited_rtstruct")),
        sa.UniqueConstraint(
            "job_id", "content_sha256", name=op.f("uq_edited_rtstruct_job_id_content_sha256")
        ),
    )
    with op.batch_alter_table("edited_rtstruct", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_edited_rtstruct_created_at_id"), ["created_at", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_edited_rtstruct_state_created_at"), ["state", "created_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_edited_rtstruct_state_lease_until"),
            ["state", "lease_until"],
            unique=False,
        )

    op.create_table(
        "review_grade",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("structure", sa.String(length=64), nullable=False),
        sa.Column("slice_number", sa.Integer(), nullable=False),
        sa.Column("grade", sa.String(length=16), nullable=False),
        sa.Column("tags", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["review_id"], ["review.id"], name=op.f("fk_review_grade_review_id_review")
        ),
        sa.PrimaryKeyConstraint(
            "review_id", "structure", "slice_number", name=op.f("pk_review_grade")
        ),
    )
    op.create_table(
        "review_tally",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("structure", sa.String(length=64), nullable=False),
        sa.Column("acceptable", sa.Integer(), nullable=False),
        sa.Column("minor_revision", sa.Integer(), nullable=False),
        sa.Column("major_revision", sa.Integer(), nullable=False),
        sa.Column("unacceptable", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["review_id"], ["review.id"], name=op.f("fk_review_tally_review_id_review")
        ),
        sa.PrimaryKeyConstraint("review_id", "structure", name=op.f("pk_review_tally")),
    )
    op.create_table(
        "agreement_tally",
        sa.Column("first_id", sa.Uuid(), nullable=False),
        sa.Column("second_id", sa.Uuid(), nullable=False),
        sa.Column("structure", sa.String(length=64), nullable=False),
        sa.Column("first_grade", sa.String(length=16), nullable=False),
        sa.Column("second_grade", sa.String(length=16), nullable=False),
        sa.Column("slices", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["first_id"], ["review.id"], name=op.f("fk_agreement_tally_first_id_review")
        ),
        sa.ForeignKeyConstraint(
            ["second_id"], ["review.id"], name=op.f("fk_agreement_tally_second_id_review")
        ),
        sa.PrimaryKeyConstraint(
            "first_id",
            "second_id",
            "structure",
            "first_grade",
            "second_grade",
            name=op.f("pk_agreement_tally"),
        ),
    )
    with op.batch_alter_table("agreement_tally", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_agreement_tally_second_id"), ["second_id"], unique=False
        )
    with op.batch_alter_table("contour_job", schema=None) as batch_op:
        batch_op.add_column(sa.Column("model_version_id", sa.Uuid(), nullable=True))
        batch_op.create_index(
            batch_op.f("ix_contour_job_model_version"), ["model_version"], unique=False
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_contour_job_model_version_id_model_version"),
            "model_version",
            ["model_version_id"],
            ["id"],
        )


def downgrade() -> None:
    with op.batch_alter_table("contour_job", schema=None) as batch_op:
        batch_op.drop_constraint(
            batch_op.f("fk_contour_job_model_version_id_model_version"), type_="foreignkey"
        )
        batch_op.drop_index(batch_op.f("ix_contour_job_model_version"))
        batch_op.drop_column("model_version_id")

    with op.batch_alter_table("agreement_tally", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_agreement_tally_second_id"))

    op.drop_table("agreement_tally")
    op.drop_table("review_tally")
    op.drop_table("review_grade")
    with op.batch_alter_table("edited_rtstruct", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_edited_rtstruct_state_lease_until"))
        batch_op.drop_index(batch_op.f("ix_edited_rtstruct_state_created_at"))
        batch_op.drop_index(batch_op.f("ix_edited_rtstruct_created_at_id"))

    op.drop_table("edited_rtstruct")
    with op.batch_alter_table("shadow_contour", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_shadow_contour_state_lease_until"))
        batch_op.drop_index(batch_op.f("ix_shadow_contour_state_created_at"))
        batch_op.drop_index(batch_op.f("ix_shadow_contour_model_version_id_created_at"))
        batch_op.drop_index(batch_op.f("ix_shadow_contour_created_at_id"))

    op.drop_table("shadow_contour")
    with op.batch_alter_table("review", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_review_job_id_reviewer"))
        batch_op.drop_index(batch_op.f("ix_review_created_at_id"))

    op.drop_table("review")
    op.drop_table("model_alias_change")
    op.drop_table("model_alias")
    with op.batch_alter_table("run_score", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_score_run_id_id"))

    op.drop_table("run_score")
    op.drop_table("run_epoch")
    with op.batch_alter_table("model_version", schema=None) as batch_op:
        batch_op.drop_index("uq_model_version_weights_sha256_in_use")
        batch_op.drop_index(batch_op.f("ix_model_version_state_lease_until"))
        batch_op.drop_index(batch_op.f("ix_model_version_state_created_at"))
        batch_op.drop_index("uq_model_version_run_id_in_use")
        batch_op.drop_index("uq_model_version_name_in_use")
        batch_op.drop_index(batch_op.f("ix_model_version_created_at_id"))

    op.drop_table("model_version")
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_state_lease_until"))
        batch_op.drop_index(batch_op.f("ix_run_state_created_at"))
        batch_op.drop_index(batch_op.f("ix_run_created_at_id"))

    op.drop_table("run")
    with op.batch_alter_table("report_experiment", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_report_experiment_experiment_id"))

    op.drop_table("report_experiment")
    with op.batch_alter_table("experiment", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_experiment_state_created_at"))
        batch_op.drop_index(batch_op.f("ix_experiment_dataset_version_id"))
        batch_op.drop_index(batch_op.f("ix_experiment_created_at_id"))

    op.drop_table("experiment")
    op.drop_table("dataset_case")
    with op.batch_alter_table("dataset_version", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dataset_version_state_lease_until"))
        batch_op.drop_index(batch_op.f("ix_dataset_version_state_created_at"))
        batch_op.drop_index(batch_op.f("ix_dataset_version_dataset_id"))
        batch_op.drop_index(batch_op.f("ix_dataset_version_created_at_id"))

    op.drop_table("dataset_version")
    with op.batch_alter_table("dataset_source", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dataset_source_dataset_id"))

    op.drop_table("dataset_source")
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_report_state_lease_until"))
        batch_op.drop_index(batch_op.f("ix_report_state_created_at"))
        batch_op.drop_index(batch_op.f("ix_report_created_at_id"))

    op.drop_table("report")
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dataset_created_at_id"))

    op.drop_table("dataset")
