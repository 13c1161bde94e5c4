"""The connection to PostgreSQL that is kept for a moment: by one process, not while it waits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from hpo_lib.store import lingering
from hpo_lib.store.database import Database

_WHO = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    opened = Database.at(postgres_url, lock_timeout_s=5)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a connection for an hour: a busy machine may take a second between two lines."""
    monkeypatch.setattr(lingering, "IDLE_S", 3600.0)


def server(database: Database) -> int:
    """Name the server's process that has our connection."""
    with database.read() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def all_of(database: Database) -> set[int]:
    with database.read() as connection:
        return set(connection.execute(text(_WHO)).scalars())


@pytest.mark.usefixtures("patient")
def test_transactions_in_a_row_have_one_connection(database: Database) -> None:
    first = server(database)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
    assert server(database) == first


def gone(pid: int, watcher: Database) -> None:
    """Wait until the server has no such process any more."""
    end = time.monotonic() + 60
    while pid in all_of(watcher):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_nothing_is_kept_while_nothing_is_done(database: Database, postgres_url: str) -> None:
    first, watcher = server(database), Database.at(postgres_url, lock_timeout_s=5)
    gone(first, watcher)
    watcher.engine.dispose()
    assert server(database) != first


def test_of_those_of_many_threads_one_is_kept(database: Database, postgres_url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: server(database), range(64)))
    watcher = Database.at(postgres_url, lock_timeout_s=5)
    assert len(all_of(watcher) - {server(watcher)}) <= 1
    watcher.engine.dispose()


@pytest.mark.usefixtures("patient")
def test_a_fork_has_its_own_and_leaves_its_parent_its(database: Database) -> None:
    first, (reads, writes) = server(database), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writes, str(server(database)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reads, 20)) != first
    assert server(database) == first


def test_one_that_the_server_has_ended_is_not_used_again(
    database: Database, postgres_url: str
) -> None:
    first, other = server(database), Database.at(postgres_url, lock_timeout_s=5)
    with other.read() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": first})
    gone(first, other)
    other.engine.dispose()
    assert server(database) != first
