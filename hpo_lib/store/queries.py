"""Reading runs, trials and attempts: the questions that several transactions ask."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from hpo_lib.core.trial import (
    History,
    Origin,
    Trial,
    TrialState,
)
from hpo_lib.errors import NotFound
from hpo_lib.records import (
    Attempt,
    Run,
    RunKey,
)
from hpo_lib.store.rows import (
    attempt_of,
    run_of,
    trial_of,
)
from hpo_lib.store.schema import attempts, rungs, runs, trials

Span = tuple[datetime, datetime | None]
#: So many trials are asked for by their numbers; of more, all of the run's are read.
_NAMED = 1_000


def read_run(connection: Connection, wanted: int | RunKey, *, lock: bool = False) -> Run:
    """Give a run, by number or name; NotFound.

    `lock` keeps every other writer away from it until the transaction ends.
    """
    return run_of(_run_row(connection, wanted, lock=lock))


def _run_row(connection: Connection, wanted: int | RunKey, *, lock: bool) -> Row[Any]:
    query = select(runs)
    if isinstance(wanted, RunKey):
        query = query.where(runs.c.dag_id == wanted.dag_id, runs.c.dag_run_id == wanted.dag_run_id)
    else:
        query = query.where(runs.c.id == wanted)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(_no_run(wanted))
    return row


def _no_run(wanted: int | RunKey) -> str:
    if isinstance(wanted, RunKey):
        return f"the store has no run of DAG {wanted.dag_id!r} named {wanted.dag_run_id!r}"
    return f"the store has no run {wanted}"


def history_of(connection: Connection, run: Run, now: datetime) -> History:
    """Give all that a decision about a run may depend on."""
    spans = read_spans(connection, run.id)
    rows, reached = searched_rows(connection, run.id), read_rungs(connection, run.id)
    return History(
        trials=tuple(
            trial_of(row, duration_s(spans[row.number]), reached.get(row.number)) for row in rows
        ),
        elapsed_s=run.open_s(run.ended_at or now),
        earlier=run.advice.earlier,
    )


def read_spans(connection: Connection, run_id: int) -> dict[int, list[Span]]:
    """Give from when to when each attempt of a run ran, by trial: nothing for any other."""
    columns = (attempts.c.trial, attempts.c.started_at, attempts.c.ended_at)
    found: dict[int, list[Span]] = defaultdict(list)
    for row in connection.execute(select(*columns).where(attempts.c.run_id == run_id)):
        found[row.trial].append((row.started_at, row.ended_at))
    return found


def failed_of(connection: Connection, run_id: int) -> History:
    """Give the trials of a search that have failed, without how long they took."""
    this = (trials.c.run_id == run_id, trials.c.state == TrialState.FAILED)
    rows = connection.execute(select(trials).where(*this).order_by(trials.c.number))
    return History(tuple(trial_of(row, None) for row in rows if row.origin != Origin.FINAL))


def duration_s(spans: Iterable[Span]) -> float | None:
    """Sum up the run time of the attempts that have ended, None without one."""
    times = [seconds(start, end) for start, end in spans if end is not None]
    return math.fsum(times) if times else None


def spans_of(tried: Iterable[Attempt]) -> list[Span]:
    """Give from when to when each attempt ran."""
    return [(attempt.started_at, attempt.ended_at) for attempt in tried]


def seconds(start: datetime, end: datetime) -> float:
    """Give the seconds between two times, never negative: their clocks may disagree."""
    return max(0.0, (end - start).total_seconds())


def trial_rows(connection: Connection, run_id: int) -> Sequence[Row[Any]]:
    """Give the rows of all trials of a run, by number."""
    query = select(trials).where(trials.c.run_id == run_id).order_by(trials.c.number)
    return connection.execute(query).all()


def searched_rows(connection: Connection, run_id: int) -> list[Row[Any]]:
    """Give the rows of a run's search: of all trials but the final ones."""
    return [row for row in trial_rows(connection, run_id) if row.origin != Origin.FINAL]


def trial_row(connection: Connection, run_id: int, number: int) -> Row[Any]:
    """Give the row of a trial; NotFound."""
    query = select(trials).where(trials.c.run_id == run_id, trials.c.number == number)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"run {run_id} has no trial {number}")
    return row


def read_trial(connection: Connection, run_id: int, number: int) -> Trial:
    """Give a trial; NotFound."""
    row, tried = trial_row(connection, run_id, number), read_attempts(connection, run_id, number)
    reached = read_rungs(connection, run_id, number)
    return trial_of(row, duration_s(spans_of(tried)), reached.get(number))


def read_rungs(
    connection: Connection, run_id: int, number: int | None = None
) -> dict[int, dict[float, float]]:
    """Give what a run's trials, or one of them, have reached: by number, then by resource."""
    query = select(rungs).where(rungs.c.run_id == run_id)
    if number is not None:
        query = query.where(rungs.c.trial == number)
    found: dict[int, dict[float, float]] = defaultdict(dict)
    for row in connection.execute(query.order_by(rungs.c.trial, rungs.c.resource)):
        found[row.trial][row.resource] = row.value
    return found


def read_attempts(connection: Connection, run_id: int, number: int | None = None) -> list[Attempt]:
    """Give a run's attempts by trial and number, or those of one trial."""
    query = select(attempts).where(attempts.c.run_id == run_id)
    if number is not None:
        query = query.where(attempts.c.trial == number)
    rows = connection.execute(query.order_by(attempts.c.trial, attempts.c.number))
    return [attempt_of(row) for row in rows]


def read_attempts_of(
    connection: Connection, run_id: int, numbers: Collection[int]
) -> dict[int, list[Attempt]]:
    """Give the attempts of some of a run's trials, by trial: nothing for any other."""
    query = select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.number)
    if len(numbers) <= _NAMED:
        query = query.where(attempts.c.trial.in_(numbers))
    wanted = frozenset(numbers)
    found: dict[int, list[Attempt]] = defaultdict(list)
    for row in connection.execute(query):
        if row.trial in wanted:
            found[row.trial].append(attempt_of(row))
    return found


def place_of(connection: Connection, attempt_id: int) -> tuple[int, int]:
    """Give run and trial of an attempt, which never change; NotFound."""
    query = select(attempts.c.run_id, attempts.c.trial).where(attempts.c.id == attempt_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"the store has no attempt {attempt_id}")
    return row.run_id, row.trial
