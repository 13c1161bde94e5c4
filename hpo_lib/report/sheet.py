"""trials.csv: every trial on a line, for spreadsheets and data frames."""

from __future__ import annotations

import io
from csv import writer

from hpo_lib.record import RunView, TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import clean
from hpo_lib.words import utc

#: What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BEFORE = ("number", "slot", "state", "cause", "reason", "origin", "value")
_AFTER = ("attempts", "started", "ended", "duration_s")


def csv(view: RunView) -> str:
    """Write the trials; parameters and metrics are the columns `params.x` and `metrics.y`.

    Text that a spreadsheet would run as a formula gets a quote (') in front; numbers stay numbers.
    """
    facts = Facts.of(view)
    names = [facts.metric, *facts.metrics]
    metrics = [name for name in names if any(name in v.trial.metrics for v in view.trials)]
    out = io.StringIO()
    sheet = writer(out, lineterminator="\n")
    heads = [f"params.{name}" for name in facts.parameters]
    heads += [f"metrics.{name}" for name in metrics]
    sheet.writerow([_cell(head) for head in (*_BEFORE, *heads, *_AFTER)])
    for trial in view.trials:
        sheet.writerow([_cell(value) for value in _row(trial, facts.parameters, metrics)])
    return out.getvalue()


def _row(view: TrialView, parameters: list[str], metrics: list[str]) -> list[object]:
    trial = view.trial
    cause = None if trial.cause is None else trial.cause.value
    started = min((utc(attempt.started_at) for attempt in view.attempts), default=None)
    ends = [utc(attempt.ended_at) for attempt in view.attempts if attempt.ended_at]
    ended = max(ends, default=None) if len(ends) == len(view.attempts) else None
    return [
        *(trial.number, view.slot, trial.state.value, cause, trial.reason, trial.origin.value),
        trial.value,
        *(trial.params.get(name) for name in parameters),
        *(trial.metrics.get(name) for name in metrics),
        len(view.attempts),
        *(None if time is None else time.isoformat() for time in (started, ended)),
        trial.duration_s,
    ]


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
