"""The plain rule: a first step for all, then the best few to the end.

No paper: it is what people do by hand, and what other schedulers have to beat.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.schedulers.cohorts import CohortScheduler, Plan
from hpo_lib.validation import Strict
from hpo_lib.words import number


class ScreenSettings(Strict):
    """`grace_period`: the first step; `keep`: how many go on to `max`, the end."""

    grace_period: float = Field(default=1, gt=0, le=1e12)
    max: float = Field(gt=0, le=1e12)
    keep: int = Field(default=4, ge=1, le=100_000)
    resource: str = Field(default="step", min_length=1, max_length=40)
    STAND_INS: ClassVar = {"max": 1}

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield a first step that is the last."""
        if not {"grace_period", "max"} & set(broken) and self.grace_period >= self.max:
            said = f"grace_period={number(self.grace_period)}, max={number(self.max)}"
            yield f"grace_period must be < max, got {said}"


class ScreenScheduler(CohortScheduler):
    """Takes all trials of a run together; they begin before any goes on."""

    Settings = ScreenSettings

    def __init__(self, goal: Goal, seed: int, settings: Strict) -> None:
        """Take ScreenSettings."""
        super().__init__(goal, seed, settings)
        self._asked = ScreenSettings.model_validate(settings)
        self.unit = self._asked.resource

    def plan(self, index: int) -> Plan:  # noqa: ARG002
        """Give two rungs to all."""
        return Plan(None, (self._asked.grace_period, self._asked.max))

    def best_of(self, count: int) -> int:
        """Keep as many as was asked for."""
        return min(self._asked.keep, count)
