"""Containers of attempts are killed, or stand still for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import docker
from tests.chaos.victims import Nobody, chosen
from tests.chaos.world import World


@contextmanager
def container_killed(world: World, draw: float) -> Iterator[str]:
    """The engine is told to kill a container."""
    found = [one for one in running(world) if not world.hits[_trial(one)]]
    container = chosen(found, draw)
    world.hits[_trial(container)] += 1
    world.robbed.add(str(_folder(container)))
    _told(container.kill)
    yield str(container.name)


@contextmanager
def container_paused(world: World, draw: float) -> Iterator[str]:
    """The engine freezes a container, and lets it go on later."""
    container = chosen(running(world), draw)
    _told(container.pause)
    try:
        yield str(container.name)
    finally:
        container.unpause()


def running(world: World) -> list[Any]:
    """List the containers of attempts that run."""
    return [one for one in left(world) if one.status == "running"]


def left(world: World) -> list[Any]:
    """List all containers of this store, in a certain order."""
    mine = {"label": f"hpo.store={world.stack.store.id}"}
    found = _engine().containers.list(all=True, filters=mine, ignore_removed=True)
    return sorted(found, key=lambda one: str(one.name))


@cache
def _engine() -> Any:
    return docker.from_env()


def _told(what: Any) -> None:
    try:
        what()
    except docker.errors.APIError:
        raise Nobody from None


def _folder(container: Any) -> Path:
    """Give the attempt's folder: its output is mounted from there."""
    return Path(next(m["Source"] for m in container.attrs["Mounts"] if m["Source"])).parent


def _trial(container: Any) -> str:
    return str(_folder(container).parent)
