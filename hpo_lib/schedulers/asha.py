"""Asynchronous successive halving: trials go on while they are among the best at their rung.

Li, Jamieson, Rostamizadeh et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys
2020 (2018 as arXiv:1810.05934). `promotion` is algorithm 2 there: a trial waits at its rung until
it is among the best. `stopping` is what Ray Tune has: a trial runs on unless it is worse.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import Assignment, Decision, History, Suggestion, Trial, TrialState
from hpo_lib.schedulers import Scheduler, Suggest
from hpo_lib.schedulers.rungs import (
    RungSettings,
    among,
    begin,
    comparable,
    following,
    ladder,
    not_among,
    place,
    promote,
    value_at,
)
from hpo_lib.validation import Strict

#: The golden ratio: its multiples, without what is whole, fill [0, 1) as evenly as can be.
_GOLDEN = 0.6180339887498949
#: Of a rung: loss, number, trial.
_Standing = tuple[float, int, Trial]
_GOES_ON = Decision.go_on("asha lets it be")


class AshaSettings(RungSettings):
    """`brackets`: how many ladders there are, of which each further one leaves out a low rung."""

    type: Literal["promotion", "stopping"] = "promotion"
    brackets: int = Field(default=1, ge=1, le=20)

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield also brackets that would have no rung."""
        yield from super().problems(broken)
        if {"grace_period", "reduction_factor", "max", "brackets"} & set(broken):
            return
        rungs = len(ladder(self.grace_period, self.reduction_factor, self.max))
        if self.brackets > rungs:
            yield f"brackets must be <= {rungs}, the number of rungs, got {self.brackets}"


class AshaScheduler(Scheduler):
    """Compares the trials of a bracket with each other, at every rung with whoever is there."""

    Settings = AshaSettings

    def __init__(self, goal: Goal, seed: int, settings: Strict) -> None:
        """Take AshaSettings."""
        super().__init__(goal, seed, settings)
        self._asked = AshaSettings.model_validate(settings)
        self._rungs = ladder(
            self._asked.grace_period, self._asked.reduction_factor, self._asked.max
        )
        self._shares = _shares(len(self._rungs), self._asked)
        self.promotes = self._asked.type == "promotion"
        self.watches = not self.promotes
        self._known: tuple[History, dict[tuple[int, float], list[_Standing]]] | None = None

    def waves(self, trials: int, capacity: int) -> int:
        """Count as if every trial went to the end: in an unlucky order each is the best so far."""
        if not self.promotes:
            return math.ceil(trials / capacity)
        return math.ceil(trials * len(self._rungs) / capacity) + 2 * len(self._rungs)

    def admit(self, history: History, suggest: Suggest, capacity: int) -> list[Assignment]:
        """Promote who is among the best, from the highest rung down; else begin new trials."""
        due = self._promoted(history)[:capacity] if self.promotes else []
        fresh = suggest(history, capacity - len(due)) if len(due) < capacity else []
        first = len(history.trials) + 1
        due += [self._begun(number, one) for number, one in enumerate(fresh, first)]
        return due or self._last_one(history)

    def judge(self, trial: Trial, history: History) -> Decision:
        """Stop a running trial that is worse than the best of its rung, in the kind that stops.

        It is looked at again as others get there, and always at the highest rung that it has seen.
        """
        if self.promotes or trial.state is not TrialState.RUNNING:
            return _GOES_ON
        bracket = self._bracket(trial.number)
        seen = [one for one in self._rungs[bracket:-1] if value_at(trial, one) is not None]
        if not seen:
            return _GOES_ON
        there = self._standings(history).get((bracket, seen[-1]), [])
        best = self._best_of(len(there))
        value = value_at(trial, seen[-1])
        if not best or value is None:
            return _GOES_ON
        if self._loss(value) <= there[best - 1][0]:
            return _GOES_ON
        where = place(self._asked.resource, seen[-1])
        return Decision.stop(not_among(where, value, best, len(there)))

    def _begun(self, number: int, one: Suggestion) -> Assignment:
        rung = self._rungs[self._bracket(number)] if self.promotes else self._rungs[-1]
        return begin(number, one, rung, self._rungs[-1])

    def _promoted(self, history: History) -> list[Assignment]:
        """List who is due, the highest rungs first: there the most has been spent already."""
        standings = self._standings(history)
        found = []
        for bracket, rung in sorted(standings, key=lambda one: (-one[1], one[0])):
            there = standings[bracket, rung]
            best = self._best_of(len(there))
            where = place(self._asked.resource, rung)
            found += [
                self._to_next(trial, rung, among(where, trial.rungs[rung], best, len(there)))
                for _, _, trial in there[:best]
                if _waits_at(trial, rung)
            ]
        return found

    def _last_one(self, history: History) -> list[Assignment]:
        """Let the foremost trial go on if nothing else can, and none has been to the end.

        A run with fewer trials than `reduction_factor` would have nothing to show.
        """
        over = (TrialState.RUNNING, TrialState.COMPLETE)
        if not self.promotes or any(trial.state in over for trial in history.trials):
            return []
        waiting = [(max(t.rungs), t) for t in history.of(TrialState.WAITING) if t.rungs]
        if not waiting:
            return []
        rung, trial = min(
            waiting, key=lambda one: (-one[0], self._loss(one[1].rungs[one[0]]), one[1].number)
        )
        where = place(self._asked.resource, rung)
        reason = f"{where}: {trial.rungs[rung]:.4g} is the best that waits, and none is to follow"
        return [self._to_next(trial, rung, reason)]

    def _to_next(self, trial: Trial, rung: float, reason: str) -> Assignment:
        return promote(trial, following(self._rungs, rung), self._rungs[-1], reason)

    def _standings(self, history: History) -> dict[tuple[int, float], list[_Standing]]:
        """Rank the trials of each bracket at each rung but the last; of equals the earlier."""
        if self._known is not None and self._known[0] is history:
            return self._known[1]
        found: dict[tuple[int, float], list[_Standing]] = {}
        for trial in history.trials:
            if not (trial.rungs or trial.curve):
                continue
            bracket = self._bracket(trial.number)
            for rung in self._rungs[bracket:-1]:
                value = value_at(trial, rung)
                if value is None:
                    break
                place_of = found.setdefault((bracket, rung), [])
                place_of.append((self._loss(value), trial.number, trial))
        for there in found.values():
            there.sort(key=lambda one: one[:2])
        self._known = (history, found)
        return found

    def _best_of(self, count: int) -> int:
        """Count how many of so many are the best: a share of 1 / reduction_factor, rounded down."""
        return int(count / self._asked.reduction_factor + 1e-9)

    def _bracket(self, number: int) -> int:
        """Give a trial's bracket, by its number alone; evenly, by the brackets' shares."""
        if len(self._shares) == 1:
            return 0
        spot = (number * _GOLDEN) % 1.0
        return next((n for n, share in enumerate(self._shares) if spot < share), 0)

    def _loss(self, value: float) -> float:
        return comparable(self.goal.direction.loss(value))


def _shares(rungs: int, asked: AshaSettings) -> Sequence[float]:
    """Give the shares of the brackets, summed up: each spends about the same."""
    top = rungs - 1
    sizes = [
        asked.reduction_factor ** (top - leaves_out) / (top - leaves_out + 1)
        for leaves_out in range(asked.brackets)
    ]
    return [sum(sizes[: n + 1]) / sum(sizes) for n in range(asked.brackets)]


def _waits_at(trial: Trial, rung: float) -> bool:
    return trial.state is TrialState.WAITING and max(trial.rungs) == rung
