"""Random search: independent draws."""

from __future__ import annotations

from hpo_lib.core.trial import History, Suggestion
from hpo_lib.samplers import NoSettings, Sampler, random_params


class RandomSampler(Sampler):
    """Draws trial n from (seed, n) alone, whatever came before."""

    Settings = NoSettings
    reads = "number"

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Draw the trials that follow the history."""
        first = len(history.trials) + 1
        return [
            Suggestion(random_params(self.space, self.seed, number))
            for number in range(first, first + count)
        ]
