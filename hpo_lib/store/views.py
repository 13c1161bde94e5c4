"""A whole run at one moment: for reports, pages and terminals."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, func, select

from hpo_lib.core.trial import Observation, Origin
from hpo_lib.records import Attempt, RunView, TrialView
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


def view_of(connection: Connection, run_id: int) -> RunView:
    """Give everything about a run, in a handful of queries; NotFound."""
    run = read_run(connection, run_id)
    tried: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in read_attempts(connection, run_id):
        tried[attempt.trial].append(attempt)
    rows, reached = trial_rows(connection, run_id), read_rungs(connection, run_id)
    seen = {**_last_observations(connection, run_id), **curves(connection, rows)}
    views = [
        TrialView(
            trial=trial_of(row, duration_s(spans_of(tried[row.number])), reached.get(row.number)),
            slot=row.slot,
            attempts=tried[row.number],
            observations=seen.get(row.number, []),
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


def _last_observations(connection: Connection, run_id: int) -> dict[int, list[Observation]]:
    """Give the observations of each trial's newest attempt, by trial."""
    newest = select(func.max(attempts.c.id)).where(attempts.c.run_id == run_id)
    query = (
        select(observations, attempts.c.trial)
        .join(attempts, attempts.c.id == observations.c.attempt_id)
        .where(attempts.c.id.in_(newest.group_by(attempts.c.trial)))
        .order_by(observations.c.attempt_id, observations.c.position)
    )
    found: dict[int, list[Observation]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.trial].append(observation_of(row))
    return found
