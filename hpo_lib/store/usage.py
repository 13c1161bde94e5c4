"""What a team has used: GPU hours, by what its trials ask for and how long their attempts ran."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from hpo_lib.core.trial import Origin
from hpo_lib.store.queries import seconds
from hpo_lib.store.schema import attempts, runs, trials

_HOUR_S = 3_600.0


def month_of(now: datetime) -> datetime:
    """Give the beginning of a calendar month, in UTC."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def gpu_hours(connection: Connection, team: str, since: datetime, now: datetime) -> float:
    """Sum up the GPU hours of a team's attempts from a time on; those that run count until now."""
    query = (
        select(attempts.c.run_id, trials.c.origin, attempts.c.started_at, attempts.c.ended_at)
        .join(runs, runs.c.id == attempts.c.run_id)
        .join(trials, (trials.c.run_id == runs.c.id) & (trials.c.number == attempts.c.trial))
        .where(runs.c.team == team)
        .where(or_(attempts.c.ended_at.is_(None), attempts.c.ended_at > since))
    )
    rows = connection.execute(query).all()
    named = select(runs.c.id, runs.c.spec).where(runs.c.id.in_({row.run_id for row in rows}))
    specs = {row.id: row.spec for row in connection.execute(named)}
    return sum(
        gpus(specs[row.run_id], final=row.origin == Origin.FINAL)
        * seconds(max(row.started_at, since), row.ended_at or now)
        / _HOUR_S
        for row in rows
    )


def gpus(spec: Mapping[str, Any], *, final: bool) -> float:
    """Read how many GPUs a trial has, of any stored spec: also of one that is no longer valid."""
    own = spec.get("trial") or {}
    last = (spec.get("final") or {}).get("trial") or {}
    asked = (last if final and "resources" in last else own).get("resources") or {}
    return float(asked.get("gpu") or 0)
