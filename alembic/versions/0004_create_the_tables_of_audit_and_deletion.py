"""Create the tables of the audit trail and of deletions; let datasets, models and reports go."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
IN_USE_BEFORE = sa.text("state NOT IN ('failed', 'cancelled')")
IN_USE = sa.text("state NOT IN ('failed', 'cancelled') AND purged_at IS NULL")
UNIQUE_IN_USE = ("name", "run_id", "weights_sha256")
CAN_BE_PURGED = ("dataset", "model_version", "report")

SQLITE_TRIGGERS = tuple(
    f"CREATE TRIGGER {table}_refuses_{event.lower()} BEFORE {event} ON {table} {condition}"
    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    for table, event, condition in (
        ("audit_entry", "UPDATE", ""),
        ("audit_entry", "DELETE", ""),
        ("audit_head", "DELETE", ""),
        ("audit_head", "UPDATE", "WHEN NEW.sequence <= OLD.sequence "),
    )
)
POSTGRESQL_TRIGGERS = (
    """CREATE FUNCTION refuse_change_of_audit_trail() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$""",
    "CREATE TRIGGER audit_entry_refuses_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_trail()",
    "CREATE TRIGGER audit_head_refuses_removal BEFORE DELETE OR TRUNCATE ON audit_head"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_trail()",
    "CREATE TRIGGER audit_head_refuses_return BEFORE UPDATE ON audit_head FOR EACH ROW"
    " WHEN (NEW.sequence <= OLD.sequence) EXECUTE FUNCTION refuse_change_of_audit_trail()",
)


def upgrade() -> None:
    op.create_table(
        "audit_entry",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.String(length=255), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("correlation_id", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("resource_kind", sa.String(length=32), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=True),
        sa.Column("facts", JSON, nullable=False),
        sa.Column("previous_sha256", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_entry")),
    )
    for columns in (["actor_id", "sequence"], ["resource_id", "sequence"], ["at"]):
        op.create_index(op.f(f"ix_audit_entry_{'_'.join(columns)}"), "audit_entry", columns)

    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "sha256": "0" * 64}])

    op.create_table(
        "deletion",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource_kind", sa.String(length=32), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("folders", JSON, nullable=False),
        sa.Column("rows", JSON, nullable=False),
        sa.Column("remaining", JSON, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletion")),
    )
    for columns in (["created_at", "id"], ["resource_id"], ["completed_at"]):
        op.create_index(op.f(f"ix_deletion_{'_'.join(columns)}"), "deletion", columns)

    for table in CAN_BE_PURGED:
        with op.batch_alter_table(table) as batch_op:
            batch_op.add_column(sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    _change_uniqueness(IN_USE)
    _forget_what_was_purged()
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_TRIGGERS if is_sqlite else POSTGRESQL_TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("audit_entry")  # with its triggers
    op.drop_table("audit_head")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change_of_audit_trail()")
    op.drop_table("deletion")
    _change_uniqueness(IN_USE_BEFORE)
    for table in CAN_BE_PURGED:
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_column("purged_at")


def _change_uniqueness(in_use: sa.TextClause) -> None:
    for column in UNIQUE_IN_USE:
        name = f"uq_model_version_{column}_in_use"
        op.drop_index(name, table_name="model_version")
        op.create_index(
            name,
            "model_version",
            [column],
            unique=True,
            sqlite_where=in_use,
            postgresql_where=in_use,
        )


def _forget_what_was_purged() -> None:
    """Do to rows whose files went before this release what a deletion does to them now."""
    op.execute(
        "UPDATE series SET series_instance_uid = '', study_instance_uid = '',"
        " frame_of_reference_uid = '', content_sha256 = 'purged-' || CAST(id AS VARCHAR(36))"
        " WHERE purged_at IS NOT NULL"
    )
    op.execute(
        "UPDATE edited_rtstruct SET content_sha256 = 'purged-' || CAST(id AS VARCHAR(36)),"
        " error_detail = NULL, error_context = NULL WHERE purged_at IS NOT NULL"
    )
    for table in ("contour_job", "shadow_contour"):
        op.execute(
            f"UPDATE {table} SET error_detail = NULL, error_context = NULL"  # noqa: S608 (constants)
            " WHERE purged_at IS NOT NULL"
        )
