"""Population-based training: the worst go on from the best, with other hyperparameters.

Jaderberg, Dalibard, Osindero et al., "Population Based Training of Neural Networks", 2017
(arXiv:1711.09846): truncation selection, explored by resampling or by factors 0.8 and 1.2. Here a
trial keeps its parameters: one that is replaced is stopped, and a new trial goes on from the
checkpoint of a better one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any, ClassVar

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import key
from hpo_lib.core.trial import (
    Assignment,
    Decision,
    History,
    Params,
    Suggestion,
    Trial,
    TrialState,
    Value,
)
from hpo_lib.errors import SpecError
from hpo_lib.schedulers import Scheduler, Suggest
from hpo_lib.schedulers.rungs import begin, comparable, place, promote
from hpo_lib.validation import Strict
from hpo_lib.words import number

_FACTORS = (0.8, 1.2)
#: So often it looks for a configuration that nobody has tried.
_DRAWS = 20
_MOST_GENERATIONS = 10_000
_OPEN = (TrialState.RUNNING, TrialState.WAITING)
_GOES_ON = Decision.go_on("its generation is not there yet, or it is to go on")


class PbtSettings(Strict):
    """A `population` trains `interval` after `interval` up to `max`.

    After each the worst `quantile` is replaced; each parameter of what replaces it is drawn anew
    with `resample_probability`, and changed a little otherwise.
    """

    population: int = Field(default=8, ge=2, le=1_000)
    interval: float = Field(default=1, gt=0, le=1e12)
    max: float = Field(gt=0, le=1e12)
    quantile: float = Field(default=0.25, gt=0, le=0.5)
    resample_probability: float = Field(default=0.25, ge=0, le=1)
    resource: str = Field(default="step", min_length=1, max_length=40)
    STAND_INS: ClassVar = {"max": 1}

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield intervals that do not fit."""
        if {"interval", "max"} & set(broken):
            return
        got = f"got interval={number(self.interval)}, max={number(self.max)}"
        if self.interval > self.max:
            yield f"interval must be <= max, {got}"
        elif self.max / self.interval > _MOST_GENERATIONS:
            yield f"interval must leave at most {_MOST_GENERATIONS:,} generations, {got}"


@dataclass(frozen=True, slots=True)
class _Generation:
    """A generation that is there: who has reached its rung, the best first.

    `lost` names, for each of the worst, the number of the trial that replaces it.
    """

    rung: float
    following: float
    reached: Sequence[Trial]
    lost: Mapping[int, int]


