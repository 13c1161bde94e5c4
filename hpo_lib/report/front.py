"""The Pareto front: what a run with several objectives has in place of one best trial."""

from __future__ import annotations

from hpo_lib.records import TrialView
from hpo_lib.report.again import WITHOUT, command, note
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.report.trials import MAX_METRICS, MAX_PARAMETERS, cell, columns, head, texts, valued
from hpo_lib.spec.outline import Measure
from hpo_lib.words import count, number

_MAX_ROWS, _MAX_COMMANDS = 200, 20


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
    return el(
        "details", summary, button, el("pre", line, id=name, tabindex="0"), said, class_="failure"
    )
