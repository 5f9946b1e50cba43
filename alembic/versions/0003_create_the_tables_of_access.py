"""Create the tables of access."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_key_key_sha256")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_client_id"), ["client_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_api_key_created_at_id"), ["created_at", "id"], unique=False
        )

    op.create_table(
        "reader_name",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("actor_id", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_reader_name")),
    )
    op.create_table(
        "series_owner",
        sa.Column("series_id", sa.Uuid(), nullable=False),
        sa.Column("actor_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_series_owner_series_id_series")
        ),
        sa.PrimaryKeyConstraint("series_id", "actor_id", name=op.f("pk_series_owner")),
    )
    with op.batch_alter_table("series_owner", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_series_owner_actor_id_created_at_series_id"),
            ["actor_id", "created_at", "series_id"],
            unique=False,
        )

    with op.batch_alter_table("contour_job", schema=None) as batch_op:
        batch_op.add_column(sa.Column("submitted_by", sa.String(length=255), nullable=True))
        batch_op.create_index(
            batch_op.f("ix_contour_job_submitted_by_created_at_id"),
            ["submitted_by", "created_at", "id"],
            unique=False,
        )

    with op.batch_alter_table("edited_rtstruct", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sent_by", sa.String(length=255), nullable=True))

    with op.batch_alter_table("idempotency_record", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("actor_id", sa.String(length=255), server_default="system", nullable=False)
        )
        batch_op.drop_constraint(batch_op.f("uq_idempotency_record_route_key"), type_="unique")
        batch_op.create_unique_constraint(
            batch_op.f("uq_idempotency_record_actor_id_route_key"), ["actor_id", "route", "key"]
        )

    with op.batch_alter_table("review", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reviewed_by", sa.String(length=255), nullable=True))


def downgrade() -> None:
    op.drop_column("review", "reviewed_by")

    with op.batch_alter_table("idempotency_record", schema=None) as batch_op:
        batch_op.drop_constraint(
            batch_op.f("uq_idempotency_record_actor_id_route_key"), type_="unique"
        )
        batch_op.create_unique_constraint(
            batch_op.f("uq_idempotency_record_route_key"), ["route", "key"]
        )
        batch_op.drop_column("actor_id")

    op.drop_column("edited_rtstruct", "sent_by")

    with op.batch_alter_table("contour_job", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_contour_job_submitted_by_created_at_id"))

    # not as a batch, which copies the table on SQLite: other tables refer to its rows
    op.drop_column("contour_job", "submitted_by")

    with op.batch_alter_table("series_owner", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_series_owner_actor_id_created_at_series_id"))

    op.drop_table("series_owner")
    op.drop_table("reader_name")
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_key_created_at_id"))
        batch_op.drop_index(batch_op.f("ix_api_key_client_id"))

    op.drop_table("api_key")
