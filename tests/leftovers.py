"""What is still running of a home's attempts, on this machine: the question after every kill.

It asks the kernel, and of the code under test only how an attempt's cgroup is named: environment,
command line, cgroup, working folder and where a process prints to. What has none of these any more
is found by `bearing`, by a word that the test has put into its command line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from hpo_lib.backends import cgroup

PATIENCE_S = 60.0


def leftovers(home: Path) -> list[psutil.Process]:
    """List the living processes of attempts below a home (HPO_HOME), their guards included."""
    return [one for one in _living() if _marks(one, home)]


def bearing(word: str) -> list[psutil.Process]:
    """List the living processes with a word in their command lines; its own does not count."""
    return [one for one in _living() if any(word in said for said in _said(one.cmdline))]


def cgroups(home: Path) -> list[Path]:
    """List the cgroups of a home's attempts that were not removed, where any can be made."""
    place = cgroup.place(home / "runs" / "000001-x" / "trial-0001" / "attempt-1-0")
    if place is None:
        return []
    return list(place.parent.glob(f"{place.name.partition(':')[0]}:*"))


def none_left(home: Path, *words: str) -> None:
    """Wait until nothing of a home's attempts is left; AssertionError shows what is."""
    until(
        lambda: not leftovers(home) and not any(map(bearing, words)),
        lambda: str([*leftovers(home), *(one for word in words for one in bearing(word))]),
    )
    until(lambda: not cgroups(home), lambda: str(cgroups(home)))


def until(condition: Callable[[], object], shown: Callable[[], str] = lambda: "in vain") -> None:
    """Wait for a state, not for a time."""
    stop = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < stop, f"waited: {shown()}"
        time.sleep(0.02)


def _living() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _marks(process: psutil.Process, home: Path) -> bool:
    below = f"{home / 'runs'}{os.sep}"
    said = [*_said(process.cmdline), *_said(lambda: process.environ().values())]
    said += [*_said(lambda: [process.cwd() + os.sep]), *_said(lambda: _prints_to(process))]
    grouped = _said(lambda: [cgroup.attempt_of(process.pid, home)])
    return any(word.startswith(below) for word in said) or any(grouped)


def _prints_to(process: psutil.Process) -> list[str]:
    return [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in (1, 2)]


def _said(ask: Callable[[], Iterable[Any]]) -> list[Any]:
    """Ask a process that may have ended, or not be ours; then it says nothing."""
    try:
        return list(ask())
    except (psutil.Error, OSError):
        return []
