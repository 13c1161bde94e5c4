"""Parameters and objective: a small panel per parameter, and all of them at once as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hpo_lib.records import TrialView
from hpo_lib.report.axes import Axis, Frame, choice_label
from hpo_lib.report.charts import (
    BEST,
    GRID,
    INK,
    MUTED,
    RAMP,
    STRIP,
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
from hpo_lib.words import number

MAX_PANELS, MAX_LINES_AXES = 24, 12
MAX_POINTS, _MAX_LINES = 400, 300
_MANY = 150
_GOLDEN = 0.6180339887
#: Where a line runs through the axis of a parameter that its trial does not have.
_INACTIVE = -0.13


def panel(facts: Facts, objective: Measure, name: str, index: int) -> Chart:
    """Draw an objective over one parameter; failed trials are crosses at the bottom."""
    scale, frame = Axis.of(facts, name), Frame.of(facts, objective)
    having = _having(facts.complete, name)
    complete = [view for view in having if facts.value(view, objective) is not None]
    failed = sample(facts, _having(facts.failed, name), MAX_POINTS).views
    places = [_place(scale, view) for view in failed]
    bottom = 0.025 if facts.complete else 0.5
    traces = _marks(facts, objective, scale, sample(facts, complete, MAX_POINTS).views, frame)
    if scale.scale == "choice":
        traces.append(_medians(facts, objective, scale, complete, frame))
    traces.append(failed_marks(failed, places, height=bottom, size=7))
    layout = {
        "xaxis": scale.layout(nticks=6),
        "yaxis": frame.layout(nticks=5) if complete else axis(range=[0, 1], showticklabels=False),
        "yaxis2": STRIP,
        "margin": {"l": 44, "r": 20, "t": 6, "b": 30},
    }
    height = 200 if facts.complete else 110
    about = f"{objective.metric} over {name}"
    return Chart(f"panel-{index}", about, traces, layout, height, tools=False)


def parallel(facts: Facts) -> tuple[Chart, str] | None:
    """Draw each complete trial as a line through its parameters to its objectives."""
    names = facts.parameters[:MAX_LINES_AXES]
    if len(facts.ranked) < 2 or not names:
        return None
    drawn = sample(facts, facts.ranked, _MAX_LINES)
    ends = [_End.of(facts, objective, drawn.views) for objective in facts.objectives]
    axes = [*(Axis.of(facts, name) for name in names), *(end.axis for end in ends)]
    layout = {
        "xaxis": {"visible": False, "range": [-0.45, len(axes) - 0.55], "fixedrange": True},
        "yaxis": {"visible": False, "range": [-0.22, 1.15], "fixedrange": True},
        "shapes": [_rail(x) for x in range(len(axes))],
        "annotations": [note for x, scale in enumerate(axes) for note in _names(x, scale)]
        + _inactive(names, drawn.views),
        "margin": {"l": 8, "r": 8, "t": 4, "b": 4},
        "hoverdistance": 12,
    }
    to = " and ".join(objective.metric for objective in facts.objectives)
    about = f"Every complete trial as a line through its parameters to {to}"
    lines = _lines(facts, drawn.views, axes[: len(names)], ends)
    return Chart("parallel", about, lines, layout, 400, 96 * len(axes), tools=False), drawn.note


@dataclass(frozen=True)
class _End:
    """An objective's axis, at which the lines end."""

    facts: Facts
    objective: Measure
    frame: Frame
    axis: Axis

    @classmethod
    def of(cls, facts: Facts, objective: Measure, views: Sequence[TrialView]) -> _End:
        """Let the axis reach from the least to the greatest value that is drawn."""
        frame = Frame.of(facts, objective)
        drawn = sorted(frame.y(facts.value(view, objective) or 0.0) for view in views)
        scale = "log" if frame.log else "linear"
        return cls(facts, objective, frame, Axis(objective.metric, scale, (), drawn[0], drawn[-1]))

    def height(self, view: TrialView) -> float | None:
        """Give where a trial's line crosses the axis, between 0 and 1."""
        return self.axis.unit(self.frame.y(self.facts.value(view, self.objective) or 0.0))


def _inactive(names: Sequence[str], views: Sequence[TrialView]) -> list[Trace]:
    return [
        _note(x, _INACTIVE - 0.055, "not set")
        for x, name in enumerate(names)
        if any(name not in view.trial.params for view in views)
    ]


