"""Every trial, in a table that sorts and filters."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hpo_lib.core.trial import Origin, TrialState, Value
from hpo_lib.records import TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.report.timeline import wave_of
from hpo_lib.spec.outline import Measure
from hpo_lib.words import NOTHING, duration, number, spoken

MAX_PARAMETERS, MAX_METRICS = 40, 20


def table(facts: Facts) -> Markup:
    """Build the table and the buttons that filter it."""
    parameters = columns(facts.parameters[:MAX_PARAMETERS], texts(facts))
    metrics = columns(facts.metrics[:MAX_METRICS], frozenset())
    heads = [
        head("trial", "num"),
        head("state", ""),
        *(head(objective.metric, "num goal") for objective in facts.objectives),
        *([head("feasible", "")] if facts.constrained else []),
        *(head(name, class_) for name, class_ in (*parameters.items(), *metrics.items())),
        head("duration", "num first"),
        head("wave", "num"),
    ]
    rows = [_row(facts, view, parameters, metrics) for view in facts.trials]
    whole = el("table", el("thead", el("tr", *heads)), el("tbody", *rows), id="trials-table")
    return join([_filters(facts), el("div", whole, class_="scroll tall", tabindex="0")])


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
    return el("th", button, scope="col", class_=class_.strip() or None)


def _row(
    facts: Facts, view: TrialView, parameters: Mapping[str, str], metrics: Mapping[str, str]
) -> Markup:
    trial = view.trial
    leads = trial.number in facts.leading
    cells = [
        cell(trial.number, f"◆ {trial.number}" if leads else str(trial.number), "num"),
        _state(view),
        *(_objective(facts, view, objective) for objective in facts.objectives),
        *([_feasible(facts, view)] if facts.constrained else []),
        *(valued(trial.params.get(name), class_) for name, class_ in parameters.items()),
        *(valued(trial.metrics.get(name), class_) for name, class_ in metrics.items()),
        cell(trial.duration_s, duration(trial.duration_s), "num first"),
        cell(wave_of(view), number(wave_of(view)), "num"),
    ]
    class_ = "best" if leads else None
    return el("tr", *cells, data_state=trial.state, id=f"trial-{trial.number}", class_=class_)


def _objective(facts: Facts, view: TrialView, objective: Measure) -> Markup:
    value = view.trial.value if objective == facts.objective else facts.value(view, objective)
    shown = value if view.trial.state is TrialState.COMPLETE else None
    return cell(shown, number(shown), "num goal")


def _feasible(facts: Facts, view: TrialView) -> Markup:
    """Say whether a complete trial keeps the constraints; one that does not opens to say more."""
    if facts.goal is None or view.trial.state is not TrialState.COMPLETE:
        return cell(None, NOTHING, "none")
    broken = facts.broken(view)
    if not broken:
        return el("td", "yes", data_v="yes")
    total = len(facts.goal.constraints)
    much = f"by {number(max(facts.goal.excesses(view.trial)), 4)}"
    short = f"no, {much if total == 1 else f'{len(broken)} of {total}'}"
    told = "; ".join(broken)
    summary = el("summary", el("span", short, class_="state broken"), title=told)
    return el("td", el("details", summary, el("p", told)), data_v="no")


def _state(view: TrialView) -> Markup:
    trial = view.trial
    words = [str(trial.state)] if trial.cause is None else [spoken(trial.cause)]
    words += [", reused"] if trial.reused else []
    badge = el("span", *words, class_=f"state {trial.state}")
    told = _told(view)
    if not told:
        return el("td", badge, data_v=words[0])
    more = el("details", el("summary", badge, title=told), el("p", told))
    return el("td", more, data_v=f"{trial.state} {''.join(words)}")


def _told(view: TrialView) -> str:
    """Say why a trial failed or was stopped, and what else is out of the ordinary."""
    trial = view.trial
    ended_early = trial.state in (TrialState.FAILED, TrialState.STOPPED)
    parts = [trial.reason] if trial.reason and ended_early else []
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
