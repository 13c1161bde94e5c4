"""What people ask of a run under way: that it stops, that a trial stops, that its spec changes.

Each is one transaction with its line in the audit trail, and may be repeated: what has been asked
for already changes nothing, and is not written down again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select

from hpo_lib.core.trial import Decision, Trial, TrialState
from hpo_lib.errors import TransientError
from hpo_lib.records import Run, RunStatus
from hpo_lib.records.audit import Actor, Deed
from hpo_lib.spec import Spec
from hpo_lib.store import audit
from hpo_lib.store.batches import STOPPED, stopped
from hpo_lib.store.database import Database
from hpo_lib.store.decisions import keep_stops, told_to_stop
from hpo_lib.store.queries import read_attempts, read_run, read_trial, searched_rows
from hpo_lib.store.rows import closed_row, decision_row
from hpo_lib.store.runs import change
from hpo_lib.store.schema import leases, trials
from hpo_lib.store.writes import change_trial

#: An extended run is over, for Airflow, until its tasks are cleared, which is to be by then.
_CLEARED_IN = timedelta(minutes=2)
_OPEN = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True, slots=True)
class Interventions:
    """Writes down what people ask for; `Store.interventions` gives it."""

    database: Database
    now: Callable[[], datetime]

    def stop_run(self, run_id: int, why: Decision, by: Actor) -> Run:
        """Let a run begin nothing more, and tell its open trials to stop; one that ended stays."""
        with self.database.write() as connection:
            run = read_run(connection, run_id, lock=True)
            if run.status is RunStatus.RUNNING and stopped(connection, run_id) is None:
                now = self.now()
                row = decision_row(why) | {"run_id": run_id, "slot": STOPPED, "position": 0}
                connection.execute(leases.insert().values(row | {"created_at": now}))
                audit.enter_of(connection, Deed.STOPPED, by, now, run, {"reason": why.reason})
                for number in _open_trials(connection, run_id):
                    _tell(connection, run_id, number, why.reason, now)
            return run

    def stop_trial(self, run_id: int, number: int, reason: str, by: Actor) -> Trial:
        """Tell an open trial to stop, which its task ends; one that has ended stays as it is."""
        with self.database.write() as connection:
            run, now = read_run(connection, run_id, lock=True), self.now()
            is_open = read_trial(connection, run_id, number).state in _OPEN
            if is_open and told_to_stop(connection, run_id, number) is None:
                told = {"trial": number, "reason": reason}
                audit.enter_of(connection, Deed.STOPPED, by, now, run, told)
                _tell(connection, run_id, number, reason, now)
            return read_trial(connection, run_id, number)

    def change_spec(
        self, before: Run, spec: Spec, deed: Deed, by: Actor, told: Mapping[str, Any], *, made: int
    ) -> Run:
        """Give a run under way another spec.

        TransientError if it is not as `before` any more, with as many trials `made` in its search.
        """
        with self.database.write() as connection:
            run = _unchanged(connection, before)
            if len(searched_rows(connection, run.id)) != made:
                raise TransientError(f"run {run.id} has gone on meanwhile: ask again")
            audit.enter_of(connection, deed, by, self.now(), run, dict(told))
            return change(connection, run.id, spec=spec.dump(), digest=spec.digest)

    def reopen(self, before: Run, spec: Spec, by: Actor, told: Mapping[str, Any]) -> Run:
        """Let a run that has ended go on with another spec: what it was told of its end is gone.

        TransientError if it is not as `before` any more.
        """
        with self.database.write() as connection:
            run, now = _unchanged(connection, before), self.now()
            this = (leases.c.run_id == run.id, leases.c.action.is_not(None))
            connection.execute(delete(leases).where(*this))
            audit.enter_of(connection, Deed.EXTENDED, by, now, run, dict(told))
            going = {"status": RunStatus.RUNNING, "reason": None, "ended_at": None}
            going |= closed_row([*run.closed, (run.ended_at or now, now)])
            return change(connection, run.id, spec=spec.dump(), digest=spec.digest, **going)

    def just_extended(self, run_id: int) -> bool:
        """Say whether Airflow has yet to begin the tasks of an extended run again."""
        with self.database.read() as connection:
            entries = audit.of_run(connection, run_id)
            since = self.now() - _CLEARED_IN
            times = [one.time for one in entries if one.deed is Deed.EXTENDED and one.time > since]
            if not times:
                return False
            begun = select(leases.c.slot).where(
                leases.c.run_id == run_id, leases.c.created_at > max(times)
            )
            return connection.execute(begun.limit(1)).first() is None


def _unchanged(connection: Connection, before: Run) -> Run:
    run = read_run(connection, before.id, lock=True)
    if (run.status, run.document) != (before.status, before.document):
        raise TransientError(f"run {run.id} has changed meanwhile: ask again")
    return run


def _open_trials(connection: Connection, run_id: int) -> list[int]:
    this = (trials.c.run_id == run_id, trials.c.state.in_(_OPEN))
    query = select(trials.c.number).where(*this).order_by(trials.c.number)
    return list(connection.execute(query).scalars())


def _tell(connection: Connection, run_id: int, number: int, reason: str, now: datetime) -> None:
    """Keep that a trial is to stop; one of which nothing was ever begun has stopped with that."""
    keep_stops(connection, run_id, None, {number: Decision.stop(reason)}, now)
    if not read_attempts(connection, run_id, number):
        ended = {"state": TrialState.STOPPED, "reason": reason, "ended_at": now}
        change_trial(connection, run_id, number, TrialState.RUNNING, ended)
