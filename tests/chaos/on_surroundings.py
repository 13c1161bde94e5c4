"""What lies around is full, gone or wrong for a while: the disk, the network, the DAG files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.chaos import victims
from tests.chaos.world import World

_CHUNK = bytes(1 << 16)
_LEAST_STEP_S, _LONGEST_STEP_S = 60, 240


@contextmanager
def disk_full(world: World, _: float) -> Iterator[str]:
    """The file system of results, logs of trials and, if it is SQLite, the store is full."""
    filler = world.embedded.results / "filler"
    _rob(world)
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(_CHUNK)
        yield "the folder of results"
    finally:
        _rob(world)
        filler.unlink()


def _rob(world: World) -> None:
    """Note that the ends of attempts that run now may not get written down."""
    world.robbed |= {victims.folder(one) for one in victims.guards(world)}


@contextmanager
def api_cut(world: World, _: float) -> Iterator[str]:
    """No task reaches Airflow's API server."""
    with world.proxy.cut():
        yield "the way to the API server"


@contextmanager
def s3_cut(world: World, _: float) -> Iterator[str]:
    """Nobody reaches the object store."""
    assert world.s3 is not None
    with world.s3.cut():
        yield "the way to S3"


@contextmanager
def clock_stepped(world: World, draw: float) -> Iterator[str]:
    """The clock of all of Airflow goes wrong by minutes, before the true time or after it.

    In the end it steps back: a forward step is followed by a backward one, or the other way round.
    """
    assert world.clock is not None
    ahead = 1 if draw < 0.5 else -1
    seconds = ahead * round(_LEAST_STEP_S + (_LONGEST_STEP_S - _LEAST_STEP_S) * (draw * 10 % 1))
    with world.clock.stepped(seconds):
        yield f"the clock, by {seconds:+} s"


@contextmanager
def dag_file_touched(world: World, _: float) -> Iterator[str]:
    """A DAG file is written anew, the same as before."""
    file = world.home / "dags" / "hpo_on_demand.py"
    file.write_bytes(file.read_bytes())
    yield file.name


@contextmanager
def dag_file_edited(world: World, draw: float) -> Iterator[str]:
    """A DAG file gets a comment."""
    file = world.home / "dags" / "hpo_on_demand.py"
    file.write_text(f"{file.read_text()}# {draw}\n")
    yield file.name


@contextmanager
def dag_file_broken(world: World, _: float) -> Iterator[str]:
    """A DAG file cannot be read as Python for a while, as in the middle of an update."""
    file = world.home / "dags" / "hpo_on_demand.py"
    whole = file.read_text()
    file.write_text("def broken(:\n")
    try:
        yield file.name
    finally:
        file.write_text(whole)
