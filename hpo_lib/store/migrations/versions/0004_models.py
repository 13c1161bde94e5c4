"""Models: what final training made, and which of them is the champion."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHAMPION = sa.text("status = 'champion'")


def upgrade() -> None:
    """Make the tables; trials of runs before these were all of the search."""
    op.add_column("trials", sa.Column("repeat", sa.Integer(), nullable=False, server_default="0"))
    time = sa.DateTime(timezone=True)
    op.create_table(
        "models",
        sa.Column(
            "experiment", sa.Text(), sa.ForeignKey("experiments.name", name="fk_models_experiment")
        ),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column(
            "run_id", sa.Integer(), sa.ForeignKey("runs.id", name="fk_models_run"), nullable=False
        ),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("against", sa.Integer()),
        sa.Column("trial", sa.Integer()),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.Column("served", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("changed_at", time, nullable=False),
        sa.PrimaryKeyConstraint("experiment", "version", name="pk_models"),
        sa.UniqueConstraint("run_id", name="uq_models_run"),
    )
    op.create_index(
        "uq_models_champion",
        "models",
        ["experiment"],
        unique=True,
        sqlite_where=_CHAMPION,
        postgresql_where=_CHAMPION,
    )
    op.create_table(
        "model_events",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("time", time, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment", "version"],
            ["models.experiment", "models.version"],
            name="fk_model_events_model",
        ),
    )


def downgrade() -> None:
    """Forget the models."""
    op.drop_table("model_events")
    op.drop_table("models")
    op.drop_column("trials", "repeat")
