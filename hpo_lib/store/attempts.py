"""Attempts and trials from their beginning to their end, as rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from hpo_lib.core.shares import Shares
from hpo_lib.core.trial import Assignment, Cause, Trial, TrialState
from hpo_lib.errors import AlreadyFinished
from hpo_lib.records import (
    Attempt,
    AttemptState,
    Outcome,
    Run,
    RunStatus,
)
from hpo_lib.records.audit import Actor, Deed
from hpo_lib.spec import Spec
from hpo_lib.store import audit
from hpo_lib.store.batches import newest_assignment, stop_of_ended
from hpo_lib.store.decisions import told_to_stop
from hpo_lib.store.live import keep_series
from hpo_lib.store.places import admit
from hpo_lib.store.queries import place_of, read_attempts, read_run, read_trial, trial_row
from hpo_lib.store.schema import attempts, rungs, runs, trials
from hpo_lib.store.writes import change_trial, insert_all


def is_live(connection: Connection, run_id: int, number: int, attempt: int) -> bool:
    """Say whether a run has this attempt, and neither of the two has ended."""
    place = (attempts.c.run_id == run_id, attempts.c.trial == number)
    query = (
        select(attempts.c.id)
        .join(runs, runs.c.id == attempts.c.run_id)
        .where(*place, attempts.c.number == attempt)
        .where(attempts.c.state == AttemptState.RUNNING, runs.c.status == RunStatus.RUNNING)
    )
    return connection.execute(query).first() is not None


def take(
    connection: Connection,
    run_id: int,
    number: int,
    handle_for: Callable[[int], Mapping[str, Any]],
    now: datetime,
    shares: Shares | None = None,
) -> Attempt | None:
    """Give the live attempt of a trial, or begin the next one; AlreadyFinished.

    None if it has to wait for a place.
    """
    run = read_run(connection, run_id, lock=True)
    trial = trial_row(connection, run_id, number)
    if trial.state != TrialState.RUNNING:
        raise AlreadyFinished(f"trial {number} is {trial.state}: {trial.reason}")
    tried = read_attempts(connection, run_id, number)
    if tried and tried[-1].state is AttemptState.RUNNING:
        return tried[-1]
    if run.status is not RunStatus.RUNNING:
        raise AlreadyFinished(f"trial {number} cannot go on: {stop_of_ended(run).reason}")
    if shares is not None and not admit(connection, run, number, shares, now):
        return None
    following = tried[-1].number + 1 if tried else 1
    handle, asked = dict(handle_for(following)), _asked(connection, run_id, number)
    return _insert(connection, run_id, number, following, asked.resource, handle, now)


def _asked(connection: Connection, run_id: int, number: int) -> Assignment:
    """Give a trial's assignment; a trial that was given to no slot goes to its end."""
    found = newest_assignment(connection, run_id, number)
    return Assignment(number, {}) if found is None else found[1]


def close(
    connection: Connection, attempt_id: int, outcome: Outcome, now: datetime, *, final: bool
) -> Trial:
    """Record what became of an attempt and, if final, of its trial; the first writer wins.

    A trial that was told to stop, and whose attempt was stopped, is stopped with what it has shown.
    """
    if outcome.state is AttemptState.RUNNING:
        raise ValueError("an attempt can end succeeded or failed, got running")
    result = _result(outcome) if final else None
    run_id, number = place_of(connection, attempt_id)
    read_run(connection, run_id, lock=True)
    tried = read_attempts(connection, run_id, number)
    attempt = next(one for one in tried if one.id == attempt_id)
    if attempt.state is AttemptState.RUNNING:
        _end(connection, attempt_id, outcome, now)
        if result is not None and attempt == tried[-1]:
            if outcome.cause is Cause.STOPPED and (
                told := told_to_stop(connection, run_id, number)
            ):
                result |= {"state": TrialState.STOPPED, "cause": None, "reason": told}
            asked = _asked(connection, run_id, number)
            ended = _at_rung(connection, run_id, number, result) if asked.partial else result
            _end_trial(connection, run_id, number, ended, now)
            _keep_rung(connection, run_id, number, asked.resource, result, now)
    return read_trial(connection, run_id, number)


