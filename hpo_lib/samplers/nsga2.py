"""Optuna's genetic algorithm for several objectives.

Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II".
"""

from __future__ import annotations

from hpo_lib.samplers.adapters.study import OptunaSampler, View


class Nsga2Sampler(OptunaSampler):
    """NSGAIISampler. Trials are of the same generation by number: the first `population_size` etc.

    `crossover` and `mutation` name one of Optuna's classes, such as SBXCrossover.
    """

    name = "nsga2"
    behind = "NSGAIISampler"
    view = View.REPLAYED
