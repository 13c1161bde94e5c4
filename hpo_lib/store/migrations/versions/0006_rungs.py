"""Schedulers: the rungs that trials have reached, and what was decided of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TRIAL = (["run_id", "trial"], ["trials.run_id", "trials.number"])


def upgrade() -> None:
    """Add tables and columns; trials that are there were given whatever their programs take."""
    op.add_column("attempts", sa.Column("resource", sa.Double()))
    op.add_column(
        "leases", sa.Column("partial", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        "rungs",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("trial", sa.Integer(), nullable=False),
        sa.Column("resource", sa.Double(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "trial", "resource", name="pk_rungs"),
        sa.ForeignKeyConstraint(*_TRIAL, name="fk_rungs_trial"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("trial", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("resource", sa.Double()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(*_TRIAL, name="fk_decisions_trial"),
    )
    op.create_index("ix_decisions_trial", "decisions", ["run_id", "trial"])


def downgrade() -> None:
    """Forget them; a trial that waits or was stopped, which nobody knows then, has failed."""
    op.execute(
        "UPDATE trials SET state = 'failed', cause = 'lost' WHERE state IN ('waiting', 'stopped')"
    )
    op.drop_index("ix_decisions_trial", table_name="decisions")
    op.drop_table("decisions")
    op.drop_table("rungs")
    op.drop_column("leases", "partial")
    op.drop_column("attempts", "resource")
