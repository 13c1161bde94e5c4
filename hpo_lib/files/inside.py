"""Places on a disk below a folder in which a trial may write: no link leads out of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from hpo_lib.runtime.room import Entry, Room


@dataclass(frozen=True, slots=True)
class Inside:
    """A file or folder in a room, which need not exist. Used as a path; Refused is raised."""

    room: Room
    path: str = ""

    @classmethod
    def at(cls, place: Path) -> Inside:
        """Give the place that a path of ours names, whose folder is taken to be a room."""
        return cls(Room(str(place.parent)), place.name)

    def __truediv__(self, path: str) -> Inside:
        """Give a place below this one."""
        return Inside(self.room, f"{self.path}/{path}".strip("/") if path else self.path)

    def __str__(self) -> str:
        """Write its path, as the trial knows it."""
        return f"{self.room.folder}/{self.path}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(str(self)).name

    @property
    def parent(self) -> Inside:
        """The folder that it lies in; a room's is the room."""
        return Inside(self.room, self.path.rpartition("/")[0])

    def open(self, mode: str = "rb") -> IO[bytes]:  # noqa: ARG002 - as paths have it
        """Open it for reading bytes."""
        return os.fdopen(self.room.open(self.path), "rb")

    def read_bytes(self) -> bytes:
        """Read all of it."""
        with self.open() as file:
            return file.read()

    def stat(self) -> os.stat_result:
        """Give its status, if it is a file."""
        return self.room.status(self.path)

    def exists(self) -> bool:
        """Say whether there is something of this name, whatever it is."""
        return self.room.is_there(self.path)

    def entries(self, matters: Callable[[str], bool] = lambda _: True) -> Iterator[Entry]:
        """Yield the files below it, in order, and what is left alone there; none if it is none."""
        try:
            yield from self.room.entries(self.path, matters)
        except (FileNotFoundError, NotADirectoryError):
            return
