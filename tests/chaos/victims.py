"""On whom a fault falls: processes of attempts, tasks and components, chosen by a number."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psutil

from hpo_lib.backends import local_guard
from tests.acceptance.conftest import attempt_processes, cmdline
from tests.chaos.world import World

_Any = TypeVar("_Any")


class Nobody(Exception):
    """There is nobody on whom the fault could fall."""


def chosen(found: Sequence[_Any], draw: float) -> _Any:
    """Choose one by a number from 0 to 1."""
    if not found:
        raise Nobody
    return found[min(int(draw * len(found)), len(found) - 1)]


def guard(world: World, draw: float, *, costs: bool) -> psutil.Process:
    """Choose the guard of an attempt; one that `costs` its attempt falls on a trial once a round.

    The third attempt that is lost fails a trial, as it should.
    """
    found = [one for one in guards(world) if not costs or not world.hits[_trial(one)]]
    victim = chosen(sorted(found, key=folder), draw)
    if costs:
        world.hits[_trial(victim)] += 1
        world.robbed.add(folder(victim))
    return victim


def guards(world: World) -> list[psutil.Process]:
    """List the guards of all attempts that run."""
    return [one for one in attempt_processes(world.home) if folder(one)]


def folder(process: psutil.Process) -> str:
    """Name the attempt's folder that a guard or its keeper prints to; empty if it is neither."""
    with suppress(psutil.Error, OSError):
        if process.name() in (local_guard.GUARD, local_guard.KEEPER):
            return str(Path(f"/proc/{process.pid}/fd/1").readlink().parent)
    return ""


def _trial(process: psutil.Process) -> str:
    return str(Path(folder(process)).parent)


def named(process: psutil.Process) -> str:
    """Name an attempt by the end of its folder: run, trial, attempt."""
    return "/".join(Path(folder(process)).parts[-3:])


def trial_of(process: psutil.Process) -> psutil.Process:
    """Give the process that a guard looks after."""
    with suppress(psutil.Error):
        return chosen(process.children(), 0)
    raise Nobody


def task(world: World, draw: float) -> tuple[psutil.Process, psutil.Process, str]:
    """Choose a running task: its process, the supervisor of that, and its name."""
    running = {str(UUID(one["id"])): one for one in world.tasks() if one["state"] == "running"}
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        words = " ".join(cmdline(process))
        for one in running:
            if one in words:
                found.setdefault(one, []).append(process)
    pairs = {one: _pair(processes) for one, processes in found.items()}
    whole = {one: pair for one, pair in pairs.items() if pair is not None}
    wanted = chosen(sorted(whole), draw)
    about = running[wanted]
    name = f"{world.run_of(about).name} {about['task_id']}[{about['map_index']}]"
    return (*whole[wanted], name)


def _pair(processes: Sequence[psutil.Process]) -> tuple[psutil.Process, psutil.Process] | None:
    """Give the process of a task and its supervisor, which is the parent of the first."""
    by_pid = {process.pid: process for process in processes}
    with suppress(psutil.Error):
        for process in processes:
            if process.ppid() in by_pid:
                return process, by_pid[process.ppid()]
    return None
