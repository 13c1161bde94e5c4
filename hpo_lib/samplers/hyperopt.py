"""Hyperopt's tree-structured Parzen estimator, and its annealing.

Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"; Bergstra et al. 2013, "Making a
Science of Model Search".
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import History, Params, Suggestion, TrialState, Value
from hpo_lib.samplers import Sampler
from hpo_lib.samplers.adapters.library import (
    Coordinate,
    Scale,
    axes,
    configuration,
    distinct,
    draw_seed,
    installed,
    one_objective,
    quiet,
    ranks,
    sole,
)
from hpo_lib.validation import Strict, rule

_OF = {
    "tpe": ("gamma", "n_startup_jobs", "n_EI_candidates", "prior_weight"),
    "anneal": ("avg_best_idx", "shrink_coef"),
}


class HyperoptSettings(Strict):
    """`tpe` draws `n_startup_jobs` at random, and then takes the best of `n_EI_candidates`.

    `gamma` times the square root of the number of trials are the good ones. `anneal` walks around
    good trials: the `avg_best_idx`-th best on average, ever nearer as `shrink_coef` says.
    """

    algorithm: Literal["tpe", "anneal"] = "tpe"
    gamma: float = Field(default=0.25, gt=0, le=1)
    n_startup_jobs: int = Field(default=20, ge=1, le=10_000)
    n_EI_candidates: int = Field(default=24, ge=1, le=10_000)  # noqa: N815
    prior_weight: float = Field(default=1.0, gt=0, le=1_000)
    avg_best_idx: float = Field(default=2.0, ge=1, le=1_000)
    shrink_coef: float = Field(default=0.1, ge=0, le=1_000)

    @model_validator(mode="after")
    def _check_owner(self) -> HyperoptSettings:
        for algorithm, names in _OF.items():
            for name in names:
                if name in self.model_fields_set and algorithm != self.algorithm:
                    raise rule(f"{name} is a setting of algorithm {algorithm}")
        return self


class HyperoptSampler(Sampler):
    """Rebuilds Hyperopt's trials from the history; a trial holds its active parameters only.

    Hyperopt looks at the order of losses, so it is told ranks: failed trials last, infeasible ones
    before them. Trials under way count as failed, which drives the next suggestion away.
    """

    Settings = HyperoptSettings

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take HyperoptSettings; SpecError for several objectives."""
        super().__init__(space, goal, seed, settings)
        installed("hyperopt", "hyperopt", extra="hyperopt")
        one_objective("hyperopt", goal)
        self._options = HyperoptSettings.model_validate(settings)
        self._axes = {axis.name: axis for axis in axes(space)}

    @property
    def blind(self) -> int:
        """The trials before the model; annealing learns from the first."""
        return self._options.n_startup_jobs if self._options.algorithm == "tpe" else 1

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Ask Hyperopt for one trial after the other; each is then one under way."""
        if not self._axes:
            return sole(self.space, count)
        with quiet():
            told = self._documents(history)
            return distinct(partial(self._asked, told), history, count)

    def _asked(self, told: list[Any], number: int, attempt: int) -> Params:
        """Ask for a trial, and put it with the others as one under way."""
        import hyperopt

        algorithm = self._options.algorithm
        options: dict[str, Any] = self._options.model_dump(include=set(_OF[algorithm]))
        asked = partial(hyperopt.tpe.suggest, verbose=False)
        if algorithm == "anneal":
            asked = hyperopt.anneal.suggest
        trials, seed = hyperopt.trials_from_docs(told), draw_seed(self.seed, number, attempt)
        (document,) = asked([len(told)], self._domain(), trials, seed, **options)
        drawn = document["misc"]["vals"]
        params = configuration(self.space, lambda name: _meant(self._axes[name], drawn[name][0]))
        told.append(self._document(len(told), params))
        return params

    def _domain(self) -> Any:
        """Describe the space: each parameter on its own, since a trial may leave some out."""
        from hyperopt.base import Domain

        return Domain(_nothing, {name: _expression(axis) for name, axis in self._axes.items()})

    def _documents(self, history: History) -> list[Any]:
        """Give the history as Hyperopt keeps it; failures only once they can be compared."""
        done = [trial for trial in history.trials if trial.state is not TrialState.RUNNING]
        places = ranks(done, self.goal) if any(map(self.goal.losses, done)) else {}
        told = [t for t in history.trials if t.number in places or t.state is TrialState.RUNNING]
        return [
            self._document(index, trial.params, places.get(trial.number))
            for index, trial in enumerate(sorted(told, key=lambda trial: trial.number))
        ]

    def _document(self, index: int, params: Params, loss: float | None = None) -> Any:
        """Give a trial as Hyperopt keeps it; without a loss it is under way."""
        import hyperopt

        told = {
            name: _told(axis, params[name]) for name, axis in self._axes.items() if name in params
        }
        values = {name: [told[name]] if name in told else [] for name in self._axes}
        indices = {name: [index] if name in told else [] for name in self._axes}
        misc = {"tid": index, "cmd": None, "workdir": None, "idxs": indices, "vals": values}
        result = {"status": "new"} if loss is None else {"status": "ok", "loss": loss}
        (document,) = hyperopt.Trials().new_trial_docs([index], [None], [result], [misc])
        done, new = hyperopt.JOB_STATE_DONE, hyperopt.JOB_STATE_NEW
        return {**document, "state": new if loss is None else done}


def _expression(axis: Coordinate) -> Any:
    """Give the prior of a parameter: uniform over what it is told as."""
    from hyperopt import hp

    if axis.whole:
        low, high = axis.parameter.low, axis.parameter.high
        return hp.qloguniform(axis.name, math.log(low - 0.5), math.log(high + 0.5), 1)
    if axis.scale is Scale.SHARE:
        return hp.uniform(axis.name, 0.0, 1.0)
    if axis.scale is Scale.CHOICES:
        return hp.randint(axis.name, axis.parameter.size)
    return hp.quniform(axis.name, -0.5, axis.parameter.size - 0.5, 1)


def _told(axis: Coordinate, value: Any) -> int | float:
    return int(value) if axis.whole else axis.told(value)


def _meant(axis: Coordinate, told: float) -> Value:
    if not axis.whole:
        return axis.meant(told)
    return int(min(max(told, axis.parameter.low), axis.parameter.high))


def _nothing(_: Any) -> float:
    """Stand in for the objective, which Hyperopt never calls here."""
    return 0.0
