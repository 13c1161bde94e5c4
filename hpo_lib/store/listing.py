"""Pages of runs, experiments, trials and observations, for whoever reads them one after another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from hpo_lib.core.trial import Observation, Origin
from hpo_lib.records import Run, RunKey, RunStatus, TrialView
from hpo_lib.records.shown import NOTHING_SHOWN
from hpo_lib.store.database import Database
from hpo_lib.store.live import newest
from hpo_lib.store.queries import duration_s, read_attempts, read_rungs, spans_of, trial_row
from hpo_lib.store.rows import observation_of, run_of, trial_of
from hpo_lib.store.schema import attempts, observations, runs, trials
from hpo_lib.store.table import views_of

#: So many rows are read from a server at once.
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """An experiment, how many runs it has, the newest of them, and when that began."""

    name: str
    team: str
    runs: int
    newest: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are asked for: of these DAGs and, where they say so, of one name or state."""

    dags: Collection[str]
    experiment: str | None = None
    status: RunStatus | None = None
    key: RunKey | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a store holds, a page at a time; `Store.listing` gives it."""

    database: Database

    def dag_ids(self) -> list[str]:
        """Name the DAGs that have runs."""
        with self.database.read() as connection:
            return list(connection.execute(select(runs.c.dag_id).distinct()).scalars())

    def runs(self, wanted: Wanted, before: int | None, limit: int) -> list[Run]:
        """List up to `limit` runs, the newest first, numbered below `before`."""
        with self.database.read() as connection:
            return _runs(connection, wanted, before, limit)

    def experiments(self, dags: Collection[str], after: str, limit: int) -> list[ExperimentRow]:
        """List up to `limit` experiments that have runs of these DAGs, by name, behind `after`."""
        with self.database.read() as connection:
            return _experiments(connection, dags, after, limit)

    def trials(
        self, run_id: int, after: int, limit: int, *, finals: bool = False
    ) -> list[TrialView]:
        """List up to `limit` trials by number, behind `after`: of the search, or the final ones.

        They come without their observations, but for the newest ones of those that run.
        """
        with self.database.read() as connection:
            return _trials(connection, run_id, after, limit, finals=finals)

    def last_end(self, run_id: int) -> datetime | None:
        """Say when an attempt of a run has ended last; None before the first."""
        query = select(func.max(attempts.c.ended_at)).where(attempts.c.run_id == run_id)
        with self.database.read() as connection:
            return connection.execute(query).scalar()

    def trial(self, run_id: int, number: int) -> TrialView:
        """Give one trial with its attempts, without its observations; NotFound."""
        with self.database.read() as connection:
            return _trial(connection, run_id, number)

    def observations(
        self, run_id: int, number: int, after: int, limit: int
    ) -> Sequence[tuple[int, Observation]]:
        """List what a trial's newest attempt has shown, by position, behind `after`; NotFound."""
        with self.database.read() as connection:
            return _observations(connection, run_id, number, after, limit)

    def reported(self, run_id: int) -> Iterator[tuple[int, int, Observation]]:
        """Give all that a run's attempts have reported: trial, attempt, and what, in their order.

        Nothing is held in memory; the store is read until the last one is taken.
        """
        query = (
            select(attempts.c.trial, attempts.c.number, observations)
            .join(attempts, attempts.c.id == observations.c.attempt_id)
            .where(attempts.c.run_id == run_id)
            .order_by(attempts.c.trial, attempts.c.number, observations.c.position)
        )
        with self.database.read() as connection:
            for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
                yield row.trial, row.number, observation_of(row)


def _runs(connection: Connection, wanted: Wanted, before: int | None, limit: int) -> list[Run]:
    query = select(runs).where(runs.c.dag_id.in_(wanted.dags)).order_by(runs.c.id.desc())
    if wanted.experiment is not None:
        query = query.where(runs.c.experiment == wanted.experiment)
    if wanted.status is not None:
        query = query.where(runs.c.status == wanted.status)
    if wanted.key is not None:
        query = query.where(runs.c.dag_id == wanted.key.dag_id)
        query = query.where(runs.c.dag_run_id == wanted.key.dag_run_id)
    if before is not None:
        query = query.where(runs.c.id < before)
    return [run_of(row) for row in connection.execute(query.limit(limit))]


def _experiments(
    connection: Connection, dags: Collection[str], after: str, limit: int
) -> list[ExperimentRow]:
    counted = (func.count(), func.max(runs.c.id), func.max(runs.c.team))
    query = (
        select(runs.c.experiment, *counted)
        .where(runs.c.dag_id.in_(dags), runs.c.experiment.is_not(None))
        .where(runs.c.experiment > after)
        .group_by(runs.c.experiment)
        .order_by(runs.c.experiment)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    newest = select(runs.c.id, runs.c.started_at).where(runs.c.id.in_([row[2] for row in rows]))
    began = {row.id: row.started_at for row in connection.execute(newest)}
    return [ExperimentRow(row[0], row[3], row[1], row[2], began[row[2]]) for row in rows]


def _trials(
    connection: Connection, run_id: int, after: int, limit: int, *, finals: bool = False
) -> list[TrialView]:
    kind = trials.c.origin == Origin.FINAL if finals else trials.c.origin != Origin.FINAL
    query = select(trials).where(trials.c.run_id == run_id, trials.c.number > after, kind)
    rows = connection.execute(query.order_by(trials.c.number).limit(limit)).all()
    return views_of(connection, run_id, rows)


def _trial(connection: Connection, run_id: int, number: int) -> TrialView:
    row, tried = trial_row(connection, run_id, number), read_attempts(connection, run_id, number)
    reached = read_rungs(connection, run_id, number)
    trial = trial_of(row, duration_s(spans_of(tried)), reached.get(number))
    shown = newest(connection, run_id).get(number, NOTHING_SHOWN)
    return TrialView(trial, row.slot, tried, shown=shown)


def _observations(
    connection: Connection, run_id: int, number: int, after: int, limit: int
) -> Sequence[tuple[int, Observation]]:
    trial_row(connection, run_id, number)
    this = (attempts.c.run_id == run_id, attempts.c.trial == number)
    newest = select(func.max(attempts.c.id)).where(*this).scalar_subquery()
    query = (
        select(observations)
        .where(observations.c.attempt_id == newest, observations.c.position > after)
        .order_by(observations.c.position)
        .limit(limit)
    )
    return [(row.position, observation_of(row)) for row in connection.execute(query)]
