"""The frames: which columns the trials, observations and models of runs have, and what is in them.

docs/results.md lists the same for users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hpo_lib.core.trial import Observation, TrialState
from hpo_lib.frames.table import METRIC, PARAM, UTC, column, table
from hpo_lib.records import Model, ModelStatus, RunView, TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.words import utc

if TYPE_CHECKING:
    from pandas import DataFrame

TRIALS: Mapping[str, str] = {
    "run": "int64",
    "experiment": "string",
    "trial": "int64",
    "state": "string",
    "value": "float64",
    "rank": "Int64",
    "feasible": "boolean",
    "on_front": "boolean",
    "model": "Int64",
    "champion": "bool",
    "cause": "string",
    "reason": "string",
    "origin": "string",
    "seed": "Int64",
    "slot": "string",
    "reused": "string",
    "attempts": "int64",
    "started": UTC,
    "ended": UTC,
    "duration_s": "float64",
}
OBSERVATIONS: Mapping[str, str] = {
    "run": "int64",
    "trial": "int64",
    "attempt": "int64",
    "metric": "string",
    "step": "Int64",
    "value": "float64",
    "time": UTC,
}
MODELS: Mapping[str, str] = {
    "experiment": "string",
    "version": "int64",
    "run": "int64",
    "trial": "int64",
    "final_trial": "Int64",
    "status": "string",
    "champion": "bool",
    "served": "bool",
    "against": "Int64",
    "approved": "string",
    "verdict": "string",
    "reason": "string",
    "files": "string",
    "created": UTC,
    "changed": UTC,
}


def trials(views: Sequence[RunView], *, finals: bool = False) -> DataFrame:
    """Make the frame of the trials of some runs' searches, or of their final trainings."""
    facts = [Facts.of(view) for view in views]
    rows = [row for one in facts for row in (_finals(one) if finals else _searched(one))]
    parameters = dict.fromkeys(name for one in facts for name in one.parameters)
    objectives = [each.metric for one in facts if one.view.trials for each in one.objectives]
    others = [name for one in facts for name in one.metrics]
    return table(TRIALS, rows, parameters, dict.fromkeys([*objectives, *others]))


def observations(runs: Iterable[tuple[int, Iterable[tuple[int, int, Observation]]]]) -> DataFrame:
    """Make the frame of what attempts have reported, of (run, its (trial, attempt, reported))."""
    from pandas import DataFrame

    columns: dict[str, list[Any]] = {name: [] for name in OBSERVATIONS}
    append = [values.append for values in columns.values()]
    names: dict[str, str] = {}  # One text for a name, of which there may be millions.
    for run, series in runs:
        for trial, attempt, seen in series:
            metric = names.setdefault(seen.metric, seen.metric)
            row = (run, trial, attempt, metric, seen.step, seen.value, seen.time)
            for add, value in zip(append, row, strict=True):
                add(value)
    return DataFrame({name: column(columns[name], OBSERVATIONS[name]) for name in OBSERVATIONS})


def models(found: Sequence[Model]) -> DataFrame:
    """Make the frame of models; a model's parameters are those that its search has found."""
    rows = [_model(one) for one in found]
    parameters = dict.fromkeys(name for one in found for name in one.params)
    metrics = dict.fromkeys(name for one in found for name in one.metrics)
    return table(MODELS, rows, parameters, metrics)


def _searched(facts: Facts) -> list[dict[str, Any]]:
    ranks = {view.trial.number: rank for rank, view in enumerate(facts.ranked, 1)}
    model = facts.view.model
    made = {} if model is None else {model.source: model}
    return [
        _trial(facts, one)
        | _standing(facts, one)
        | {"rank": ranks.get(one.trial.number)}
        | _made(made.get(one.trial.number))
        for one in facts.trials
    ]


def _finals(facts: Facts) -> list[dict[str, Any]]:
    model = facts.view.model
    made = {} if model is None else {model.trial: model}
    return [_trial(facts, one) | _made(made.get(one.trial.number)) for one in facts.view.finals]


def _standing(facts: Facts, view: TrialView) -> dict[str, Any]:
    """Say how a trial stands by the run's goal; nothing of one that is not complete."""
    number = view.trial.number
    if facts.goal is None or view.trial.state is not TrialState.COMPLETE:
        return {}
    return {"feasible": number not in facts.infeasible, "on_front": number in facts.leading}


def _made(model: Model | None) -> dict[str, Any]:
    """Say which model was made of a trial, and whether that is the champion now."""
    if model is None:
        return {"champion": False}
    return {"model": model.version, "champion": model.status is ModelStatus.CHAMPION}


def _trial(facts: Facts, view: TrialView) -> dict[str, Any]:
    trial = view.trial
    open_ = trial.state in (TrialState.RUNNING, TrialState.WAITING)
    ends = [attempt.ended_at for attempt in view.attempts if attempt.ended_at is not None]
    return {
        "run": facts.run.id,
        "experiment": facts.run.experiment,
        "trial": trial.number,
        "state": trial.state.value,
        "value": trial.value,
        "cause": None if trial.cause is None else trial.cause.value,
        "reason": trial.reason,
        "origin": trial.origin.value,
        "seed": trial.repeat or None,
        "slot": view.slot,
        "reused": None if trial.reused is None else str(trial.reused),
        "attempts": len(view.attempts),
        "started": _moment(min((one.started_at for one in view.attempts), default=None)),
        "ended": None if open_ else _moment(max(ends, default=None)),
        "duration_s": trial.duration_s,
        **_named(PARAM, trial.params),
        **_named(METRIC, trial.metrics),
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "experiment": model.experiment,
        "version": model.version,
        "run": model.run_id,
        "trial": model.source,
        "final_trial": model.trial,
        "status": model.status.value,
        "champion": model.status is ModelStatus.CHAMPION,
        "served": model.served,
        "against": model.against,
        "approved": model.approved,
        "verdict": model.verdict_reason or None,
        "reason": model.reason,
        "files": model.files or None,
        "created": _moment(model.created_at),
        "changed": _moment(model.changed_at),
        **_named(PARAM, model.params),
        **_named(METRIC, model.metrics),
    }


def _named(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in values.items()}


def _moment(time: datetime | None) -> datetime | None:
    return None if time is None else utc(time)
