"""What a run's charts are drawn from: one JSON document of columns, of bounded size.

The report carries it, and the page of a run in Airflow fetches it; `assets` draws it. A row is a
trial: every column of `trials` has one entry per row, and what is about single trials names them
by row. A number has five significant digits; null stands for what is not there or not finite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hpo_lib.core.trial import TrialState, Value
from hpo_lib.core.values import is_number
from hpo_lib.records import RunView, TrialView
from hpo_lib.report import drift, overfitting, timeline
from hpo_lib.report.at_rungs import AtRung, at_rungs, telling
from hpo_lib.report.axes import Axis
from hpo_lib.report.choosing import sample
from hpo_lib.report.facts import Facts, metric_of
from hpo_lib.report.importance import Importance
from hpo_lib.report.markup import clean, shortened
from hpo_lib.report.series import curves_of, rungs_of
from hpo_lib.report.trials import told
from hpo_lib.words import number, utc

#: Raised when a reader of the document would have to change.
FORMAT = 1
#: What a document holds at most: parameters, metrics, and numbers in all columns of trials.
MAX_PARAMETERS, MAX_METRICS, MAX_CELLS = 60, 40, 240_000
MAX_ATTEMPTS, MAX_CHOICES = 10_000, 200
_CHOICE, _NOTE, _NOTES = 200, 300, 500

Column = list[Any]


def data_of(view: RunView, importance: Sequence[Importance] = ()) -> dict[str, Any]:
    """Make the document of a run in any state, with what `importance` has found, if it was asked.

    Curves are those of the trials that come with their observations.
    """
    facts = Facts.of(view)
    axes = [Axis.of(facts, name) for name in facts.parameters[:MAX_PARAMETERS]]
    measured = [one.metric for one in facts.objectives] + facts.metrics
    pairs = overfitting.pairs(facts)
    whole = list(dict.fromkeys([*measured[:MAX_METRICS], *(pair.gap for pair in pairs)]))
    rungs = [one for one in at_rungs(facts) if one.name not in whole]
    metrics = [*whole, *(one.name for one in rungs)]
    drawn = sample(facts, facts.trials, MAX_CELLS // (len(axes) + len(metrics) + 8))
    rows = {one.trial.number: row for row, one in enumerate(drawn.views)}
    return {
        "format": FORMAT,
        "run": _run(facts),
        "objectives": [_objective(facts, index) for index in range(len(facts.objectives))],
        "parameters": [_parameter(facts, axis) for axis in axes],
        "metrics": [clean(name) for name in metrics],
        "partial": list(range(len(whole), len(metrics))),
        "telling": metrics.index(found.name) if (found := telling(facts)) else 0,
        "pairs": [pair.places(metrics) for pair in pairs],
        "trials": _trials(facts, drawn.views, axes, whole, rungs),
        "attempts": _attempts(facts, rows),
        "curves": curves_of(facts, rows, measured[:MAX_METRICS]),
        "rungs": rungs_of(facts, rows),
        "importance": [one.dump([axis.name for axis in axes], metrics) for one in importance],
        "champion": _champion(facts),
        "left_out": [drawn.note] if drawn.note else [],
    }


def text_of(document: Mapping[str, Any]) -> str:
    """Write the document as compact JSON."""
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def short(value: float | None) -> float | int | None:
    """Write a number with five significant digits; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return value
    rounded = float(f"{value:.5g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded


def _run(facts: Facts) -> dict[str, Any]:
    run = facts.run
    return {
        "id": run.id,
        "experiment": clean(run.experiment),
        "status": run.status.value,
        "slots": facts.slots,
        "several": facts.several,
        "constrained": facts.constrained,
        "wall_s": short(facts.wall_s),
        "failed": len(facts.failed),
        "trials": len(facts.trials),
    }


def _objective(facts: Facts, index: int) -> dict[str, Any]:
    one = facts.objectives[index]
    direction = one.direction.value if one.direction else None
    return {"metric": index, "direction": direction, "target": short(one.target)}


def _parameter(facts: Facts, axis: Axis) -> dict[str, Any]:
    said = facts.dimension(axis.name)
    choices = [shortened(number(choice), _CHOICE) for choice in axis.choices[:MAX_CHOICES]]
    values = (one.trial.params.get(axis.name) for one in facts.trials)
    return {
        "name": clean(axis.name),
        "scale": axis.scale,
        "choices": choices,
        "low": _short_on(axis, axis.low),
        "high": _short_on(axis, axis.high),
        "whole": _whole(values),
        "conditional": said.conditional,
        "distribution": said.distribution,
    }


def _short_on(axis: Axis, value: float) -> float | int | None:
    """Write a value as `short` does; near 1, on a scale towards 1, how far it is from there."""
    if axis.scale != "reverse_log":
        return short(value)
    return round(1 - float(f"{1 - value:.5g}"), 15)


def _champion(facts: Facts) -> dict[str, Any] | None:
    """Give what every check of the champion has shown since it was made, up to this run's."""
    found, champion = drift.check(facts), facts.view.champion
    if found is None or champion is None:
        return None
    shown = [one for one in champion.checks if one.run <= found.run and one.metric == found.metric]
    return {
        "metric": clean(found.metric),
        "then": short(found.then.mean if found.then else None),
        "made_ms": _ms(champion.created_at),
        "checks": [
            {
                "run": one.run,
                "at_ms": _ms(one.time),
                "mean": short(one.now.mean),
                "error": short(one.now.error),
                "final": not one.search,
            }
            for one in shown
            if one.now is not None
        ],
    }


def _ms(time: datetime) -> int:
    return round(utc(time).timestamp() * 1000)


def _whole(values: Iterable[Value | None]) -> bool:
    """Say whether all values that there are, at least one, are integers."""
    known = [value for value in values if value is not None]
    return bool(known) and all(type(value) is int for value in known)


def _trials(
    facts: Facts,
    views: Sequence[TrialView],
    axes: Sequence[Axis],
    metrics: Sequence[str],
    rungs: Sequence[AtRung],
) -> dict[str, Any]:
    states = list(TrialState)
    place = {state: index for index, state in enumerate(states)}
    gaps = {pair.gap: pair for pair in overfitting.pairs(facts)}
    objectives = {one.metric: one for one in facts.objectives}

    def measured(view: TrialView, name: str) -> float | None:
        if name in objectives:
            return facts.value(view, objectives[name])
        found = metric_of(facts, view, name)
        return gaps[name].of(facts, view) if found is None and name in gaps else found

    columns = [[short(measured(view, name)) for view in views] for name in metrics]
    columns += [[short(one.values.get(view.trial.number)) for view in views] for one in rungs]
    return {
        "number": [view.trial.number for view in views],
        "states": [state.value for state in states],
        "state": [place[view.trial.state] for view in views],
        "duration_s": [short(view.trial.duration_s) for view in views],
        "ended_s": [_ended_s(facts, view) for view in views],
        "wave": [timeline.wave_of(view) for view in views],
        "params": [_column(axis, views) for axis in axes],
        "metrics": columns,
        "leading": _rows(views, facts.leading),
        "infeasible": _rows(views, facts.infeasible),
        "told": _told(facts, views),
    }


def _rows(views: Sequence[TrialView], numbers: frozenset[int]) -> list[int]:
    return [row for row, view in enumerate(views) if view.trial.number in numbers]


def _ended_s(facts: Facts, view: TrialView) -> float | int | None:
    """Give when a trial ended, in seconds of the run."""
    ends = [attempt.ended_at for attempt in view.attempts]
    known = [end for end in ends if end is not None]
    if not known or len(known) < len(ends):
        return None
    return short(round(facts.run.open_s(max(known)), 1))


def _column(axis: Axis, views: Sequence[TrialView]) -> Column:
    """Give a parameter's values: numbers, or places among its choices."""
    found: Column = []
    for view in views:
        value = view.trial.params.get(axis.name)
        if value is None:
            found.append(None)
        elif axis.scale == "choice":
            place = axis.place(value)
            found.append(None if place is None or place >= MAX_CHOICES else int(place))
        else:
            found.append(_short_on(axis, value) if is_number(value) else None)
    return found


def _told(facts: Facts, views: Sequence[TrialView]) -> dict[str, Any]:
    """Say what is out of the ordinary, by row; each text stands once."""
    texts: dict[str, int] = {}
    by_row: dict[str, int] = {}
    for row, view in enumerate(views):
        said = shortened(told(facts, view), _NOTE)
        if said and (said in texts or len(texts) < _NOTES):
            by_row[str(row)] = texts.setdefault(said, len(texts))
    return {"texts": list(texts), "by_row": by_row}


def _attempts(facts: Facts, rows: Mapping[int, int]) -> dict[str, Any]:
    """Give the attempts by start, in seconds of the run, each in a lane of its own."""
    placed = [bar for bar in timeline.bars(facts) if bar.trial in rows]
    kept = placed[-MAX_ATTEMPTS:]
    return {
        "states": list(timeline.STATES),
        "row": [rows[bar.trial] for bar in kept],
        "number": [bar.attempt for bar in kept],
        "state": [timeline.STATES.index(bar.state) for bar in kept],
        "lane": [bar.lane for bar in kept],
        "start_s": [short(round(bar.start_s, 2)) for bar in kept],
        "length_s": [short(round(bar.end_s - bar.start_s, 2)) for bar in kept],
        "left_out": len(placed) - len(kept),
    }
