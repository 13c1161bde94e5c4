"""The clock of an Airflow that can be stepped: libfaketime is loaded into its processes, by a file.

Only the time of day is faked, as it alone is stepped on a real machine: a monotonic clock goes on,
and so do the times of files. Trials and their guards get their variables by name, and this one is
not among them: they keep the true time, and so does the suite.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
_TRUE = "+0"
_SITE = Path(__file__).parent / "stepped"
#: What libfaketime shares with the children of a process, and leaves where that is killed.
_SHARED = Path("/dev/shm")


@dataclass(frozen=True)
class Clock:
    """A clock that a file in `home` sets, which its processes read once a second.

    Read each time that somebody asks for the time, it takes an API server half a second of CPU for
    every request.
    """

    home: Path

    def settings(self) -> Mapping[str, str]:
        """Give the variables by which a process has this clock; it shows the true time at first."""
        self._set(_TRUE)
        return {
            "PYTHONPATH": os.pathsep.join([str(_SITE), str(self.home / "config")]),
            "LD_PRELOAD": str(_LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    @contextmanager
    def stepped(self, seconds: int) -> Iterator[None]:
        """Have it go so much before the true time, or after it, and step back in the end."""
        self._set(f"{seconds:+}")
        try:
            yield
        finally:
            self._set(_TRUE)

    @property
    def _file(self) -> Path:
        return self.home / "clock"

    def _set(self, offset: str) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(offset)
        part.replace(self._file)


@contextmanager
def swept() -> Iterator[None]:
    """Remove in the end what libfaketime has left of processes that are gone."""
    before = set(_SHARED.glob("*faketime_s*_*"))
    try:
        yield
    finally:
        for file in set(_SHARED.glob("*faketime_s*_*")) - before:
            if not _lives(int(file.name.rpartition("_")[2])):
                file.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_installed() -> bool:
    """Say whether this machine has libfaketime, of Debian's package of that name."""
    return bool(_LIBRARIES)
