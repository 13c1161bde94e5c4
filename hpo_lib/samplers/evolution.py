"""Regularised evolution: the best of a few young trials has a child that differs in one thing.

Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search"
(arXiv:1802.01548). The population is the newest trials; even the best dies of age, so that a lucky
value does not stay.
"""

from __future__ import annotations

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import History, Params, Suggestion
from hpo_lib.samplers import Sampler, draws, random_params
from hpo_lib.samplers.adapters.library import distinct, finished, merit, one_objective
from hpo_lib.samplers.mutation import mutated
from hpo_lib.validation import Strict


class EvolutionSettings(Strict):
    """The `population`, and how many of them are drawn for a `tournament`, whose best is parent."""

    population: int = Field(default=20, ge=2, le=10_000)
    tournament: int = Field(default=5, ge=1, le=10_000)


class EvolutionSampler(Sampler):
    """Asynchronous: a child is made of the newest finished trials, whatever still runs.

    The first trials, as many as the population has, are drawn at random. A trial that failed is the
    worst, and ages like the others.
    """

    Settings = EvolutionSettings

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take EvolutionSettings; SpecError for several objectives."""
        super().__init__(space, goal, seed, settings)
        one_objective("evolution", goal)
        self._options = EvolutionSettings.model_validate(settings)

    @property
    def blind(self) -> int:
        """The population."""
        return self._options.population

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give the trials that follow: random ones, then children."""
        living = finished(history)[-self.blind :]
        known = any(self.goal.losses(trial) is not None for trial in living)

        def drawn(number: int, attempt: int) -> Params:
            if number <= self.blind or not known:
                return random_params(self.space, self.seed, number, attempt)
            draw = draws(self.seed, number, attempt)
            rivals = [draw.choice(living) for _ in range(self._options.tournament)]
            parent = min(rivals, key=lambda trial: (merit(trial, self.goal), -trial.number))
            return mutated(self.space, parent.params, draw)

        return distinct(drawn, history, count)
