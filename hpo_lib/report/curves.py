"""How the objective went: best so far over the trials, within a trial by step, and by rung."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hpo_lib.core.trial import TrialState
from hpo_lib.records import TrialView
from hpo_lib.report.axes import Frame, spans_decades
from hpo_lib.report.charts import (
    BEST,
    LEGEND,
    STATE,
    STRIP,
    TARGET,
    Chart,
    Trace,
    axis,
    failed_marks,
    marked,
    sample,
)
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import label
from hpo_lib.spec.outline import Measure
from hpo_lib.words import count, number

_MAX_CURVES, _MAX_STEPS = 40, 200
#: Trials drawn at rungs, and rungs that are named.
_MAX_CLIMBED, _MAX_NAMED_RUNGS = 200, 12
#: A span of so many steps has a tick at each.
_FEW_STEPS = 12


def progress(facts: Facts, objective: Measure, index: int = 0) -> tuple[Chart, str]:
    """Draw each trial's value of an objective, and its best so far among the feasible ones."""
    frame = Frame.of(facts, objective)
    pairs = [(view, facts.value(view, objective)) for view in facts.complete]
    views = [view for view, value in pairs if value is not None]
    values = [value for _, value in pairs if value is not None]
    numbers = [view.trial.number for view in views]
    dots = marked(
        facts,
        views,
        numbers,
        [frame.y(value) for value in values],
        size=8 if len(numbers) < 150 else 5,
        symbols=[frame.symbol(value) for value in values],
    )
    traces = [*_running_best(facts, objective, frame), *dots]
    if facts.failed:
        failed = failed_marks(facts.failed, [view.trial.number for view in facts.failed])
        traces.append(failed | {"name": "failed (no value)"})
    traces += _target(facts, objective, frame)
    layout = {
        "xaxis": axis(title="trial", showgrid=False, range=_trial_range(facts)),
        "yaxis": frame.layout(title=objective.metric),
        "yaxis2": STRIP,
        "showlegend": True,
        "legend": LEGEND,
    }
    note = _far_off(sum(map(frame.beyond, values)), "trial")
    about = f"{objective.metric} by trial, and the best so far"
    return Chart(_numbered("progress", index), about, traces, layout), note


def learning(facts: Facts, metric: str, index: int = 0) -> tuple[Chart, str] | None:
    """Draw an objective over the steps of each trial; None if no trial has steps."""
    stepped = [view for view in facts.trials if len(series(view, metric)) > 1]
    if not stepped:
        return None
    drawn = sample(facts, stepped, _MAX_CURVES)
    ordered = sorted(drawn.views, key=lambda view: view.trial.number in facts.leading)
    curves = [_curve(facts, view, _thinned(series(view, metric))) for view in ordered]
    values = [value for curve in curves for value in curve["y"]]
    layout = {
        "xaxis": axis(title="step", showgrid=False, **_whole(curves)),
        "yaxis": axis(title=metric, type="log" if spans_decades(values) else "linear"),
        "showlegend": True,
        "legend": LEGEND,
    }
    about = f"{metric} by step, a line per trial"
    return Chart(_numbered("learning", index), about, _named_once(curves), layout), drawn.note


def by_rung(facts: Facts, unit: str) -> tuple[Chart, str] | None:
    """Draw the first objective at the rungs of each trial; None if there is one rung at most."""
    climbed = {view.trial.number: _at_rungs(view) for view in facts.trials}
    ladder = sorted({rung for found in climbed.values() for rung, _ in found})
    if len(ladder) < 2:
        return None
    place = {rung: index for index, rung in enumerate(ladder)}
    drawn = sample(facts, [v for v in facts.trials if climbed[v.trial.number]], _MAX_CLIMBED)
    ordered = sorted(drawn.views, key=lambda view: view.trial.number in facts.leading)
    values = [value for view in ordered for _, value in climbed[view.trial.number]]
    frame = Frame.around(values, facts.objective.direction)
    traces = []
    for view in ordered:
        found = climbed[view.trial.number]
        curve = _curve(facts, view, [(place[rung], frame.y(value)) for rung, value in found])
        marker = {"size": 6, "symbol": [frame.symbol(value) for _, value in found]}
        traces.append(curve | {"mode": "lines+markers", "marker": marker})
    ticks = range(0, len(ladder), math.ceil(len(ladder) / _MAX_NAMED_RUNGS))
    labels = [number(ladder[index]) for index in ticks]
    named: dict[str, Any] = {"tickvals": list(ticks), "ticktext": labels}
    layout = {
        "xaxis": axis(title=unit, range=[-0.15, len(ladder) - 0.85], **named),
        "yaxis": frame.layout(title=facts.metric),
        "showlegend": True,
        "legend": LEGEND,
    }
    notes = [drawn.note, _far_off(sum(map(frame.beyond, values)), "value")]
    about = f"{facts.metric} by rung, a line per trial"
    return Chart("rungs", about, _named_once(traces), layout), " ".join(filter(None, notes))


