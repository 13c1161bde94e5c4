"""Trials that wait for a place, where an operator has set how many may run at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; nobody waits yet."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "waiting",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("trial", sa.Integer(), nullable=False),
        sa.Column("since", time, nullable=False),
        sa.Column("seen_at", time, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "trial", name="pk_waiting"),
        sa.ForeignKeyConstraint(
            ["run_id", "trial"], ["trials.run_id", "trials.number"], name="fk_waiting_trial"
        ),
    )


def downgrade() -> None:
    """Let everybody begin."""
    op.drop_table("waiting")