def _marks(
    facts: Facts, objective: Measure, scale: Axis, views: Sequence[TrialView], frame: Frame
) -> list[Trace]:
    values = [facts.value(view, objective) or 0.0 for view in views]
    return marked(
        facts,
        views,
        [_place(scale, view) for view in views],
        [frame.y(value) for value in values],
        size=7 if len(views) < _MANY else 5,
        symbols=[frame.symbol(value) for value in values],
    )


def _having(views: Sequence[TrialView], name: str) -> list[TrialView]:
    return [view for view in views if name in view.trial.params]


def _place(scale: Axis, view: TrialView) -> float | None:
    place = scale.place(view.trial.params[scale.name])
    if place is None or scale.scale != "choice":
        return place
    return place + 0.5 * ((view.trial.number * _GOLDEN) % 1.0 - 0.5)


def _medians(
    facts: Facts, objective: Measure, scale: Axis, views: Sequence[TrialView], frame: Frame
) -> Trace:
    """Draw a short line at each choice's median."""
    x: list[float | None] = []
    y: list[float | None] = []
    for index in range(len(scale.choices)):
        chosen = [v for v in views if scale.place(v.trial.params[scale.name]) == index]
        if len(chosen) > 1:
            middle = frame.y(median(facts.value(view, objective) or 0.0 for view in chosen))
            x += [index - 0.36, index + 0.36, None]
            y += [middle, middle, None]
    line = {"color": INK, "width": 2}
    kind = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    return kind | {"x": x, "y": y, "line": line}


def _lines(
    facts: Facts, ranked: Sequence[TrialView], axes: Sequence[Axis], ends: Sequence[_End]
) -> list[Trace]:
    """Draw six traces, from the worst sixth of the trials to the best, and the front on top."""
    traces = []
    for level, color in enumerate(RAMP):
        best_first = [i for i in range(len(ranked)) if _level(i, len(ranked)) == level]
        views = [ranked[i] for i in best_first]
        if views:
            traces.append(_line(views, axes, ends, {"color": color, "width": 1.5}))
    leading = [view for view in ranked if view.trial.number in facts.leading]
    width = 2.5 if facts.several else 3.5
    return [*traces, _line(leading, axes, ends, {"color": BEST, "width": width})]


def _level(rank: int, total: int) -> int:
    return len(RAMP) - 1 - rank * len(RAMP) // total


def _line(
    views: Sequence[TrialView], axes: Sequence[Axis], ends: Sequence[_End], line: dict[str, Any]
) -> Trace:
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for view in views:
        heights = [*(_height(scale, view) for scale in axes), *(end.height(view) for end in ends)]
        x += [*range(len(heights)), None]
        y += [*heights, None]
        numbers += [view.trial.number] * len(heights) + [None]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "customdata": numbers,
        "hoverinfo": "text",
        "line": line,
        "marker": {"size": 4, "color": line["color"]},
        "connectgaps": False,
    }


def _height(scale: Axis, view: TrialView) -> float:
    if scale.name not in view.trial.params:
        return _INACTIVE
    place = scale.unit(view.trial.params[scale.name])
    if place is None:
        return _INACTIVE
    if scale.scale != "choice":
        return place
    return place + 0.25 / len(scale.choices) * ((view.trial.number * _GOLDEN) % 1.0 - 0.5)


def _rail(x: int) -> dict[str, Any]:
    line = {"color": GRID, "width": 2}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line, "layer": "below"}


def _names(x: int, scale: Axis) -> list[dict[str, Any]]:
    head = _note(x, 1.1, f"<b>{label(scale.name, 16)}</b>", color=INK)
    if scale.scale == "choice" and len(scale.choices) <= 8:
        size = len(scale.choices)
        marks = [((i + 0.5) / size, choice_label(c)) for i, c in enumerate(scale.choices)]
        return [head, *(_note(x, y, text, beside=True) for y, text in marks)]
    if scale.scale == "choice":
        ends = [choice_label(scale.choices[0]), choice_label(scale.choices[-1])]
    else:
        ends = [number(scale.low), number(scale.high)]
    return [head, _note(x, -0.045, ends[0]), _note(x, 1.035, ends[1])]


def _note(x: int, y: float, text: str, *, beside: bool = False, color: str = MUTED) -> Trace:
    note = {"x": x, "y": y, "text": text, "showarrow": False, "font": {"size": 11, "color": color}}
    if not beside:
        return note
    return note | {"xanchor": "left", "xshift": 5, "bgcolor": "var(--veil)"}
