"""trials.csv: every trial on a line, for spreadsheets and data frames."""

from __future__ import annotations

import io
import json
from csv import writer

from hpo_lib.core.trial import TrialState
from hpo_lib.records import RunView, TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import clean
from hpo_lib.words import utc

#: What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BEFORE = ("number", "slot", "state", "cause", "reason", "origin", "value")
_AFTER = ("attempts", "started", "ended", "duration_s")


def csv(view: RunView) -> str:
    """Write the trials; parameters and metrics are the columns `params.x` and `metrics.y`.

    `value` is the first objective. With constraints there is a column `feasible`, with several
    objectives a column `on_front`: true or false for complete trials. Where results are reused, a
    column `reused` names the trial that was trained.

    Text that a spreadsheet would run as a formula gets a quote (') in front; numbers stay numbers.
    """
    facts = Facts.of(view)
    objectives = [objective.metric for objective in facts.objectives]
    seen = {name for one in view.trials for name in one.trial.metrics}
    seen |= set(objectives) if facts.several else set()
    metrics = [name for name in [*objectives, *facts.metrics] if name in seen]
    standing = ["feasible"] * facts.constrained + ["on_front"] * facts.several
    standing += ["reused"] * any(one.trial.reused for one in view.trials)
    out = io.StringIO()
    sheet = writer(out, lineterminator="\n")
    heads = [f"params.{name}" for name in facts.parameters]
    heads += [f"metrics.{name}" for name in metrics]
    sheet.writerow([cell(head) for head in (*_BEFORE, *standing, *heads, *_AFTER)])
    for trial in view.trials:
        row = _row(facts, trial, standing, metrics)
        sheet.writerow([cell(value) for value in row])
    return out.getvalue()


def _row(facts: Facts, view: TrialView, standing: list[str], metrics: list[str]) -> list[object]:
    trial = view.trial
    stands = {
        "feasible": trial.number not in facts.infeasible,
        "on_front": trial.number in facts.leading,
        "reused": str(trial.reused) if trial.reused else None,
    }
    complete = trial.state is TrialState.COMPLETE
    cause = None if trial.cause is None else trial.cause.value
    started = min((utc(attempt.started_at) for attempt in view.attempts), default=None)
    ends = [utc(attempt.ended_at) for attempt in view.attempts if attempt.ended_at]
    ended = max(ends, default=None) if len(ends) == len(view.attempts) else None
    return [
        *(trial.number, view.slot, trial.state.value, cause, trial.reason, trial.origin.value),
        trial.value,
        *(stands[name] if complete else None for name in standing),
        *(trial.params.get(name) for name in facts.parameters),
        *(trial.metrics.get(name) for name in metrics),
        len(view.attempts),
        *(None if time is None else time.isoformat() for time in (started, ended)),
        trial.duration_s,
    ]


def cell(value: object) -> object:
    """Give what a sheet gets for a value; no text in it becomes a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
