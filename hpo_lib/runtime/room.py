"""Rooms: folders in which a trial may put anything, and the one way to what is in them.

A trial may make any name in its output a link that leads out, or a pipe that keeps its reader
waiting, also while somebody reads there. So each step is taken from the folder before it, which is
held open, and no link is followed by the kernel: where one leads is looked up here, step by step.
Links that stay in the room are followed to files; what leads out is Refused, in words.

Standard library only: `upload` uses it in a trial's container, `hpo_lib.files` everywhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

_BASE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
FOLDER = _BASE | os.O_NOFOLLOW
#: Without O_NONBLOCK a pipe would keep us waiting for somebody who writes.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: So many links lead on from a name; so deep are folders looked into; so much of a name is shown.
_MOST_LINKS, _MOST_FOLDERS, _SHOWN = 40, 100, 200
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


class Refused(Exception):
    """Something in a room is left alone; says which file, and why, in words.

    `out`: it is a way out of the room, rather than something that is of no use.
    """

    def __init__(self, message: str, *, out: bool = False) -> None:
        super().__init__(message)
        self.out = out


class Unreadable(Refused):
    """A folder in a room cannot be looked into."""


class Entry(NamedTuple):
    """What is found under a name in a room: the status of a file, or why it is left alone."""

    name: str
    status: os.stat_result | None
    refused: Refused | None = None
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """A folder in which a stranger may write.

    `base` is ours and may be reached by links; on the `way` from there into the room is none.
    """

    base: str
    way: str = ""

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Room:
        """Give the room that a folder is; the folder itself must be no link."""
        base, name = os.path.split(os.fspath(folder))
        if name in ("", ".", ".."):
            return cls(os.fspath(folder))
        return cls(base or ".", name)

    @property
    def folder(self) -> str:
        """The path of the room."""
        return os.path.join(self.base, self.way) if self.way else self.base  # noqa: PTH118

    def open(self, path: str) -> int:
        """Open a file for reading, and give its descriptor.

        Refused if the path leads out, or to what is no file; else the errors of `os.open`.
        """
        with self._entered() as top:
            return self._opened(top, path, _FILE)

    def status(self, path: str) -> os.stat_result:
        """Give the status of the file that a path leads to; errors as in `open`."""
        with self._entered() as top:
            return self._status(top, path)

    def is_there(self, path: str) -> bool:
        """Say whether a name is taken, also by a link that leads nowhere."""
        *way, name = [*parts(self.way), *parts(path)]
        try:
            with self.strictly(way) as folder:
                os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def entries(
        self, path: str = "", matters: Callable[[str], bool] = lambda _: True
    ) -> Iterator[Entry]:
        """Yield the files below a folder of the room, in order, and what is left alone there.

        Names are relative to that folder; those that do not matter are passed over. Refused if the
        folder lies elsewhere; else the errors of `os.open`.
        """
        with self._entered() as top:
            folder = self._opened(top, path, FOLDER)
            try:
                at = "/".join(parts(path))
                yield from self._below(top, folder, f"{at}/" if at else "", "", matters)
            finally:
                os.close(folder)

    @contextmanager
    def _entered(self) -> Iterator[int]:
        """Hold the room's folder open."""
        with self.strictly(parts(self.way)) as folder:
            yield folder

    @contextmanager
    def strictly(self, way: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """Hold a folder open that is reached from the base without any link."""
        folder = os.open(self.base, _BASE)
        try:
            for part in way:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                inner = self._into(part, folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)

    def _into(self, name: str, folder: int) -> int:
        if name == ".." or (target := _link(name, folder)) is not None:
            leads = "out" if name == ".." else f"to {_shown(target)}"
            raise Refused(f"{_shown(name)} in {_shown(self.folder)} leads {leads}", out=True)
        return os.open(name, FOLDER, dir_fd=folder)

    def _opened(self, top: int, path: str, flags: int) -> int:
        """Open what a path leads to; of what no flag asks for a folder has to be a file."""
        try:
            found = self._reached(top, path, flags)
        except PermissionError:
            raise Refused(f"{_shown(path)} may not be read") from None
        except OSError as error:
            raise _as_refused(path, error) from None
        if flags & os.O_DIRECTORY:
            return found
        try:
            _check(path, os.fstat(found), os.fstat(top))
        except BaseException:
            os.close(found)
            raise
        return found

    def _status(self, top: int, path: str) -> os.stat_result:
        found = self._opened(top, path, _LOOK)
        try:
            return os.fstat(found)
        finally:
            os.close(found)

    def _reached(self, top: int, path: str, flags: int) -> int:
        """Open what a path leads to, link by link, from the room's `top`."""
        waiting, links, told = [*reversed(parts(path))], 0, f"{_shown(path)} leads out"
        with closing(_Position(top)) as at:
            while waiting:
                part = waiting.pop()
                target = None if part == ".." else _link(part, at.here)
                if target is not None:
                    links, told = links + 1, _leading_out(path, target)
                    waiting += reversed(parts(self._followed(target, at, links, told)))
                elif part == "..":
                    at.up(told)
                elif waiting:
                    at.down(part)
                else:
                    return os.open(part, flags, dir_fd=at.here)
            return os.dup(at.here)

    def _followed(self, target: str, at: _Position, links: int, told: str) -> str:
        """Give the path to go on with where a link leads."""
        if links > _MOST_LINKS:
            raise Refused(told.replace("a link that leads out", "one of links in a circle"))
        if not target.startswith("/"):
            return target
        at.top()
        return self._inside(target, told)

    def _inside(self, target: str, told: str) -> str:
        """Give the rest of an absolute path that names the room, as the trial knows it."""
        whole = os.path.normpath(target)
        for base in (os.path.abspath(self.base), os.path.realpath(self.base)):  # noqa: PTH100
            room = os.path.normpath(os.path.join(base, self.way))  # noqa: PTH118
            if f"{whole}/".startswith(f"{room}/"):
                return whole[len(room) :]
        raise Refused(told, out=True)

    def _below(
        self, top: int, folder: int, at: str, within: str, matters: Callable[[str], bool]
    ) -> Iterator[Entry]:
        with os.scandir(folder) as found:
            names = sorted(one.name for one in found)
        for name in filter(matters, names):
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._deeper(top, folder, at, f"{within}{name}", matters)
            else:
                yield self._entry(top, at, f"{within}{name}", status)

    def _deeper(
        self, top: int, folder: int, at: str, name: str, matters: Callable[[str], bool]
    ) -> Iterator[Entry]:
        if name.count("/") >= _MOST_FOLDERS:
            yield Entry(name, None, Refused(f"{_shown(at + name)} lies in too many folders"))
            return
        try:
            inner = os.open(name.rpartition("/")[2], FOLDER, dir_fd=folder)
        except FileNotFoundError:
            return
        except OSError as error:
            yield Entry(name, None, _unreadable(at + name, error))
            return
        try:
            yield from self._below(top, inner, at, f"{name}/", matters)
        finally:
            os.close(inner)

    def _entry(self, top: int, at: str, name: str, status: os.stat_result) -> Entry:
        is_link = stat.S_ISLNK(status.st_mode)
        try:
            if is_link:
                status = self._status(top, at + name)
            _check(at + name, status, os.fstat(top))
        except (FileNotFoundError, NotADirectoryError):
            return Entry(name, None, Refused(f"{_shown(at + name)} is a link to nowhere"), is_link)
        except IsADirectoryError:
            why = Refused(f"{_shown(at + name)} is a link to a folder")
            return Entry(name, None, why, is_link)
        except Refused as why:
            return Entry(name, None, why, is_link)
        return Entry(name, status, None, is_link)


class _Position:
    """Where one is in a room: the folders from its top to here, each held open."""

    def __init__(self, top: int) -> None:
        self._held = [os.dup(top)]

    @property
    def here(self) -> int:
        return self._held[-1]

    def down(self, name: str) -> None:
        self._held.append(os.open(name, FOLDER, dir_fd=self.here))

    def up(self, told: str) -> None:
        if len(self._held) == 1:
            raise Refused(told, out=True)
        os.close(self._held.pop())

    def top(self) -> None:
        while len(self._held) > 1:
            os.close(self._held.pop())

    def close(self) -> None:
        for one in self._held:
            os.close(one)


def _check(path: str, found: os.stat_result, room: os.stat_result) -> None:
    """Refuse what is no file, and another name of a file of somebody from outside of the room.

    Where the kernel does not protect hard links (`fs.protected_hardlinks`), anybody may make one
    of a file that only others can read.
    """
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(path)
    if stat.S_ISLNK(found.st_mode):
        raise Refused(f"{_shown(path)} became a link while it was read", out=True)
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{_shown(path)} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'a device')}")
    if found.st_nlink > 1 and not _is_of(found, room):
        raise Refused(f"{_shown(path)} is another name of a file of somebody else's", out=True)


