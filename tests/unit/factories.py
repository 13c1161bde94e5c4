"""Runs made in code, for tests of whatever reads a RunView."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hpo_lib.core.trial import Action, Cause, Observation, Origin, Trial, TrialState, Value
from hpo_lib.records import (
    Attempt,
    AttemptState,
    Provenance,
    Run,
    RunKey,
    RunStatus,
    RunView,
    TrialDecision,
    TrialView,
)
from hpo_lib.spec import load

START = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)

SPEC: dict[str, Any] = {
    "name": "wine-quality",
    "description": "A small Keras network that tells good red wines by their chemistry",
    "objective": {"metric": "val_auc", "direction": "maximize", "target": 0.95},
    "extra_metrics": ["val_loss", "loss", "val_mcc"],
    "space": {
        "learning_rate": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
        "units": {"type": "int", "low": 32, "high": 512, "step": 32},
        "optimizer": {"type": "categorical", "choices": ["adam", "nadam", "sgd"]},
        "batch_size": {"type": "ordinal", "choices": [16, 32, 64, 128]},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
        "decay": {"type": "float", "low": 0.5, "high": 0.9999, "scale": "reverse_log"},
        "nesterov": {
            "type": "categorical",
            "choices": [True, False],
            "when": {"optimizer": ["sgd"]},
        },
        "momentum": {
            "type": "float",
            "low": 0.0,
            "high": 0.99,
            "when": {"optimizer": ["sgd"]},
        },
    },
    "fixed": {"epochs": 30, "dataset": "winequality red.csv"},
    "sampler": {"name": "bayesian", "seed": 7},
    "limits": {"max_trials": 24, "parallel_trials": 4, "max_failed_trials": 5},
    "trial": {
        "backend": "local",
        "command": ["python", "docker/trial/train.py"],
        "env": {"DATA_DIR": "/data/red wine"},
        "resources": {"cpu": 1, "memory": "3Gi"},
        "timeout": "10m",
    },
}

VERSIONS = {"python": "3.11.2", "hpo-lib": "0.1.0", "apache-airflow": "3.3.2"}

LOG = """Using the CPU only
epoch 1/30 \x1b[32mloss=0.7121\x1b[0m val_loss=0.6933
epoch 2/30 loss=inf val_loss=nan
Traceback (most recent call last):
  File "docker/trial/train.py", line 214, in <module>
    raise SystemExit(main())
  File "docker/trial/train.py", line 188, in main
    model.fit(train, validation_data=validation, epochs=arguments.epochs)
ValueError: Input contains NaN, infinity or a value too large for dtype('float32').
"""


def run(spec: Mapping[str, Any] = SPEC, *, check: bool = True, **changes: Any) -> Run:
    """Make a run that has ended well after ten minutes, but for `changes`.

    Without `check` the spec is stored as it is, as one of another version would be.
    """
    plain = load(spec).dump() if spec and check else dict(spec)
    made = Run(
        id=12,
        key=RunKey("hpo_local", "manual__2026-11-21T07:00:00+00:00"),
        experiment=str(plain.get("name", "")),
        status=RunStatus.COMPLETE,
        document=plain,
        reason="all 24 trials are done",
        triggered_by="admin",
        provenance=Provenance(versions=VERSIONS),
        started_at=START,
        ended_at=START + timedelta(minutes=10),
    )
    return replace(made, **changes)


def trial(
    number: int,
    value: float | None = None,
    *,
    params: Mapping[str, Value] | None = None,
    cause: Cause | None = None,
    **changes: Any,
) -> Trial:
    """Make a trial: complete with a value, failed with a cause, else running."""
    state = TrialState.COMPLETE if value is not None else TrialState.RUNNING
    if cause is not None:
        state = TrialState.FAILED
    made = Trial(number, params or {"learning_rate": 0.01}, state, value, cause)
    return replace(made, **changes)


def attempt(
    trial: int, start_s: float, end_s: float | None, *, number: int = 1, **changes: Any
) -> Attempt:
    """Make an attempt that ran from and to seconds after the run's start."""
    made = Attempt(
        id=trial * 10 + number,
        run_id=12,
        trial=trial,
        number=number,
        handle={},
        state=AttemptState.RUNNING if end_s is None else AttemptState.SUCCEEDED,
        started_at=START + timedelta(seconds=start_s),
        ended_at=None if end_s is None else START + timedelta(seconds=end_s),
    )
    return replace(made, **changes)


def view(
    made: Trial,
    *attempts: Attempt,
    slot: str = "wave-01",
    observations: Sequence[Observation] = (),
) -> TrialView:
    """Put a trial in its place."""
    return TrialView(made, slot, attempts, tuple(observations))


def good_run(
    trials: int = 24, *, parallel: int = 4, fail: float = 0.15, seed: int = 3, **changes: Any
) -> RunView:
    """Make a run as it looks in life: waves, curves, conditional parameters, some failures."""
    random = Random(seed)
    limits = SPEC["limits"] | {"max_trials": trials, "parallel_trials": parallel}
    views: list[TrialView] = []
    clock = 4.0
    for first in range(0, trials, parallel):
        wave = [
            _lifelike(number, first // parallel + 1, clock, random, fail)
            for number in range(first, min(first + parallel, trials))
        ]
        views += wave
        ends = [a.ended_at for one in wave for a in one.attempts if a.ended_at is not None]
        clock = (max(ends) - START).total_seconds() + 3.0
    ended = START + timedelta(seconds=clock)
    made = run(SPEC | {"limits": limits}, ended_at=ended, reason=f"all {trials} trials are done")
    return RunView(replace(made, **changes), tuple(views))


def _params(random: Random) -> dict[str, Value]:
    params: dict[str, Value] = {
        "learning_rate": float(f"{10 ** random.uniform(-5, -1):.6g}"),
        "units": random.randrange(32, 513, 32),
        "optimizer": random.choice(["adam", "adam", "nadam", "sgd"]),
        "batch_size": random.choice([16, 32, 64, 128]),
        "dropout": round(random.randrange(6) / 10, 1),
        "decay": round(1 - 10 ** random.uniform(-4, -0.31), 6),
    }
    if params["optimizer"] == "sgd":
        params |= {"nesterov": random.random() < 0.5, "momentum": round(random.uniform(0, 0.99), 4)}
    return params


def _lifelike(number: int, wave: int, start_s: float, random: Random, fail: float) -> TrialView:
    params = _params(random)
    end_s = start_s + random.lognormvariate(3.2, 0.45)
    slot = f"wave-{wave:02d}"
    origin = Origin.INITIAL if number == 0 else Origin.SAMPLER
    if random.random() < fail:
        return _failed(number, params, start_s, end_s, slot, random)
    rate = math.log10(float(params["learning_rate"]))
    value = 0.93 - 0.035 * (rate + 2.7) ** 2 + random.gauss(0, 0.012)
    value = min(max(value, 0.48), 0.99)
    loss = 1.1 - value + random.gauss(0, 0.02)
    train = loss - abs(random.gauss(0.06, 0.05))
    metrics = {"val_auc": value, "val_loss": loss, "loss": train, "val_mcc": 2 * value - 1.1}
    curve = [
        Observation("val_auc", 0.5 + (value - 0.5) * (1 - math.exp(-step / 6)), step)
        for step in range(1, 31)
    ]
    made = trial(number, value, params=params, metrics=metrics, origin=origin)
    made = replace(made, duration_s=end_s - start_s)
    return view(made, attempt(number, start_s, end_s), slot=slot, observations=curve)


def _failed(
    number: int,
    params: Mapping[str, Value],
    start_s: float,
    end_s: float,
    slot: str,
    random: Random,
) -> TrialView:
    cause, reason = random.choice(
        [
            (Cause.OUT_OF_MEMORY, "used more than 3 GiB"),
            (Cause.USER_ERROR, "exit code 1: ValueError: Input contains NaN"),
            (Cause.OBJECTIVE_NOT_FINITE, "val_auc must be finite, got nan"),
        ]
    )
    end_s = start_s + (end_s - start_s) * 0.4
    made = trial(number, params=params, cause=cause, reason=reason, duration_s=end_s - start_s)
    made = replace(made, metrics={"val_auc": math.nan, "loss": math.inf})
    ended = attempt(
        number,
        start_s,
        end_s,
        state=AttemptState.FAILED,
        cause=cause,
        reason=reason,
        exit_code=1,
        log_tail=LOG,
    )
    return view(made, ended, slot=slot)


def front_run(trials: int = 24, *, objectives: int = 2, **changes: Any) -> RunView:
    """Make a run of several objectives, of whose constraints most trials keep all.

    `changes` are of its spec.
    """
    good = good_run(trials)
    asked: list[dict[str, Any]] = [
        {"metric": "val_auc", "direction": "maximize", "target": 0.9},
        {"metric": "size_mb", "direction": "minimize", "target": 30.0},
        {"metric": "val_loss", "direction": "minimize"},
        {"metric": "loss", "direction": "minimize"},
        {"metric": "val_mcc", "direction": "maximize"},
    ]
    spec = SPEC | {"objective": asked[:objectives], "constraints": ["val_loss - loss <= 0.08"]}
    views = [
        replace(one, trial=replace(one.trial, metrics=one.trial.metrics | _size(one.trial.params)))
        for one in good.trials
    ]
    return RunView(run(spec | changes, reason=good.run.reason), tuple(views))


def _size(params: Mapping[str, Value]) -> dict[str, float]:
    return {"size_mb": 2e-4 * float(params["units"]) ** 2}


def rungs_run(reached: Sequence[int] = (1, 9, 1, 3, 1, 3, 1), **scheduler: Any) -> RunView:
    """Make a run of trials that got so far at rungs 1, 3 and 9, the others of which were stopped.

    A start takes 2 s, and an epoch half a second; `scheduler` are settings of its own.
    """
    asked = {"name": "asha", "max": 9, "resource": "epoch"} | scheduler
    views, decisions, clock = [], [], 0.0
    for number, end in enumerate(reached):
        rungs = {
            float(rung): round(0.5 + (number + rung) / 40, 4) for rung in _RUNGS if rung <= end
        }
        tried, done = [], 0.0
        for nth, rung in enumerate(rungs, 1):
            lasted = 2 + 0.5 * (rung - done)
            tried.append(attempt(number, clock, clock + lasted, number=nth, resource=rung))
            done, clock = rung, clock + lasted
            if nth > 1:
                reason = f"epoch {rung / 3:.0f}: {number} is among the best"
                decisions.append(TrialDecision(number, Action.PROMOTE, reason, rung, START))
        over = end == _RUNGS[-1]
        made = trial(number, rungs[9.0] if over else None, rungs=rungs)
        if not over:
            reason = f"not promoted from epoch {end}"
            made = replace(made, state=TrialState.STOPPED, reason=reason)
            decisions.append(TrialDecision(number, Action.STOP, reason, None, START))
        curve = [Observation("val_auc", 0.5 + (number + n) / 40, n) for n in range(1, end + 1)]
        views.append(view(made, *tried, slot="slot-001", observations=curve))
    return RunView(run(SPEC | {"scheduler": asked}), tuple(views), decisions=decisions)


_RUNGS = (1, 3, 9)


def failed_run(trials: int = 4) -> RunView:
    """Make a run of which every trial failed."""
    found = good_run(trials, fail=2.0, status=RunStatus.FAILED)
    reason = f"{trials} trials failed, {trials - 1} are tolerated"
    return RunView(replace(found.run, reason=reason), found.trials)


def refused_run() -> RunView:
    """Make a run whose conf was refused."""
    reason = "space.lr: low must be < high, got low=0.1, high=0.01\nlimits: must be a mapping"
    made = run({}, status=RunStatus.REFUSED, reason=reason, experiment="wine")
    return RunView(replace(made, provenance=Provenance()))
