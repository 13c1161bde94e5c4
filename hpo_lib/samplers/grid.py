"""Grid search: every configuration of a finite space, or a random fraction of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import History, Params, Suggestion
from hpo_lib.samplers import Sampler, draws, shuffled
from hpo_lib.validation import Strict

_SHORTEST = 64


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
        found: list[Suggestion] = []
        for indices in self._walk():
            fresh = itertools.filterfalse(used.__contains__, indices)
            left = itertools.islice(fresh, count - len(found))
            found += [Suggestion(self._grid[indices[digest]]) for digest in left]
            if len(found) == count:
                break
        return found

    def configurations(self, initial: Sequence[Params]) -> int:
        """Count the points that the grid is cut to, and the initial ones that are not of them."""
        extra = {key(params) for params in initial if not self._covers(params)}
        return self._points + len(extra)

    def _walk(self) -> Iterator[Mapping[str, int]]:
        """Go along the points of a run; who asks for the next one passes all that it has had.

        These are remembered, grid indices by the keys of configurations, in pieces each of which
        ends twice as far as the one before.
        """
        begun, end = 0, _SHORTEST
        while begun < self._points:
            yield _piece(self.space, self.seed, self._points, begun, end, shuffle=self._shuffle)
            begun, end = end, 2 * end

    def _covers(self, params: Params) -> bool:
        index = self._grid.index(params)
        stretch = ((index + 1) * self._points - 1) // self._grid.size
        return _point(self.space, self.seed, self._points, stretch) == index


def _point(space: Space, seed: int, points: int, stretch: int) -> int:
    """Draw the grid index that stands for a stretch."""
    size = space.grid.size
    start, end = stretch * size // points, (stretch + 1) * size // points
    return draws(seed, stretch).randrange(start, end)


@lru_cache(maxsize=128)
def _piece(
    space: Space, seed: int, points: int, begun: int, end: int, *, shuffle: bool
) -> Mapping[str, int]:
    """Give some grid indices in the order of a run, by the keys of their configurations."""
    order = shuffled(points, seed) if shuffle else iter(range(points))
    indices = (_point(space, seed, points, one) for one in itertools.islice(order, begun, end))
    return {key(space.grid[index]): index for index in indices}
