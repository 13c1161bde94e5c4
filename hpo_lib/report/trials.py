"""Every trial, in a table that sorts and filters."""

from __future__ import annotations

import math

from hpo_lib.core.trial import Origin, TrialState, Value
from hpo_lib.records import TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.words import number, spoken

MAX_PARAMETERS, MAX_METRICS = 40, 20


def table(facts: Facts) -> Markup:
    """Give the place of the table, which the page's script fills, and buttons that filter it."""
    return join([_filters(facts), el("div", id="trials-table")])


def texts(facts: Facts) -> frozenset[str]:
    """Name the parameters with a value that is not a number."""
    return frozenset(
        name
        for view in facts.trials
        for name, value in view.trial.params.items()
        if isinstance(value, bool | str | list | dict)
    )


def columns(names: list[str], texts: frozenset[str]) -> dict[str, str]:
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


def head(text: str, class_: str) -> Markup:
    """Build a column's head, which sorts by it."""
    button = el("button", text, type="button", title=text)
    return el("th", button, scope="col", class_=class_.strip() or None, data_sorts=True)


def told(facts: Facts, view: TrialView) -> str:
    """Say why a trial failed or was stopped, and what else is out of the ordinary."""
    trial = view.trial
    parts = [] if trial.cause is None else [spoken(trial.cause)]
    ended_early = trial.state in (TrialState.FAILED, TrialState.STOPPED)
    parts += [trial.reason] if trial.reason and ended_early else []
    parts += facts.broken(view)
    parts += [f"reused from {trial.reused}"] if trial.reused else []
    if trial.origin is Origin.FALLBACK:
        parts.append("origin: fallback")
    if len(view.attempts) > 1:
        parts.append(f"{len(view.attempts)} attempts")
    return " · ".join(parts)


def valued(value: Value | None, class_: str) -> Markup:
    """Build the cell of a parameter or a metric."""
    absent = value is None or (isinstance(value, float) and not math.isfinite(value))
    return cell(value, number(value), f"{class_} none" if absent else class_)


def cell(value: object, text: str, class_: str) -> Markup:
    """Build a cell; `data-v` is what it sorts by, absent where there is nothing to sort."""
    absent = value is None or (isinstance(value, float) and not math.isfinite(value))
    long = text if len(text) > 24 else None
    key = None if absent else str(value)
    return el("td", text, class_=class_.strip() or None, title=long, data_v=key)
