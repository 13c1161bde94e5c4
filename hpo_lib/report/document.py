"""report.json: the run as JSON, for programs that have neither the store nor a browser."""

from __future__ import annotations

import json as codec
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hpo_lib.core.trial import TrialState
from hpo_lib.records import Model, RunView, TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.words import utc


def json(view: RunView) -> str:
    """Write the run, its spec, all trials and its model; a number that JSON has not is null.

    `front` are the trials on the Pareto front, or the best one. `rank` counts complete trials from
    1: those that keep the constraints by the first objective, then the others.
    """
    facts = Facts.of(view)
    run, ranks = facts.run, {one.trial.number: n for n, one in enumerate(facts.ranked, 1)}
    document = {
        "run": run.id,
        "experiment": run.experiment,
        "dag_id": run.key.dag_id,
        "dag_run_id": run.key.dag_run_id,
        "status": run.status.value,
        "reason": run.reason,
        "triggered_by": run.triggered_by,
        "started_at": _moment(run.started_at),
        "ended_at": _moment(run.ended_at),
        "elapsed_s": facts.wall_s,
        "objectives": [
            {"metric": one.metric, "direction": one.direction, "target": one.target}
            for one in facts.objectives
        ],
        "front": sorted(facts.leading),
        "trials": [
            _trial(one) | _standing(facts, one) | {"rank": ranks.get(one.trial.number)}
            for one in view.trials
        ],
        "finals": [_trial(one) | {"seed": one.trial.repeat} for one in view.finals],
        "model": None if view.model is None else _model(view.model),
        "spec": run.document,
    }
    return codec.dumps(_finite(document), allow_nan=False)


def _trial(view: TrialView) -> dict[str, Any]:
    trial = view.trial
    ends = [attempt.ended_at for attempt in view.attempts if attempt.ended_at is not None]
    open_ = trial.state in (TrialState.RUNNING, TrialState.WAITING)
    return {
        "number": trial.number,
        "state": trial.state.value,
        "value": trial.value,
        "params": trial.params,
        "metrics": trial.metrics,
        "cause": trial.cause,
        "reason": trial.reason,
        "origin": trial.origin.value,
        "slot": view.slot,
        "reused_from": None if trial.reused is None else str(trial.reused),
        "attempts": len(view.attempts),
        "started_at": _moment(min((one.started_at for one in view.attempts), default=None)),
        "ended_at": None if open_ else _moment(max(ends, default=None)),
        "duration_s": trial.duration_s,
    }


def _standing(facts: Facts, view: TrialView) -> dict[str, Any]:
    number, judged = view.trial.number, view.trial.state is TrialState.COMPLETE and facts.goal
    return {
        "feasible": number not in facts.infeasible if judged else None,
        "on_front": number in facts.leading if judged else None,
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "version": model.version,
        "status": model.status.value,
        "reason": model.reason,
        "trial": model.source,
        "params": model.params,
        "metrics": model.metrics,
        "files": model.files,
    }


def _moment(time: datetime | None) -> str | None:
    return None if time is None else utc(time).isoformat()


def _finite(value: Any) -> Any:
    """Put null in the place of every number that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
