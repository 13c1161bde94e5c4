"""Plain JSON out of what YAML, Python and its libraries hand over, and the names of all else."""

from __future__ import annotations

import numbers
import operator
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from hpo_lib.validation import shown

#: What libraries raise of a value that stands for no single number.
_NO_ITEM = (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError)

_TORN = "must be plain JSON, got text with half a character"
#: As long as a label of Kubernetes with its prefix. Keys are parts of paths, each on one line.
_LONGEST_KEY = 320
_KEY_RULE = f"a key must be at most {_LONGEST_KEY} printable characters"
_NOTHING: Any = object()

#: Where a value stands in a mapping of mappings and lists.
Loc = tuple[object, ...]
#: Plain JSON is read as far as it has so many values, in so many mappings and lists within others.
MAX_VALUES, MAX_DEPTH = 20_000, 64
TOO_MANY = f"must hold at most {MAX_VALUES:,} values, got more"
TOO_DEEP = f"must be nested at most {MAX_DEPTH} deep, got more"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands in place of a value that is no JSON, as it was `said`; `why` it is none: the rule."""

    why: str
    said: str = "what is no JSON"

    def __str__(self) -> str:
        """Stand for the value in messages about what is around it."""
        return self.said


def read(value: Any) -> Any:
    """Give a value with the scalars and arrays of libraries as plain JSON, at every depth.

    Text that no file can hold becomes an Unreadable.
    """
    if isinstance(value, Mapping):
        return dict(_entry(name, inner) for name, inner in value.items())
    if isinstance(value, list | tuple) or getattr(value, "shape", None):
        return [read(inner) for inner in value]
    found = scalar(value)
    return Unreadable(_TORN) if _torn(found) else found


def scalar(value: Any) -> Any:
    """Give the text, number or boolean that a value of a library stands for; else the value.

    numpy's and pandas' scalars are read, Decimal and Fraction too, and whatever answers to
    `item()` with one value, as arrays and tensors of one element do.
    """
    try:
        return _builtin(value)
    except _NO_ITEM:
        return value


def is_finite(value: object) -> TypeGuard[int | float]:
    """Say whether a value is a number, no boolean, that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def excess(value: Any) -> tuple[Loc, str] | None:
    """Say where a value holds too much to be read, and the rule; None if it can be read.

    It takes no longer the more there is, and what holds itself is nested too deep.
    """
    left = MAX_VALUES
    loc: list[object] = []
    levels = [_inner(value)]
    while levels:
        name, inner = next(levels[-1], (None, _NOTHING))
        if inner is _NOTHING:
            levels.pop()
            del loc[-1:]
            continue
        left -= 1
        if left < 0:
            return (), TOO_MANY
        if isinstance(inner, Mapping | list | tuple):
            levels.append(_inner(inner))
            loc.append(name)
        if len(levels) > MAX_DEPTH:
            return tuple(loc), TOO_DEEP
    return None


def _inner(value: Any) -> Iterator[tuple[object, Any]]:
    """Give what stands in a mapping or a list, with its key or place."""
    return iter(value.items()) if isinstance(value, Mapping) else enumerate(value)


def problems(value: Any, loc: Loc = ()) -> Iterator[tuple[Loc, str]]:
    """Yield where something is no JSON, and why."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            at = (*loc, name)
            if not isinstance(name, str):
                yield at, f"a key must be text, got {shown(name)}; put it in quotes"
            elif len(name) > _LONGEST_KEY or not name.isprintable():
                yield at, f"{_KEY_RULE}, got {shown(name)}"
            yield from problems(inner, at)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from problems(inner, (*loc, index))
    elif why := _wrong(value):
        yield loc, why


def _wrong(value: Any) -> str | None:
    match value:
        case None | bool() | str():
            return None
        case int() | float():
            return None if is_finite(value) else f"must be a finite number, got {shown(value)}"
        case Unreadable(why=why):
            return why
    return f"must be plain JSON, got {shown(value)}"


def _entry(name: Any, inner: Any) -> tuple[Any, Any]:
    if _torn(name):
        return name.encode(errors="replace").decode(), Unreadable(_TORN)
    return name, read(inner)


def _torn(value: Any) -> bool:
    """Say whether a text has half of a character that only two halves make (a lone surrogate)."""
    if not isinstance(value, str) or value.isascii():
        return False
    return any("\ud800" <= letter <= "\udfff" for letter in value)


def _builtin(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Number):
        return _number(value)
    found = _item(value)
    return found if isinstance(found, bool | int | float | str) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool | complex):
        return value
    if isinstance(value, numbers.Integral):
        return int(operator.index(value))
    if isinstance(value, float) or not hasattr(value, "itemsize"):
        return float(value)
    # A float of 32 bits says 0.1 in its text, and 0.10000000149011612 as a float of 64.
    return float(str(value))


def _item(value: Any) -> Any:
    """Give the one element of an array or a tensor; None if it is none, or is masked."""
    if not callable(getattr(value, "item", None)) or bool(getattr(value, "mask", False)):
        return None
    inner = value[()] if getattr(value, "shape", None) == () else value
    return scalar(inner.item() if type(inner) is type(value) else inner)
