"""The median rule: a trial stops whose best so far is worse than what others had on average.

Golovin, Solnik, Moitra et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017,
section 3.2.2: at step s a trial stops if its best value up to s is strictly worse than the median
of the running averages, up to s, of all complete trials. Katib's `medianstop` is the same rule.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import (
    Assignment,
    Decision,
    Direction,
    History,
    Trial,
    TrialState,
)
from hpo_lib.schedulers import Scheduler, Suggest
from hpo_lib.schedulers.rungs import comparable, place
from hpo_lib.validation import Strict

_GOES_ON = Decision.go_on("the median lets it run")


class MedianSettings(Strict):
    """Nobody stops before `start_step`, or before so many trials are complete, or past `max`.

    `max` is how far trials are told to go; without it the program knows.
    """

    min_trials_required: int = Field(default=3, ge=1, le=100_000)
    start_step: float = Field(default=4, ge=0, le=1e12)
    max: float | None = Field(default=None, gt=0, le=1e12)
    resource: str = Field(default="step", min_length=1, max_length=40)


class MedianScheduler(Scheduler):
    """Starts each suggestion as a new trial, and stops those that fall behind while they run."""

    Settings = MedianSettings
    watches = True

    def __init__(self, goal: Goal, seed: int, settings: Strict) -> None:
        """Take MedianSettings."""
        super().__init__(goal, seed, settings)
        self._asked = MedianSettings.model_validate(settings)
        self._known: tuple[History, list[_Averages]] | None = None

    def admit(self, history: History, suggest: Suggest, capacity: int) -> list[Assignment]:
        """Number the suggestions in order."""
        first, aim = len(history.trials) + 1, self._asked.max
        return [
            Assignment(number, one.params, one.origin, resource=aim)
            for number, one in enumerate(suggest(history, capacity), first)
        ]

    def judge(self, trial: Trial, history: History) -> Decision:
        """Compare a running trial's best so far with the complete ones' averages up to there."""
        seen = {step: value for step, value in trial.curve.items() if not math.isnan(value)}
        if trial.state is not TrialState.RUNNING or not seen:
            return _GOES_ON
        step = max(trial.curve)
        if step < self._asked.start_step:
            return _GOES_ON
        others = [one for all_ in self._averages(history) if (one := all_.until(step)) is not None]
        if len(others) < self._asked.min_trials_required:
            return _GOES_ON
        best = min(map(self.goal.direction.loss, seen.values()))
        middle = statistics.median(others)
        if best <= middle:
            return _GOES_ON
        turn = self.goal.direction.loss
        side = "above" if self.goal.direction is Direction.MINIMIZE else "below"
        where = place(self._asked.resource, step)
        said = f"{turn(best):.4g} is {side} the median {turn(middle):.4g} of {len(others)} trials"
        return Decision.stop(f"{where}: {said}")

    def _averages(self, history: History) -> Sequence[_Averages]:
        if self._known is None or self._known[0] is not history:
            done = [t for t in history.of(TrialState.COMPLETE) if t.curve]
            loss = self.goal.direction.loss
            self._known = (history, [_Averages(trial, loss) for trial in done])
        return self._known[1]


class _Averages:
    """The running averages of a trial's losses, by step."""

    def __init__(self, trial: Trial, loss: Callable[[float], float]) -> None:
        self._steps = sorted(trial.curve)
        self._means: list[float] = []
        total = 0.0
        for count, step in enumerate(self._steps, 1):
            total += comparable(loss(trial.curve[step]))
            self._means.append(total / count)

    def until(self, step: float) -> float | None:
        """Give the average up to a step; None if there was no report by then."""
        count = bisect_right(self._steps, step)
        return self._means[count - 1] if count else None
