"""A whole run at one moment: for reports, pages and terminals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Subquery, and_, func, or_, select

from hpo_lib.core.trial import Observation, Origin
from hpo_lib.records import Attempt, Looked, RunView, TrialView
from hpo_lib.store.audit import of_run as audit_of_run
from hpo_lib.store.decisions import read_decisions
from hpo_lib.store.models import of_run, seen_by
from hpo_lib.store.queries import (
    duration_s,
    read_attempts,
    read_run,
    read_rungs,
    spans_of,
    trial_rows,
)
from hpo_lib.store.reuse import curves
from hpo_lib.store.rows import observation_of, trial_of
from hpo_lib.store.schema import attempts, observations

#: Given a run without its observations: which of them are worth reading.
Chosen = Callable[[RunView], Looked]


def view_of(connection: Connection, run_id: int, chosen: Chosen | None = None) -> RunView:
    """Give everything about a run, in a handful of queries; NotFound.

    Without `chosen` every trial comes with all observations of its newest attempt.
    """
    rows = trial_rows(connection, run_id)
    view = _without_series(connection, run_id, rows)
    if chosen is None:
        seen = {**_series(connection, run_id), **curves(connection, rows)}
    else:
        wanted = chosen(view)
        mine = [row for row in rows if row.number in wanted.trials]
        ends = _ends(connection, run_id, wanted.ends_of) if wanted.ends_of else {}
        seen = {**ends, **_series(connection, run_id, wanted.trials), **curves(connection, mine)}

    def told(one: TrialView) -> TrialView:
        return replace(one, observations=seen.get(one.trial.number, []))

    return replace(view, trials=list(map(told, view.trials)), finals=list(map(told, view.finals)))


def _without_series(connection: Connection, run_id: int, rows: Sequence[Row[Any]]) -> RunView:
    run = read_run(connection, run_id)
    tried: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in read_attempts(connection, run_id):
        tried[attempt.trial].append(attempt)
    reached = read_rungs(connection, run_id)
    views = [
        TrialView(
            trial=trial_of(row, duration_s(spans_of(tried[row.number])), reached.get(row.number)),
            slot=row.slot,
            attempts=tried[row.number],
        )
        for row in rows
    ]
    return RunView(
        run,
        trials=[view for view in views if view.trial.origin is not Origin.FINAL],
        finals=[view for view in views if view.trial.origin is Origin.FINAL],
        model=of_run(connection, run_id),
        champion=seen_by(connection, run.experiment, run_id),
        decisions=read_decisions(connection, run_id),
        audit=audit_of_run(connection, run_id),
    )


def _newest(run_id: int) -> Subquery:
    """Select the newest attempt of each trial."""
    newest = select(func.max(attempts.c.id).label("id"), attempts.c.trial)
    return newest.where(attempts.c.run_id == run_id).group_by(attempts.c.trial).subquery()


def _series(
    connection: Connection, run_id: int, numbers: Collection[int] | None = None
) -> dict[int, list[Observation]]:
    """Give the observations of each trial's newest attempt, by trial."""
    newest = _newest(run_id)
    query = (
        select(observations, newest.c.trial)
        .join(newest, newest.c.id == observations.c.attempt_id)
        .order_by(observations.c.attempt_id, observations.c.position)
    )
    found: dict[int, list[Observation]] = defaultdict(list)
    if numbers is not None:
        query = query.where(newest.c.trial.in_(numbers))
    for row in connection.execute(query):
        found[row.trial].append(observation_of(row))
    return found


def _ends(connection: Connection, run_id: int, metric: str) -> dict[int, list[Observation]]:
    """Give of each trial's newest attempt the first and the last observation of a metric."""
    newest, position = _newest(run_id), observations.c.position
    ends = (
        select(
            newest.c.trial,
            newest.c.id,
            func.min(position).label("first"),
            func.max(position).label("last"),
        )
        .join(observations, observations.c.attempt_id == newest.c.id)
        .where(observations.c.metric == metric)
        .group_by(newest.c.trial, newest.c.id)
        .subquery()
    )
    at_end = or_(position == ends.c.first, position == ends.c.last)
    these = and_(observations.c.attempt_id == ends.c.id, at_end)
    query = select(observations, ends.c.trial).join(ends, these).order_by(ends.c.trial, position)
    found: dict[int, list[Observation]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.trial].append(observation_of(row))
    return found