def _at_rung(
    connection: Connection, run_id: int, number: int, result: dict[str, Any]
) -> dict[str, Any]:
    """Give what becomes of a trial that was to reach a rung.

    It waits there, unless it has failed, or its scheduler told it to stop while it ran.
    """
    if result["state"] is not TrialState.COMPLETE:
        return result
    stop = told_to_stop(connection, run_id, number)
    if stop is not None:
        return result | {"state": TrialState.STOPPED, "value": None, "reason": stop}
    return result | {"state": TrialState.WAITING, "value": None}


def _keep_rung(
    connection: Connection,
    run_id: int,
    number: int,
    resource: float | None,
    result: Mapping[str, Any],
    now: datetime,
) -> None:
    """Keep a trial's value at a resource in place of an earlier one; a failure has none."""
    if resource is None or result["state"] is not TrialState.COMPLETE:
        return
    this = and_(rungs.c.run_id == run_id, rungs.c.trial == number, rungs.c.resource == resource)
    connection.execute(delete(rungs).where(this))
    place = {"run_id": run_id, "trial": number, "resource": resource}
    insert_all(connection, rungs, [place | {"value": result["value"], "created_at": now}])


def stop(connection: Connection, run_id: int, number: int, reason: str, now: datetime) -> Trial:
    """Stop a trial on purpose, its live attempt with it; one that has ended stays as it is."""
    outcome = Outcome(AttemptState.FAILED, reason, cause=Cause.STOPPED)
    stopped = {"state": TrialState.STOPPED, "reason": reason}
    return _end_both(connection, run_id, number, outcome, stopped, now)


def fail(
    connection: Connection,
    run_id: int,
    number: int,
    cause: Cause,
    reason: str,
    now: datetime,
    stopped_by: Actor | None = None,
) -> Trial:
    """Fail a trial and its live attempt, which have no outcome; an ended one stays as it is."""
    outcome = Outcome(AttemptState.FAILED, reason, cause=cause)
    if stopped_by is not None:
        _audit_stop(connection, run_id, number, stopped_by, now)
    return _end_both(connection, run_id, number, outcome, _result(outcome), now)


def _audit_stop(connection: Connection, run_id: int, number: int, by: Actor, now: datetime) -> None:
    """Write down that somebody stops a trial, unless it has ended before."""
    run = read_run(connection, run_id, lock=True)
    if read_trial(connection, run_id, number).state is TrialState.RUNNING:
        audit.enter_of(connection, Deed.STOPPED, by, now, run, {"trial": number})


def _end_both(
    connection: Connection,
    run_id: int,
    number: int,
    outcome: Outcome,
    result: Mapping[str, Any],
    now: datetime,
) -> Trial:
    """End a running trial with its live attempt, if it has one."""
    read_run(connection, run_id, lock=True)
    if read_trial(connection, run_id, number).state is TrialState.RUNNING:
        for attempt in read_attempts(connection, run_id, number):
            if attempt.state is AttemptState.RUNNING:
                _end(connection, attempt.id, outcome, now)
        _end_trial(connection, run_id, number, result, now)
    return read_trial(connection, run_id, number)


