"""Values of parameters: their canonical form, and which of them are the same."""

from __future__ import annotations

import copy
import json
from typing import Any, TypeGuard

from hpo_lib.core import plain
from hpo_lib.core.trial import Value
from hpo_lib.errors import SpecError
from hpo_lib.validation import shown

#: A value with its kind, as `told_apart` gives it.
Told = tuple[object, object]


def rounded(value: float) -> float:
    """Give a float its canonical form: 10 significant digits, no negative zero."""
    return float(f"{value:.10g}") + 0.0


def same(left: Value, right: Value) -> bool:
    """Compare values as the user wrote them: 1 equals 1.0, but not true."""
    return told_apart(left) == told_apart(right)


def told_apart(value: Value) -> Told:
    """Give what is equal, and has the same hash, for values that are the same."""
    if isinstance(value, list | tuple | dict):
        return "json", json.dumps(_evened(value), sort_keys=True)
    return isinstance(value, bool), value


def own(value: Value) -> Any:
    """Give a value that its taker may change: of a list or a mapping, a copy."""
    return copy.deepcopy(value) if isinstance(value, list | dict) else value


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _evened(value: Any) -> Any:
    """Write every whole number without a point: JSON does not keep 1.0 and 1 apart everywhere."""
    if isinstance(value, list | tuple):
        return [_evened(one) for one in value]
    if isinstance(value, dict):
        return {name: _evened(one) for name, one in value.items()}
    return int(value) if isinstance(value, float) and value == int(value) else value


def finite(value: Value) -> float:
    """Give a number as a float; SpecError if it is none, or none that a float can hold."""
    if not plain.is_finite(value):
        raise SpecError(f"must be a finite number, got {shown(value)}")
    return float(value)


def share_of(unit: float, size: int) -> int:
    """Give the index of the equal share of [0, 1], of so many, that holds a place."""
    return min(int(unit * size), size - 1)
