"""The store is locked, slow, read-only, or gone for a while."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from tests.chaos.places import read_only
from tests.chaos.world import World

_HELD_S, _FREE_S = 0.4, 0.2


@contextmanager
def store_locked(world: World, _: float) -> Iterator[str]:
    """Another writer holds the store: the file, or all tables that are written to."""
    with _held(world):
        yield "the store"


@contextmanager
def store_slow(world: World, _: float) -> Iterator[str]:
    """Another writer holds the store most of the time, for moments."""
    over = threading.Event()

    def hold_and_let_go() -> None:
        while not over.is_set():
            with _held(world):
                time.sleep(_HELD_S)
            over.wait(_FREE_S)

    thread = threading.Thread(target=hold_and_let_go, daemon=True)
    thread.start()
    try:
        yield "the store"
    finally:
        over.set()
        thread.join()


@contextmanager
def store_read_only(world: World, _: float) -> Iterator[str]:
    """Whoever opens the store now can only read; of SQLite, whatever lies beside it too."""
    if world.server is None:
        with read_only(world.embedded.results):
            yield "the folder of results"
        return
    setting = "default_transaction_read_only"
    world.server.execute(f"ALTER DATABASE {world.database} SET {setting} = on")
    try:
        yield "the database"
    finally:
        world.server.execute(f"ALTER DATABASE {world.database} RESET {setting}")


@contextmanager
def server_restarted(world: World, draw: float) -> Iterator[str]:
    """PostgreSQL is shut down, or dies, and comes back after a while."""
    assert world.server is not None
    number = signal.SIGINT if draw < 0.5 else signal.SIGQUIT
    world.server.stop(number)
    try:
        yield f"PostgreSQL, by {number.name}"
    finally:
        world.server.start()


@contextmanager
def _held(world: World) -> Iterator[None]:
    with ExitStack() as undo:
        if world.server is not None:
            connection = undo.enter_context(world.server.connect(world.database))
            undo.enter_context(connection.transaction())
            connection.execute("LOCK TABLE experiments, runs, trials, attempts, models")
        else:
            file = world.embedded.store_url.removeprefix("sqlite:///")
            writer = sqlite3.connect(
                file, isolation_level=None, timeout=30, check_same_thread=False
            )
            undo.enter_context(closing(writer))
            writer.execute("BEGIN IMMEDIATE")
            undo.callback(writer.execute, "ROLLBACK")
        yield
