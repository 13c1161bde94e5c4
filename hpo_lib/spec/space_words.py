"""Parameters as words of a command line, such as `lr=1e-5..0.1:log` and `optimizer=adam,sgd`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hpo_lib.errors import SpecError
from hpo_lib.validation import shown

EXAMPLES = "lr=1e-5..0.1:log units=32..512:32 optimizer=adam,sgd epochs=5"
_SCALES = ("linear", "log", "reverse_log")
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::(.+))?")
_LIKE_A_RANGE = re.compile(rf"{_NUMBER}\.\.|\S*\.\.{_NUMBER}(?![^:])")
_WORDS = {"true": True, "false": False}


def parameter(name: str, said: str, kind: type | None = None) -> Any:
    """Read what a parameter may be: a mapping as in a space, or the one value of a constant.

    `LOW..HIGH`, with `:log` or a step behind it, is a range; words with commas are choices. `kind`
    is what the program takes, if that is known. SpecError.
    """
    if not said:
        raise _wrong(name, said)
    if _LIKE_A_RANGE.match(said):
        return _range(name, said, kind)
    if "," not in said:
        return _value(said, kind)
    choices = [_value(one, kind) for one in said.split(",")]
    if "" in choices:
        raise _wrong(name, said)
    return {"type": "ordinal" if _ascending(choices) else "categorical", "choices": choices}


def _range(name: str, said: str, kind: type | None) -> dict[str, Any]:
    found = _RANGE.fullmatch(said)
    first, last, how = found.groups(default="") if found else ("", "", "")
    low, high, step = _number(first), _number(last), _number(how)
    if low is None or high is None or (how and step is None and how not in _SCALES):
        raise _wrong(name, said)
    parts = [one for one in (low, high, step) if one is not None]
    whole = all(one == int(one) for one in parts)
    if kind is int and not whole:
        raise SpecError(f"space.{name}: must be whole numbers, as the script takes, got {said}")
    is_int = whole and (kind is int or (kind is not float and all(type(p) is int for p in parts)))
    cast: type = int if is_int else float
    made: dict[str, Any] = {"type": cast.__name__, "low": cast(low), "high": cast(high)}
    if step is not None:
        return {**made, "step": cast(step)}
    return {**made, "scale": how} if how else made


def _value(text: str, kind: type | None) -> Any:
    if kind is str:
        return text
    if text in _WORDS:
        return _WORDS[text]
    number = _number(text)
    if number is None:
        return text
    return float(number) if kind is float else number


def _number(text: str) -> int | float | None:
    try:
        number = int(text) if _WHOLE.fullmatch(text) else float(text.replace("_", "x"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _ascending(choices: Sequence[Any]) -> bool:
    numbers = all(type(one) in (int, float) for one in choices)
    return numbers and all(low < high for low, high in pairwise(choices))


def _wrong(name: str, said: str) -> SpecError:
    return SpecError(
        f"space.{name}: must be LOW..HIGH, LOW..HIGH:log, LOW..HIGH:STEP, choices such as "
        f"adam,sgd, or one value, got {shown(said)}"
    )
