"""Old runs: which ended runs nobody needs any more, and how their rows are deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, or_, select

from hpo_lib.core.teams import Retention
from hpo_lib.records import ModelStatus, RunStatus
from hpo_lib.records.audit import ITSELF, Deed
from hpo_lib.store import audit as trail
from hpo_lib.store.database import Database
from hpo_lib.store.models import lock
from hpo_lib.store.queries import read_run
from hpo_lib.store.runs import running
from hpo_lib.store.schema import (
    attempts,
    audit,
    metadata,
    model_events,
    models,
    observations,
    runs,
    trials,
)
from hpo_lib.store.usage import month_of


@dataclass(frozen=True, slots=True)
class OldRuns:
    """The ended runs of a store that are older than a retention; `Store.old_runs` gives it.

    A run is needed while GPU hours of its month are counted, while something is said of it in the
    audit trail that is not old, and while a run that goes on was advised by it or reuses its
    results. A run whose model is or was a champion is needed for ever: the gate compares with it,
    and a rollback may bring it back. So are the newest run, and that of an experiment's newest
    model, or their numbers would be given again.
    """

    database: Database
    now: Callable[[], datetime]

    def teams(self) -> list[str]:
        """Name the teams that have runs, empty for runs of no team."""
        with self.database.read() as connection:
            query = select(runs.c.team).distinct().order_by(runs.c.team)
            return list(connection.execute(query).scalars())

    def due(self, team: str, retention: Retention) -> list[int]:
        """Give the numbers of a team's runs that are old and not needed, the oldest first."""
        with self.database.read() as connection:
            old = _old(connection, self._limit(retention))
            query = select(runs.c.id).where(runs.c.team == team, old).order_by(runs.c.id)
            return list(connection.execute(query).scalars())

    def forget(self, run_id: int, retention: Retention) -> bool:
        """Delete all rows of a run and write that down, unless it is needed by now; NotFound."""
        limit = self._limit(retention)
        with self.database.write() as connection:
            run = read_run(connection, run_id, lock=True)
            lock(connection, run.experiment)
            this = and_(runs.c.id == run_id, _old(connection, limit))
            if connection.execute(select(runs.c.id).where(this)).first() is None:
                return False
            gone = _delete(connection, run_id, limit)
            told = {"rule": str(retention), "ended_at": str(run.ended_at), **gone}
            trail.enter_of(connection, Deed.DELETED, ITSELF, self.now(), run, told)
            return True

    def _limit(self, retention: Retention) -> datetime:
        """Give the time before which a run must have ended, and all that was done to it."""
        now = self.now()
        return min(now - timedelta(days=retention.days), month_of(now))


def _old(connection: Connection, limit: datetime) -> ColumnElement[bool]:
    """Pick the runs that ended before a limit, and that nobody needs."""
    ended = and_(runs.c.status != RunStatus.RUNNING, runs.c.ended_at < limit)
    newest = select(func.max(runs.c.id)).scalar_subquery()
    told = exists().where(audit.c.run_id == runs.c.id, audit.c.time >= limit)
    kept = exists().where(models.c.run_id == runs.c.id, _is_kept())
    needed = runs.c.id.in_(_leaned_on(connection))
    return and_(ended, runs.c.id < newest, ~told, ~kept, ~needed)


def _is_kept() -> ColumnElement[bool]:
    """Pick the models that are or were champion, and the newest of each experiment."""
    other = models.alias()
    newest = (
        select(func.max(other.c.version))
        .where(other.c.experiment == models.c.experiment)
        .correlate(models)
        .scalar_subquery()
    )
    crowned = exists().where(
        model_events.c.experiment == models.c.experiment,
        model_events.c.version == models.c.version,
        model_events.c.status == ModelStatus.CHAMPION,
    )
    return or_(models.c.version == newest, crowned)


def _leaned_on(connection: Connection) -> set[int]:
    """Number the runs that advise runs that go on, or whose results these have taken."""
    going = running(connection)
    advising = {told.run for run in going for told in run.advice.runs}
    taken = select(trials.c.reused_run).where(
        trials.c.run_id.in_([run.id for run in going]), trials.c.reused_run.is_not(None)
    )
    return advising | set(connection.execute(taken.distinct()).scalars())


def _delete(connection: Connection, run_id: int, limit: datetime) -> dict[str, int]:
    """Delete a run's rows, those first that others lean on; count what somebody may ask for."""
    tried = select(attempts.c.id).where(attempts.c.run_id == run_id)
    connection.execute(delete(observations).where(observations.c.attempt_id.in_(tried)))
    made = select(models.c.version).where(
        models.c.run_id == run_id, models.c.experiment == model_events.c.experiment
    )
    connection.execute(delete(model_events).where(model_events.c.version.in_(made)))
    gone = {table.name: _emptied(connection, table, run_id) for table in _of_a_run()}
    told = {name: gone[name] for name in ("attempts", "trials", "models")}
    told["entries"] = trail.forget(connection, run_id, limit)
    connection.execute(delete(runs).where(runs.c.id == run_id))
    return told


def _of_a_run() -> list[Table]:
    """Give the tables whose rows name their run, those first that others lean on."""
    named = [table for table in metadata.sorted_tables if "run_id" in table.c]
    return [table for table in reversed(named) if table is not audit]


def _emptied(connection: Connection, table: Table, run_id: int) -> int:
    return connection.execute(delete(table).where(table.c.run_id == run_id)).rowcount
