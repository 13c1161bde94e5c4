"""The processes of local attempts on this machine: found whatever they have done, and ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_lib.backends import cgroup, local_guard

if TYPE_CHECKING:
    import psutil

#: A trial's environment names its attempt's folder by this.
MARK = "HPO_ATTEMPT_DIR"
_POLL_S = 0.05
#: How long a keeper has to end what it alone finds, and how long anything is killed again.
_KEEPER_S, _GIVE_UP_S = 15.0, 30.0


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
