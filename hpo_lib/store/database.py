"""The database under the store: address, transactions, errors, and the revision of its schema.

No message, repr or log line of this module holds a password.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.pool import NullPool

from hpo_lib.errors import HpoError, StoreError, TransientError, nearest
from hpo_lib.store.lingering import LingeringPool

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

#: The revision that this code reads and writes.
HEAD = "0011"
#: A name of our own: the database may be shared with another application that uses alembic.
VERSION_TABLE = "hpo_alembic_version"

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "sqlite": "sqlite+pysqlite",
}
_FORMS = "sqlite:////folder/hpo.db or postgresql://user:password@host/database"
_CONNECT_TIMEOUT_S = 10
_UPGRADE_TIMEOUT_S = 60.0
_UPGRADE_LOCK = 0x68706F  # "hpo": the key of PostgreSQL's advisory lock
_SHOWN_OPTIONS = ("host", "port")
#: SQLSTATE classes of errors that may soon pass: connection, rollback, resources, operator
#: intervention; and the state of a lock that was not free in time.
_TRANSIENT_CLASSES = ("08", "40", "53", "57")
_LOCK_NOT_AVAILABLE = "55P03"
_BUSY = ("too many clients", "connection slots", "starting up", "shutting down", "recovery mode")
_SQLITE_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_SQLITE_HINTS = {
    sqlite3.SQLITE_CANTOPEN: "; its folder must exist and both must be readable and writable",
    sqlite3.SQLITE_READONLY: "; the file and its folder must be writable",
    sqlite3.SQLITE_IOERR: "; its disk may be full, or fail",
    sqlite3.SQLITE_FULL: "; its disk needs room",
    sqlite3.SQLITE_NOTADB: "; give the path of a new file",
}
_OF_THE_DISK = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)


def address(url: str) -> URL:
    """Read a store's address; StoreError says what it must look like, without repeating it."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(
            f"the store's address must look like {_FORMS}; in a password write @ as %40, / as %2F"
        ) from None
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS:
        hint = nearest(backend, _DRIVERS)
        raise StoreError(f"unknown database {backend!r} for the store{hint}; use {_FORMS}")
    parsed = parsed.set(drivername=_DRIVERS[backend])
    return _file_address(parsed) if backend == "sqlite" else _server_address(parsed)


def _file_address(url: URL) -> URL:
    path = url.database or ""
    if url.host or path in ("", ":memory:") or path.startswith("file:"):
        raise StoreError("an SQLite store needs a file: sqlite:///relative.db or sqlite:////abs.db")
    return url.set(database=str(Path(path).absolute()))


def _server_address(url: URL) -> URL:
    if "@" in (url.host or ""):
        raise StoreError("the store's address has more than one @; in a password write it as %40")
    return url


def shown(url: URL) -> str:
    """Write an address for people: without password and without options that might hold one."""
    options = {name: value for name, value in url.query.items() if name in _SHOWN_OPTIONS}
    plain = url.set(drivername=url.get_backend_name(), query=options)
    return plain.render_as_string(hide_password=True)


