"""HPO_UMASK: what group and others get of the files that are kept; 077, nothing, by default."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from hpo_lib.errors import HpoError

DEFAULT = "077"
#: The umasks that others have taken the place of; the first is the user's.
_before: list[int] = []
_MASK = re.compile(r"0?0[0-7]{2}")


def umask(text: str) -> int:
    """Read a umask that takes nothing from the owner; HpoError."""
    if not _MASK.fullmatch(text):
        raise HpoError(f"HPO_UMASK: must be 0 and two octal digits, such as 077, got {text}")
    return int(text, 8)


@contextmanager
def umasked(mask: int) -> Iterator[None]:
    """Make files, in this process and those that it starts, with a umask."""
    before = os.umask(mask)
    _before.append(before)
    try:
        yield
    finally:
        _before.pop()
        os.umask(before)


@contextmanager
def asked_for() -> Iterator[None]:
    """Make files that the user has asked for, which are as all else that the user makes."""
    with umasked(_before[0]) if _before else nullcontext():
        yield
