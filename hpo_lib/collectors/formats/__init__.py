"""Formats of logs: what each library prints, one file each, registered in `hpo_lib.registry`.

A format reads a log line by line, in order, and may remember what it has seen, such as the headline
of an epoch. One of your own, for lines such as `@ 3 val_loss 0.5`, with `name: value` in FORMATS:

    class At:
        rank, needles, marks = 1, (), ("@",)

        def __init__(self, wanted):
            pass

        def read(self, line):
            words = line.split()
            if words[:1] != ["@"] or len(words) != 4:
                return None
            return Reading([(words[2], number_in(words[3]))], step_at(words[1], 0))
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from hpo_lib.collectors.numbers import step_at

#: A number with its text, None in its place if the text begins as one but is none.
Number = tuple[float | None, str]


class Reading(NamedTuple):
    """What a line says: numbers by printed name, and the step that they belong to.

    A later reading of the same `moment` replaces an earlier one: a progress bar is drawn again and
    again. `inner` is the text that another format may read, if no value is wanted; None: nobody.
    `time` is when it was, in seconds since 1970, if it says so.
    """

    values: Sequence[tuple[str, Number]] = ()
    step: int | None = None
    moment: int | None = None
    inner: str | None = None
    time: float | None = None


class Format(Protocol):
    """Reads the lines of one kind. Of each metric, only the values of one format count.

    `rank` says which: 0 for lines that are meant for programs, 1 for those of a library, 2 for
    whatever looks like a metric. Only lines that hold a wanted name, or one of the `needles`, are
    shown to it, and headlines: short lines that hold the word epoch. Of these only such as hold one
    of the `marks`, if there are any.
    """

    rank: int
    needles: Sequence[bytes]
    marks: Sequence[str]

    def __init__(self, wanted: frozenset[str]) -> None: ...

    def read(self, line: str) -> Reading | None:
        """Give what a line says; None if it is of another kind, which another format reads."""
        ...


#: What stands in a headline.
TITLES = (b"poch", b"POCH")
#: `Epoch 3/10` on a line of its own.
_HEADLINE = re.compile(r"(?:Epoch|EPOCH|epoch)[ :]+\[?([0-9]+)(?:/[0-9]+)?\]?:?")
#: Each word as it is, without its case: a search for letters is much quicker.
_COUNTERS = "step|Step|STEP|epoch|Epoch|EPOCH|iteration|Iteration|iter|Iter|round|Round"
_STEP = re.compile(
    rf"(?:{_COUNTERS})[\"']?\s{{0,8}}[:=#]?\s{{0,8}}[\[(]?"
    r"(?:([0-9]{1,15})(?=[ \t;)\]|]|,(?![0-9])|$)|(?=[0-9]))"
)


def headline(line: str) -> int | None:
    """Give the epoch of a line that says nothing else, such as `Epoch 3/10`."""
    found = _HEADLINE.fullmatch(line) if line[1:2] in ("p", "P") else None
    return int(found[1]) if found else None


def step_in(line: str) -> int | None:
    """Give the first step, epoch or iteration that a line names, such as `Epoch [3/10]`."""
    for found in _STEP.finditer(line):
        start = found.start()
        if line.endswith(("best ", "Best "), 0, start):
            continue
        if not in_a_word(line, start) or line.endswith("global_", 0, start):
            step = int(found[1]) if found[1] else step_at(line, found.end())
            if step is not None:
                return step
    return None


def in_a_word(line: str, at: int) -> bool:
    """Say whether what stands at a place is the end of a longer name, such as `val/loss`."""
    return at > 0 and (line[at - 1] in "_./-" or line[at - 1].isalnum())


@lru_cache(maxsize=1_024)
def asked(printed: str, wanted: frozenset[str]) -> str | None:
    """Give the wanted name that a printed one stands for."""
    return next((name for name in spellings(printed) if name in wanted), None)


def spellings(printed: str) -> Iterator[str]:
    """Give the names by which a printed one may be asked for, as it is printed first.

    `valid_1's auc` is also `valid_1 auc` and `valid_1_auc`, `validation-rmse` is
    `validation:rmse`.
    """
    plain = printed.replace("'s ", " ")
    yield from dict.fromkeys([printed, plain, plain.replace(" ", "_"), plain.replace("-", ":", 1)])