@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """Transactions on one address, with errors of this project.

    A server's connection is kept for a second. A file is closed in between, unless it is to be kept
    open: that serves the process that has prepared it, while the file is the same. A forked process
    may go on using any other.
    """

    url: URL
    engine: Engine
    lock_timeout_s: float

    @classmethod
    def at(cls, url: str, lock_timeout_s: float, *, keep_open: bool = False) -> Database:
        """Prepare to talk to an address; nothing is connected yet.

        A file that is kept open must not be read in another way by the same process: on closing it
        there, the kernel lets go of SQLite's locks, and others delete the log that is still in use.
        Nor by a process that it forks, which inherits no locks but SQLite's belief to have them.
        """
        parsed = address(url)
        if not _is_sqlite(parsed):
            engine = _postgresql(parsed)
        else:
            engine = _sqlite(parsed, lock_timeout_s, keep_open=keep_open)
        return cls(parsed, engine, lock_timeout_s)

    def __repr__(self) -> str:
        """Show where, never the password."""
        return f"Database({shown(self.url)!r})"

    @contextmanager
    def read(self, *, opening: bool = False) -> Iterator[Connection]:
        """Give one consistent snapshot."""
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        engine = self.engine.execution_options(**options)
        with self._friendly(opening=opening), engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, opening: bool = False) -> Iterator[Connection]:
        """Give a transaction that may write; on SQLite it holds the only writer's place."""
        options = {"hpo_write": True} | ({} if self.is_sqlite else _READ_COMMITTED)
        engine = self.engine.execution_options(**options)
        with self._friendly(opening=opening), engine.begin() as connection:
            if not self.is_sqlite:
                limit = f"{max(1, round(self.lock_timeout_s * 1000))}ms"
                connection.execute(
                    text("SELECT set_config('lock_timeout', :t, true)"), {"t": limit}
                )
            yield connection

    def revision(self) -> str | None:
        """Give the schema's revision; None where there is no schema yet."""
        if self.is_sqlite and not self._file_exists():
            return None
        with self.read(opening=True) as connection:
            return _revision(connection)

    def check(self) -> None:
        """Raise StoreError unless the schema is the one that this code needs."""
        found = self.revision()
        if found != HEAD:
            raise StoreError(self._mismatch(found))

    def upgrade(self) -> str:
        """Bring the schema to this code's revision and give it; several may do so at once."""
        from alembic import command

        if self.is_sqlite:
            self._prepare_file()
        with self.write(opening=True) as connection:
            if not self.is_sqlite:
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(lock, {"key": _UPGRADE_LOCK})
            found = _revision(connection)
            if found is not None and not _is_known(found):
                raise StoreError(self._mismatch(found))
            command.upgrade(configuration(connection), "head")
        return HEAD

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is a file."""
        return _is_sqlite(self.url)

    def _mismatch(self, found: str | None) -> str:
        where = f"the store at {shown(self.url)}"
        if found is None:
            return f"{where} has no tables yet, revision {HEAD} is needed: run `hpo store upgrade`"
        if _is_known(found):
            return f"{where} is at revision {found}, {HEAD} is needed: run `hpo store upgrade`"
        return (
            f"{where} is at revision {found}, which this version (it needs {HEAD}) does not know: "
            "a newer version has upgraded it; install that version here too"
        )

    def _file_exists(self) -> bool:
        try:
            return Path(self.url.database or "").is_file()
        except OSError as error:
            raise StoreError(f"cannot use the store at {self._why(error.strerror)}") from None

    def _prepare_file(self) -> None:
        path = Path(self.url.database or "")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the folder of the store at {self._why(error.strerror)}"
            ) from None
        with self._friendly(opening=True):
            _use_wal(path, self.lock_timeout_s)

    @contextmanager
    def _friendly(self, *, opening: bool) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            raise self._translated(error, opening=opening) from error

    def _translated(self, error: DBAPIError | sqlite3.Error, *, opening: bool) -> HpoError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        said = str(cause).strip().splitlines()
        why = self._why(said[0] if said else type(cause).__name__)
        if _is_transient(error, opening=opening):
            return TransientError(f"the store at {why}; try again")
        code = _sqlite_code(cause)
        hint = _SQLITE_HINTS.get(code, "") + (self._room() if code in _OF_THE_DISK else "")
        return StoreError(f"cannot use the store at {why}{hint}")

    def _room(self) -> str:
        """Say how much room the disk of the file has, if it tells."""
        folder = Path(self.url.database or "").parent
        try:
            disk = shutil.disk_usage(folder)
        except OSError as error:
            return f": {folder}: {error.strerror}"
        return f": {folder} has {disk.free >> 20:,} of {disk.total >> 20:,} MiB free"

    def _why(self, reason: object) -> str:
        return f"{shown(self.url)}: {reason}"


_READ_COMMITTED = {"isolation_level": "READ COMMITTED"}


def configuration(connection: Connection) -> Config:
    """Configure alembic for an open transaction: no file, nothing global."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "hpo_lib.store:migrations")
    config.attributes["connection"] = connection
    return config


