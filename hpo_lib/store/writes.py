"""How rows are written on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.dialects import postgresql, sqlite


def insert_unless_there(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row, unless one with its key is there."""
    kind = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(kind(table).values(row).on_conflict_do_nothing())


def insert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns; none is fine."""
    if rows:
        connection.execute(insert(table), rows)
