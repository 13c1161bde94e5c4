"""The Pareto front: what a run with several objectives has in place of one best trial."""

from __future__ import annotations

import itertools
from typing import Any

from hpo_lib.core.trial import Direction
from hpo_lib.records import TrialView
from hpo_lib.report.again import WITHOUT, command, note
from hpo_lib.report.axes import Frame
from hpo_lib.report.charts import BEST, LEGEND, TARGET, Chart, Trace, marked, sample
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.report.trials import MAX_METRICS, MAX_PARAMETERS, cell, columns, head, texts, valued
from hpo_lib.spec.outline import Measure
from hpo_lib.words import count, number

_MAX_POINTS, _MAX_ROWS, _MAX_COMMANDS = 500, 200, 20


def charts(facts: Facts) -> list[Chart]:
    """Draw every pair of objectives; if there are only two, join the front to a line."""
    pairs = list(itertools.combinations(facts.objectives, 2))
    return [_pair(facts, x, y, index, joined=len(pairs) == 1) for index, (x, y) in enumerate(pairs)]


def cut(facts: Facts) -> bool:
    """Say whether a trial lies outside of the charts, on whose edge it is drawn."""
    frames = [(objective, Frame.of(facts, objective)) for objective in facts.objectives]
    return any(
        frame.beyond(facts.value(view, objective) or 0.0)
        for view in facts.ranked
        for objective, frame in frames
    )


def table(facts: Facts) -> Markup:
    """List the front's trials by the first objective: values, parameters, other metrics."""
    parameters = columns(facts.parameters[:MAX_PARAMETERS], texts(facts))
    metrics = columns(facts.metrics[:MAX_METRICS], frozenset())
    classes = [*parameters.items(), *metrics.items()]
    heads = [
        head("trial", "num"),
        *(head(objective.metric, "num goal") for objective in facts.objectives),
        *(head(name, class_) for name, class_ in classes),
    ]
    leading = _leading(facts)
    rows = [
        el(
            "tr",
            _number(view),
            *(_value(facts, view, objective) for objective in facts.objectives),
            *(valued(view.trial.params.get(name), class_) for name, class_ in parameters.items()),
            *(valued(view.trial.metrics.get(name), class_) for name, class_ in metrics.items()),
        )
        for view in leading[:_MAX_ROWS]
    ]
    whole = el("table", el("thead", el("tr", *heads)), el("tbody", *rows))
    rest = len(leading) - _MAX_ROWS
    more = f"{count(rest, 'more trial')} in the table below and in trials.csv."
    return join(
        [
            el("div", whole, class_="scroll tall", tabindex="0"),
            el("p", more, class_="note") if rest > 0 else None,
        ]
    )


def commands(facts: Facts) -> Markup | None:
    """Show how to train each trial of the front again; None if the spec cannot be read."""
    lines = [(view, command(facts, view)) for view in _leading(facts)[:_MAX_COMMANDS]]
    if facts.spec is None or not lines:
        return None
    folded = [_again(facts, view, line) for view, line in lines if line]
    said = folded or [el("p", WITHOUT, class_="note")]
    return el("div", el("h3", "Train one of them again"), *said, class_="again")


def _pair(facts: Facts, x: Measure, y: Measure, index: int, *, joined: bool) -> Chart:
    frames = Frame.of(facts, x), Frame.of(facts, y)
    views = sample(facts, facts.ranked, _MAX_POINTS).views
    values = [(facts.value(view, x) or 0.0, facts.value(view, y) or 0.0) for view in views]
    traces = marked(
        facts,
        views,
        [frames[0].y(across) for across, _ in values],
        [frames[1].y(up) for _, up in values],
        size=8 if len(views) < 150 else 6,
        symbols=[_symbol(frames, pair) for pair in values],
        plain="dominated",
    )
    if joined:
        traces.insert(0, _line(facts, x, y, frames))
    layout = {
        "xaxis": frames[0].layout(title=_named(x)),
        "yaxis": frames[1].layout(title=_named(y), nticks=6),
        "shapes": [*_targets(x, frames[0], "x", "y"), *_targets(y, frames[1], "y", "x")],
        "showlegend": joined,
        "legend": LEGEND,
    }
    about = f"{y.metric} over {x.metric}, a mark per trial"
    return Chart(f"front-{index}", about, traces, layout, 420 if joined else 300)


def _symbol(frames: tuple[Frame, Frame], values: tuple[float, float]) -> str:
    """Give the symbol of a trial; outside of the frame, one that points to where it lies."""
    if not frames[0].beyond(values[0]):
        return frames[1].symbol(values[1])
    return "triangle-right" if frames[0].direction is Direction.MINIMIZE else "triangle-left"


def _line(facts: Facts, x: Measure, y: Measure, frames: tuple[Frame, Frame]) -> Trace:
    """Join the front by steps: between two of its trials nothing better than a step is known."""
    leading = _leading(facts)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "the edge of what is known",
        "x": [frames[0].y(facts.value(view, x) or 0.0) for view in leading],
        "y": [frames[1].y(facts.value(view, y) or 0.0) for view in leading],
        "line": {"shape": "hv", "width": 1.5, "color": BEST},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _targets(objective: Measure, frame: Frame, along: str, across: str) -> list[dict[str, Any]]:
    target = objective.target
    if target is None or (frame.log and target <= 0):
        return []
    place = {f"{along}0": target, f"{along}1": target, f"{across}0": 0, f"{across}1": 1}
    line = {"width": 1.5, "dash": "dash", "color": TARGET}
    return [{"type": "line", f"{across}ref": "paper", "line": line, "layer": "below"} | place]


def _named(objective: Measure) -> str:
    return f"{objective.metric} ({objective.direction})"


def _leading(facts: Facts) -> list[TrialView]:
    return [view for view in facts.ranked if view.trial.number in facts.leading]


def _number(view: TrialView) -> Markup:
    number_ = view.trial.number
    link = el("a", str(number_), href=f"#trial-{number_}")
    return el("td", link, class_="num", data_v=str(number_))


def _value(facts: Facts, view: TrialView, objective: Measure) -> Markup:
    value = facts.value(view, objective)
    return cell(value, number(value), "num goal")


def _again(facts: Facts, view: TrialView, line: str) -> Markup:
    values = [f"{o.metric} {number(facts.value(view, o))}" for o in facts.objectives]
    name = f"command-{view.trial.number}"
    button = el("button", "copy", type="button", data_copy=name, class_="copy no-print")
    summary = el("summary", el("b", f"trial {view.trial.number}"), " ", " · ".join(values))
    said = el("p", note(facts, view), class_="note")
    return el("details", summary, button, el("pre", line, id=name), said, class_="failure")
