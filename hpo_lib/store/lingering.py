"""Connections to a server, kept for a moment: most work is several transactions in a row."""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from typing import Any, cast

from sqlalchemy.pool import ConnectionPoolEntry, Pool

#: So long a connection is kept unused. A trial runs for minutes and more; meanwhile there is none.
IDLE_S = 1.0


class LingeringPool(Pool):
    """Keeps one connection until nobody has used it for `IDLE_S`; others are closed after use.

    To open one costs more than what a transaction does, for the server as for us. A forked process
    begins without, and leaves its parent's alone.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Take what SQLAlchemy gives a pool."""
        super().__init__(*args, **settings)
        self._begin()
        _POOLS.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: ConnectionPoolEntry | None = None
        self._since = 0.0
        self._closer: threading.Thread | None = None

    def _do_get(self) -> ConnectionPoolEntry:
        kept = self._taken()
        if kept is not None and _has_ended(kept):
            kept.close()
            kept = None
        return kept or self._create_connection()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        with self._lock:
            if self._kept is None and record.dbapi_connection is not None:
                self._kept, self._since = record, time.monotonic()
                if self._closer is None:
                    self._closer = threading.Thread(target=self._close_when_idle, daemon=True)
                    self._closer.start()
                return
        record.close()

    def _taken(self) -> ConnectionPoolEntry | None:
        with self._lock:
            kept, self._kept = self._kept, None
        return kept

    def _close_when_idle(self) -> None:
        while True:
            with self._lock:
                left = self._since + IDLE_S - time.monotonic()
                if self._kept is None or left <= 0:
                    self._closer, kept, self._kept = None, self._kept, None
                    break
            time.sleep(left)
        if kept is not None:
            kept.close()

    def dispose(self) -> None:
        """Close what is kept."""
        kept = self._taken()
        if kept is not None:
            kept.close()

    def recreate(self) -> LingeringPool:
        """Make another one like this, as SQLAlchemy asks for after it has disposed of one."""
        return LingeringPool(
            self._creator,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            pre_ping=self._pre_ping,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def status(self) -> str:
        """Say whether there is one."""
        return f"LingeringPool: {'a' if self._kept else 'no'} connection is kept"


def _has_ended(kept: ConnectionPoolEntry) -> bool:
    """Say whether the server has said something unasked: that it ends a connection."""
    poll = select.poll()
    poll.register(cast("Any", kept.dbapi_connection).fileno(), select.POLLIN)
    return bool(poll.poll(0))


_POOLS: weakref.WeakSet[LingeringPool] = weakref.WeakSet()


def _in_a_fork() -> None:
    for pool in _POOLS:
        pool._begin()


os.register_at_fork(after_in_child=_in_a_fork)
