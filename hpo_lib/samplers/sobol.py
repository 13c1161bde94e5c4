"""Sobol sequence: spreads over the space more evenly than random draws."""

from __future__ import annotations

from hpo_lib.core.trial import History, Suggestion
from hpo_lib.samplers import NoSettings, Sampler, sobol_params


class SobolSampler(Sampler):
    """Gives trial n point n of the sequence scrambled by the seed, whatever came before."""

    Settings = NoSettings
    reads = "number"

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give the points that follow the history."""
        points = sobol_params(self.space, self.seed, len(history.trials) + 1, count)
        return [Suggestion(params) for params in points]
