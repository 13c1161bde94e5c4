"""What a trial has left in HPO_OUTPUT, such as its model, for whoever wants a copy of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hpo_lib.backends import output_of
from hpo_lib.errors import NotFound, SpecError, TransientError, TrialFailed
from hpo_lib.files.artifacts import Offers
from hpo_lib.files.places import Place, below, chunks, size, sizes
from hpo_lib.records import Attempt, AttemptState, Run
from hpo_lib.store import Store

#: A larger file is fetched from where it lies.
MOST_BYTES = 16 << 30
_NO_NAMES = {"", ".", ".."}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Left:
    """What an attempt has left in a folder; `attempt` is its number."""

    trial: int
    attempt: int
    folder: Place

    def files(self) -> list[tuple[str, int]]:
        """List the files by name, with their sizes in bytes.

        Links that lead out are left out, and names that are no text, or have control characters: no
        route leads to a name of two lines, and a terminal would do what another one says.
        """
        with _told():
            return [(name, found) for name, found in sizes(self.folder) if _is_text(name)]

    def read(self, name: str) -> tuple[int, Iterator[bytes]]:
        """Give the size of a file, and its bytes in pieces: so many, also if it grows meanwhile.

        NotFound if it is not there, or leads out; SpecError if it is too large to be sent.
        """
        if _NO_NAMES.intersection(name.split("/")) or not _is_text(name):
            raise NotFound(f"{name!r} is no file's name")
        place = below(self.folder, name)
        with _told():
            found = size(place)
        if found is None:
            raise NotFound(f"trial {self.trial} has left no file {name} in {self.folder}")
        if found > MOST_BYTES:
            raise SpecError(
                f"{name}: must be of at most {MOST_BYTES:,} bytes to be sent, got {found:,}; it is "
                f"in {self.folder}"
            )
        return found, _first(chunks(place), found, name)


def left_by(store: Store, run: Run, number: int, artifacts: Offers) -> Left:
    """Find what a trial's last attempt that went well has left, else its newest one; NotFound."""
    trial = store.trial(run.id, number)
    if trial.reused is not None:
        raise NotFound(f"trial {number} was not run: it is reused from {trial.reused}")
    tried = store.attempts(run.id, number)
    if not tried:
        raise NotFound(f"trial {number} has not begun")
    attempt = _last(tried)
    if not {"folder", "output"} & attempt.handle.keys():
        raise NotFound(f"the backend of trial {number} keeps no files")
    return Left(number, attempt.number, output_of(attempt.handle, artifacts))


def _last(tried: list[Attempt]) -> Attempt:
    good = [one for one in tried if one.state is AttemptState.SUCCEEDED]
    return (good or tried)[-1]


@contextmanager
def _told() -> Iterator[None]:
    """Say of what leads out of a folder that there is nothing to be had."""
    try:
        yield
    except TrialFailed as why:
        raise NotFound(str(why)) from None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not _CONTROL.search(name)


def _first(pieces: Iterable[bytes], size: int, name: str) -> Iterator[bytes]:
    left = size
    for piece in pieces:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return
    if left > 0:
        raise TransientError(f"{name} became shorter while it was read")
