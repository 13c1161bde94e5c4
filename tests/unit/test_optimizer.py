"""Ask and tell: the engine's own suggestions, what is observed, and that the model pays."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest

import hpo_lib
from hpo_lib import engine
from hpo_lib.errors import SpecError
from hpo_lib.optimizer import Optimizer
from hpo_lib.space import Space, key
from hpo_lib.spec import load
from hpo_lib.trial import Cause, History, Origin, Trial, TrialState

SPACE: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
    "units": {"type": "int", "low": 16, "high": 256, "step": 16},
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd", "rms"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
    "drop": {"type": "float", "low": 0.0, "high": 0.5},
}
SMALL = {"n": {"type": "int", "low": 1, "high": 5}}


def smooth(params: dict[str, Any]) -> float:
    """Give a bowl with an offset per optimizer; its minimum is 0."""
    value = (math.log10(params["lr"]) + 2.5) ** 2 + ((params["units"] - 144) / 100) ** 2
    value += 10 * (params["drop"] - 0.2) ** 2
    value += {"adam": 0.3, "sgd": 0.0, "rms": 0.8}[params["optimizer"]]
    return value + (params.get("momentum", 0.9) - 0.9) ** 2


def best_after(sampler: str, seed: int, waves: int = 8, parallel: int = 3) -> float:
    optimizer = Optimizer(SPACE, sampler, seed=seed)
    for _ in range(waves):
        for params in optimizer.suggest(parallel):
            optimizer.observe(params, smooth(params))
    assert optimizer.best is not None
    return optimizer.best[1]


def test_the_model_beats_random_search_clearly() -> None:
    seeds = range(5)
    modelled = statistics.median(best_after("bayesian", seed) for seed in seeds)
    random = statistics.median(best_after("random", seed) for seed in seeds)
    assert modelled < random / 2


def test_it_is_offered_by_the_package() -> None:
    assert hpo_lib.Optimizer is Optimizer


def test_suggestions_are_those_of_the_engine() -> None:
    conf = {
        "name": "same",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": SPACE,
        "sampler": {"name": "bayesian", "seed": 3, "initial": 4},
        "limits": {"max_trials": 100},
        "trial": {"command": ["train"]},
    }
    optimizer = Optimizer(SPACE, seed=3, initial=4)
    trials: list[Trial] = []
    for _ in range(4):
        assigned = engine.step(load(conf), History(tuple(trials)), 3).assignments
        suggested = optimizer.suggest(3)
        assert suggested == [dict(assignment.params) for assignment in assigned]
        for params in suggested:
            value = smooth(params)
            trials.append(Trial(len(trials) + 1, params, TrialState.COMPLETE, value))
            optimizer.observe(params, value)
    assert [(t.number, t.params, t.value) for t in optimizer.trials] == [
        (t.number, t.params, t.value) for t in trials
    ]


def test_a_used_up_space_gives_fewer_and_then_none() -> None:
    optimizer = Optimizer(SMALL)
    assert len(optimizer.suggest(3)) == 3
    assert len(optimizer.suggest(3)) == 2
    assert optimizer.suggest(3) == []
    assert {key(trial.params) for trial in optimizer.trials} == {key({"n": n}) for n in range(1, 6)}


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (None, Cause.OBJECTIVE_MISSING),
        (float("nan"), Cause.OBJECTIVE_NOT_FINITE),
        (-math.inf, Cause.OBJECTIVE_NOT_FINITE),
        (np.float64("nan"), Cause.OBJECTIVE_NOT_FINITE),
    ],
)
def test_no_number_means_failed(value: Any, cause: Cause) -> None:
    optimizer = Optimizer(SMALL)
    (params,) = optimizer.suggest()
    optimizer.observe(params, value)
    (trial,) = optimizer.trials
    assert (trial.state, trial.cause, trial.value) == (TrialState.FAILED, cause, None)
    assert optimizer.best is None


def test_points_of_ones_own_are_recorded() -> None:
    optimizer = Optimizer(Space.parse(SMALL), direction="maximize")
    optimizer.observe({"n": 2}, np.float32(1.5))
    optimizer.observe({"n": 3}, 1)
    assert optimizer.best == ({"n": 2}, 1.5)
    assert type(optimizer.trials[0].value) is float
    assert [trial.origin for trial in optimizer.trials] == [Origin.INITIAL] * 2
    assert {params["n"] for params in optimizer.suggest(9)} == {1, 4, 5}


def test_a_second_observation_replaces_the_first() -> None:
    optimizer = Optimizer(SMALL)
    for value in (1.0, None, 3.0):
        optimizer.observe({"n": 2}, value)
    (trial,) = optimizer.trials
    assert (trial.state, trial.value, trial.cause) == (TrialState.COMPLETE, 3.0, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o.observe({"n": 9}, 1.0), "n: must be within [1, 5], got 9"),
        (lambda o: o.observe({"m": 1}, 1.0), '"m" is not a parameter of the space; known: n'),
        (lambda o: o.observe({"n": 1}, "1"), 'value: must be a number or None, got "1"'),
        (lambda o: o.suggest(0), "n: must be >= 1, got 0"),
        (lambda o: Optimizer(SMALL, direction="up"),
         'direction: must be minimize or maximize, got "up"'),
        (lambda o: Optimizer(SMALL, "tpee"),
         "unknown sampler 'tpee'; known: bayesian, grid, random, sobol"),
        (lambda o: Optimizer(SMALL, "grid", xi=1),
         'sampler: unknown key "xi"; known: name, seed, fraction, shuffle'),
        (lambda o: Optimizer({"n": {"type": "int"}}), "space.n.low: is required\n"
         "space.n.high: is required"),
    ],
)  # fmt: skip
def test_misuse_is_refused_and_changes_nothing(call: Any, message: str) -> None:
    optimizer = Optimizer(SMALL)
    with pytest.raises(SpecError) as caught:
        call(optimizer)
    assert str(caught.value) == message
    assert optimizer.trials == ()
