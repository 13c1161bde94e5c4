"""The store's tables and their column types, which every value survives on both databases.

A change here needs a revision in `hpo_lib/store/migrations/versions`.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Words(TypeDecorator[str]):
    """Text of any origin: NUL and lone surrogates, which PostgreSQL refuses, become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Replace what cannot be stored."""
        return None if value is None else _UNSTORABLE.sub("\ufffd", str(value))


class Json(TypeDecorator[Any]):
    """A plain value as ASCII text: floats exact, NaN, infinities and every character kept."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Write JSON; TypeError if the value is not plain."""
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Read JSON."""
        return None if value is None else json.loads(value)


class Instant(TypeDecorator[datetime]):
    """An aware time, UTC on both sides; SQLite keeps no offset of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> datetime | None:
        """Turn into UTC; ValueError if the time is naive."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a time must be aware, got {value.isoformat()}")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> datetime | None:
        """Give UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Measured(TypeDecorator[float]):
    """A float that may be NaN, stored as NULL: SQLite has no NaN."""

    impl = Double
    cache_ok = True

    def process_bind_param(
        self,
        value: float | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> float | None:
        """Turn NaN into NULL."""
        return None if value is None or math.isnan(value) else float(value)

    def process_result_value(
        self,
        value: float | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> float:
        """Turn NULL into NaN."""
        return math.nan if value is None else value


metadata = MetaData()
identity = Table("identity", metadata, Column("id", Words, primary_key=True))
experiments = Table(
    "experiments",
    metadata,
    Column("name", Words, primary_key=True),
    Column("created_at", Instant, nullable=False),
)
runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dag_id", Words, nullable=False),
    Column("dag_run_id", Words, nullable=False),
    Column("experiment", Words, ForeignKey("experiments.name", name="fk_runs_experiment")),
    Column("spec", Json),
    Column("digest", Words),
    Column("status", Words, nullable=False),
    Column("reason", Words),
    Column("triggered_by", Words, nullable=False),
    Column("provenance", Json, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("earlier", Json),
    Column("fingerprint", Words),
    Column("team", Words, nullable=False, server_default=""),
    Column("closed", Json),
    UniqueConstraint("dag_id", "dag_run_id", name="uq_runs_key"),
    CheckConstraint("spec IS NOT NULL OR status = 'refused'", name="ck_runs_spec"),
)
trials = Table(
    "trials",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id", name="fk_trials_run"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("params", Json, nullable=False),
    Column("params_hash", Words, nullable=False),
    Column("origin", Words, nullable=False),
    Column("slot", Words, nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", Words, nullable=False),
    Column("value", Double),
    Column("cause", Words),
    Column("reason", Words),
    Column("metrics", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("repeat", Integer, nullable=False, server_default="0"),
    Column("reused_run", Integer),
    Column("reused_trial", Integer),
    UniqueConstraint("run_id", "params_hash", name="uq_trials_params"),
    CheckConstraint("(state = 'complete') = (value IS NOT NULL)", name="ck_trials_value"),
)
attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("handle", Json, nullable=False),
    Column("state", Words, nullable=False),
    Column("cause", Words),
    Column("reason", Words),
    Column("exit_code", BigInteger),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("log_tail", Words, nullable=False),
    Column("resource", Double),
    UniqueConstraint("run_id", "trial", "number", name="uq_attempts_number"),
    ForeignKeyConstraint(
        ["run_id", "trial"], ["trials.run_id", "trials.number"], name="fk_attempts_trial"
    ),
)


Index(
    "uq_attempts_live",
    attempts.c.run_id,
    attempts.c.trial,
    unique=True,
    sqlite_where=text("state = 'running'"),
    postgresql_where=text("state = 'running'"),
)


observations = Table(
    "observations",
    metadata,
    Column(
        "attempt_id",
        Integer,
        ForeignKey("attempts.id", name="fk_observations_attempt"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("metric", Words, nullable=False),
    Column("step", BigInteger),
    Column("value", Measured),
    Column("time", Double),
)
#: A slot's answer: a row per assignment by position, then one without a trial if there is a stop
#: or nothing was assigned, so that an answered slot always has a row.
leases = Table(
    "leases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id", name="fk_leases_run"), nullable=False),
    Column("slot", Words, nullable=False),
    Column("position", Integer, nullable=False),
    Column("trial", Integer),
    Column("resource", Double),
    Column("resume_from", Words),
    Column("action", Words),
    Column("reason", Words),
    Column("failed", Boolean),
    Column("created_at", Instant, nullable=False),
    Column("partial", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("run_id", "slot", "position", name="uq_leases_position"),
    ForeignKeyConstraint(
        ["run_id", "trial"], ["trials.run_id", "trials.number"], name="fk_leases_trial"
    ),
)
Index("ix_leases_trial", leases.c.run_id, leases.c.trial)
Index("ix_leases_run", leases.c.run_id, leases.c.id)
Index(
    "ix_leases_stop",
    leases.c.run_id,
    sqlite_where=text("action IS NOT NULL"),
    postgresql_where=text("action IS NOT NULL"),
)

#: The value of a trial's first objective at each resource that it was given.
rungs = Table(
    "rungs",
    metadata,
    Column("run_id", Integer, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("resource", Double, nullable=False),
    Column("value", Double, nullable=False),
    Column("created_at", Instant, nullable=False),
    PrimaryKeyConstraint("run_id", "trial", "resource", name="pk_rungs"),
    ForeignKeyConstraint(
        ["run_id", "trial"], ["trials.run_id", "trials.number"], name="fk_rungs_trial"
    ),
)

#: What a scheduler has decided of a trial: promoted or stopped, why, and which slot had asked.
decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("slot", Words),
    Column("action", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("resource", Double),
    Column("created_at", Instant, nullable=False),
    ForeignKeyConstraint(
        ["run_id", "trial"], ["trials.run_id", "trials.number"], name="fk_decisions_trial"
    ),
)

Index("ix_decisions_trial", decisions.c.run_id, decisions.c.trial)

#: What final training made, a row per run that has asked for final training.
models = Table(
    "models",
    metadata,
    Column("experiment", Words, ForeignKey("experiments.name", name="fk_models_experiment")),
    Column("version", Integer, nullable=False, autoincrement=False),
    Column("run_id", Integer, ForeignKey("runs.id", name="fk_models_run"), nullable=False),
    Column("source", Integer, nullable=False),
    Column("params", Json, nullable=False),
    Column("against", Integer),
    Column("trial", Integer),
    Column("files", Words, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("manifest", Json, nullable=False),
    Column("verdict", Json),
    Column("served", Boolean, nullable=False, server_default=false()),
    Column("status", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    PrimaryKeyConstraint("experiment", "version", name="pk_models"),
    UniqueConstraint("run_id", name="uq_models_run"),
)


Index(
    "uq_models_champion",
    models.c.experiment,
    unique=True,
    sqlite_where=text("status = 'champion'"),
    postgresql_where=text("status = 'champion'"),
)


model_events = Table(
    "model_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("experiment", Words, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("time", Instant, nullable=False),
    ForeignKeyConstraint(
        ["experiment", "version"],
        ["models.experiment", "models.version"],
        name="fk_model_events_model",
    ),
)

#: The audit trail: triggers, which the revision 0007 makes, let rows only be added.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Instant, nullable=False),
    Column("who", Words, nullable=False),
    Column("origin", Words, nullable=False),
    Column("deed", Words, nullable=False),
    Column("team", Words, nullable=False),
    Column("experiment", Words, nullable=False),
    Column("run_id", Integer),
    Column("details", Json, nullable=False),
)

Index("ix_audit_experiment", audit.c.experiment)
Index("ix_audit_run", audit.c.run_id)

#: While rows older than this are deleted, within that transaction; empty otherwise.
audit_limit = Table("audit_limit", metadata, Column("before", Instant, nullable=False))

#: Trials that wait for a place, since when, and when they last asked.
waiting = Table(
    "waiting",
    metadata,
    Column("run_id", Integer, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("since", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    PrimaryKeyConstraint("run_id", "trial", name="pk_waiting"),
    ForeignKeyConstraint(
        ["run_id", "trial"], ["trials.run_id", "trials.number"], name="fk_waiting_trial"
    ),
)
