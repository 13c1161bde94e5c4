"""A log that is kept line by line as it comes, from a server that gives only its newest part.

Every line begins with its time, as Kubernetes writes it. So a log that is read again is known to
meet what is kept, or not to: then MISSING stands between the two.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

#: In a kept log, where something may be missing.
MISSING = (
    b"[hpo] lines may be missing here: a node keeps only the newest part of a log, and nobody "
    b"read in time what came before\n"
)
#: A log that is read, or begins, this many seconds after its container is taken for whole: nodes
#: look at the size of logs every ten seconds.
EARLY_S = 10.0
_TIME = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) "
_ANY = re.compile(_TIME)
_OF_LINES = re.compile(rb"^" + _TIME, re.MULTILINE)
_WIDTH, _HEAD, _BLOCK = 40, 1 << 12, 1 << 20
#: Some nodes say the time again within a line of more than 8 or 16 KiB, wherever they cut it.
_LONG = 8_000
_LONG_LINES = re.compile(rb"^[^\n]{%d,}" % (_LONG + 1), re.MULTILINE)

_When = tuple[datetime, bytes]


@dataclass(frozen=True, slots=True)
class Mark:
    """The last line that is kept: how it begins, its bytes so far, and whether that is all.

    `alike` lines of the same moment that begin like it stand shortly before it.
    """

    head: bytes
    size: int
    whole: bool
    alike: int = 0


@dataclass(frozen=True, slots=True)
class Untimed:
    """What is kept of a log whose server says no times: how it begins and ends, and its size."""

    head: bytes
    tail: bytes
    size: int


Kept = Mark | Untimed | None


class Heads:
    """A log that comes in chunks, whose next line is looked at before it is dropped or taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._held, self._at = iter(chunks), b"", 0

    def head(self, least: int) -> bytes:
        """Give the next line, or how it begins: at least that many bytes; nothing at the end."""
        while (end := self._held.find(b"\n", self._at)) < 0:
            if len(self._held) - self._at >= least or not self._more():
                break
        return self._held[self._at : end + 1 if end >= 0 else None][: max(least, _HEAD)]

    def peek(self, size: int) -> bytes:
        """Give the bytes that come next: fewer only at the end."""
        while len(self._held) - self._at < size and self._more():
            pass
        return self._held[self._at : self._at + size]

    def drop(self, size: int) -> None:
        """Pass over some bytes."""
        while size > len(self._held) - self._at:
            size -= len(self._held) - self._at
            self._at = len(self._held)
            if not self._more():
                return
        self._at += size

    def drop_line(self) -> None:
        """Pass over the next line."""
        while (end := self._held.find(b"\n", self._at)) < 0:
            self._at = len(self._held)
            if not self._more():
                return
        self._at = end + 1

    def rest(self) -> Iterator[bytes]:
        """Yield all that is left, as it comes."""
        if self._held[self._at :]:
            yield self._held[self._at :]
        yield from self._chunks

    def _more(self) -> bool:
        chunk = next(self._chunks, b"")
        self._held, self._at = self._held[self._at :] + chunk, 0
        return bool(chunk)


def taken_over(file: Path, *, alone: bool) -> Kept:
    """Prepare a kept log to be gone on with, and say how it ends; None if nothing is kept.

    Unless we are `alone`, somebody who was believed dead may still write: to the old file.
    """
    if not file.exists():
        return None
    if not alone:
        part = file.with_suffix(".part")
        shutil.copyfile(file, part)
        part.replace(file)
    if (untimed := _untimed(file)) is not None:
        return untimed
    while (found := _last_line(file)) is not None and when(found.head) is None:
        os.truncate(file, file.stat().st_size - found.size)
    return found


def _untimed(file: Path) -> Untimed | None:
    """Give what is kept of a log without times; None if its lines have them, or there are none."""
    with file.open("rb") as kept:
        size = kept.seek(0, os.SEEK_END)
        kept.seek(max(0, size - _HEAD))
        tail = kept.read()
        kept.seek(0)
        head = kept.read(_HEAD)
    first = head.removeprefix(MISSING)
    too_little = len(first) < _WIDTH and b"\n" not in first
    if too_little or when(first) is not None:
        return None
    return Untimed(first, tail, size - len(head) + len(first))


def whole_lines(file: Path) -> int:
    """Give the size of a kept log without an unfinished line at its end."""
    found = _last_line(file) if file.exists() else None
    size = file.stat().st_size if found else 0
    return size if found is None or found.whole else size - found.size


