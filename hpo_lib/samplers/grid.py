"""Grid search: every configuration of a finite space, or a random fraction of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import History, Params, Suggestion
from hpo_lib.samplers import Sampler, draws, shuffled
from hpo_lib.validation import Strict


class GridSettings(Strict):
    """`fraction` of the grid that is tried; `shuffle` for a random order, not the grid's own."""

    fraction: float = Field(default=1.0, gt=0, le=1)
    shuffle: bool = False


class GridSampler(Sampler):
    """Walks the grid in order, skipping what the history has.

    A fraction cuts the grid into as many equal stretches as points are wanted and takes one random
    point of each: a random subset, evenly spread, that nobody has to hold in memory.
    """

    Settings = GridSettings

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take GridSettings; SpecError if the space is continuous."""
        super().__init__(space, goal, seed, settings)
        options = GridSettings.model_validate(settings)
        self._grid = space.grid
        self._shuffle = options.shuffle
        # The fraction as written: 0.1 of 80 is 8, where the double 0.1 would make it 9.
        self._points = math.ceil(Fraction(str(options.fraction)) * self._grid.size)

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give the next points; fewer when the grid ends."""
        used = {trial.digest or key(trial.params) for trial in history.trials}
        walk = (self._point(stretch) for stretch in self._order())
        fresh = (index for index, digest in walk if digest not in used)
        return [Suggestion(self._grid[index]) for index in itertools.islice(fresh, count)]

    def configurations(self, initial: Sequence[Params]) -> int:
        """Count the points that the grid is cut to, and the initial ones that are not of them."""
        extra = {key(params) for params in initial if not self._covers(params)}
        return self._points + len(extra)

    def _order(self) -> Iterator[int]:
        if self._shuffle:
            return shuffled(self._points, self.seed)
        return iter(range(self._points))

    def _point(self, stretch: int) -> tuple[int, str]:
        """Give the grid index that stands for a stretch, and the key of its configuration."""
        return _point(self.space, self.seed, self._points, stretch)

    def _covers(self, params: Params) -> bool:
        index = self._grid.index(params)
        stretch = ((index + 1) * self._points - 1) // self._grid.size
        return self._point(stretch)[0] == index


@lru_cache(maxsize=1 << 17)
def _point(space: Space, seed: int, points: int, stretch: int) -> tuple[int, str]:
    """Draw the point of a stretch; who asks for a long run's next point passes all that it had."""
    grid = space.grid
    start, end = stretch * grid.size // points, (stretch + 1) * grid.size // points
    index = draws(seed, stretch).randrange(start, end)
    return index, key(grid[index])
