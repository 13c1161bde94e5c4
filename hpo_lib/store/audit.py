"""The audit trail as rows, which the database itself lets nobody change or delete.

Rows are written in the transaction of the deed: neither is there without the other. Only retention
(`hpo_lib.store.old_runs`) deletes some, with their run, and adds one that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from hpo_lib.records import Run
from hpo_lib.records.audit import Actor, AuditEntry, Deed
from hpo_lib.store.database import Database
from hpo_lib.store.rows import audit_entry_of
from hpo_lib.store.schema import audit, audit_limit
from hpo_lib.words import cut

_MAX_DETAIL = 500
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit trail of a store; `Store.audit` gives it."""

    database: Database
    now: Callable[[], datetime]

    def entries(self, experiment: str | None = None) -> Iterator[AuditEntry]:
        """Give what was done to an experiment, or to all, in order."""
        last = 0
        while True:
            query = select(audit).where(audit.c.id > last).order_by(audit.c.id).limit(_PAGE)
            if experiment is not None:
                query = query.where(audit.c.experiment == experiment)
            with self.database.read() as connection:
                rows = connection.execute(query).all()
            yield from map(audit_entry_of, rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1].id

    def of_run(self, run_id: int) -> list[AuditEntry]:
        """Give what was done to a run, in order."""
        with self.database.read() as connection:
            return of_run(connection, run_id)


def enter(
    connection: Connection,
    deed: Deed,
    by: Actor,
    now: datetime,
    *,
    team: str = "",
    experiment: str = "",
    run: int | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Write down a deed in the transaction that does it; long words are cut."""
    values = {
        "time": now,
        "who": by.who,
        "origin": by.where,
        "deed": deed,
        "team": team,
        "experiment": experiment,
        "run_id": run,
        "details": {name: _cut(value) for name, value in (details or {}).items()},
    }
    connection.execute(insert(audit).values(values))


def enter_of(
    connection: Connection,
    deed: Deed,
    by: Actor,
    now: datetime,
    run: Run,
    details: dict[str, Any],
) -> None:
    """Write down a deed that is about a run."""
    named = {"team": run.team, "experiment": run.experiment}
    enter(connection, deed, by, now, run=run.id, details=details, **named)


def forget(connection: Connection, run_id: int, before: datetime) -> int:
    """Delete what is told of a run, all of it older than a time; give how many entries that is."""
    # The triggers let go of rows older than this limit, which stands in this transaction only:
    # nobody else ever sees it.
    connection.execute(insert(audit_limit).values(before=before))
    gone = connection.execute(delete(audit).where(audit.c.run_id == run_id)).rowcount
    connection.execute(delete(audit_limit))
    return gone


def _cut(value: Any) -> Any:
    return cut(value, _MAX_DETAIL) if isinstance(value, str) else value


def of_run(connection: Connection, run_id: int) -> list[AuditEntry]:
    """Give what was done to a run, in order."""
    query = select(audit).where(audit.c.run_id == run_id).order_by(audit.c.id)
    return [audit_entry_of(row) for row in connection.execute(query)]
