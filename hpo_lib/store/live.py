"""What attempts have shown: while they run it is kept as far as it is known, then as a whole.

A scheduler that watches trials may stop one by what it has shown; nothing else is decided by it.
Its end is read anew, and takes the place of all that was kept before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, select

from hpo_lib.core.trial import Observation
from hpo_lib.records import AttemptState
from hpo_lib.records.shown import Shown
from hpo_lib.store.database import Database
from hpo_lib.store.rows import observation_of, observation_rows
from hpo_lib.store.schema import attempts, observations
from hpo_lib.store.writes import insert_all


@dataclass(frozen=True, slots=True)
class Live:
    """Keeps what running attempts have shown so far; `Store.live` gives it."""

    database: Database

    def keep(self, attempt_id: int, series: Sequence[Observation], *, known: int = 0) -> bool:
        """Keep what a running attempt has shown, of which the first `known` are kept already.

        Says whether it still runs: of one that has ended nothing is changed.
        """
        with self.database.write() as connection:
            query = select(attempts.c.id).where(attempts.c.id == attempt_id)
            running = query.where(attempts.c.state == AttemptState.RUNNING).with_for_update()
            if connection.execute(running).first() is None:
                return False
            keep_series(connection, attempt_id, series, known=known)
            return True

    def told(self, attempt_id: int) -> int:
        """Count what is kept of an attempt: another number means that it has reported anew."""
        query = select(func.count()).where(observations.c.attempt_id == attempt_id)
        with self.database.read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def newest(self, run_id: int) -> dict[int, Shown]:
        """Give what each running trial of a run has shown last, by number, if it has."""
        with self.database.read() as connection:
            return newest(connection, run_id)


def keep_series(
    connection: Connection, attempt_id: int, series: Sequence[Observation], *, known: int = 0
) -> None:
    """Put a series in the place of the one that is kept, of which the first `known` stay."""
    stale = (observations.c.attempt_id == attempt_id, observations.c.position >= known)
    connection.execute(delete(observations).where(*stale))
    insert_all(connection, observations, observation_rows(attempt_id, series)[known:])


def newest(connection: Connection, run_id: int) -> dict[int, Shown]:
    """Give what each running trial of a run has shown last: of every metric the last value."""
    running = (attempts.c.run_id == run_id, attempts.c.state == AttemptState.RUNNING)
    last = (
        select(attempts.c.trial, observations.c.attempt_id, func.max(observations.c.position))
        .join(attempts, attempts.c.id == observations.c.attempt_id)
        .where(*running)
        .group_by(attempts.c.trial, observations.c.attempt_id, observations.c.metric)
        .subquery()
    )
    trial, attempt_id, position = last.c
    these = and_(observations.c.attempt_id == attempt_id, observations.c.position == position)
    query = (
        select(observations, trial.label("trial"))
        .join(last, these)
        .order_by(trial, observations.c.position)
    )
    found: dict[int, list[Observation]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.trial].append(observation_of(row))
    return {number: Shown.of(series) for number, series in found.items()}
