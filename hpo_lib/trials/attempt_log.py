"""Where an attempt begins in the log of its trial's task: written and read again here."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BEGINS = re.compile(r"attempt (\d+) of trial (\d+); everything it prints is kept in")


def beginning(attempt: int, trial: int) -> str:
    """Give the line with which an attempt begins, or goes on after a task that was killed."""
    return f"attempt {attempt} of trial {trial}; everything it prints is kept in"


def lines_of(lines: Iterable[str], trial: int, attempt: int) -> list[str]:
    """Cut an attempt's lines out of one try of its task: to the next attempt's, or to the end."""
    found, inside = list[str](), False
    for line in lines:
        if begins := _BEGINS.fullmatch(line):
            inside = begins.groups() == (str(attempt), str(trial))
        if inside:
            found.append(line)
    return found
