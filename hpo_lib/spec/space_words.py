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
#: What stands behind the ends of a range: keys of the parameter.
_HOW: dict[str, dict[str, str]] = {
    **{scale: {"scale": scale} for scale in ("linear", "log", "reverse_log")},
    "normal": {"distribution": "normal"},
    "lognormal": {"distribution": "lognormal"},
}
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::(.+))?")
_LIKE_A_RANGE = re.compile(rf"{_NUMBER}\.\.|\S*\.\.{_NUMBER}(?![^:])")
_WORDS = {"true": True, "false": False}


def parameter(name: str, said: str, kind: type | None = None) -> Any:
    """Read what a parameter may be: a mapping as in a space, or the one value of a constant.

    `LOW..HIGH` is a range, with a scale, a distribution and a step behind it as in `1..512:log:8`;
    words with commas are choices. `kind` is what the program takes, if that is known. SpecError.
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
    low, high, keys = _number(first), _number(last), _keys(how)
    if low is None or high is None or keys is None:
        raise _wrong(name, said)
    step = keys.pop("step", None)
    parts = [one for one in (low, high, step) if one is not None]
    whole = all(one == int(one) for one in parts)
    if kind is int and not whole:
        raise SpecError(f"space.{name}: must be whole numbers, as the script takes, got {said}")
    is_int = whole and (kind is int or (kind is not float and all(type(p) is int for p in parts)))
    cast: type = int if is_int else float
    made = {"type": cast.__name__, "low": cast(low), "high": cast(high), **keys}
    return made if step is None else {**made, "step": cast(step)}


def _keys(how: str) -> dict[str, Any] | None:
    """Read what stands behind a range; None if it says nothing, or the same key twice."""
    found: dict[str, Any] = {}
    for word in how.split(":") if how else ():
        step = _number(word)
        said: dict[str, Any] = _HOW.get(word, {}) if step is None else {"step": step}
        if not said or found.keys() & said.keys():
            return None
        found |= said
    return found


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
        f"space.{name}: must be LOW..HIGH, LOW..HIGH:log, LOW..HIGH:normal, LOW..HIGH:STEP, "
        f"choices such as adam,sgd, or one value, got {shown(said)}"
    )
