"""Reading files that lie on a disk or in an object store, through one interface.

What is not there is read as nothing. A store that does not answer, or refuses, is the world's
fault: TransientError, so that nobody takes an outage for a trial without metrics.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

from hpo_lib.errors import HpoError, TransientError

if TYPE_CHECKING:
    from upath import UPath

#: A file or folder: a `pathlib.Path`, or a `upath.UPath` for what is on no disk.
Place: TypeAlias = "Path | UPath"

_CHUNK = 1 << 16
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


@contextmanager
def reaching(place: Place) -> Iterator[None]:
    """Turn whatever a store raises into TransientError, but for a file that is not there."""
    try:
        yield
    except (*_ABSENT, HpoError):
        raise
    except Exception as error:
        if isinstance(place, Path) and not isinstance(error, OSError):
            raise
        raise TransientError(f"{place}: cannot be reached: {said(error)}") from None


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
    """Open what is a file: a pipe that a trial has left would keep its reader waiting."""
    try:
        if isinstance(place, Path) and not (place.is_file() and os.access(place, os.R_OK)):
            return None
        return cast("IO[bytes]", place.open("rb"))
    except _ABSENT:
        return None


def json_object(place: Place, most: int) -> dict[str, Any]:
    """Read a JSON object that a trial may have left, nothing if it is none or too large."""
    return json_or_why(place, most)[0]


def json_or_why(place: Place, most: int) -> tuple[dict[str, Any], str]:
    """Read a JSON object that a trial may have left, or say what is wrong with what is there.

    There is neither where nothing is there.
    """
    with opened(place) as file:
        if file is None:
            there = isinstance(place, Path) and os.path.lexists(place)
            return {}, "is no file that can be read" if there else ""
        content = file.read(most + 1)
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


def below(folder: Place, path: str) -> Place | None:
    """Give the place at a relative path, None if a link leads out of the folder."""
    if not isinstance(folder, Path):
        return folder / path
    place = folder / path
    try:
        return place if place.resolve().is_relative_to(folder.resolve()) else None
    except (OSError, RuntimeError):  # links in a circle
        return None


def files(folder: Place) -> list[Place]:
    """List all files below a folder, by their paths; links are not followed."""
    with reaching(folder):
        if isinstance(folder, Path):
            return sorted(path for path in folder.rglob("*") if _is_plain(path))
        return sorted((place for place, _ in listed(folder)), key=str)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


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
