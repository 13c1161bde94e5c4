"""The line of a failed trial's log that says why: what a person would look for at its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hpo_lib.words import cut

_LONGEST = 160
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
#: An exception as Python, Java and others name it at the beginning of a line.
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b")
_TROUBLE = re.compile(
    r"error|exception|fatal|fail|cannot|can't|can not|could not|not found|no such|no module|denied"
    r"|refused|invalid|unrecognized|unexpected|required|missing|killed|abort|panic|traceback|usage:",
    re.IGNORECASE,
)
#: What a program that goes well prints, too.
_METRIC = re.compile(r"(?:^|[\s,;])[\w./]+(?:=[-+]?\d|\s*[=:]\s*[-+]?\d*\.\d)")


def last_words(log: str) -> str:
    """Give the last line that names an error, or the last one at all; empty if none says anything.

    >>> last_words("loss=0.5\\nTraceback …\\n  x = y\\nKeyError: 'units'\\nsaved 3 files\\n")
    "KeyError: 'units'"
    """
    lines = [plain for plain in map(_plain, log.splitlines()) if plain.strip()]
    said = [line for line in lines if not _METRIC.search(line)]
    found = _last(lines, _EXCEPTION.match) or _last(said, _TROUBLE.search)
    if not found and said[-1:] == lines[-1:]:
        found = "".join(said[-1:])
    return _short(found)


def last_line(log: str) -> str:
    """Give the last line that says anything, short; empty if none does."""
    lines = [plain for plain in map(_plain, log.splitlines()) if plain.strip()]
    return _short(lines[-1]) if lines else ""


def _last(lines: Sequence[str], told_by: Callable[[str], object]) -> str:
    return next((line for line in reversed(lines) if told_by(line)), "")


def _short(line: str) -> str:
    line = line.strip()
    return cut(line, _LONGEST)


def _plain(line: str) -> str:
    """Take out colours, and what cannot be seen."""
    shown = _COLOURS.sub("", line)
    return "".join(one if one.isprintable() else " " for one in shown).rstrip()
