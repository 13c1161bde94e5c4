"""Numbers as programs print them: one is read wholly, or not at all.

A number is digits with at most one point, perhaps a sign and an exponent; or nan, inf, infinity. A
percent sign after it is left out. What goes on with a letter, a digit or a part of a date, a time,
a fraction or another notation (`1,234.5`, `0,5`, `9/13`, `9 of 13`, `1:30`, `12ms`) is no number.
"""

from __future__ import annotations

import math
import re

_FORM = (
    r"[-+]?(?:[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
    r"|(?i:nan|inf(?:inity)?)(?!\w))"
)
#: What may not come after a number: the parts of an unknown notation, of a range, a sum or a share.
_SIGNS = ",:/'`\u00b4\u2019_\u00a0\u2009\u202f\u2044\u00b7\u22c5\u066b\uff0c+\u2013-"
_GOES_ON = (
    rf"\w|\.(?=\w)|\.\.|-(?=[A-Za-z])|[{_SIGNS}](?=[0-9])|[\u00d7*^#\ufffd\x00]"
    r"|\ [0-9]{3}[.,][0-9]|\ [/eE\u00d7*]\ ?[-+]?[0-9]|\ of\ [0-9]"
)
#: What mostly comes after a number, and is quickly seen.
_ENDS = r"$|[;)\]}]|,?\ [^0-9/eEo\u00d7*]"
#: A number that is all that stands there; no part of it is given up in order to match.
WHOLE = rf"(?>{_FORM})(?:(?={_ENDS})|(?!{_GOES_ON}))"
#: A text that looks like a number: a minus may be a typographer's.
BEGINS = r"[-+\u2212\u2013]?\.?[0-9]|[-+]?(?i:nan|inf(?:inity)?)(?!\w)"
#: What Python writes around a number of NumPy, PyTorch or JAX.
WRAPPED = r"(?:(?:np|numpy|jnp)\.\w{1,16}|tensor|array|Array)\("
_WHOLE, _BEGINS, _WRAPPED = re.compile(WHOLE), re.compile(BEGINS), re.compile(WRAPPED)
_COUNT = re.compile(rf"(?>{_FORM})(?=/[0-9]+(?!\w|[.,:/](?=[0-9]))|(?!{_GOES_ON}))")
#: A number to which a word, or the ending of a file's name, is glued: another text, not a notation.
_GLUED = re.compile(r"[0-9](?:[.-]?[A-Za-z_]{3}|\*[A-Za-z])")
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
    wrapped = _WRAPPED.match(text)
    if wrapped and text.endswith(")"):
        return number_at(text, wrapped.end())
    found = number_at(text)
    if found is None or found[0] is None:
        return found
    rest = text[len(found[1]) :]
    return found if rest in ("", "%", ".") else (None, text[:40])


def is_glued(text: str) -> bool:
    """Say whether what is no number is one with a word behind it, as two programs print at once."""
    return _GLUED.search(text) is not None


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
