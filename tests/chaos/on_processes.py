"""Processes are killed, or stand still for a while."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil

from tests.chaos import victims
from tests.chaos.victims import Nobody
from tests.chaos.world import World, send

#: Does a fault to somebody whom a number chooses, gives who that was, and undoes it in the end.
How = Callable[[World, float], AbstractContextManager[str]]


@contextmanager
def trial_killed(world: World, draw: float) -> Iterator[str]:
    """The program dies; its guard tells."""
    guard = victims.guard(world, draw, costs=True)
    send(victims.trial_of(guard), signal.SIGKILL)
    yield victims.named(guard)


@contextmanager
def guard_killed(world: World, draw: float) -> Iterator[str]:
    """The guard dies, and with it the program."""
    guard = victims.guard(world, draw, costs=True)
    name = victims.named(guard)
    send(guard, signal.SIGKILL)
    yield name


@contextmanager
def task_killed(world: World, draw: float) -> Iterator[str]:
    """The process of a task dies; its supervisor tells."""
    process, _, name = victims.task(world, draw)
    send(process, signal.SIGKILL)
    yield name


@contextmanager
def supervisor_killed(world: World, draw: float) -> Iterator[str]:
    """A task and its supervisor die: only the missing heartbeat tells."""
    process, supervisor, name = victims.task(world, draw)
    for one in (supervisor, process):
        send(one, signal.SIGKILL)
    yield name


@contextmanager
def airflow_killed(world: World, _: float) -> Iterator[str]:
    """All of Airflow dies at once, but for the guards."""
    world.embedded.kill()
    yield "Airflow"


def component_killed(component: str) -> How:
    """A component dies, and what it has begun with it, as its service manager begins it again."""

    @contextmanager
    def how(world: World, _: float) -> Iterator[str]:
        send(world.component(component), signal.SIGKILL)
        yield component

    return how


@contextmanager
def trial_stopped(world: World, draw: float) -> Iterator[str]:
    """The program stands still."""
    guard = victims.guard(world, draw, costs=False)
    with _standing(victims.trial_of(guard)):
        yield victims.named(guard)


@contextmanager
def guard_stopped(world: World, draw: float) -> Iterator[str]:
    """The guard stands still, while the program goes on."""
    guard = victims.guard(world, draw, costs=False)
    with _standing(guard):
        yield victims.named(guard)


@contextmanager
def task_stopped(world: World, draw: float) -> Iterator[str]:
    """The process of a task stands still."""
    process, _, name = victims.task(world, draw)
    with _standing(process):
        yield name


def component_stopped(component: str) -> How:
    """A component stands still, as it does where a machine has no memory left."""

    @contextmanager
    def how(world: World, _: float) -> Iterator[str]:
        with _standing(world.component(component)):
            yield component

    return how


@contextmanager
def _standing(process: psutil.Process) -> Iterator[None]:
    try:
        process.send_signal(signal.SIGSTOP)
    except psutil.Error:
        raise Nobody from None
    try:
        yield
    finally:
        send(process, signal.SIGCONT)
