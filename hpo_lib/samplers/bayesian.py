"""Bayesian optimisation with Gaussian processes of our own: the sampler that `auto` prefers.

A few Sobol points, then an ensemble of processes (`ensemble`, `gaussian`) told what the history
says (`evidence`). See docs/samplers.md for the model and its sources.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Earlier, History, Params, Suggestion, TrialState
from hpo_lib.samplers import Sampler, sobol_params
from hpo_lib.validation import Strict

_INITIAL = 8


class BayesianSettings(Strict):
    """`initial`: how many points come before the model."""

    initial: int = Field(default=_INITIAL, ge=1, le=1_000)


class BayesianSampler(Sampler):
    """Takes what its processes like best; takes any space, several objectives, and constraints.

    Failed trials count as the worst value seen, trials under way as what the model expects of
    them. Lower rungs and earlier runs advise, as far as this run's own values agree with them.
    """

    Settings = BayesianSettings
    reads = "rungs"

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take BayesianSettings."""
        super().__init__(space, goal, seed, settings)
        self._initial = BayesianSettings.model_validate(settings).initial

    @property
    def blind(self) -> int:
        """The number of trials before the model."""
        return self._initial

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give the points that are due before the model, then the model's choices."""
        from hpo_lib.samplers.surrogate.evidence import known

        done = len(history.trials)
        due = min(max(self._initial - done, 0), count) if known(history, self.goal) else count
        points = self._blind_points(history, due)
        if due < count:
            points += self._modelled(history, points, count - due)
        if len(points) < count:  # The engine finds the last unused points of a small space.
            points += sobol_params(self.space, self.seed, done + due + 1, count - len(points))
        return [Suggestion(params) for params in points]

    def _blind_points(self, history: History, count: int) -> list[Params]:
        """Give Sobol points, every other one of the first replaced by an earlier run's best."""
        if not count:
            return []
        done = len(history.trials)
        used = {key(trial.params) for trial in history.trials}
        best = (params for params in self._best_of(history.earlier) if key(params) not in used)
        points: list[Params] = list(sobol_params(self.space, self.seed, done + 1, count))
        for number in range(done + 1, min(done + count, self._initial) + 1):
            if number % 2:
                points[number - done - 1] = next(best, points[number - done - 1])
        return points

    def _best_of(self, runs: Sequence[Earlier]) -> Iterator[Params]:
        """Give the best of every run, then the second best of every run, and so on."""
        ranked = [
            sorted(
                (trial for trial in run.trials if self.goal.losses(trial) is not None),
                key=lambda trial: (self.goal.losses(trial), key(trial.params)),
            )
            for run in sorted(runs, key=lambda run: -run.weight)
        ]
        for trials in itertools.zip_longest(*ranked):
            yield from (trial.params for trial in trials if trial is not None)

    def _modelled(self, history: History, points: list[Params], count: int) -> list[Params]:
        """Let the model choose, on one thread: faster for small matrices, and repeatable."""
        import numpy as np
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        from hpo_lib.samplers.surrogate.cube import Cube
        from hpo_lib.samplers.surrogate.ensemble import Ensemble
        from hpo_lib.samplers.surrogate.evidence import gather

        done = len(history.trials)
        rng = np.random.default_rng([self.seed, done + len(points) + 1])
        used = {key(trial.params) for trial in history.trials} | {key(p) for p in points}
        running = {key(t.params): t.params for t in history.of(TrialState.RUNNING)}
        pending = [running[digest] for digest in sorted(running)] + points
        with threadpool_limits(limits=1):
            cube = Cube(self.space)
            ensemble = Ensemble(cube, gather(history, self.goal, cube), rng)
            return ensemble.choose(count, pending, used)
