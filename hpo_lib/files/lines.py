"""Lines of a file that may still grow and may hold anything."""

from __future__ import annotations

from collections.abc import Iterator

from hpo_lib.files.places import Place, chunks

_LONGEST = 1 << 16


class Growing:
    """Reads a file from byte `start` on, line by line, again and again; it need not exist yet.

    A carriage return ends a line too, empty lines are left out, garbage is replaced, and of a
    line longer than 64 KiB only the end is given.
    """

    def __init__(self, place: Place, start: int = 0) -> None:
        self._place, self._at, self._rest = place, start, b""

    def new(self, *, last: bool) -> Iterator[str]:
        """Yield the complete lines that have come; with `last` also an unfinished one."""
        for chunk in chunks(self._place, self._at):
            self._at += len(chunk)
            *whole, rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
            self._rest = rest[-_LONGEST:]
            yield from (line.decode(errors="replace") for line in whole if line)
        if last and self._rest:
            yield self._rest.decode(errors="replace")
            self._rest = b""


def lines(place: Place) -> Iterator[str]:
    """Yield the lines of a file that has ended; a missing file has none."""
    yield from Growing(place).new(last=True)