def _is_known(revision: str) -> bool:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "hpo_lib.store:migrations")
    scripts = ScriptDirectory.from_config(config)
    return any(script.revision == revision for script in scripts.walk_revisions())


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return found.scalar()


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _sqlite(url: URL, lock_timeout_s: float, *, keep_open: bool) -> Engine:
    """Make an engine for which we begin transactions: the driver begins its own too late."""
    arguments = {"timeout": lock_timeout_s, "isolation_level": None}
    pool: dict[str, Any] = {"max_overflow": -1} if keep_open else {"poolclass": NullPool}
    engine = create_engine(url, hide_parameters=True, connect_args=arguments, **pool)
    event.listen(engine, "connect", _enforce_foreign_keys)
    event.listen(engine, "begin", _begin_sqlite)
    if keep_open:
        _check_kept(engine, Path(url.database or ""))
    return engine


def _check_kept(engine: Engine, path: Path) -> None:
    """Have kept connections checked before they are used again, and none opened by a fork."""
    owner = os.getpid()

    def refuse(*_: Any) -> None:
        if os.getpid() != owner:
            raise StoreError(
                f"the store at {path} is kept open by process {owner}: a fork of it "
                "would lose what it writes; let it start a new process instead"
            )

    def remember(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["opened"] = _opened(path)

    def check(connection: Any, record: ConnectionPoolEntry, kept: PoolProxiedConnection) -> None:
        if record.info["opened"] != _opened(path):
            _forget(connection)
            record.dbapi_connection = kept.dbapi_connection = None  # type: ignore[misc]
            raise DisconnectionError("opened by another process, or for another file")

    event.listen(engine, "do_connect", refuse)
    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", check)


def _opened(path: Path) -> tuple[int, ...]:
    """Name this process, and the file at a path with who may use it; it may be another, or gone."""
    try:
        found = path.stat()
    except OSError:
        return (os.getpid(),)
    return os.getpid(), found.st_dev, found.st_ino, found.st_mode, found.st_uid


def _forget(connection: Any) -> None:
    """Keep a connection from ever being closed: SQLite deletes a file's log by name on closing.

    That would be the log of whoever has opened the file that is there now.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _enforce_foreign_keys(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("hpo_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _postgresql(url: URL) -> Engine:
    """Make an engine; without prepared statements it also works behind a connection pooler."""
    arguments = {"connect_timeout": _CONNECT_TIMEOUT_S, "prepare_threshold": None}
    asked = {name: value for name, value in arguments.items() if name not in url.query}
    return create_engine(url, poolclass=LingeringPool, hide_parameters=True, connect_args=asked)


def _use_wal(path: Path, timeout_s: float) -> None:
    """Let readers and a writer work at once; the file remembers it.

    SQLite does not wait for its lock here, so several processes that make the same file at the
    same time have to take turns by themselves.
    """
    deadline = time.monotonic() + timeout_s
    with closing(sqlite3.connect(path, timeout=timeout_s)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if _sqlite_code(error) not in _SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def _sqlite_code(error: BaseException | None) -> int:
    """Give SQLite's primary result code, 0 if it is no error of SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _is_transient(error: DBAPIError | sqlite3.Error, *, opening: bool) -> bool:
    """Say whether trying again may help.

    A server that cannot be reached is a mistake in the address at first, an outage later on.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in _SQLITE_BUSY
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return state == _LOCK_NOT_AVAILABLE or state[:2] in _TRANSIENT_CLASSES
    if opening:
        return any(phrase in str(cause) for phrase in _BUSY)
    return isinstance(error, OperationalError | InterfaceError)
