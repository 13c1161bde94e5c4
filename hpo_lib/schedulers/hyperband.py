"""Hyperband: successive halving by turns with many trials of little, and few of much.

Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: A Novel Bandit-Based Approach to
Hyperparameter Optimization", JMLR 18, 2018, algorithm 1. With a sampler that learns from rungs it
is of the kind of BOHB (Falkner, Klein and Hutter, ICML 2018).
"""

from __future__ import annotations

import math
from fractions import Fraction

from hpo_lib.core.objective import Goal
from hpo_lib.schedulers.cohorts import CohortScheduler, Plan
from hpo_lib.schedulers.rungs import RungSettings, ladder
from hpo_lib.validation import Strict


class HyperbandScheduler(CohortScheduler):
    """Goes through the brackets, the one with the lowest rung first, and then begins anew.

    A bracket that would wait for its slowest trial does not keep places free: the next one begins.
    """

    Settings = RungSettings

    def __init__(self, goal: Goal, seed: int, settings: Strict) -> None:
        """Take RungSettings."""
        super().__init__(goal, seed, settings)
        asked = RungSettings.model_validate(settings)
        rungs = ladder(asked.grace_period, asked.reduction_factor, asked.max)
        self._factor, self.unit = asked.reduction_factor, asked.resource
        most = len(rungs) - 1
        self._plans = [
            Plan(bracket_size(most, most - left_out, self._factor), rungs[left_out:])
            for left_out in range(len(rungs))
        ]

    def plan(self, index: int) -> Plan:
        """Give the brackets by turns."""
        return self._plans[index % len(self._plans)]

    def best_of(self, count: int) -> int:
        """Round the share down, but let one go on: the last bracket of a run may be small."""
        return max(1, int(count / self._factor + 1e-9))


def bracket_size(most: int, halvings: int, factor: float) -> int:
    """Count the trials of a bracket with so many halvings of at `most` so many."""
    share = Fraction(most + 1, halvings + 1) * Fraction(str(factor)) ** halvings
    return math.ceil(share)
