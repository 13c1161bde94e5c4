"""The first objective at each rung, as a metric: trials that were stopped tell something, too.

Under a scheduler few trials are complete. What they all had at a lower rung says what parameters
do, as far as early values do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hpo_lib.report import savings
from hpo_lib.report.facts import Facts
from hpo_lib.words import number, spoken

#: Rungs that are metrics, and trials from which one learns what parameters do.
_RUNGS, ENOUGH = 12, 10


@dataclass(frozen=True)
class AtRung:
    """A metric such as "val_auc at epoch 3": its finite values by the number of the trial."""

    name: str
    values: Mapping[int, float]


def at_rungs(facts: Facts) -> list[AtRung]:
    """List the rungs that some trial has reached which is not complete, the lowest first."""
    trials = [view.trial for view in facts.trials]
    complete = {view.trial.number for view in facts.complete}
    ladder = sorted({rung for trial in trials for rung in trial.rungs})
    unit = spoken(savings.unit_of(savings.scheduler_of(facts))) if ladder else ""
    found = []
    for rung in ladder:
        reached = {one.number: one.rungs[rung] for one in trials if rung in one.rungs}
        values = {of: value for of, value in reached.items() if math.isfinite(value)}
        if values.keys() - complete:
            found.append(AtRung(f"{facts.metric} at {unit} {number(rung)}", values))
    every = max(math.ceil(len(found) / _RUNGS), 1)
    return found[::-every][::-1]


def telling(facts: Facts) -> AtRung | None:
    """Give the highest rung that enough trials have reached, if too few are complete."""
    if len(facts.complete) >= ENOUGH:
        return None
    return next((one for one in reversed(at_rungs(facts)) if len(one.values) >= ENOUGH), None)
