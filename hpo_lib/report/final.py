"""Final training: what champion and challenger scored, by seed, and the verdict in words."""

from __future__ import annotations

from hpo_lib.core.space import key
from hpo_lib.core.trial import TrialState
from hpo_lib.records import ModelStatus, TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.words import number

_WAITS = "It waits for people to approve it, in Airflow under Required Actions."
_BADGE = {
    ModelStatus.CHALLENGER: "running",
    ModelStatus.CHAMPION: "complete",
    ModelStatus.RETIRED: "refused",
    ModelStatus.REJECTED: "failed",
}


def title(facts: Facts) -> str:
    """Name the model, if there is one."""
    model = facts.view.model
    return f"Final training: model version {model.version}" if model else "Final training"


def verdict(facts: Facts) -> Markup:
    """Say what the model is, why, and whether it waits for people."""
    model = facts.view.model
    if model is None:
        return el("p", "It has made no model.", class_="note")
    judged = model.verdict_reason or "The gate has not decided yet."
    later = model.reason.removeprefix(judged).strip() if model.verdict else ""
    if model.needs_approval(facts.spec.deploy if facts.spec else None) and model.approved is None:
        later = _WAITS
    status = el("span", model.status, class_=f"badge {_BADGE[model.status]}")
    return join([el("p", status, " ", judged), el("p", later, class_="note") if later else None])


def table(facts: Facts) -> Markup:
    """List the final trials: whose configuration, which seed, what they scored."""
    metrics = sorted({name for view in facts.view.finals for name in view.trial.metrics})
    head = el("tr", *(el("th", name) for name in ["trial", "configuration", "seed", *metrics]))
    rows = [_row(facts, view, metrics) for view in facts.view.finals]
    return el(
        "div", el("table", el("thead", head), el("tbody", *rows)), class_="scroll", tabindex="0"
    )


def _row(facts: Facts, view: TrialView, metrics: list[str]) -> Markup:
    trial, model = view.trial, facts.view.model
    mine = model is None or key(trial.params) == key(model.params)
    made = model is not None and trial.number == model.trial
    cells = [
        f"◆ {trial.number}" if made else str(trial.number),
        "challenger" if mine else "champion",
        str(trial.repeat),
    ]
    if trial.state is not TrialState.COMPLETE:
        said = f"{trial.state}: {trial.cause}: {trial.reason}" if trial.cause else str(trial.state)
        last = el("td", said, colspan=len(metrics) or 1)
        return el("tr", *(el("td", text) for text in cells), last)
    cells += [number(trial.metrics.get(name), 6) for name in metrics]
    return el("tr", *(el("td", text) for text in cells))
