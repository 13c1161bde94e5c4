"""A scheduler for tests: all trials to a low rung, then the better half of them to the end."""

from __future__ import annotations

import math

from pydantic import Field

from hpo_lib.core.trial import Assignment, Decision, History, Trial, TrialState
from hpo_lib.schedulers import Scheduler, Suggest
from hpo_lib.validation import Strict


class HalvesSettings(Strict):
    """The resource of the low rung, and the one of the end."""

    low: int = Field(default=1, ge=1)
    high: int = Field(default=3, ge=1)


class HalvesScheduler(Scheduler):
    """Promotes the better half, when every trial has reached the low rung or failed."""

    Settings = HalvesSettings
    promotes = True
    settings: HalvesSettings

    def waves(self, trials: int, capacity: int) -> int:
        """Two rungs, each in waves of its own."""
        return math.ceil(trials / capacity) + math.ceil(math.ceil(trials / 2) / capacity)

    def admit(self, history: History, suggest: Suggest, capacity: int) -> list[Assignment]:
        """Begin trials while there are any, then promote."""
        first = len(history.trials) + 1
        begun = [
            Assignment(number, one.params, one.origin, resource=self.settings.low, partial=True)
            for number, one in enumerate(suggest(history, capacity), start=first)
        ]
        if begun or history.of(TrialState.RUNNING):
            return begun
        better = self._better(history)
        return [
            Assignment(
                trial.number,
                trial.params,
                trial.origin,
                resource=self.settings.high,
                resume_from=trial.number,
                reason=f"{self._said(trial)} is among the best {len(better)}",
            )
            for trial in better
            if trial.state is TrialState.WAITING
        ][:capacity]

    def judge(self, trial: Trial, history: History) -> Decision:
        """Stop who waits outside the better half, once that has gone on."""
        if trial.state is TrialState.RUNNING or not self._has_promoted(history):
            return Decision.go_on("the others are not there yet")
        better = self._better(history)
        if trial in better:
            return Decision.go_on("it is promoted")
        return Decision.stop(f"{self._said(trial)} is not among the best {len(better)}")

    def _has_promoted(self, history: History) -> bool:
        """Say whether a trial has gone on from the low rung: then all had come so far."""
        there = [trial for trial in history.trials if self.settings.low in trial.rungs]
        left = (TrialState.WAITING, TrialState.STOPPED)
        return any(trial.state not in left for trial in there)

    def _better(self, history: History) -> list[Trial]:
        there = [trial for trial in history.trials if self.settings.low in trial.rungs]
        ranked = sorted(there, key=lambda trial: (self._loss(trial), trial.number))
        return ranked[: math.ceil(len(ranked) / 2)]

    def _loss(self, trial: Trial) -> float:
        return self.goal.direction.loss(trial.rungs[self.settings.low])

    def _said(self, trial: Trial) -> str:
        return f"rung {self.settings.low}: {trial.rungs[self.settings.low]:.4g}"
