"""Configurations as numbers between 0 and 1, from the configurations themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

from hpo_lib.core.trial import Params, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Positive numbers that are further apart than this are taken by their logarithm.
_FAR = 30.0


def features_of(params: Sequence[Params]) -> NDArray[np.float64]:
    """Give a row a configuration: a column a number, and a column a word but for the first word."""
    import numpy as np

    names = sorted({name for one in params for name in one})
    columns = [column for name in names for column in _columns([one.get(name) for one in params])]
    return np.array(columns, dtype=float).T.reshape(len(params), len(columns))


def _columns(values: Sequence[Value | None]) -> list[list[float]]:
    """Code one parameter; one that is not active is in the middle, and no word."""
    numbers = [float(value) for value in values if _is_number(value)]
    if len(numbers) == sum(1 for value in values if value is not None):
        return [_scaled([float(v) if _is_number(v) else None for v in values], numbers)]
    words = sorted({str(value) for value in values if value is not None})
    return [[float(str(value) == word) for value in values] for word in words[1:]]


def _is_number(value: Value | None) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scaled(values: Sequence[float | None], numbers: Sequence[float]) -> list[float]:
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low > _FAR:
        values = [None if value is None else math.log(value) for value in values]
        low, high = math.log(low), math.log(high)
    if low == high:
        return [0.5] * len(values)
    return [0.5 if value is None else (value - low) / (high - low) for value in values]
