"""The unit cube of a space as arrays: what `Space` does for one configuration, for many at once.

m configurations, d parameters, f features
places     (m, d) in [0, 1]: snapped to what the space can tell apart, inactive at 0.5
features   (m, f) in [0, 1]: places with a column per choice for each small categorical
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from hpo_lib.core.space import Space
from hpo_lib.core.trial import Params
from hpo_lib.samplers.surrogate.gaussian import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_MAX_LISTED = 10_000
#: Columns for choices in all; a categorical beyond them is told apart by its place alone.
_MAX_ONE_HOT = 500
#: Two different choices are as far apart as the two ends of a range.
_ONE_HOT = 0.5**0.5
#: Where a parameter is that is inactive; of a categorical it is not the place of any choice.
_INACTIVE, _NO_CHOICE = 0.5, 0.5 + 1e-6


class Cube:
    """Places and features of one space."""

    def __init__(self, space: Space) -> None:
        import numpy as np

        self._space = space
        self._column = {name: index for index, name in enumerate(space.parameters)}
        self._units: dict[int, Array] = {}
        for name, parameter in space.parameters.items():
            if parameter.size is not None and parameter.size <= _MAX_LISTED:
                units = [parameter.to_unit(parameter.at(i)) for i in range(parameter.size)]
                self._units[self._column[name]] = np.array(units)
        self._conditional = [name for name, p in space.parameters.items() if p.when]

    def __len__(self) -> int:
        """Count the parameters."""
        return len(self._space)

    @cached_property
    def unordered(self) -> Any:
        """Which parameters have choices without an order, (d,)."""
        import numpy as np

        return np.array([p.unordered for p in self._space.parameters.values()])

    @cached_property
    def free(self) -> Any:
        """Which parameters have more than one value, (d,)."""
        import numpy as np

        return np.array([p.size != 1 for p in self._space.parameters.values()])

    @cached_property
    def layout(self) -> Layout:
        """Which parameter each feature belongs to, and which features are numbers."""
        import numpy as np

        owner: list[int] = []
        warped: list[int] = []
        for index in range(len(self)):
            if not self.unordered[index]:
                warped.append(len(owner))
            owner += [index] * (len(self._units[index]) if index in self._one_hot else 1)
        return Layout(np.array(owner), np.array(warped, dtype=int))

    @cached_property
    def choices(self) -> Any:
        """Which features stand for one choice of a categorical, (f,)."""
        import numpy as np

        return np.isin(self.layout.owner, sorted(self._one_hot))

    def chosen(self, features: Array) -> Any:
        """Say which choices are made, (m, f); never for what is not one, or inactive."""
        return self.choices & (features > 0.99 * _ONE_HOT)

    @cached_property
    def _one_hot(self) -> frozenset[int]:
        sizes = {
            index: len(self._units[index])
            for index in range(len(self))
            if self.unordered[index] and self.free[index]
        }
        chosen, columns = set(), 0
        for index in sorted(sizes, key=lambda index: (sizes[index], index)):
            columns += sizes[index]
            if columns <= _MAX_ONE_HOT:
                chosen.add(index)
        return frozenset(chosen)

    def every(self, most: int) -> Array | None:
        """Give all places of a space of at most `most` configurations, else None."""
        size = self._space.size
        if size is None or size > most:
            return None
        return self.places([self._space.grid[index] for index in range(size)])

    def places(self, configurations: Sequence[Params]) -> Array:
        """Put configurations into the cube."""
        import numpy as np

        rows = [self._space.to_unit(params) for params in configurations]
        places = np.array(rows, dtype=float).reshape(len(rows), len(self))
        for name in self._conditional:
            active = np.array([name in params for params in configurations], dtype=bool)
            places[~active, self._column[name]] = self._inactive(name)
        return places

    def params(self, place: Array) -> Params:
        """Give the configuration at a place."""
        return self._space.from_unit(place.tolist())

    def snap(self, rows: Array) -> Array:
        """Move every row to the place of the configuration that it stands for."""
        import numpy as np

        places = np.clip(rows, 0.0, 1.0)
        for column, units in self._units.items():
            # The middles of equal shares, or on a log scale places without such an order.
            places[:, column] = units[_nearest(units, places[:, column])]
        active: dict[str, Any] = {}
        for name in self._conditional:
            holds = np.ones(len(places), dtype=bool)
            for parent, values in self._space.parameters[name].when.items():
                holds &= active.get(parent, True) & self._holds(places, parent, values)
            places[~holds, self._column[name]] = self._inactive(name)
            active[name] = holds
        return places

    def features(self, places: Array) -> Array:
        """Give each choice of a small categorical its own column; inactive ones are in between."""
        import numpy as np

        if not self._one_hot:
            return places
        columns = []
        for index in range(len(self)):
            column = places[:, [index]]
            if index in self._one_hot:
                chosen = np.abs(column - self._units[index]) < 1e-9
                column = np.where(chosen.any(1, keepdims=True), chosen, 1 / chosen.shape[1])
                column = column * _ONE_HOT
            columns.append(column)
        return np.hstack(columns)

    def around(self, places: Array, width: float, rng: np.random.Generator) -> Array:
        """Move each place a little: one step per row, in few, half or all of its parameters."""
        import numpy as np

        m, d = places.shape
        share = rng.choice([1.0, 0.5, 2.0 / d], size=(m, 1))
        moved = (rng.random((m, d)) < share) & self.free
        moved &= ~self.unordered | (rng.random((m, d)) < 1.0 / d)
        step = width * np.exp(rng.normal(0.0, 0.7, (m, 1)))
        rows = places + rng.normal(0.0, 1.0, (m, d)) * step
        beyond = (rows < 0) | (rows > 1)
        folded = np.abs(rows - 2 * (rows > 1) * (rows - 1))
        rows = np.where(beyond & (rng.random((m, d)) < 0.5), np.clip(rows, 0, 1), folded)
        rows = np.where(self.unordered, rng.random((m, d)), rows)
        return self.snap(np.where(moved, rows, places))

    def _inactive(self, name: str) -> float:
        return _NO_CHOICE if self.unordered[self._column[name]] else _INACTIVE

    def _holds(self, places: Array, parent: str, values: list[Any]) -> Any:
        import numpy as np

        parameter, column = self._space.parameters[parent], self._column[parent]
        units = [parameter.to_unit(parameter.canonical(value)) for value in values]
        return np.isclose(places[:, [column]], units, rtol=0, atol=1e-12).any(axis=1)


def _nearest(units: Array, values: Array) -> Any:
    """Give for each value the index of the nearest of the ascending `units`."""
    import numpy as np

    if len(units) == 1:
        return np.zeros(len(values), dtype=int)
    right = np.clip(np.searchsorted(units, values), 1, len(units) - 1)
    return right - (values - units[right - 1] < units[right] - values)
