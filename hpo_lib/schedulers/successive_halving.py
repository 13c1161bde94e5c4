"""Successive halving, in step: at each rung all are waited for, and the best share goes on.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016.
"""

from __future__ import annotations

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.schedulers.cohorts import CohortScheduler, Plan
from hpo_lib.schedulers.rungs import RungSettings, ladder
from hpo_lib.validation import Strict


class SuccessiveHalvingSettings(RungSettings):
    """`trials`: how many are halved together, after each other; all of the run's unless set."""

    trials: int | None = Field(default=None, ge=1, le=100_000)


class SuccessiveHalvingScheduler(CohortScheduler):
    """Lets 1 / reduction_factor of a cohort go on at each rung, and never fewer than one."""

    Settings = SuccessiveHalvingSettings

    def __init__(self, goal: Goal, seed: int, settings: Strict) -> None:
        """Take SuccessiveHalvingSettings."""
        super().__init__(goal, seed, settings)
        asked = SuccessiveHalvingSettings.model_validate(settings)
        rungs = ladder(asked.grace_period, asked.reduction_factor, asked.max)
        self._plan, self._factor, self.unit = (
            Plan(asked.trials, rungs),
            asked.reduction_factor,
            asked.resource,
        )

    def plan(self, index: int) -> Plan:  # noqa: ARG002
        """Give the same for every cohort."""
        return self._plan

    def best_of(self, count: int) -> int:
        """Round the share down."""
        return max(1, int(count / self._factor + 1e-9))
