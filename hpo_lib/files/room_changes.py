"""Writing and deleting in a room: never by way of a link."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from hpo_lib.runtime.room import FOLDER, Room, parts

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(room: Room, path: str, chunks: Iterable[bytes]) -> None:
    """Write a file, with its folders, so that a reader sees all of it or what was there.

    Refused if a link is on the way; a link in the file's place is replaced.
    """
    *way, name = [*parts(room.way), *parts(path)]
    os.makedirs(room.base, exist_ok=True)  # noqa: PTH103
    part = f".{uuid.uuid4().hex}.part"
    with room.strictly(way, make=True) as folder:
        try:
            with os.fdopen(os.open(part, _NEW, 0o666, dir_fd=folder), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            _unlink(part, folder)  # on a full disk it would take up what little is left
            raise


def remove(room: Room, path: str = "") -> None:
    """Delete a file, or a folder with all in it; links are deleted, never followed.

    What is gone already is fine. Refused if a link is on the way.
    """
    *way, name = [*parts(room.way), *parts(path)]
    try:
        with room.strictly(way) as folder:
            _delete(name, folder)
    except (FileNotFoundError, NotADirectoryError):
        return


def _is_folder(name: str, folder: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _delete(name: str, parent: int) -> None:
    """Delete a name; of a folder what lies deeper is brought up first, so none is too deep."""
    if not _is_folder(name, parent):
        _unlink(name, parent)
        return
    with _held(name, parent) as top:
        while names := os.listdir(top):  # noqa: PTH208
            for one in names:
                _flatten(one, top)
    os.rmdir(name, dir_fd=parent)


def _flatten(name: str, top: int) -> None:
    """Delete a file, or a folder whose own folders go up beside it."""
    if not _is_folder(name, top):
        _unlink(name, top)
        return
    with _held(name, top) as folder:
        for one in os.listdir(folder):  # noqa: PTH208
            if _is_folder(one, folder):
                os.rename(one, uuid.uuid4().hex, src_dir_fd=folder, dst_dir_fd=top)
            else:
                _unlink(one, folder)
    os.rmdir(name, dir_fd=top)


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


@contextmanager
def _held(name: str, parent: int) -> Iterator[int]:
    folder = os.open(name, FOLDER, dir_fd=parent)
    try:
        yield folder
    finally:
        os.close(folder)
