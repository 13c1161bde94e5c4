"""Differential evolution: differences between good trials are steps from other good trials.

Storn and Price 1997, "Differential Evolution – A Simple and Efficient Heuristic for Global
Optimization over Continuous Spaces"; choices, steps and conditions as in Awad et al. 2021, "DEHB"
(arXiv:2105.09575): all of them are places in the unit cube, which only a trial's program sees
rounded.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import History, Params, Suggestion, Trial, Value
from hpo_lib.core.values import same
from hpo_lib.samplers import Sampler, draws, random_params, sobol_params
from hpo_lib.samplers.adapters.library import distinct, finished, merit, one_objective
from hpo_lib.validation import Strict

Place = list[float]
#: The place that a target competes with is made of three others.
_FEWEST = 4


class DeSettings(Strict):
    """The `population`, and how a new place is made: `mutation_factor` F and `crossover` CR.

    `rand1` steps from any member, `best1` from the best, `current_to_best1` from the one that it is
    to replace towards the best.
    """

    population: int = Field(default=10, ge=_FEWEST, le=10_000)
    mutation_factor: float = Field(default=0.5, gt=0, le=2)
    crossover: float = Field(default=0.5, ge=0, le=1)
    strategy: Literal["rand1", "best1", "current_to_best1"] = "rand1"


class DeSampler(Sampler):
    """Asynchronous: trial n competes with the best of the trials n - P, n - 2P, … for their place.

    The population of P is the best trial of each place so far. It is all in the history, and
    nothing waits for a generation to end. The first P trials are points of a Sobol sequence.
    """

    Settings = DeSettings

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take DeSettings; SpecError for several objectives."""
        super().__init__(space, goal, seed, settings)
        one_objective("de", goal)
        self._options = DeSettings.model_validate(settings)

    @property
    def blind(self) -> int:
        """The population."""
        return self._options.population

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give the trials that follow, each a step from the population so far."""
        members = self._members(history)

        def drawn(number: int, attempt: int) -> Params:
            if number <= self.blind or len(members) < _FEWEST:
                if attempt > 1:
                    return random_params(self.space, self.seed, number, attempt)
                return sobol_params(self.space, self.seed, number, 1)[0]
            return self.space.from_unit(self._child(members, number, attempt))

        return distinct(drawn, history, count)

    def _members(self, history: History) -> dict[int, Place]:
        """Give the population's places by number, the best first: of equals the newest."""
        best: dict[int, Trial] = {}
        for trial in finished(history):
            holder = best.get(trial.number % self.blind)
            if self.goal.losses(trial) is None:
                continue
            if holder is None or merit(trial, self.goal) <= merit(holder, self.goal):
                best[trial.number % self.blind] = trial
        ranked = sorted(best.items(), key=lambda one: (merit(one[1], self.goal), -one[1].number))
        return {slot: self._place(trial) for slot, trial in ranked}

    def _child(self, members: dict[int, Place], number: int, attempt: int) -> Place:
        """Mutate and cross over; what leaves the cube is drawn anew, as in DEHB."""
        draw = draws(self.seed, number, attempt)
        slot = number % self.blind
        others = [place for of, place in members.items() if of != slot]
        target = members.get(slot) or draw.choice(others)
        mutant = self._mutant(target, next(iter(members.values())), others, draw)
        sure = draw.randrange(len(target))
        child = list(target)
        for at, moved in enumerate(mutant):
            anew, crossed = draw.random(), draw.random() < self._options.crossover
            if crossed or at == sure:
                child[at] = moved if 0.0 <= moved <= 1.0 else anew
        return child

    def _mutant(self, target: Place, best: Place, others: list[Place], draw: Random) -> Place:
        factor, strategy = self._options.mutation_factor, self._options.strategy
        base, plus, minus = draw.sample(others, 3)
        if strategy == "current_to_best1":
            base = [x + factor * (b - x) for x, b in zip(target, best, strict=True)]
        elif strategy == "best1":
            base = best
        return [x + factor * (p - m) for x, p, m in zip(base, plus, minus, strict=True)]

    def _place(self, trial: Trial) -> Place:
        """Put a trial anywhere where it is itself: so choices and steps keep their variety."""
        draw = draws(self.seed, trial.number)
        return [
            _within(parameter, trial.params.get(name), draw.random())
            for name, parameter in self.space.parameters.items()
        ]


def _within(parameter: Any, value: Value | None, share: float) -> float:
    """Give a place at a share of what stands for a value; what is inactive is anywhere."""
    if value is None:
        return share
    middle = float(parameter.to_unit(value))
    if parameter.size is None:
        return middle
    place = min(max(middle + (share - 0.5) / parameter.size, 0.0), 1.0)
    return place if same(parameter.from_unit(place), value) else middle