def _is_of(found: os.stat_result, room: os.stat_result) -> bool:
    """Say whether a file belongs to who may write in a room: its group, if files inherit that."""
    if room.st_mode & stat.S_ISGID:
        return found.st_gid == room.st_gid
    return found.st_uid == room.st_uid


def _as_refused(path: str, error: OSError) -> Exception:
    """Give what an error means: absent, or there but none of the world's troubles."""
    if error.errno == errno.ENXIO:
        return Refused(f"{_shown(path)} is a socket")
    if error.errno == errno.ELOOP:
        return Refused(f"{_shown(path)} became a link while it was read", out=True)
    return error


def _unreadable(path: str, error: OSError) -> Unreadable:
    return Unreadable(f"{_shown(path)} cannot be read: {error.strerror}")


def parts(path: str) -> list[str]:
    """Take a path apart."""
    return [part for part in path.split("/") if part not in ("", ".")]


def _link(name: str, folder: int) -> str | None:
    """Give where a link leads; None if the name is no link, or nothing."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None


def _leading_out(path: str, target: str) -> str:
    return f"{_shown(path)} is a link that leads out, to {_shown(target)}"


def _shown(text: str | None) -> str:
    """Write a name on one line, whatever is in it."""
    plain = "".join(one if one.isprintable() else "?" for one in text or "")
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}…"
