"""Lines of a file that may still grow and may hold anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from hpo_lib.errors import TrialFailed
from hpo_lib.files.places import Place, chunks

#: Of a longer line only the end is kept: a program may print without end.
LONGEST = 1 << 16
#: Headlines, such as `Epoch 3/10`, are no longer than this.
_TITLE = 40


class Growing:
    """Reads a file from byte `start` on, line by line, again and again; it need not exist yet.

    A carriage return ends a line too, empty lines are left out, garbage is replaced, and of a
    line longer than 64 KiB only the end is given.
    """

    def __init__(self, place: Place, start: int = 0) -> None:
        self._place, self._at, self._rest, self._refused = place, start, b"", ""

    def new(self, *, last: bool) -> Iterator[str]:
        """Yield the complete lines that have come; with `last` also an unfinished one.

        Of a file that leads elsewhere, a line says so, once.
        """
        try:
            yield from self._complete()
        except TrialFailed as error:
            if not self._refused:
                self._refused = f"[hpo] {error}"
                yield self._refused
        if last and self._rest:
            yield self._rest.decode(errors="replace")
            self._rest = b""

    def _complete(self) -> Iterator[str]:
        for chunk in chunks(self._place, self._at):
            self._at += len(chunk)
            *whole, rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
            self._rest = rest[-LONGEST:]
            yield from (line.decode(errors="replace") for line in whole if line)


def lines(place: Place) -> Iterator[str]:
    """Yield the lines of a file that has ended; a missing file has none."""
    yield from (line.text for line in numbered(place))


class Line(NamedTuple):
    """A line, or what a program has drawn over it later; `cut`: its front was too long to keep."""

    number: int
    text: str
    cut: bool = False


def numbered(
    place: Place,
    needles: tuple[bytes, ...] = (),
    titles: tuple[bytes, ...] = (),
    *,
    growing: bool = False,
) -> Iterator[Line]:
    """Yield the lines of a file, numbered from 1; of one that is `growing` only the whole ones.

    With needles only the lines that hold one, short lines that hold one of the titles, and those
    that are cut: of a line longer than 64 KiB only the end is given. A carriage return parts a line
    into several of the same number. Empty lines are left out, garbage is replaced.
    """
    number, rest, cut = 1, b"", False
    for chunk in chunks(place):
        block, end, rest = (rest + chunk).rpartition(b"\n")
        if end:
            yield from _lines(block, number, needles, titles, cut=cut)
            number, cut = number + block.count(b"\n") + 1, False
        if len(rest) > LONGEST:
            rest, cut = rest[-LONGEST:], True
    if growing:
        return
    yield from _lines(rest, number, needles, titles, cut=cut)


def _lines(
    block: bytes, number: int, needles: tuple[bytes, ...], titles: tuple[bytes, ...], *, cut: bool
) -> Iterator[Line]:
    if needles and not cut and not any(one in block for one in (*needles, *titles)):
        return
    holds, is_title = _any(needles or (b"",)), _any(titles)
    drawn = b"\r" in block
    for at, line in enumerate(block.split(b"\n"), start=number):
        for part in line.split(b"\r") if drawn else (line,):
            if part and (holds(part) or cut or (len(part) <= _TITLE and is_title(part))):
                yield Line(at, part.decode(errors="replace"), cut)
        cut = False


@cache
def _any(words: tuple[bytes, ...]) -> Callable[[bytes], object]:
    """Give a search for any of the words; without words it finds nothing."""
    return re.compile(b"|".join(map(re.escape, words)) if words else b"(?!)").search
