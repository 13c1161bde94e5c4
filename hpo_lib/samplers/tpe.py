"""Optuna's tree-structured Parzen estimator.

Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"; with several objectives, Ozaki
et al. 2022, "Multiobjective Tree-Structured Parzen Estimator".
"""

from __future__ import annotations

from hpo_lib.samplers.adapters.study import OptunaSampler


class TpeSampler(OptunaSampler):
    """TPESampler. What all trials have is drawn together, conditional parameters each on its own.

    With `group: true` those that occur together are drawn together, too.
    """

    name = "tpe"
    behind = "TPESampler"
