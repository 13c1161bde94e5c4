"""Runs from their start to their end, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from hpo_lib.core.teams import within
from hpo_lib.core.trial import Trial
from hpo_lib.records import Past, Provenance, Run, RunKey, RunStatus
from hpo_lib.records.audit import Actor, Deed
from hpo_lib.spec import Spec
from hpo_lib.store import audit
from hpo_lib.store.batches import stopped
from hpo_lib.store.decisions import stop_waiting
from hpo_lib.store.queries import (
    duration_s,
    read_run,
    read_spans,
    searched_rows,
    seconds,
)
from hpo_lib.store.rows import run_of, trial_of
from hpo_lib.store.schema import experiments, runs
from hpo_lib.store.writes import insert_unless_there


def start(connection: Connection, key: RunKey, spec: Spec, values: Mapping[str, Any]) -> Run:
    """Start a run of a spec, or give the one that has this key."""
    experiment = within(values["team"], spec.name)
    named = {"name": experiment, "created_at": values["started_at"]}
    insert_unless_there(connection, experiments, named)
    fresh = {
        "experiment": experiment,
        "spec": spec.dump(),
        "digest": spec.digest,
        "status": RunStatus.RUNNING,
        "reason": None,
        "ended_at": None,
    }
    run, is_new = _put(connection, key, {**fresh, **values})
    if is_new:
        _audit_start(connection, run)
    return run


def _audit_start(connection: Connection, run: Run) -> None:
    """Write down who has begun a run, and what has changed since the one before."""
    by, made = Actor(run.triggered_by, run.provenance.way), run.provenance
    asked = made.asked or run.spec.digest
    told = {"dag": run.key.dag_id, "dag_run": run.key.dag_run_id, "spec": asked}
    if made.file is not None:
        told["file"] = made.file
        before = _provenance_before(connection, run, runs.c.dag_id == run.key.dag_id)
        _audit_change(connection, run, made.file, before.asked, made.asked)
    before = _provenance_before(connection, run)
    _audit_change(connection, run, "config/deployment.yaml", before.config, made.config)
    audit.enter_of(connection, Deed.SUBMITTED, by, run.started_at, run, told)


def _provenance_before(connection: Connection, run: Run, *alike: Any) -> Provenance:
    """Give where the last accepted run before this one came from."""
    query = select(runs.c.provenance).where(runs.c.id < run.id, runs.c.spec.is_not(None), *alike)
    found = connection.execute(query.order_by(runs.c.id.desc()).limit(1)).scalar()
    return Provenance.read(found or {})


def _audit_change(connection: Connection, run: Run, file: str, before: str, now: str) -> None:
    """Write down that a file is another one than before; who has changed it, nobody here knows."""
    if before and now and before != now:
        told = {"file": file, "before": before, "now": now}
        audit.enter_of(connection, Deed.CHANGED, Actor("", "file"), run.started_at, run, told)


def refuse(
    connection: Connection, key: RunKey, reason: str, by: Actor, now: datetime, team: str
) -> Run:
    """Record a refusal; a run that was once accepted is given as it is.

    The audit trail gets no reason: it may quote what the conf holds, and cannot be deleted there.
    """
    values = {
        "status": RunStatus.REFUSED,
        "reason": reason,
        "triggered_by": by.who,
        "team": team,
        "provenance": {},
        "started_at": now,
        "ended_at": now,
    }
    run, is_new = _put(connection, key, values)
    if is_new:
        told = {"dag": key.dag_id, "dag_run": key.dag_run_id}
        audit.enter_of(connection, Deed.REFUSED, by, now, run, told)
    return run


def _put(connection: Connection, key: RunKey, values: Mapping[str, Any]) -> tuple[Run, bool]:
    """Write a run whose key is new or was refused: in both cases nothing has happened yet.

    Say whether it was; any other is given as it is.
    """
    named = {"dag_id": key.dag_id, "dag_run_id": key.dag_run_id}
    blank = {"status": RunStatus.REFUSED, "triggered_by": "", "provenance": {}}
    new = named | blank | {"started_at": values["started_at"]}
    insert_unless_there(connection, runs, new)
    run = read_run(connection, key, lock=True)
    if run.status is not RunStatus.REFUSED:
        return run, False
    return change(connection, run.id, **values), True


def change(connection: Connection, run_id: int, **values: Any) -> Run:
    """Set columns of a run, and give it as it is then; NotFound."""
    read_run(connection, run_id, lock=True)
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))
    return read_run(connection, run_id)


def finish(
    connection: Connection,
    run_id: int,
    status: RunStatus,
    reason: str,
    now: datetime,
    stopped_by: Actor | None = None,
) -> Run:
    """End a run; one that has ended stays as it is.

    Who has stopped it is written down here, unless it was when they asked for that.
    """
    run = read_run(connection, run_id, lock=True)
    if run.status is not RunStatus.RUNNING:
        return run
    if stopped_by is not None and stopped(connection, run_id) is None:
        audit.enter_of(connection, Deed.STOPPED, stopped_by, now, run, {"reason": reason})
    stop_waiting(connection, run_id, f"not promoted: the run has ended: {reason}", now)
    return change(connection, run_id, status=status, reason=reason, ended_at=now)


def judge_again(connection: Connection, run_id: int, status: RunStatus, reason: str) -> Run:
    """Change how a run has ended, and why; one that has not ended stays as it is."""
    run = read_run(connection, run_id, lock=True)
    if run.status not in (RunStatus.COMPLETE, RunStatus.FAILED):
        return run
    return change(connection, run_id, status=RunStatus(status), reason=reason)


def newest(connection: Connection, limit: int) -> list[Run]:
    """List runs, the newest first."""
    rows = connection.execute(select(runs).order_by(runs.c.id.desc()).limit(limit))
    return [run_of(row) for row in rows]


def running(connection: Connection) -> list[Run]:
    """List the runs that have not ended, the oldest first."""
    query = select(runs).where(runs.c.status == RunStatus.RUNNING).order_by(runs.c.id)
    return [run_of(row) for row in connection.execute(query)]


def past(
    connection: Connection, experiments: Sequence[str], limit: int, now: datetime
) -> list[Past]:
    """Give the complete runs of some experiments with their trials, the newest first."""
    query = (
        select(runs)
        .where(runs.c.experiment.in_(experiments), runs.c.status == RunStatus.COMPLETE)
        .order_by(runs.c.ended_at.desc(), runs.c.id.desc())
        .limit(limit)
    )
    found = [run_of(row) for row in connection.execute(query)]
    return [
        Past(run, _searched(connection, run.id), seconds(run.ended_at or now, now)) for run in found
    ]


def _searched(connection: Connection, run_id: int) -> tuple[Trial, ...]:
    """Give the trials of a run's search, with how long they took."""
    spans = read_spans(connection, run_id)
    rows = searched_rows(connection, run_id)
    return tuple(trial_of(row, duration_s(spans[row.number])) for row in rows)
