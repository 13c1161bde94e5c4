"""Every trial, in a table that sorts and filters."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hpo_lib.record import TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.report.timeline import wave_of
from hpo_lib.trial import Origin, TrialState, Value
from hpo_lib.words import duration, number, spoken

MAX_PARAMETERS, MAX_METRICS = 40, 20


def table(facts: Facts) -> Markup:
    """Build the table and the buttons that filter it."""
    parameters = _columns(facts.parameters[:MAX_PARAMETERS], _texts(facts))
    metrics = _columns(facts.metrics[:MAX_METRICS], frozenset())
    heads = [
        _head("trial", "num"),
        _head("state", ""),
        _head(facts.metric, "num goal"),
        *(_head(name, class_) for name, class_ in (*parameters.items(), *metrics.items())),
        _head("duration", "num first"),
        _head("wave", "num"),
    ]
    best = facts.best.trial.number if facts.best else None
    rows = [_row(view, parameters, metrics, best) for view in facts.trials]
    whole = el("table", el("thead", el("tr", *heads)), el("tbody", *rows), id="trials-table")
    return join([_filters(facts), el("div", whole, class_="scroll tall", tabindex="0")])


def _texts(facts: Facts) -> frozenset[str]:
    """Name the parameters that have a value that is not a number."""
    return frozenset(
        name
        for view in facts.trials
        for name, value in view.trial.params.items()
        if isinstance(value, bool | str)
    )


def _columns(names: list[str], texts: frozenset[str]) -> dict[str, str]:
    """Give each column's class: numbers to the right, a line before the first of a group."""
    first = names[:1]
    return {
        name: " ".join([*(["first"] if name in first else []), "" if name in texts else "num"])
        for name in names
    }


def _filters(facts: Facts) -> Markup | None:
    counts = dict.fromkeys(TrialState, 0)
    for view in facts.trials:
        counts[view.trial.state] += 1
    present = [(state.value, found) for state, found in counts.items() if found]
    if len(present) < 2:
        return None
    buttons = [_button("all", "all", len(facts.trials), pressed=True)]
    buttons += [_button(state, state, found, pressed=False) for state, found in present]
    return el(
        "div", *buttons, class_="filters no-print", role="group", aria_label="filter by state"
    )


def _button(state: str, text: str, found: int, *, pressed: bool) -> Markup:
    count = el("span", f"{found:,}")
    return el(
        "button",
        text,
        " ",
        count,
        type="button",
        data_show=state,
        aria_pressed="true" if pressed else "false",
    )


def _head(text: str, class_: str) -> Markup:
    button = el("button", text, type="button", title=text)
    return el("th", button, scope="col", class_=class_.strip() or None)


def _row(
    view: TrialView, parameters: Mapping[str, str], metrics: Mapping[str, str], best: int | None
) -> Markup:
    trial = view.trial
    mark = "◆ " if trial.number == best else ""
    value = trial.value if trial.state is TrialState.COMPLETE else None
    cells = [
        _cell(trial.number, f"{mark}{trial.number}", "num"),
        _state(view),
        _cell(value, number(value), "num goal"),
        *(_valued(trial.params.get(name), class_) for name, class_ in parameters.items()),
        *(_valued(trial.metrics.get(name), class_) for name, class_ in metrics.items()),
        _cell(trial.duration_s, duration(trial.duration_s), "num first"),
        _cell(wave_of(view), number(wave_of(view)), "num"),
    ]
    class_ = "best" if trial.number == best else None
    return el("tr", *cells, data_state=trial.state, id=f"trial-{trial.number}", class_=class_)


def _state(view: TrialView) -> Markup:
    trial = view.trial
    words = [str(trial.state)] if trial.cause is None else [spoken(trial.cause)]
    badge = el("span", *words, class_=f"state {trial.state}")
    told = _told(view)
    if not told:
        return el("td", badge, data_v=words[0])
    more = el("details", el("summary", badge, title=told), el("p", told))
    return el("td", more, data_v=f"{trial.state} {words[0]}")


def _told(view: TrialView) -> str:
    """Say why a trial failed, and what else is out of the ordinary."""
    trial = view.trial
    parts = [trial.reason] if trial.reason and trial.state is TrialState.FAILED else []
    if trial.origin is Origin.FALLBACK:
        parts.append("origin: fallback")
    if len(view.attempts) > 1:
        parts.append(f"{len(view.attempts)} attempts")
    return " · ".join(parts)


def _valued(value: Value | None, class_: str) -> Markup:
    absent = value is None or (isinstance(value, float) and not math.isfinite(value))
    return _cell(value, number(value), f"{class_} none" if absent else class_)


def _cell(value: object, text: str, class_: str) -> Markup:
    """Build a cell; `data-v` is what it sorts by, absent where there is nothing to sort."""
    absent = value is None or (isinstance(value, float) and not math.isfinite(value))
    long = text if len(text) > 24 else None
    key = None if absent else str(value)
    return el("td", text, class_=class_.strip() or None, title=long, data_v=key)
