"""What all charts share: plain plotly figures whose colours are names that the page resolves.

A colour is a CSS variable of `style`, so that charts and text follow light, dark and print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_lib.core.trial import TrialState
from hpo_lib.records import AttemptState, TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, label
from hpo_lib.words import duration, number, spoken

INK, MUTED, GRID, PAGE = "var(--ink)", "var(--muted)", "var(--line)", "var(--page)"
BEST, TARGET, BROKEN = "var(--best)", "var(--target)", "var(--broken)"
STATE = {
    TrialState.COMPLETE: "var(--complete)",
    TrialState.WAITING: "var(--running)",
    TrialState.STOPPED: "var(--stopped)",
    TrialState.FAILED: "var(--failed)",
    TrialState.RUNNING: "var(--running)",
}
ATTEMPT = {
    AttemptState.SUCCEEDED: STATE[TrialState.COMPLETE],
    AttemptState.FAILED: STATE[TrialState.FAILED],
    AttemptState.RUNNING: STATE[TrialState.RUNNING],
}
#: From the worst to the best sixth of the trials.
RAMP = tuple(f"var(--ramp{level})" for level in range(6))
_HOVER_PARAMS = 12
_OPEN = {"color": BROKEN, "line": {"width": 1.6, "color": BROKEN}}

Trace = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """A plotly figure with a place on the page; a point's `customdata` is its trial's number."""

    id: str
    about: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    height: int = 320
    min_width: int = 0
    tools: bool = True

    def place(self) -> Markup:
        """Give the element that the figure is drawn in."""
        style = f"height:{self.height}px"
        if self.min_width:
            style += f";min-width:{self.min_width}px"
        about, identifier = self.about, f"chart-{self.id}"
        box = el("div", class_="chart", id=identifier, role="img", aria_label=about, style=style)
        return el("div", box, class_="scroll")

    def figure(self) -> dict[str, Any]:
        """Give what plotly draws."""
        return {
            "id": f"chart-{self.id}",
            "data": list(self.traces),
            "layout": _LAYOUT | dict(self.layout),
            "tools": self.tools,
        }


_LAYOUT: dict[str, Any] = {
    "autosize": True,
    "margin": {"l": 56, "r": 22, "t": 12, "b": 44},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, sans-serif", "size": 12, "color": MUTED},
    "hovermode": "closest",
    "hoverlabel": {
        "bgcolor": PAGE,
        "bordercolor": GRID,
        "align": "left",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
    },
    "showlegend": False,
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": INK},
    "dragmode": "zoom",
}
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": INK}}
#: An axis from 0 at the bottom to 1 at the top of the frame, for marks that have no value.
STRIP = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}


def axis(*, title: str = "", **more: Any) -> dict[str, Any]:
    """Give an axis in the page's manner; the title is escaped here."""
    base: dict[str, Any] = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "automargin": True,
        "ticks": "",
        "hoverformat": ".5~g",
    }
    if title:
        base["title"] = {"text": label(title, 60), "standoff": 8}
    return base | more


def points(views: Sequence[TrialView], x: Sequence[Any], y: Sequence[Any], **marker: Any) -> Trace:
    """Give one mark per trial, with its facts on hover."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(x),
        "y": list(y),
        "customdata": [view.trial.number for view in views],
        "hoverinfo": "text",
        "marker": {"size": 8, "opacity": 0.85, "line": {"width": 1, "color": PAGE}} | marker,
    }


def marked(
    facts: Facts,
    views: Sequence[TrialView],
    x: Sequence[Any],
    y: Sequence[Any],
    *,
    size: float = 8,
    symbols: Sequence[str] | None = None,
    plain: str = "a trial's value",
) -> list[Trace]:
    """Give the marks of complete trials by kind, those that stand out on top.

    `plain` is what the legend calls trials of no special kind.
    """
    shapes = symbols or ["circle"] * len(views)
    place = {view.trial.number: index for index, view in enumerate(views)}
    broken = [number for number in place if number in facts.infeasible]
    leading = [number for number in place if number in facts.leading]
    others = [number for number in place if number not in {*broken, *leading}]
    best = "Pareto front" if facts.several else "best trial"
    groups: list[tuple[str, list[int], Trace]] = [
        (plain, others, {"size": size, "color": STATE[TrialState.COMPLETE]}),
        ("breaks a constraint", broken, {"size": size} | _OPEN),
        (best, leading, {"size": 12, "symbol": "diamond", "color": BEST, "opacity": 1}),
    ]
    traces = []
    for name, numbers, look in groups:
        at = [place[number] for number in numbers]
        suffix = "-open" if numbers is broken else ""
        shape = {"symbol": [shapes[i] + suffix for i in at]} | look
        trace = points([views[i] for i in at], [x[i] for i in at], [y[i] for i in at], **shape)
        traces.append(trace | {"name": name})
    return [trace for trace in traces if trace["x"]]


def failed_marks(
    views: Sequence[TrialView], x: Sequence[Any], *, height: float = 0.025, **marker: Any
) -> Trace:
    """Give the crosses at the bottom of the frame that stand for failed trials."""
    color = STATE[TrialState.FAILED]
    look = {"symbol": "x-thin", "size": 8, "opacity": 0.9, "line": {"width": 2, "color": color}}
    return points(views, x, [height] * len(views), **(look | marker)) | {
        "yaxis": "y2",
        "name": "failed",
    }


@dataclass(frozen=True)
class Drawn:
    """Trials chosen to be drawn, and what to say if they are not all."""

    views: list[TrialView]
    note: str = field(default="")


def sample(facts: Facts, views: Sequence[TrialView], limit: int) -> Drawn:
    """Choose at most `limit` trials: half of them the best, the others evenly over the run.

    The trials of a Pareto front are the first among the best.
    """
    if len(views) <= limit:
        return Drawn(list(views))
    wanted = {view.trial.number for view in views}
    ranked = [view.trial.number for view in facts.ranked if view.trial.number in wanted]
    best = set(sorted(ranked, key=lambda number: number not in facts.leading)[: limit // 2])
    others = [view.trial.number for view in views if view.trial.number not in best]
    room = limit - len(best)
    chosen = best | {others[i * len(others) // room] for i in range(room)}
    note = (
        f"{limit} of {len(views):,} are drawn: the best {len(best)} and {room} spread evenly "
        "over the run."
    )
    return Drawn([view for view in views if view.trial.number in chosen], note)


def hover(facts: Facts, view: TrialView) -> str:
    """Describe a trial in a few lines of plotly's pseudo-HTML."""
    trial = view.trial
    lines = [f"<b>trial {trial.number}</b> · {trial.state}"]
    if trial.cause is not None:
        lines[0] += f" · {spoken(trial.cause)}"
    for objective in facts.objectives:
        value = facts.value(view, objective)
        if value is not None:
            lines.append(f"{label(objective.metric)} <b>{number(value)}</b>")
    lines += [label(sentence, 80) for sentence in facts.broken(view)]
    shown = list(trial.params.items())[:_HOVER_PARAMS]
    lines += [f"{label(name, 32)} = {label(number(value), 40)}" for name, value in shown]
    if len(trial.params) > _HOVER_PARAMS:
        lines.append(f"… and {len(trial.params) - _HOVER_PARAMS} more")
    if trial.duration_s is not None:
        lines.append(duration(trial.duration_s))
    return "<br>".join(lines)
