"""Starting guards of local attempts: a process of this one's own forks each (see `local_starter`).

A guard that starts as a new process spends more on Python and its imports than on a short trial.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpo_lib.backends import local_processes, local_starter
from hpo_lib.errors import TransientError

_START_S, _END_S = 60.0, 5.0
_POLL_S, _FIRST_POLL_S = 0.02, 0.002
#: How often a starter is asked; the second time it is another, as the first has ended.
_TRIES = 2


def start(folder: Path, env: Mapping[str, str]) -> None:
    """Have an attempt's guard started, and wait until it is there; TransientError if it is not.

    `env` are the guard's variables.
    """
    end = time.monotonic() + _START_S
    for _ in range(_TRIES):
        try:
            starter = _starter(env)
            answering = starter.ask(folder)
        except OSError as error:
            said = f"the guard of {folder} could not be started: {error}"
            raise TransientError(said) from error
        with answering:
            code = _wait(folder, answering, end)
        if _has_started(folder):
            return
        if code is not None:
            why = os.strerror(code) if code > 1 else "see guard.log"
            raise TransientError(f"the guard of {folder} ended at once: {why}")
        starter.end()
        if time.monotonic() > end:
            raise TransientError(f"the guard of {folder} did not start within {_START_S:.0f} s")
    raise TransientError(f"the guard of {folder} did not start: what starts it was killed")


def wait_while_locked(folder: Path, end: float) -> None:
    """Wait until an attempt has started, its guard has ended before that, or the time is over."""
    while not _has_started(folder) and time.monotonic() < end:
        if not local_processes.is_locked(folder / "guard.lock"):
            return
        time.sleep(_POLL_S)


def _wait(folder: Path, answering: socket.socket, end: float) -> int | None:
    """Wait for an attempt's start; give the keeper's exit code if it has ended instead.

    It has also where another guard is there already, for which is waited then.
    """
    pause_s = _FIRST_POLL_S
    while not _has_started(folder) and time.monotonic() < end:
        if local_processes.is_ready(answering.fileno(), pause_s):
            said = answering.recv(16)
            wait_while_locked(folder, end)
            return int(said) if said else None
        pause_s = min(pause_s * 1.3, _POLL_S)
    return None


def _has_started(folder: Path) -> bool:
    return (folder / "started").exists()


@dataclass(frozen=True, slots=True)
class _Starter:
    """The process that forks this one's guards; it ends with this one."""

    process: subprocess.Popen[bytes]
    asking: socket.socket

    @classmethod
    def begun(cls, env: Mapping[str, str]) -> _Starter:
        """Start one."""
        asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with asked:
            process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-P", local_starter.__file__],
                env=dict(env),
                stdin=asked.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return cls(process, asking)

    def ask(self, folder: Path) -> socket.socket:
        """Have a guard forked; give the socket to which its end is told, which may be at once."""
        answering, answers = socket.socketpair()
        with answers, suppress(ConnectionError):  # it was killed: the next one is another
            socket.send_fds(self.asking, [os.fsencode(folder)], [answers.fileno()])
        return answering

    def end(self) -> None:
        """Kill it, as it does not answer: one that goes on later must not begin what is over."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)


_LOCK = threading.Lock()
_STARTERS: dict[tuple[object, ...], _Starter] = {}


def _starter(env: Mapping[str, str]) -> _Starter:
    """Give this process's starter for guards with some variables; a new one if it was killed."""
    key = (os.getpid(), *sorted(env.items()))
    with _LOCK:
        found = _STARTERS.get(key)
        if found is None or found.process.poll() is not None:
            found = _STARTERS[key] = _Starter.begun(env)
        return found
