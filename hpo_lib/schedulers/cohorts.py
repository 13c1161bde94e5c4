"""Cohorts: trials that are compared when all of them are there, as in synchronous halving.

A cohort takes the next trials by number. At each rung it waits for its slowest trial; then the best
go on, and the others are stopped. A trial that fails is missing from there on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hpo_lib.core.trial import Assignment, Decision, History, Trial, TrialState
from hpo_lib.schedulers import Scheduler, Suggest
from hpo_lib.schedulers.rungs import among, begin, comparable, not_among, place, promote

_GOES_ON = Decision.go_on("it runs, or its cohort is not there yet")
_LEFT = (TrialState.WAITING, TrialState.STOPPED)


@dataclass(frozen=True, slots=True)
class Plan:
    """A cohort's number of trials (None: all that are to come), and its rungs, the end included."""

    size: int | None
    rungs: Sequence[float]


@dataclass(frozen=True, slots=True)
class Cut:
    """What a cohort has come to at a rung: who has reached it, the best first, how many go on."""

    rung: float
    following: float
    reached: Sequence[Trial]
    best: int
    passed: bool


class CohortScheduler(Scheduler):
    """Halves cohort after cohort; a subclass says how large they are and how many go on."""

    promotes = True
    unit = "step"
    _known: tuple[History, dict[int, str]] | None = None

    def plan(self, index: int) -> Plan:
        """Give the cohort of an index, from 0."""
        raise NotImplementedError

    def best_of(self, count: int) -> int:
        """Say how many of so many go on."""
        raise NotImplementedError

    def waves(self, trials: int, capacity: int) -> int:
        """Count all pieces of work, and a wave that is not full at each rung of each cohort."""
        pieces = rungs = index = begun = 0
        while begun < trials:
            plan = self.plan(index)
            going = min(trials - begun, plan.size or trials)
            begun, index, rungs = begun + going, index + 1, rungs + len(plan.rungs)
            for _ in plan.rungs:
                pieces, going = pieces + going, min(self.best_of(going), going)
        return math.ceil(pieces / capacity) + rungs

    def admit(self, history: History, suggest: Suggest, capacity: int) -> list[Assignment]:
        """Promote the best of cohorts that are there, then begin trials of the next."""
        due = self._promoted(history, last=False)[:capacity]
        free = capacity - len(due)
        fresh = suggest(history, free) if free else []
        plans = self._next_plans(len(history.trials), len(fresh))
        due += [
            begin(number, one, plan.rungs[0], plan.rungs[-1])
            for (number, plan), one in zip(plans, fresh, strict=True)
        ]
        return due or self._promoted(history, last=True)[:capacity]

    def judge(self, trial: Trial, history: History) -> Decision:
        """Stop who waits and is not among the best of its cohort, once that is known."""
        if self._known is None or self._known[0] is not history:
            self._known = (history, dict(self._out(history)))
        reason = self._known[1].get(trial.number)
        return _GOES_ON if reason is None else Decision.stop(reason)

    def _out(self, history: History) -> Iterator[tuple[int, str]]:
        """Yield who waits and is not to go on, with the reason."""
        for plan, members, full in self._cohorts(history):
            for cut in self._cuts(plan, members):
                where, of = place(self.unit, cut.rung), len(cut.reached)
                for trial in cut.reached[cut.best :] if full or cut.passed else ():
                    if trial.state is TrialState.WAITING:
                        value = trial.rungs[cut.rung]
                        yield trial.number, not_among(where, value, cut.best, of)

    def _promoted(self, history: History, *, last: bool) -> list[Assignment]:
        """List who is due; with `last` the last cohort gets no further trial."""
        found = []
        for plan, members, full in self._cohorts(history):
            if not (full or last):
                continue
            for cut in self._cuts(plan, members):
                where = place(self.unit, cut.rung)
                found += [
                    promote(
                        trial,
                        cut.following,
                        plan.rungs[-1],
                        among(where, trial.rungs[cut.rung], cut.best, len(cut.reached)),
                    )
                    for trial in cut.reached[: cut.best]
                    if trial.state is TrialState.WAITING and max(trial.rungs) == cut.rung
                ]
        return found

    def _cuts(self, plan: Plan, members: Sequence[Trial]) -> Iterator[Cut]:
        """Yield the cuts that are decided, from the lowest rung up."""
        going = members
        for rung, following in pairwise(plan.rungs):
            if any(t.state is TrialState.RUNNING and rung not in t.rungs for t in going):
                return
            reached = sorted(
                (trial for trial in going if rung in trial.rungs),
                key=lambda trial: (self._loss(trial.rungs[rung]), trial.number),
            )
            best = min(self.best_of(len(reached)), len(reached))
            passed = any(one.state not in _LEFT or max(one.rungs) > rung for one in reached)
            yield Cut(rung, following, reached, best, passed)
            going = reached[:best]
            if any(t.state is TrialState.WAITING and max(t.rungs) == rung for t in going):
                return

    def _cohorts(self, history: History) -> Iterator[tuple[Plan, Sequence[Trial], bool]]:
        """Yield each cohort that has begun: its plan, its trials, and whether these are all."""
        index = begun = 0
        while begun < len(history.trials):
            plan = self.plan(index)
            end = len(history.trials) if plan.size is None else begun + plan.size
            full = plan.size is not None and end <= len(history.trials)
            yield plan, history.trials[begun:end], full
            begun, index = end, index + 1

    def _next_plans(self, begun: int, count: int) -> Iterator[tuple[int, Plan]]:
        """Yield the numbers of the next trials, each with its cohort's plan."""
        index, end = 0, 0
        for number in range(begun + 1, begun + count + 1):
            while number > end:
                plan = self.plan(index)
                end = begun + count if plan.size is None else end + plan.size
                index += 1
            yield number, plan

    def _loss(self, value: float) -> float:
        return comparable(self.goal.direction.loss(value))
