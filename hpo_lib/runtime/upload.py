"""Carries a trial's output to where HPO_OUTPUT says, for programs that only know folders.

    python -m hpo_lib.runtime.upload [--every SECONDS] -- COMMAND…

If HPO_OUTPUT is a URI that fsspec carries, such as s3://bucket/prefix, COMMAND gets a local folder
(below TMPDIR) as its HPO_OUTPUT. What changes there is copied every 30 seconds and at the end, also
when COMMAND fails or is asked to stop; nothing is fetched from there, and nothing deleted but what
was copied of `checkpoint/` and has been deleted there. The store's package (s3fs for s3://) finds
credentials as it always does. If HPO_OUTPUT is a folder or not set, COMMAND takes the place of this
process. A link that leads out of the folder is not copied, nor is what is no file; stderr says so.

The exit code is COMMAND's (128 + n when signal n ended it), 127 if it could not be started, 2 if
the URI cannot be carried, and 74 if COMMAND ended with 0 but its output could not be copied.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from hpo_lib.runtime.checkpoints import MANIFEST
from hpo_lib.runtime.room import Refused, Room

GIVE_UP_S = 300.0
_POLL_S = 0.1
_SETTLED_S = 1.0
_PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_BAD_USE, _NOT_STARTED = 2, 127


def main(arguments: Sequence[str]) -> int:
    """Run the command and carry its output; gives the exit code."""
    every_s, command = _parse(arguments)
    uri = os.environ.get("HPO_OUTPUT", "")
    try:
        if "://" not in uri:
            _exec(command)
        return _run_and_copy(command, uri, every_s)
    except OSError as error:
        _say(f"{command[0]} cannot be started: {error.strerror or error}")
        return _NOT_STARTED


class Mirror:
    """Copies to a store the files of a folder that have changed since the last time.

    Stores take a file whole or not at all; on a file system it is renamed into place. Files go in
    the order in which they were last written, so a file that names others comes after them.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        """Open the store; an error means that the URI cannot be carried."""
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        self._room = Room.of(folder)
        self._store, self._root = url_to_fs(uri)
        self._is_local = isinstance(self._store, LocalFileSystem)
        self._copied: dict[str, tuple[int, int, int]] = {}
        self._there: set[str] = set()
        self._failed: set[str] = set()
        self._told: set[str] = set()

    def copy(self) -> None:
        """Copy what has changed; stop at the first failure, and copy that file last next time."""
        now, found = time.time(), dict(self._files())
        changed = {
            name: status
            for name, status in found.items()
            if self._copied.get(name) != _signature(status)
        }
        for name in sorted(changed, key=lambda n: (n in self._failed, changed[n].st_mtime_ns)):
            self._failed.add(name)
            self._put(name)
            self._failed.remove(name)
            # Clocks of file systems are coarse: a younger file may change and look the same.
            if changed[name].st_ctime < now - _SETTLED_S:
                self._copied[name] = _signature(changed[name])
        self._forget(self._there - found.keys())

    def _forget(self, gone: set[str]) -> None:
        """Delete checkpoints that were rotated away; first what says that one is whole."""
        for name in sorted(gone, key=lambda n: (not n.endswith(f"/{MANIFEST}"), n)):
            if name.startswith("checkpoint/"):
                with suppress(FileNotFoundError):
                    self._store.rm_file(self._target(name))
            self._there.remove(name)

    def _target(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        for found in self._room.entries():
            if found.status is not None:
                yield found.name, found.status
            elif found.refused is not None:
                self._tell(found.refused)

    def _put(self, name: str) -> None:
        target = self._target(name)
        try:
            descriptor = self._room.open(name)
        except FileNotFoundError:  # deleted meanwhile
            return
        except Refused as why:
            self._tell(why)
            return
        with os.fdopen(descriptor, "rb") as source:
            if self._is_local:
                _put_beside(source, Path(target))
            else:
                # By its descriptor, for the name may lead elsewhere by now.
                self._store.put_file(f"/proc/self/fd/{source.fileno()}", target)
        self._there.add(name)

    def _tell(self, why: Refused) -> None:
        if str(why) not in self._told:
            self._told.add(str(why))
            _say(f"not copied: {why}")


def _put_beside(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with part.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    part.replace(target)


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_ctime_ns


def _parse(arguments: Sequence[str]) -> tuple[float, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m hpo_lib.runtime.upload", usage="%(prog)s [--every SECONDS] -- COMMAND…"
    )
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS")
    at = arguments.index("--") if "--" in arguments else len(arguments)
    every_s: float = parser.parse_args(arguments[:at]).every
    if not 0 < every_s <= threading.TIMEOUT_MAX:
        parser.error(f"--every must be > 0 and finite, got {every_s:g}")
    if not arguments[at + 1 :]:
        parser.error("a command must follow --")
    return every_s, list(arguments[at + 1 :])


def _exec(command: list[str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, the command should not
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606 - running it is the purpose


def _run_and_copy(command: Sequence[str], uri: str, every_s: float) -> int:
    signals: list[int] = []
    for number in _PASSED_ON:
        signal.signal(number, lambda number, _: signals.append(number))
    with tempfile.TemporaryDirectory(prefix="hpo-output-", ignore_cleanup_errors=True) as folder:
        try:
            mirror = Mirror(Path(folder), uri)
        except Exception as error:
            _say(f"HPO_OUTPUT needs fsspec and its package for this kind of URI: {error}")
            return _BAD_USE
        ended = threading.Event()
        copying = threading.Thread(target=_copy_now_and_then, args=(mirror, every_s, ended))
        child = subprocess.Popen(  # noqa: S603 - running it is the purpose
            command, env={**os.environ, "HPO_OUTPUT": folder}, start_new_session=True
        )
        copying.start()
        code = _wait(child, signals)
        ended.set()
        copying.join()
        copied = _copy_at_end(mirror)
    if code < 0:
        return 128 - code
    return code if copied else code or os.EX_IOERR


def _wait(child: subprocess.Popen[bytes], signals: list[int]) -> int:
    while True:
        while signals:
            child.send_signal(signals.pop(0))
        try:
            return child.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            continue


def _copy_now_and_then(mirror: Mirror, every_s: float, ended: threading.Event) -> None:
    while not ended.wait(every_s):
        try:
            mirror.copy()
        except Exception as error:
            _say(f"copying failed, trying again in {every_s:g} s: {_words(error)}")


def _copy_at_end(mirror: Mirror) -> bool:
    """Copy the rest; try again and again, but begin no further try after GIVE_UP_S."""
    end, pause_s = time.monotonic() + GIVE_UP_S, 1.0
    while True:
        try:
            mirror.copy()
        except Exception as error:
            left_s = end - time.monotonic()
            if left_s <= 0:
                _say(f"copying failed, given up: {_words(error)}")
                return False
            _say(f"copying failed, trying again: {_words(error)}")
        else:
            return True
        time.sleep(min(pause_s, left_s))
        pause_s *= 2


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _say(text: str) -> None:
    print(f"upload: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