def read_again(
    connection: Connection,
    attempt_id: int,
    outcome: Outcome,
    spec: Spec,
    by: Actor,
    now: datetime,
) -> Trial:
    """Give an ended trial the metrics of an outcome that was read again, as `spec` reads them."""
    result = _result(outcome) | {"cause": None}
    if outcome.state is not AttemptState.SUCCEEDED:
        raise ValueError(f"only a success can be collected again, got {outcome.state}")
    run_id, number = place_of(connection, attempt_id)
    run = read_run(connection, run_id, lock=True)
    before = read_trial(connection, run_id, number)
    _check_read_again(connection, run, number, attempt_id, spec)
    read = {"state": outcome.state, "cause": None, "reason": outcome.reason}
    connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(read))
    keep_series(connection, attempt_id, outcome.observations)
    this = and_(trials.c.run_id == run_id, trials.c.number == number)
    asked = _asked(connection, run_id, number)
    _keep_rung(connection, run_id, number, asked.resource, result, now)
    if asked.partial and run.status is RunStatus.RUNNING:
        result = _at_rung(connection, run_id, number, result)
    elif asked.partial:
        why = "not promoted: its metrics were read after the run had ended"
        result |= {"state": TrialState.STOPPED, "value": None, "reason": why}
    connection.execute(update(trials).where(this).values(result))
    changed = {"spec": spec.dump(), "digest": spec.digest, "fingerprint": None}
    connection.execute(update(runs).where(runs.c.id == run_id).values(changed))
    trial = read_trial(connection, run_id, number)
    if (trial, spec) != (before, run.spec):
        told = {"metrics of trial": number, "spec": spec.digest}
        audit.enter_of(connection, Deed.CHANGED, by, now, run, told)
    return trial


def _insert(
    connection: Connection,
    run_id: int,
    trial: int,
    number: int,
    resource: float | None,
    handle: Mapping[str, Any],
    now: datetime,
) -> Attempt:
    values = {
        "run_id": run_id,
        "trial": trial,
        "number": number,
        "resource": resource,
        "handle": handle,
        "state": AttemptState.RUNNING,
        "started_at": now,
        "log_tail": "",
    }
    connection.execute(insert(attempts).values(values))
    this = and_(trials.c.run_id == run_id, trials.c.number == trial)
    first = update(trials).where(this, trials.c.started_at.is_(None))
    connection.execute(first.values(started_at=now))
    return read_attempts(connection, run_id, trial)[-1]


def _end(connection: Connection, attempt_id: int, outcome: Outcome, now: datetime) -> None:
    values = {
        "state": outcome.state,
        "cause": outcome.cause,
        "reason": outcome.reason,
        "exit_code": outcome.exit_code,
        "ended_at": now,
        "log_tail": outcome.log_tail,
    }
    connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(values))
    keep_series(connection, attempt_id, outcome.observations)


def _check_read_again(
    connection: Connection, run: Run, number: int, attempt_id: int, spec: Spec
) -> None:
    if run.spec.model_copy(update={"metrics": spec.metrics}) != spec:
        raise ValueError(f"run {run.id} can be collected again with other metrics only")
    tried, trial = read_attempts(connection, run.id, number), read_trial(connection, run.id, number)
    if trial.state is TrialState.RUNNING:
        raise ValueError(f"trial {number} of run {run.id} is still running")
    if tried[-1].id != attempt_id:
        raise ValueError(f"attempt {tried[-1].number} of trial {number} is newer")


def _result(outcome: Outcome) -> dict[str, Any]:
    """Give what a trial becomes by a final outcome; ValueError if the outcome does not say."""
    shared = {"reason": outcome.reason, "metrics": dict(outcome.metrics)}
    if outcome.state is AttemptState.SUCCEEDED:
        if outcome.value is None or not math.isfinite(outcome.value):
            raise ValueError(f"the value of a complete trial must be finite, got {outcome.value}")
        return shared | {"state": TrialState.COMPLETE, "value": float(outcome.value)}
    if outcome.cause is None:
        raise ValueError(f"a failed trial must have a cause, got only {outcome.reason!r}")
    return shared | {"state": TrialState.FAILED, "cause": outcome.cause}


def _end_trial(
    connection: Connection, run_id: int, number: int, result: Mapping[str, Any], now: datetime
) -> None:
    """End a trial that is still running."""
    change_trial(connection, run_id, number, TrialState.RUNNING, {**result, "ended_at": now})
