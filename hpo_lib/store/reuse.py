"""Results that the store has already, found for new trials as they are entered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, select, tuple_

from hpo_lib.core.space import key
from hpo_lib.core.trial import Assignment, Observation, Origin, Reused, TrialState
from hpo_lib.records import AttemptState, Run, RunStatus
from hpo_lib.store.rows import observation_of, reused_of
from hpo_lib.store.schema import attempts, observations, runs, trials

#: Only when a run ends is it checked that its data stayed the same.
_ENDED = (RunStatus.COMPLETE, RunStatus.FAILED)


def known(
    connection: Connection, run: Run, assignments: Iterable[Assignment]
) -> dict[int, dict[str, Any]]:
    """Give the known results of new trials of a search, by number, as columns of `trials`.

    A new trial takes the result of the first complete trial with the same parameters in an ended
    run of the same experiment and fingerprint. That trial was trained itself: a reused result is
    not reused again. Final trials have other hashes than trials of a search.
    """
    asked = {key(one.params): one.trial for one in assignments if _whole(one)}
    if run.fingerprint is None or not asked:
        return {}
    alike = and_(
        runs.c.experiment == run.experiment,
        runs.c.fingerprint == run.fingerprint,
        runs.c.status.in_(_ENDED),
        runs.c.id != run.id,
    )
    query = (
        select(trials)
        .join(runs, runs.c.id == trials.c.run_id)
        .where(alike, trials.c.params_hash.in_(list(asked)))
        .where(trials.c.state == TrialState.COMPLETE, trials.c.reused_run.is_(None))
        .order_by(trials.c.run_id, trials.c.number)
    )
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(query):
        found.setdefault(asked[row.params_hash], _result(row))
    return found


def _whole(assignment: Assignment) -> bool:
    """Say whether a trial of the search begins anew and goes to its end."""
    part = assignment.resource is not None or assignment.resume_from is not None
    return assignment.origin is not Origin.FINAL and not part


def _result(row: Row[Any]) -> dict[str, Any]:
    return {
        "state": TrialState.COMPLETE,
        "value": row.value,
        "metrics": row.metrics,
        "reason": f"reused from {Reused(row.run_id, row.number)}",
        "reused_run": row.run_id,
        "reused_trial": row.number,
    }


def curves(connection: Connection, rows: Sequence[Row[Any]]) -> Mapping[int, list[Observation]]:
    """Give the observations of the trials whose results rows reuse, by the rows' own numbers."""
    numbers = {found: row.number for row in rows if (found := reused_of(row)) is not None}
    if not numbers:
        return {}
    places = [(one.run, one.trial) for one in numbers]
    query = (
        select(observations, attempts.c.run_id, attempts.c.trial)
        .join(attempts, attempts.c.id == observations.c.attempt_id)
        .where(tuple_(attempts.c.run_id, attempts.c.trial).in_(places))
        .where(attempts.c.state == AttemptState.SUCCEEDED)
        .order_by(observations.c.attempt_id, observations.c.position)
    )
    series: dict[int, list[Observation]] = defaultdict(list)
    for row in connection.execute(query):
        series[numbers[Reused(row.run_id, row.trial)]].append(observation_of(row))
    return series
