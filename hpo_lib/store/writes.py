"""How rows are written on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from hpo_lib.core.trial import TrialState
from hpo_lib.store.schema import trials


def insert_unless_there(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row, unless one with its key is there."""
    kind = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(kind(table).values(row).on_conflict_do_nothing())


def insert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns; none is fine."""
    if rows:
        connection.execute(insert(table), rows)


def change_trial(
    connection: Connection, run_id: int, number: int, state: TrialState, values: Mapping[str, Any]
) -> bool:
    """Set columns of a trial that is in this state; say whether there was one."""
    this = (trials.c.run_id == run_id, trials.c.number == number, trials.c.state == state)
    return connection.execute(update(trials).where(*this).values(values)).rowcount > 0
