"""Numbers as programs print them: one is read wholly, or not at all.

A number is digits with at most one point, perhaps a sign and an exponent; or nan, inf, infinity. A
percent sign after it is left out. What goes on with a letter, a digit or a part of a date, a time,
a fraction or another notation (`1,234.5`, `0,5`, `9/13`, `1:30`, `12ms`) is no number.
"""

from __future__ import annotations

import math
import re

_FORM = (
    r"[-+]?(?:[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
    r"|(?i:nan|inf(?:inity)?)(?!\w))"
)
#: What may not come after a number: the parts of an unknown notation, thin and hard spaces too.
_GOES_ON = r"\w|\.(?=\w)|[,:/'\u2019_\u00a0\u2009\u202f+-](?=[0-9])"
#: A number that is all that stands there; no part of it is given up in order to match.
WHOLE = rf"(?>{_FORM})(?!{_GOES_ON})"
#: A text that looks like a number: a minus may be a typographer's.
BEGINS = r"[-+\u2212\u2013]?\.?[0-9]|[-+]?(?i:nan|inf(?:inity)?)(?!\w)"
_WHOLE, _BEGINS = re.compile(WHOLE), re.compile(BEGINS)
_COUNT = re.compile(rf"(?>{_FORM})(?=/[0-9]+(?![\w.,:/])|(?!{_GOES_ON}))")
_TOKEN = re.compile(r"[^\s;|)\]}\"<>]{1,40}")


def number_at(text: str, at: int = 0) -> tuple[float | None, str] | None:
    """Read what stands at a place: a number and its text.

    The number is None if the text begins as one but is none. Nothing is given where no number is
    meant.
    """
    found = _WHOLE.match(text, at)
    if found:
        return to_float(found[0]), found[0]
    if not _BEGINS.match(text, at):
        return None
    token = _TOKEN.match(text, at)
    return None, token[0] if token else text[at : at + 1]


def number_in(text: str) -> tuple[float | None, str] | None:
    """Read a text that should be a number and nothing else; as `number_at`."""
    text = text.strip()
    found = number_at(text)
    if found is None or found[0] is None:
        return found
    rest = text[len(found[1]) :]
    return found if rest in ("", "%", ".") else (None, text[:40])


def step_at(text: str, at: int = 0) -> int | None:
    """Read a whole number that counts steps, perhaps of so many: `3`, `3/10`."""
    found = _COUNT.match(text, at)
    return whole(to_float(found[0])) if found else None


def whole(value: float | None) -> int | None:
    """Give a step as int if it is one."""
    if value is None or not math.isfinite(value) or value % 1 != 0:
        return None
    return int(value)


def to_float(value: str | float) -> float | None:
    """Read a number; None for anything else, infinite if it is too large for a float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None
