"""One seed of one task: the earlier run, and tonight's by every arm, as Airflow would run them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.optimizers.training import Data
from benchmarks.warmstart.tasks import Task
from hpo_lib.core.trial import Cause, Earlier, History, Trial, TrialState
from hpo_lib.records import Past, Provenance, Run, RunKey, RunStatus
from hpo_lib.search import engine, warm_start
from hpo_lib.spec import Spec, load

TRIALS, AT_ONCE = 32, 4
DAY_S = 86_400.0
_DIGITS = 6

Row = dict[str, Any]


def measure(task: Task, seed: int) -> Row:
    """Give what each of tonight's arms found: [trial, loss] wherever a trial was the best so far.

    `previous` is the loss tonight of the configuration that was the best yesterday.
    """
    tonight = task.tonight(seed)
    before = _run(task, seed, task.yesterday(seed))
    strange = _run(task, seed, task.elsewhere(seed))
    best = min(before, key=_loss).params
    point = {"initial_points": [dict(best)]}
    arms = {
        "cold": _run(task, seed, tonight),
        "first point": _run(task, seed, tonight, point),
        "warm": _run(task, seed, tonight, {"warm_start": {}}, before),
        "unrelated": _run(task, seed, tonight, {"warm_start": {}}, strange),
    }
    return {
        "task": task.name,
        "seed": seed,
        "previous": round(task.loss(best, tonight), _DIGITS),
        "arms": {name: _improvements(trials) for name, trials in arms.items()},
    }


def _improvements(trials: Sequence[Trial]) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for trial in trials:
        loss = round(_loss(trial), _DIGITS)
        if math.isfinite(loss) and (not found or loss < found[-1][1]):
            found.append((trial.number, loss))
    return found


def _loss(trial: Trial) -> float:
    return math.inf if trial.value is None else trial.value


def _run(
    task: Task,
    seed: int,
    data: Data,
    changes: Mapping[str, Any] | None = None,
    before: Sequence[Trial] = (),
) -> list[Trial]:
    """Run an experiment, whose earlier run, if any, ended a day ago."""
    spec = _spec(task, seed, changes or {})
    past = [_past(_spec(task, seed, {}), before)] if before else []
    earlier: Sequence[Earlier] = warm_start.advise(spec, past).earlier
    trials: list[Trial] = []
    while True:
        step = engine.step(spec, History(tuple(trials), earlier=earlier), AT_ONCE)
        if step.stop is not None:
            return trials
        for assignment in step.assignments:
            loss = task.loss(assignment.params, data)
            trials.append(_ended(assignment.trial, assignment.params, loss))


def _ended(number: int, params: Mapping[str, Any], loss: float) -> Trial:
    if math.isfinite(loss):
        return Trial(number, params, TrialState.COMPLETE, loss)
    return Trial(number, params, TrialState.FAILED, cause=Cause.OBJECTIVE_NOT_FINITE)


def _spec(task: Task, seed: int, changes: Mapping[str, Any]) -> Spec:
    plain = {
        "name": task.name,
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": task.space,
        "sampler": {"name": "bayesian", "seed": seed},
        "limits": {"max_trials": TRIALS, "parallel_trials": AT_ONCE, "max_failed_trials": TRIALS},
        "trial": {"command": ["true"]},
    }
    return load(plain | dict(changes))


def _past(spec: Spec, trials: Sequence[Trial]) -> Past:
    run = Run(
        id=1,
        key=RunKey("benchmark", "yesterday"),
        experiment=spec.name,
        status=RunStatus.COMPLETE,
        document=spec.dump(),
        reason=None,
        triggered_by="benchmark",
        provenance=Provenance(),
        started_at=datetime(2000, 1, 1, tzinfo=UTC),
    )
    return Past(run, tuple(trials), DAY_S)