class PbtScheduler(Scheduler):
    """Waits after each interval for the whole population, then replaces its worst.

    A trial that fails is missing from there on. When the run may begin no more trials, the worst go
    on themselves.
    """

    Settings = PbtSettings
    promotes = True
    inherits = True

    def __init__(self, goal: Goal, seed: int, settings: Strict) -> None:
        """Take PbtSettings."""
        super().__init__(goal, seed, settings)
        self._asked = PbtSettings.model_validate(settings)
        step, most = Fraction(str(self._asked.interval)), Fraction(str(self._asked.max))
        between = range(1, math.ceil(most / step))
        self._rungs = [*(float(step * n) for n in between), self._asked.max]
        self._known: tuple[History, tuple[int, list[_Generation]]] | None = None

    def waves(self, trials: int, capacity: int) -> int:
        """Count as if every trial went to the end, and waves that are not full at each rung."""
        populations = math.ceil(trials / self._asked.population)
        pieces = trials * len(self._rungs)
        return math.ceil(pieces / capacity) + 2 * len(self._rungs) * populations

    def admit(self, history: History, suggest: Suggest, capacity: int) -> list[Assignment]:
        """Fill the population; then replace the worst of a generation, and let the others go on."""
        start, generations = self._played(history)
        made = len(history.trials)
        missing = self._asked.population - (made - start + 1)
        fresh = suggest(history, min(missing, capacity)) if missing > 0 else []
        if fresh or not generations:
            return [self._first(number, one) for number, one in enumerate(fresh, made + 1)]
        return self._on_from(generations[-1], history, suggest, capacity)

    def judge(self, trial: Trial, history: History) -> Decision:
        """Stop who waits and has been replaced."""
        if trial.state is not TrialState.WAITING:
            return _GOES_ON
        for one in self._played(history)[1]:
            heir = one.lost.get(trial.number)
            if heir is not None and heir <= len(history.trials) and max(trial.rungs) == one.rung:
                where, value = place(self._asked.resource, one.rung), trial.rungs[one.rung]
                worst = f"{value:.4g} is among the worst {len(one.lost)} of {len(one.reached)}"
                return Decision.stop(f"{where}: {worst} trials; trial {heir} takes its place")
        return _GOES_ON

    def _on_from(
        self, newest: _Generation, history: History, suggest: Suggest, capacity: int
    ) -> list[Assignment]:
        """Go on with a generation that is there: heirs first, then the survivors."""
        made = len(history.trials)
        waiting = [one for one in newest.reached if _waits_at(one, newest.rung)]
        beaten = [one for one in waiting if newest.lost.get(one.number, 0) > made]
        wanted = min(len(beaten), capacity)
        fresh = suggest(history, wanted) if wanted else []
        tried = {one.digest or key(one.params) for one in history.trials}
        due = [self._heir(made + 1 + n, newest, one, tried) for n, one in enumerate(fresh)]
        stay = [one for one in waiting if one.number not in newest.lost]
        if len(fresh) < wanted:
            stay += beaten[len(fresh) :]
        return [*due, *(self._next(one, newest) for one in stay)][:capacity]

    def _first(self, trial: int, one: Suggestion) -> Assignment:
        return begin(trial, one, self._rungs[0], self._rungs[-1])

    def _next(self, trial: Trial, at: _Generation) -> Assignment:
        where, value = place(self._asked.resource, at.rung), trial.rungs[at.rung]
        rank = [one.number for one in at.reached].index(trial.number) + 1
        reason = f"{where}: {value:.4g} is number {rank} of {len(at.reached)} trials"
        return promote(trial, at.following, self._rungs[-1], reason)

    def _heir(self, trial: int, at: _Generation, fresh: Suggestion, tried: set[str]) -> Assignment:
        """Make a trial that goes on from one of the best, as it was at this rung."""
        draw = Random(f"{self.seed}:{trial}")  # noqa: S311 - nothing here is a secret
        best = at.reached[: max(len(at.lost), 1)]
        parent = draw.choice(best)
        params = self._explored(parent.params, fresh.params, draw, tried)
        tried.add(key(params))
        reason = f"{place(self._asked.resource, at.rung)}: goes on from trial {parent.number}"
        heir = Suggestion(params, fresh.origin)
        made = begin(trial, heir, at.following, self._rungs[-1], reason)
        return replace(made, resume_from=parent.number)

    def _explored(self, parent: Params, fresh: Params, draw: Random, tried: set[str]) -> Params:
        """Change a parent's parameters until nobody has tried them; else take the fresh ones."""
        for _ in range(_DRAWS):
            mixed = {name: self._changed(name, parent, fresh, draw) for name in self._names(parent)}
            params = self._canonical({**fresh, **parent, **mixed})
            if params is not None and key(params) not in tried:
                return params
        return fresh

    def _names(self, parent: Params) -> list[str]:
        return [name for name in self.space.parameters if name in parent]

    def _changed(self, name: str, parent: Params, fresh: Params, draw: Random) -> Value:
        if draw.random() < self._asked.resample_probability:
            return fresh.get(name, parent[name])
        value, parameter = parent[name], self.space.parameters[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        wanted = value * draw.choice(_FACTORS)
        return _within(parameter, value, wanted)

    def _canonical(self, params: Mapping[str, Value]) -> dict[str, Value] | None:
        """Leave out what is not active in this mixture; None if something active is missing."""
        try:
            return self.space.canonical(params)
        except SpecError:
            return None

    def _played(self, history: History) -> tuple[int, list[_Generation]]:
        """Play what there is again: number the population's first trial, and give its generations.

        A population that has come to its end makes room for the next one.
        """
        if self._known is not None and self._known[0] is history:
            return self._known[1]
        trials = {trial.number: trial for trial in history.trials}
        open_ = {number for number, trial in trials.items() if trial.state in _OPEN}
        start, generations = 1, list[_Generation]()
        while start <= len(trials):
            generations = list(self._generations(start, trials))
            heirs = [heir for one in generations for heir in one.lost.values()]
            end = max([start + self._asked.population - 1, *heirs])
            if any(start <= number <= end for number in open_):
                break
            start, generations = min(end, len(trials)) + 1, []
        self._known = (history, (start, generations))
        return self._known[1]

    def _generations(self, start: int, trials: Mapping[int, Trial]) -> Iterator[_Generation]:
        """Yield the generations of a population whose trials have all come to their rung."""
        going = list(range(start, start + self._asked.population))
        heir = start + len(going)
        for rung, following in pairwise(self._rungs):
            members = [trials[number] for number in going if number in trials]
            if any(t.state is TrialState.RUNNING and rung not in t.rungs for t in members):
                return
            reached = sorted(
                (trial for trial in members if rung in trial.rungs),
                key=lambda trial: (self._loss(trial.rungs[rung]), trial.number),
            )
            worst = int(len(reached) * self._asked.quantile + 1e-9)
            beaten = [one for one in reached[len(reached) - worst :] if _has_stayed(one, rung)]
            lost = {one.number: heir + n for n, one in enumerate(beaten)}
            heir += len(lost)
            yield _Generation(rung, following, reached, lost)
            if any(_waits_at(t, rung) and lost.get(t.number) not in trials for t in reached):
                return
            going = [lost.get(one.number, one.number) for one in reached]

    def _loss(self, value: float) -> float:
        return comparable(self.goal.direction.loss(value))


def _waits_at(trial: Trial, rung: float) -> bool:
    return trial.state is TrialState.WAITING and max(trial.rungs) == rung


def _has_stayed(trial: Trial, rung: float) -> bool:
    """Say whether a trial has gone no further than a rung."""
    left = (TrialState.WAITING, TrialState.STOPPED)
    return trial.state in left and max(trial.rungs) == rung


def _within(parameter: Any, value: Any, wanted: float) -> Value:
    """Put a changed number back into its range, on its step; a choice moves to its neighbour."""
    if hasattr(parameter, "choices"):
        if parameter.unordered:
            kept: Value = value
            return kept
        at = parameter.index(value) + (1 if wanted > float(value) else -1)
        choice: Value = parameter.at(min(max(at, 0), parameter.size - 1))
        return choice
    clamped = min(max(wanted, parameter.low), parameter.high)
    if parameter.type == "int":
        moved = math.ceil(clamped) if wanted > float(value) else math.floor(clamped)
        found: Value = parameter.at(parameter.index(moved))
        return found
    number_: Value = parameter.from_unit(parameter.to_unit(clamped))
    return number_
