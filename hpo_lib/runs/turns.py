"""Slots of a run ask one after the other: an answer to one makes what others ask meanwhile vain.

The store sees to it that each trial is given once, whoever asks at the same time. But with many
slots and short trials all of them ask at once, one is answered, and the others ask anew: what they
spend on a trial grows with the number of slots. So those that share a host take turns.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A slot that has waited for so long asks all the same: whoever has the turn may hang.
PATIENCE_S = 30.0
_FIRST_POLL_S, _POLL_S = 0.001, 0.02


@contextmanager
def in_turn(file: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Wait until no other process of this host is in here with the same file, or for so long.

    The turn ends with the process that has it, however that ends. Where the file cannot be made, on
    a full disk say, nobody waits.
    """
    holding = _opened(file)
    if holding is None:
        yield
        return
    try:
        _take(holding, patience_s)
        yield
    finally:
        os.close(holding)


def _opened(file: Path) -> int | None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None


def _take(holding: int, patience_s: float) -> None:
    end, pause_s = time.monotonic() + patience_s, _FIRST_POLL_S
    while time.monotonic() < end:
        try:
            fcntl.flock(holding, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another has it, or this file system has no locks
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _POLL_S)
        else:
            return
