"""Reading files that lie on a disk or in an object store, through one interface.

What is not there is read as nothing. A store that does not answer, or refuses, is the world's
fault: TransientError, so that nobody takes an outage for a trial without metrics. On a disk, what
leads out of the folder that it was looked for in is never read: TrialFailed says where it leads.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from hpo_lib.errors import HpoError, TransientError, TrialFailed
from hpo_lib.files.inside import Inside
from hpo_lib.runtime.room import Entry, Refused, Room

if TYPE_CHECKING:
    from typing_extensions import TypeIs
    from upath import UPath

#: A file or folder: a `pathlib.Path`, one `Inside` a folder that a trial writes, or a `upath.UPath`
#: for what is on no disk.
Place: TypeAlias = "Path | Inside | UPath"

_CHUNK = 1 << 16
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


@contextmanager
def reaching(place: Place) -> Iterator[None]:
    """Turn whatever a store raises into TransientError, but for a file that is not there.

    TrialFailed says what is Refused.
    """
    try:
        yield
    except (*_ABSENT, HpoError):
        raise
    except Refused as why:
        raise TrialFailed(_told(place, why)) from None
    except Exception as error:
        if is_on_disk(place) and not isinstance(error, OSError):
            raise
        raise TransientError(f"{place}: cannot be reached: {said(error)}") from None


def is_on_disk(place: Place) -> TypeIs[Path | Inside]:
    """Say whether a place is on a disk of this machine."""
    return isinstance(place, Path | Inside)


def _told(place: Place, why: Refused) -> str:
    folder = place.room.folder if isinstance(place, Inside) else str(place.parent)
    return f"{why}; nothing is read there (in {folder})"


def said(error: Exception) -> str:
    """Give an error's own words on one line, or its name if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def opened(place: Place) -> Iterator[IO[bytes] | None]:
    """Open a file for reading bytes, None if no file is there; for the time of the block."""
    with reaching(place):
        file = _open(place)
    if file is None:
        yield None
        return
    with file, reaching(place):
        yield file


def _open(place: Place) -> IO[bytes] | None:
    try:
        if isinstance(place, Path):
            return Inside.at(place).open()
        return place.open("rb")
    except _ABSENT:
        return None


def json_object(place: Place, most: int) -> dict[str, Any]:
    """Read a JSON object that a trial may have left, nothing if it is none or too large."""
    return json_or_why(place, most)[0]


def json_or_why(place: Place, most: int) -> tuple[dict[str, Any], str]:
    """Read a JSON object that a trial may have left, or say what is wrong with what is there.

    There is neither where nothing is there.
    """
    try:
        with opened(place) as file, reaching(place):
            if file is None:
                there = is_on_disk(place) and place.exists()
                return {}, "is no file that can be read" if there else ""
            content = file.read(most + 1)
    except TrialFailed as error:
        return {}, f"is no file that can be read: {error}"
    if len(content) > most:
        return {}, f"is larger than {most:,} bytes"
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}, "is no JSON, or is cut short" if content else "is empty"
    if not isinstance(found, dict):
        return {}, "must be a JSON object"
    return found, ""


def chunks(place: Place, start: int = 0) -> Iterator[bytes]:
    """Yield a file's bytes from `start` on, at most 64 KiB at a time."""
    with opened(place) as file:
        if file is None:
            return
        file.seek(start)
        while chunk := file.read(_CHUNK):
            yield chunk


def sha256(place: Place) -> str | None:
    """Give a file's checksum in hexadecimal digits, None if no file is there."""
    with opened(place) as file:
        if file is None:
            return None
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def tail(place: Place, size: int) -> bytes:
    """Give the last `size` bytes of a file."""
    with opened(place) as file:
        if file is None:
            return b""
        file.seek(max(0, file.seek(0, os.SEEK_END) - size))
        return file.read(size)


def below(folder: Place, path: str) -> Place:
    """Give the place at a relative path, from which no link leads out of the folder."""
    return _room(folder) / path if is_on_disk(folder) else folder / path


def _room(folder: Path | Inside) -> Inside:
    return folder if isinstance(folder, Inside) else Inside(Room.of(folder))


def files(folder: Place) -> list[Place]:
    """List all files below a folder, by their paths; what is no file there is left out."""
    with reaching(folder):
        if is_on_disk(folder):
            room = _room(folder)
            return [room / one.name for one in _sorted(room) if one.refused is None]
        return sorted((place for place, _ in listed(folder)), key=str)


def size(place: Place) -> int | None:
    """Give a file's size in bytes, None if no file is there."""
    with opened(place) as file:
        return None if file is None else file.seek(0, os.SEEK_END)


def sizes(folder: Place) -> list[tuple[str, int]]:
    """List all files below a folder as `files` does, by their names there, with their sizes."""
    with reaching(folder):
        if is_on_disk(folder):
            found = ((one.name, one.status) for one in _room(folder).entries())
            return sorted((name, status.st_size) for name, status in found if status is not None)
        names = ((str(place).removeprefix(f"{folder}/"), told) for place, told in listed(folder))
        return sorted((name, int(told.get("size") or 0)) for name, told in names)


def whole(folder: Place) -> list[Place]:
    """List all files below a folder that is to be used as a whole: TrialFailed if one leads out."""
    with reaching(folder):
        if not is_on_disk(folder):
            return files(folder)
        room = _room(folder)
        found = _sorted(room)
        for one in found:
            if one.refused is not None and one.refused.out:
                raise one.refused
        return [room / one.name for one in found if one.refused is None]


def left_alone(folder: Place) -> list[Refused]:
    """Say what below a folder is no file that is read, packed or copied; a store has only files."""
    if not is_on_disk(folder):
        return []
    try:
        return [one.refused for one in _room(folder).entries() if one.refused is not None]
    except Refused as why:
        return [why]


def _sorted(room: Inside) -> list[Entry]:
    return sorted(room.entries(), key=lambda one: one.name.split("/"))


def listed(folder: UPath) -> Iterator[tuple[UPath, Mapping[str, Any]]]:
    """Give all files below a folder of a store, with what the store says of each; in no order.

    By listing: `find` and `isfile` of fsspec take an outage for an empty folder.
    """
    try:
        entries = folder.fs.ls(folder.path, detail=True)
    except _ABSENT:
        return
    for entry in entries:
        name = entry["name"].rstrip("/").rpartition("/")[2]
        if entry["name"].strip("/") == folder.path.strip("/"):
            continue
        if entry["type"] == "directory":
            yield from listed(folder / name)
        else:
            yield folder / name, entry
