"""The processes of local attempts on this machine: found whatever they have done, and ended."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_lib.backends import cgroup, local_guard
from hpo_lib.backends.usage import Usage

if TYPE_CHECKING:
    import psutil

#: A trial's environment names its attempt's folder by this.
MARK = "HPO_ATTEMPT_DIR"
_POLL_S = 0.05
#: How long a keeper has to end what it alone finds, and how long anything is killed again.
_KEEPER_S, _GIVE_UP_S = 15.0, 30.0


def is_locked(path: Path) -> bool:
    """Say whether a guard holds its lock, which it does exactly while it lives."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait(guard: int | None, timeout_s: float) -> bool:
    """Wait for a guard's end, or for a time where it has none any more; say whether it has."""
    try:
        ended = os.pidfd_open(guard or 0)
    except OSError:
        time.sleep(timeout_s)
        return False
    try:
        return is_ready(ended, timeout_s)
    finally:
        os.close(ended)


def is_ready(file: int, timeout_s: float) -> bool:
    """Wait for something to be read, or for a time; `select` takes no number over 1023."""
    asked = select.poll()
    asked.register(file, select.POLLIN)
    return bool(asked.poll(timeout_s * 1000))


def running(home: Path) -> Iterator[tuple[Path, psutil.Process]]:
    """Give the processes of a home's attempts, their guards included, each with its folder.

    A process is known by its cgroup, its environment or where it prints to, or as a guard.
    """
    import psutil

    for process in psutil.process_iter():
        try:
            folder = cgroup.attempt_of(process.pid, home) or _named_by(process)
        except (psutil.Error, OSError):
            continue
        if cgroup.name_of(folder) is not None and folder.parents[3] == home:
            yield folder, process


def guard_of(started: Path) -> int:
    """Number a guard that has started; OSError or ValueError if it has written nothing."""
    return int(json.loads(started.read_text())["pid"])


def usage(started: Path) -> Usage | None:
    """Add up what all below a guard uses, which has written its number; None if it is not there."""
    import psutil

    try:
        guard = psutil.Process(guard_of(started))
        seen = [_used(one) for one in guard.children(recursive=True)]
    except (OSError, ValueError, psutil.Error):
        return None
    return Usage(sum(one.memory_bytes for one in seen), sum(one.cpu_s for one in seen))


def _used(process: psutil.Process) -> Usage:
    import psutil

    try:
        times = process.cpu_times()
        ended_s = times.children_user + times.children_system
        return Usage(process.memory_info().rss, times.user + times.system + ended_s)
    except psutil.Error:
        return Usage()


def end(folder: Path) -> None:
    """Kill what is left of an attempt, again and again until nothing is, or for half a minute.

    A keeper is spared at first: it alone finds what has left its guard's environment and session.
    """
    home, began = folder.parents[3], time.monotonic()
    group = cgroup.place(folder)
    if group is not None:
        local_guard.kill_group(group)
    while left := [process for one, process in running(home) if one == folder]:
        age_s = time.monotonic() - began
        if age_s > _GIVE_UP_S:
            return
        for process in left:
            _kill(process, spared=age_s < _KEEPER_S)
        time.sleep(_POLL_S)
    if group is not None:
        local_guard.remove_group(group)


def _named_by(process: psutil.Process) -> Path:
    """Give the folder that a process has from its guard, or is given as a guard."""
    words = process.cmdline()
    if local_guard.__file__ in words:
        return Path(words[-1])
    named = process.environ().get(MARK)
    return Path(named) if named else Path(f"/proc/{process.pid}/fd/1").readlink().parent


def _kill(process: psutil.Process, *, spared: bool) -> None:
    """Kill a process, or wake it if it is a keeper and spared."""
    import psutil

    try:
        keeper = process.name() == local_guard.KEEPER
        process.send_signal(signal.SIGCONT if keeper and spared else signal.SIGKILL)
    except (psutil.Error, OSError):
        return
