"""The audit trail: a table to which rows can only be added."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SAID = "the audit trail is append-only"
#: `forget` of hpo_lib/store/audit.py writes this limit, deletes, and takes the limit away again.
_KEPT = "NOT EXISTS (SELECT 1 FROM audit_limit WHERE OLD.time < audit_limit.before)"
#: On SQLite, INSERT OR REPLACE deletes a row without asking the trigger for deletions.
_SQLITE = (
    ("audit_no_update", "UPDATE", ""),
    ("audit_no_delete", "DELETE", f"WHEN {_KEPT}"),
    ("audit_no_replace", "INSERT", "WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)"),
)
_POSTGRESQL = (
    ("audit_no_update", "BEFORE UPDATE ON audit FOR EACH ROW"),
    ("audit_no_delete", "BEFORE DELETE ON audit FOR EACH ROW"),
    ("audit_no_truncate", "BEFORE TRUNCATE ON audit FOR EACH STATEMENT"),
)


def upgrade() -> None:
    """Make the tables, and the triggers that keep rows as they are."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("time", time, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("deed", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Integer()),
        sa.Column("details", sa.Text(), nullable=False),
    )
    op.create_index("ix_audit_experiment", "audit", ["experiment"])
    op.create_index("ix_audit_run", "audit", ["run_id"])
    op.create_table("audit_limit", sa.Column("before", time, nullable=False))
    if op.get_bind().dialect.name == "sqlite":
        for name, event, when in _SQLITE:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {event} ON audit {when} "
                f"BEGIN SELECT RAISE(ABORT, '{_SAID}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION hpo_audit_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'DELETE' THEN IF NOT ({_KEPT}) THEN RETURN OLD; END IF; END IF; "
        f"RAISE EXCEPTION '{_SAID}'; END $$"
    )
    for name, event in _POSTGRESQL:
        op.execute(f"CREATE TRIGGER {name} {event} EXECUTE FUNCTION hpo_audit_kept()")


def downgrade() -> None:
    """Forget the trail."""
    op.drop_table("audit")
    op.drop_table("audit_limit")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION hpo_audit_kept()")
