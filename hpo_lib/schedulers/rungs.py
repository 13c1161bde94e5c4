"""Rungs: the amounts at which trials are compared, and what each trial has shown there.

A rung is an amount in the scheduler's unit: epochs, boosting rounds, samples, minutes. A trial is
at a rung with the value it ended with there, if it was asked to stop there; else with the first
value that it has reported at that step or beyond. So a report that jumps over rungs fills all of
them, and a step that is missing counts as the next one that is there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from typing import ClassVar

from pydantic import Field

from hpo_lib.core.trial import Assignment, Suggestion, Trial
from hpo_lib.validation import Strict
from hpo_lib.words import number, spoken

#: More rungs than these are a slip: a factor hardly above 1.
_MOST_RUNGS = 50
_LARGEST = 1e12


class RungSettings(Strict):
    """From the first rung, `grace_period`, to `max`, each `reduction_factor` times the one below.

    `resource` is the word for the unit in reasons: epoch, round, sample, minute.
    """

    grace_period: float = Field(default=1, gt=0, le=_LARGEST)
    reduction_factor: float = Field(default=3, gt=1, le=1_000)
    max: float = Field(gt=0, le=_LARGEST)
    resource: str = Field(default="step", min_length=1, max_length=40)
    STAND_INS: ClassVar = {"max": 1}

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield what is wrong with the rungs as a whole."""
        if {"grace_period", "reduction_factor", "max"} & set(broken):
            return
        if self.grace_period > self.max:
            said = f"grace_period={number(self.grace_period)}, max={number(self.max)}"
            yield f"grace_period must be <= max, got {said}"
        elif len(ladder(self.grace_period, self.reduction_factor, self.max)) > _MOST_RUNGS:
            said = f"reduction_factor={number(self.reduction_factor)}"
            yield f"reduction_factor must leave at most {_MOST_RUNGS} rungs, got {said}"


def ladder(first: float, factor: float, most: float) -> list[float]:
    """List the rungs from `first` up to `most`, which is the last; exactly, without a logarithm.

    Between whole ends rungs are whole: what a factor such as 2.5 leaves over is cut off.
    """
    low, times, high = (Fraction(str(one)) for one in (first, factor, most))
    whole = low.denominator == high.denominator == 1
    found: list[float] = []
    while low < high and len(found) <= _MOST_RUNGS:
        rung = math.floor(low) if whole else float(low)
        if not found or rung > found[-1]:
            found.append(rung)
        low *= times
    return [*found, int(high) if whole else float(high)]


def value_at(trial: Trial, rung: float) -> float | None:
    """Give what a trial has shown at a rung; None if it is not there yet."""
    if rung in trial.rungs:
        return trial.rungs[rung]
    if not trial.curve or max(trial.curve) < rung:
        return None
    return trial.curve[min(step for step in trial.curve if step >= rung)]


def reached(trial: Trial) -> float:
    """Give how far a trial has come, as far as anybody has seen."""
    return max([0.0, *trial.rungs, *trial.curve])


def begin(number: int, one: Suggestion, rung: float, end: float, reason: str = "") -> Assignment:
    """Begin a trial, which trains to a rung and waits there before the end."""
    return Assignment(
        number, one.params, one.origin, resource=rung, partial=rung < end, reason=reason
    )


def promote(trial: Trial, rung: float, end: float, reason: str) -> Assignment:
    """Let a trial go on from its own checkpoint to a rung; it waits there before the end."""
    return Assignment(
        trial.number,
        trial.params,
        trial.origin,
        resource=rung,
        resume_from=trial.number,
        partial=rung < end,
        reason=reason,
    )


def comparable(loss: float) -> float:
    """Put what is no number behind all that is."""
    return math.inf if math.isnan(loss) else loss


def place(unit: str, rung: float) -> str:
    """Name a rung in words: "epoch 3"."""
    return f"{spoken(unit)} {number(float(rung))}"


def among(what: str, value: float, best: int, of: int) -> str:
    """Say that a value is among the best: "epoch 3: 0.41 is among the best 4 of 13 trials"."""
    return f"{what}: {value:.4g} is among the best {best} of {of} trials"


def not_among(what: str, value: float, best: int, of: int) -> str:
    """Say that a value is not among the best."""
    return f"{what}: {value:.4g} is not among the best {best} of {of} trials"


def following(rungs: Sequence[float], rung: float) -> float:
    """Give the rung after one."""
    return next(one for one in rungs if one > rung)
