"""Curves for the charts: some trials by step, how all of a sample lie, and values by rung."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpo_lib.records import Looked, RunView, TrialView
from hpo_lib.report import savings
from hpo_lib.report.choosing import sample
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import clean
from hpo_lib.words import spoken

#: Trials whose series are looked at, of which so many are drawn as lines.
_SAMPLED, _LINES = 200, 50
_MAX_STEPS, _MAX_CURVES, _MAX_CLIMBED = 100, 8, 300
_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)

Series = Sequence[tuple[int, float]]


def looked_at(view: RunView) -> Looked:
    """Say whose observations are worth reading: of half the best trials, half over the run.

    How far the others were trained is told by the ends of theirs, if a scheduler watches trials.
    """
    facts = Facts.of(view)
    watching = (scheduler := savings.scheduler_of(facts)) is not None and scheduler.watches
    return Looked(_sampled(facts), facts.metric if watching else None)


def _sampled(facts: Facts) -> frozenset[int]:
    return frozenset(one.trial.number for one in sample(facts, facts.trials, _SAMPLED).views)


def series(view: TrialView, metric: str) -> list[tuple[int, float]]:
    """Give the finite values of a metric that belong to a step, in order of steps."""
    return sorted(
        (seen.step, seen.value)
        for seen in view.observations
        if seen.metric == metric and seen.step is not None and math.isfinite(seen.value)
    )


def curves_of(
    facts: Facts, rows: Mapping[int, int], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Give the curves of each metric that has any: lines by row, and quantiles by step."""
    known = _sampled(facts) & rows.keys()
    views = [view for view in facts.trials if view.trial.number in known]
    found = []
    for place, metric in enumerate(metrics):
        stepped = {view.trial.number: series(view, metric) for view in views}
        stepped = {number: points for number, points in stepped.items() if len(points) > 1}
        if stepped:
            found.append(_curves(facts, rows, place, stepped))
    return found[:_MAX_CURVES]


def _curves(
    facts: Facts, rows: Mapping[int, int], place: int, stepped: Mapping[int, Series]
) -> dict[str, Any]:
    having = [view for view in facts.trials if view.trial.number in stepped]
    drawn = [view.trial.number for view in sample(facts, having, _LINES).views]
    lines = [_thinned(stepped[number]) for number in drawn]
    steps: dict[tuple[int, ...], int] = {}
    at = [steps.setdefault(tuple(step for step, _ in line), len(steps)) for line in lines]
    return {
        "metric": place,
        "rows": [rows[number] for number in drawn],
        "steps": [list(one) for one in steps],
        "at": at,
        "values": [[_five(value) for _, value in line] for line in lines],
        "quantiles": _quantiles(stepped.values()),
        "of": len(stepped),
    }


def _quantiles(stepped: Iterable[Series]) -> dict[str, Any]:
    """Say by step how the trials lie that got there; a step with few of them has none."""
    by_step: dict[int, list[float]] = defaultdict(list)
    for line in stepped:
        for step, value in line:
            by_step[step].append(value)
    steps = [step for step, values in sorted(by_step.items()) if len(values) >= 5]
    steps = [step for step, _ in _thinned([(step, 0.0) for step in steps])]
    ranked = [sorted(by_step[step]) for step in steps]
    return {
        "levels": list(_LEVELS),
        "steps": steps,
        "values": [
            [_five(values[round(level * (len(values) - 1))]) for values in ranked]
            for level in _LEVELS
        ],
    }


def rungs_of(facts: Facts, rows: Mapping[int, int]) -> dict[str, Any]:
    """Give the first objective at the rungs that trials have reached, by row."""
    views = [view for view in facts.trials if view.trial.rungs and view.trial.number in rows]
    climbed = sample(facts, views, _MAX_CLIMBED).views
    ladder = sorted({rung for view in climbed for rung in view.trial.rungs})
    place = {rung: index for index, rung in enumerate(ladder)}
    found = [
        sorted((place[rung], v) for rung, v in view.trial.rungs.items() if math.isfinite(v))
        for view in climbed
    ]
    unit = savings.unit_of(savings.scheduler_of(facts)) if climbed else "step"
    return {
        "unit": clean(spoken(unit)),
        "ladder": ladder,
        "rows": [rows[view.trial.number] for view in climbed],
        "at": [[index for index, _ in line] for line in found],
        "values": [[_five(value) for _, value in line] for line in found],
        "of": len(views),
    }


def _thinned(points: Series) -> Series:
    every = math.ceil(len(points) / _MAX_STEPS)
    return points if every <= 1 else [*points[:-1:every], points[-1]]


def _five(value: float) -> float:
    return float(f"{value:.5g}")
