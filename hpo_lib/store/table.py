"""A run's trials as a table that the database filters, sorts and pages, by any of its columns."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Subquery,
    Text,
    and_,
    false,
    func,
    not_,
    null,
    or_,
    select,
)
from sqlalchemy import cast as sql_cast

from hpo_lib.core.trial import Origin, TrialState
from hpo_lib.errors import SpecError, nearest
from hpo_lib.records import TrialView
from hpo_lib.records.shown import NOTHING_SHOWN
from hpo_lib.store.json_values import Extracted, epoch, extracted
from hpo_lib.store.live import newest
from hpo_lib.store.queries import duration_s, read_attempts_of, read_rungs, spans_of
from hpo_lib.store.rows import trial_of
from hpo_lib.store.schema import attempts, trials
from hpo_lib.words import utc

#: Columns that every trial has; others are `params.` or `metrics.` and a name.
OWN = ("number", "state", "value", "duration_s", "started_at", "ended_at", "attempts", "origin",
       "slot", "cause", "reason")  # fmt: skip
_TEXTS = frozenset({"state", "origin", "slot", "cause", "reason"})
_TIMES = frozenset({"started_at", "ended_at"})
_PREFIXES: Mapping[str, ColumnElement[Any]] = {
    "params": trials.c.params,
    "metrics": trials.c.metrics,
}
_CONDITION = re.compile(r"(.+?)\s*(<=|>=|!=|=|<|>|~)\s*(.*)", re.DOTALL)
_ORDERED: Mapping[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


class Condition(NamedTuple):
    """What a column is to hold; `=`, `!=` and `~` (contains) also compare text."""

    column: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read `column operator value`, such as `params.lr<=0.1`; SpecError."""
        found = _CONDITION.fullmatch(text.strip())
        if found is None:
            raise SpecError(
                f"where: must be a column, one of <= >= < > = != ~ and a value, got {text[:80]!r}"
            )
        return cls(*found.groups())


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of a run's trials, in which order, from where on; `finals` are those of the end."""

    sort: str = "number"
    descending: bool = False
    states: Collection[TrialState] = ()
    where: Sequence[Condition] = ()
    offset: int = 0
    limit: int = 50
    finals: bool = False


def page(connection: Connection, run_id: int, asked: Asked) -> tuple[list[TrialView], int]:
    """Give a page of trials, and how many there are on all pages; SpecError for a wrong column."""
    table = _Table(connection, run_id)
    which = table.condition(asked)
    order = [*table.order(asked.sort, descending=asked.descending), trials.c.number]
    joined = table.joined(select(trials)).where(which)
    rows = connection.execute(joined.order_by(*order).offset(asked.offset).limit(asked.limit)).all()
    counted = table.joined(select(func.count()).select_from(trials)).where(which)
    total = int(connection.execute(counted).scalar() or 0)
    return views_of(connection, run_id, rows), total


def views_of(connection: Connection, run_id: int, rows: Sequence[Any]) -> list[TrialView]:
    """Read what belongs to rows of a run's trials, and to no others."""
    numbers = [row.number for row in rows]
    tried = read_attempts_of(connection, run_id, numbers)
    going = [row.number for row in rows if row.state == TrialState.RUNNING]
    shown = newest(connection, run_id) if going else {}
    reached = read_rungs(connection, run_id) if rows else {}
    return [
        TrialView(
            trial_of(row, duration_s(spans_of(tried[row.number])), reached.get(row.number)),
            row.slot,
            tried[row.number],
            shown=shown.get(row.number, NOTHING_SHOWN),
        )
        for row in rows
    ]


class _Table:
    """The columns of a run's trials as SQL; what attempts tell is joined only where it is asked."""

    def __init__(self, connection: Connection, run_id: int) -> None:
        self._connection, self._run_id = connection, run_id
        self._tried: Subquery | None = None

    def joined(self, query: Any) -> Any:
        if self._tried is None:
            return query
        return query.outerjoin(self._tried, self._tried.c.trial == trials.c.number)

    def condition(self, asked: Asked) -> ColumnElement[bool]:
        kind = trials.c.origin == Origin.FINAL if asked.finals else trials.c.origin != Origin.FINAL
        these = [trials.c.run_id == self._run_id, kind]
        if asked.states:
            these.append(trials.c.state.in_(asked.states))
        return and_(*these, *(self._holds(one) for one in asked.where))

    def order(self, key: str, *, descending: bool) -> list[ColumnElement[Any]]:
        found = self._column(key)
        ways = [one.desc() if descending else one.asc() for one in (found.number, found.text)]
        return [way.nulls_last() for way in ways]

    def _holds(self, asked: Condition) -> ColumnElement[bool]:
        found, number = self._column(asked.column), _number(asked)
        if asked.sign == "~":
            return found.text.icontains(asked.value, autoescape=True)
        if asked.sign in _ORDERED:
            if number is None:
                told = f"{asked.column} {asked.sign} needs a number"
                raise SpecError(f"where: {told}, got {asked.value[:80]!r}")
            return cast("ColumnElement[bool]", _ORDERED[asked.sign](found.number, number))
        same = found.text == asked.value
        same = same if number is None else or_(found.number == number, same)
        return same if asked.sign == "=" else not_(func.coalesce(same, false()))

    def _column(self, key: str) -> Extracted:
        prefix, _, name = key.partition(".")
        if prefix in _PREFIXES and name:
            finite = prefix == "params"
            return extracted(self._connection, _PREFIXES[prefix], name, finite=finite)
        if key not in OWN:
            named = "; a parameter is params.NAME, a metric metrics.NAME"
            raise SpecError(f"unknown column {key[:80]!r}{nearest(key, OWN)}{named}")
        return self._own(key)

    def _own(self, key: str) -> Extracted:
        if key in ("duration_s", "attempts"):
            column = self._of_attempts().c[key]
            return Extracted(column, sql_cast(column, Text))
        column = trials.c[key]
        if key in _TEXTS:
            return Extracted(sql_cast(null(), Double), column)
        number = epoch(self._connection, column) if key in _TIMES else column
        return Extracted(number, sql_cast(column, Text))

    def _of_attempts(self) -> Subquery:
        if self._tried is None:
            ended, began = attempts.c.ended_at, attempts.c.started_at
            lasted = epoch(self._connection, ended) - epoch(self._connection, began)
            columns = (func.sum(lasted).label("duration_s"), func.count().label("attempts"))
            query = select(attempts.c.trial, *columns).where(attempts.c.run_id == self._run_id)
            self._tried = query.group_by(attempts.c.trial).subquery()
        return self._tried


def _number(asked: Condition) -> float | None:
    """Give what a value is compared as: a number, or a time as seconds of the epoch."""
    if asked.column in _TEXTS:
        return None
    try:
        if asked.column in _TIMES:
            return utc(datetime.fromisoformat(asked.value)).timestamp()
        return float(asked.value)
    except ValueError:
        return None