def news(kept: Kept, log: Heads, began: datetime | None, read: datetime) -> Iterator[bytes]:
    """Yield what a log holds beyond what is kept of it; MISSING where the two may not meet.

    `began` is when its container did, `read` when the log was asked for.
    """
    if kept is None:
        first = MISSING if _late(log.head(_WIDTH), began, read) else b""
    elif isinstance(kept, Untimed):
        first = _passed_without_times(kept, log)
    else:
        first = _passed(kept, log)
    if first:
        yield first
    yield from log.rest()


def _passed(mark: Mark, log: Heads) -> bytes:
    """Pass over all of a log that is kept; give MISSING if the last line that is, is not in it.

    A log that is empty now has lost what is kept, and who knows what after it; unless it broke off
    at once, which the next reading mends, as a gap at the end is taken back.
    """
    gap = MISSING if mark.whole else b"\n" + MISSING
    kept, alike, least = when(mark.head), mark.alike, max(_WIDTH, len(mark.head))
    if not log.head(least):
        return MISSING if mark.whole else b""
    while head := log.head(least):
        if head.startswith(mark.head):
            if alike == 0:
                log.drop(mark.size)
                return b""
            alike -= 1
        found = when(head)
        if found is not None and kept is not None and found > kept:
            return gap
        log.drop_line()
    return b""


def _passed_without_times(kept: Untimed, log: Heads) -> bytes:
    """Do the same where lines have no times: what begins as before is the same log."""
    seen = log.peek(len(kept.head))
    if seen == kept.head:
        log.drop(kept.size)
    elif len(seen) < len(kept.head) and kept.tail.endswith(seen):
        log.drop(len(seen))
    else:
        return MISSING if kept.tail.endswith(b"\n") else b"\n" + MISSING
    return b""


def when(line: bytes) -> _When | None:
    """Give the time with which a line begins, in a form that can be compared."""
    found = _ANY.match(line)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat((found[1] + found[3]).decode())
    except ValueError:
        return None
    return moment, (found[2] or b"").ljust(9, b"0")


def plain(kept: IO[bytes]) -> Iterator[bytes]:
    """Yield a kept log without its times."""
    within = False
    while block := _block(kept):
        end = block.find(b"\n") + 1 or len(block) if within else 0
        yield _ANY.sub(b"", block[:end])
        yield _LONG_LINES.sub(_of_long_line, _OF_LINES.sub(b"", block[end:]))
        within = not block.endswith(b"\n")


def _block(kept: IO[bytes]) -> bytes:
    """Read some whole lines, or a piece of a long one that does not end within a time."""
    block = kept.read(_BLOCK)
    rest = kept.readline(_BLOCK)
    block += rest
    if len(rest) < _BLOCK or rest.endswith(b"\n"):
        return block
    ends = (found.end() for found in _ANY.finditer(block, len(block) - 2 * _WIDTH))
    cut = max([len(block) - _WIDTH, *ends])
    kept.seek(cut - len(block), os.SEEK_CUR)
    return block[:cut]


def _of_long_line(line: re.Match[bytes]) -> bytes:
    return line[0][:_LONG] + _ANY.sub(b"", line[0][_LONG:])


def _late(head: bytes, began: datetime | None, read: datetime) -> bool:
    """Say whether a log that has not been read before may have lost its beginning."""
    first = when(head)
    known = [read, *([first[0]] if first else [])]
    return began is not None and all(abs((at - began).total_seconds()) > EARLY_S for at in known)


def _last_line(file: Path) -> Mark | None:
    """Find a file's last line; None if the file is empty."""
    with file.open("rb") as kept:
        size = kept.seek(0, os.SEEK_END)
        if size == 0:
            return None
        begin = _begin_of_line(kept, size - 1)
        kept.seek(size - 1)
        whole = kept.read(1) == b"\n"
        kept.seek(max(0, begin - _BLOCK))
        before = kept.read(begin - kept.tell()).split(b"\n")
        head = kept.read(min(size - begin, _HEAD))
        alike = sum((line + b"\n").startswith(head) for line in before)
        return Mark(head, size - begin, whole, alike)


def _begin_of_line(kept: IO[bytes], at: int) -> int:
    """Give where the line begins that the byte at a place belongs to, or ends."""
    while at > 0:
        start = max(0, at - _BLOCK)
        kept.seek(start)
        found = kept.read(at - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0
