"""The first schema: experiments, runs, trials, attempts, observations, leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "experiments",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    _create_runs()
    _create_trials()
    _create_attempts()
    _create_observations()
    _create_leases()


def downgrade() -> None:
    """Drop the tables and all that is in them."""
    for name in ("leases", "observations", "attempts", "trials", "runs", "experiments"):
        op.drop_table(name)


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("dag_run_id", sa.Text(), nullable=False),
        sa.Column(
            "experiment", sa.Text(), sa.ForeignKey("experiments.name", name="fk_runs_experiment")
        ),
        sa.Column("spec", sa.Text()),
        sa.Column("digest", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("triggered_by", sa.Text(), nullable=False),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("dag_id", "dag_run_id", name="uq_runs_key"),
        sa.CheckConstraint("spec IS NOT NULL OR status = 'refused'", name="ck_runs_spec"),
    )


def _create_trials() -> None:
    op.create_table(
        "trials",
        sa.Column(
            "run_id", sa.Integer(), sa.ForeignKey("runs.id", name="fk_trials_run"), primary_key=True
        ),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("cause", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("run_id", "params_hash", name="uq_trials_params"),
        sa.CheckConstraint("(state = 'complete') = (value IS NOT NULL)", name="ck_trials_value"),
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("trial", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("exit_code", sa.BigInteger()),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("log_tail", sa.Text(), nullable=False),
        sa.UniqueConstraint("run_id", "trial", "number", name="uq_attempts_number"),
        sa.ForeignKeyConstraint(
            ["run_id", "trial"], ["trials.run_id", "trials.number"], name="fk_attempts_trial"
        ),
    )
    op.create_index(
        "uq_attempts_live",
        "attempts",
        ["run_id", "trial"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )


def _create_observations() -> None:
    op.create_table(
        "observations",
        sa.Column(
            "attempt_id",
            sa.Integer(),
            sa.ForeignKey("attempts.id", name="fk_observations_attempt"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger()),
        sa.Column("value", sa.Double()),
        sa.Column("time", sa.Double()),
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "run_id", sa.Integer(), sa.ForeignKey("runs.id", name="fk_leases_run"), nullable=False
        ),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("trial", sa.Integer()),
        sa.Column("resource", sa.Double()),
        sa.Column("resume_from", sa.Text()),
        sa.Column("action", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("failed", sa.Boolean()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("run_id", "slot", "position", name="uq_leases_position"),
        sa.ForeignKeyConstraint(
            ["run_id", "trial"], ["trials.run_id", "trials.number"], name="fk_leases_trial"
        ),
    )
