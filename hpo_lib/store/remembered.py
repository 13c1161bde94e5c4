"""The history of a run for who asks for it again and again: what has ended is read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from hpo_lib.core.trial import History, Origin, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.records import Run
from hpo_lib.search.scheduling import watches
from hpo_lib.store.curves import read_curves
from hpo_lib.store.queries import Span, duration_s, read_rungs
from hpo_lib.store.rows import trial_of
from hpo_lib.store.schema import attempts, audit, trials

_OPEN = (TrialState.RUNNING, TrialState.WAITING)
#: With more open trials than these, such as those that wait at rungs, all are read.
_MOST = 500


@dataclass
class Remembered:
    """The search of one run, of which `history` reads only what may have changed.

    A trial that has ended does not change, but by people: they leave a line in the audit trail, or
    another spec, and then all is read again.
    """

    _seen: Any = None
    _asked: Any = None
    #: The metric whose curves the run's scheduler watches; None if it watches none.
    _watched: str | None = None
    _trials: dict[int, Trial] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)

    def history(self, connection: Connection, run: Run, now: datetime) -> History:
        """Give all that a decision about the run may depend on."""
        seen = (run.id, run.document, _newest_deed(connection, run.id))
        if seen != self._seen or len(self._open) > _MOST:
            self._trials, self._open = {}, set()
        self._seen = seen
        if run.document != self._asked:
            self._asked, self._watched = run.document, _watched(run)
        newest = max(self._trials, default=-1)
        changed = _changed(connection, run.id, sorted(self._open), newest, self._watched)
        self._trials.update(changed)
        self._open -= changed.keys()
        self._open.update(number for number, one in changed.items() if one.state in _OPEN)
        return History(
            trials=tuple(self._trials.values()),
            elapsed_s=run.open_s(run.ended_at or now),
            earlier=run.advice.earlier,
        )


def _watched(run: Run) -> str | None:
    """Name the metric whose curves are wanted; a document that is no spec wants none."""
    try:
        spec = run.spec
    except SpecError:
        return None
    return spec.objective.metric if watches(spec) else None


def _newest_deed(connection: Connection, run_id: int) -> int:
    query = select(func.max(audit.c.id)).where(audit.c.run_id == run_id)
    return int(connection.execute(query).scalar() or 0)


def _changed(
    connection: Connection,
    run_id: int,
    is_open: Collection[int],
    newest: int,
    watched: str | None,
) -> dict[int, Trial]:
    """Read the trials of a search that were open when last read, or are newer, by number."""
    rows = [
        *_rows(connection, run_id, trials.c.number.in_(is_open)),
        *_rows(connection, run_id, trials.c.number > newest),
    ]
    spans = _spans(connection, run_id, rows, newest)
    reached = read_rungs(connection, run_id) if rows else {}
    curves = read_curves(connection, run_id, watched, is_open, newest) if rows and watched else {}
    return {
        row.number: trial_of(
            row, duration_s(spans[row.number]), reached.get(row.number), curves.get(row.number)
        )
        for row in rows
    }


def _rows(connection: Connection, run_id: int, these: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Read some trials; one condition at a time, for which there is an index, unlike for "or"."""
    query = select(trials).where(trials.c.run_id == run_id, trials.c.origin != Origin.FINAL, these)
    return connection.execute(query.order_by(trials.c.number)).all()


def _spans(
    connection: Connection, run_id: int, rows: Collection[Row[Any]], newest: int
) -> dict[int, list[Span]]:
    old = [row.number for row in rows if row.number <= newest]
    columns = (attempts.c.trial, attempts.c.started_at, attempts.c.ended_at)
    query = select(*columns).where(attempts.c.run_id == run_id)
    found: dict[int, list[Span]] = defaultdict(list)
    for these in attempts.c.trial.in_(old), attempts.c.trial > newest:
        for row in connection.execute(query.where(these)):
            found[row.trial].append((row.started_at, row.ended_at))
    return found
