"""Values inside a JSON column, as SQL: what trials are filtered and sorted by, on both databases.

NaN and infinities, which Python writes and SQL's JSON does not have, count as absent.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Double,
    Text,
    case,
    cast,
    extract,
    func,
    select,
)
from sqlalchemy.dialects import postgresql

#: As `json.dumps` writes them behind a key.
_NOT_JSON = (":NaN", ":-Infinity", ":Infinity")


class Extracted(NamedTuple):
    """A value by its name, as a number and as text; NULL where it is not there, or is neither."""

    number: ColumnElement[Any]
    text: ColumnElement[Any]


def extracted(
    connection: Connection, column: ColumnElement[Any], name: str, *, finite: bool
) -> Extracted:
    """Give the value of a name in a column that holds an object; truth is the text true or false.

    Any name will do, whatever characters it has. Where not all numbers are `finite`, texts are not
    told exactly.
    """
    plain: ColumnElement[Any] = cast(column, Text)
    for word in () if finite else _NOT_JSON:
        plain = func.replace(plain, word, ":null")
    if connection.dialect.name == "sqlite":
        return _in_sqlite(plain, name)
    return _in_postgresql(plain, name)


def _in_sqlite(plain: ColumnElement[Any], name: str) -> Extracted:
    """Look through the object: a path finds no name with a quote or a letter beyond ASCII."""
    each = func.json_each(plain).table_valued("key", "value", "type")
    kind, value = each.c.type, each.c.value
    number = case((kind.in_(("integer", "real")), value))
    told = case((kind.in_(("true", "false")), kind), (kind != "null", cast(value, Text)))
    this = each.c.key == name
    return Extracted(
        select(number).where(this).limit(1).scalar_subquery(),
        select(told).where(this).limit(1).scalar_subquery(),
    )


def _in_postgresql(plain: ColumnElement[Any], name: str) -> Extracted:
    value: Any = cast(plain, postgresql.JSON)[name]
    is_number = func.json_typeof(cast(value, JSON)) == "number"
    return Extracted(case((is_number, cast(value.astext, Double))), value.astext)


def epoch(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Give a time as seconds of the epoch, with their fractions."""
    if connection.dialect.name == "sqlite":
        return (func.julianday(column) - 2440587.5) * 86400.0
    return cast(extract("epoch", column), Double)