def _far_off(outside: int, what: str) -> str:
    """Say what is drawn elsewhere than it is; nothing if it is nothing."""
    return f"{count(outside, what)} far off is drawn as a triangle on the edge." if outside else ""


def _at_rungs(view: TrialView) -> list[tuple[float, float]]:
    """Give the finite values of a trial at its rungs, lowest first."""
    return sorted((rung, value) for rung, value in view.trial.rungs.items() if math.isfinite(value))


def _whole(curves: Sequence[Trace]) -> dict[str, Any]:
    """Keep the ticks of a few steps at whole ones: there is none between two."""
    steps = [step for curve in curves for step in curve["x"]]
    return {"dtick": 1} if max(steps) - min(steps) <= _FEW_STEPS else {}


def series(view: TrialView, metric: str) -> list[tuple[int, float]]:
    """Give the finite values of a metric that belong to a step, in order of steps."""
    return sorted(
        (seen.step, seen.value)
        for seen in view.observations
        if seen.metric == metric and seen.step is not None and math.isfinite(seen.value)
    )


def _running_best(facts: Facts, objective: Measure, frame: Frame) -> list[Trace]:
    x: list[int] = []
    y: list[float] = []
    for view in facts.complete:
        value = facts.value(view, objective)
        if value is None or view.trial.number in facts.infeasible or not objective.direction:
            continue
        x.append(view.trial.number)
        y.append(value if not y or objective.direction.better(value, y[-1]) else y[-1])
    if not x:
        return []
    x.append(max(view.trial.number for view in facts.trials))
    y.append(y[-1])
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": x,
            "y": [frame.y(value) for value in y],
            "line": {"shape": "hv", "width": 2.5, "color": BEST},
            "hoverinfo": "skip",
        }
    ]


def _target(facts: Facts, objective: Measure, frame: Frame) -> list[Trace]:
    target = objective.target
    if target is None or not facts.trials or (frame.log and target <= 0):
        return []
    ends = _trial_range(facts)
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"target {number(target)}",
            "x": ends,
            "y": [target, target],
            "line": {"width": 1.5, "dash": "dash", "color": TARGET},
            "hoverinfo": "skip",
        }
    ]


def _numbered(name: str, index: int) -> str:
    return f"{name}-{index}" if index else name


def _trial_range(facts: Facts) -> list[float]:
    numbers = [view.trial.number for view in facts.trials] or [0]
    margin = max(0.5, 0.015 * (max(numbers) - min(numbers)))
    return [min(numbers) - margin, max(numbers) + margin]


def _curve(facts: Facts, view: TrialView, found: Sequence[tuple[float, float]]) -> Trace:
    trial = view.trial
    is_best = trial.number in facts.leading
    best = "Pareto front" if facts.several else f"best trial ({trial.number})"
    line = {"width": 3 if is_best else 1.2, "color": BEST if is_best else STATE[trial.state]}
    if trial.state is TrialState.FAILED:
        line["dash"] = "dot"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": best if is_best else label(trial.state),
        "opacity": 1 if is_best else 0.55,
        "x": [step for step, _ in found],
        "y": [value for _, value in found],
        "customdata": [trial.number] * len(found),
        "hoverinfo": "text",
        "line": line,
    }


def _thinned(found: list[tuple[int, float]]) -> Sequence[tuple[float, float]]:
    every = math.ceil(len(found) / _MAX_STEPS)
    return found if every <= 1 else [*found[:-1:every], found[-1]]


def _named_once(curves: Sequence[Trace]) -> list[Trace]:
    """Let each name appear once in the legend, where it shows and hides all of its curves."""
    seen: set[str] = set()
    named = []
    for curve in curves:
        name = curve["name"]
        named.append(curve | {"legendgroup": name, "showlegend": name not in seen})
        seen.add(name)
    return named
