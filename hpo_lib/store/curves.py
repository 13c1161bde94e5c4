"""Curves: the first objective by step, of trials that have ended and of those that still report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import Connection, select

from hpo_lib.store.schema import attempts, observations


def read_curves(
    connection: Connection, run_id: int, metric: str, old: Collection[int], newest: int
) -> dict[int, dict[int, float]]:
    """Give the curves of the `old` trials and of those beyond the `newest`, by number.

    A later attempt's report of a step counts; a report without a step is the one after the last.
    Steps count from 1: of a trial that counts from 0, each is one more. At most a thousand reports
    of an attempt are kept (`hpo_lib.collectors.summary`), so that is what a trial costs.
    """
    query = (
        select(attempts.c.trial, observations.c.step, observations.c.value)
        .join(attempts, attempts.c.id == observations.c.attempt_id)
        .where(attempts.c.run_id == run_id, observations.c.metric == metric)
        .order_by(attempts.c.trial, attempts.c.number, observations.c.position)
    )
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for these in attempts.c.trial.in_(old), attempts.c.trial > newest:
        for row in connection.execute(query.where(these)):
            curve = found[row.trial]
            step = max(curve, default=0) + 1 if row.step is None else row.step
            if step >= 0:
                curve[step] = row.value
    return {number: _from_one(curve) for number, curve in found.items()}


def _from_one(curve: dict[int, float]) -> dict[int, float]:
    return {step + 1: value for step, value in curve.items()} if 0 in curve else curve
