"""The store of experiments: runs, trials, attempts, observations and models.

Every method is one transaction, only the engine is asked between two. It may be repeated, and
called by any number of processes at once: whoever writes to a run locks its row (PostgreSQL) or the
file (SQLite), so what is read before a write is still true when it is written. Methods that cannot
get the lock in time, or lose the server, raise TransientError and have changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from sqlalchemy import select

from hpo_lib.core.shares import Shares
from hpo_lib.core.trial import Assignment, Cause, Decision, History, Trial
from hpo_lib.errors import NoPlace, NotFound
from hpo_lib.records import (
    Advice,
    Attempt,
    Model,
    Outcome,
    Past,
    Provenance,
    Run,
    RunKey,
    RunStatus,
    RunView,
)
from hpo_lib.records.audit import ITSELF, Actor
from hpo_lib.spec import Spec
from hpo_lib.store import attempts, batches, decisions, queries, runs, usage
from hpo_lib.store.audit import Audit
from hpo_lib.store.batches import Answer, Batch, FinalAnswer
from hpo_lib.store.database import Database, shown
from hpo_lib.store.interventions import Interventions
from hpo_lib.store.listing import Listing
from hpo_lib.store.live import Live
from hpo_lib.store.models import Models, challenge, champion, lock
from hpo_lib.store.old_runs import OldRuns
from hpo_lib.store.overview import Overview
from hpo_lib.store.queries import history_of, read_attempts, read_run, read_trial, trial_row
from hpo_lib.store.schema import identity
from hpo_lib.store.slots import Slots
from hpo_lib.store.views import Chosen, view_of

_LOCK_TIMEOUT_S = 30.0


def upgrade(url: str) -> str:
    """Bring the store's tables to this version, safe to be called by several at once.

    Makes the file of an SQLite store and its folder. Gives the revision; StoreError says what is
    in the way.
    """
    return Database.at(url, _LOCK_TIMEOUT_S).upgrade()


def revision(url: str) -> str | None:
    """Give the revision of a store's tables, None if it has none yet; makes nothing."""
    return Database.at(url, _LOCK_TIMEOUT_S).revision()


class Store:
    """Runs and their trials; open it with `Store.open`."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        """Use a database whose schema has been checked."""
        self._database = database
        self._now = now
        #: The models of every experiment.
        self.models = Models(database, now)
        #: Who did what, from where and when.
        self.audit = Audit(database, now)
        #: Ended runs that nobody needs any more, and the one way to delete them.
        self.old_runs = OldRuns(database, now)
        #: Runs, experiments, trials and observations, a page at a time.
        self.listing = Listing(database)
        #: Runs and experiments with what became of them, and trials as a table.
        self.overview = Overview(database, now)
        #: What running attempts have shown so far.
        self.live = Live(database)
        #: What people ask of a run.
        self.interventions = Interventions(database, now)
        #: What slots are to run, turn after turn.
        self.slots = Slots(database, now)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        lock_timeout_s: float = _LOCK_TIMEOUT_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        keep_open: bool = False,
    ) -> Store:
        """Open a store that `upgrade` has prepared; StoreError says what to do otherwise.

        Who waits longer for another writer gets TransientError. `keep_open`: see `Database.at`.
        """
        database = Database.at(url, lock_timeout_s, keep_open=keep_open)
        database.check()
        return cls(database, now)

    def close(self) -> None:
        """Let go of the database; nothing is lost without it."""
        self._database.engine.dispose()

    def __enter__(self) -> Self:
        """Give the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """Show where, never the password."""
        return f"Store({shown(self._database.url)!r})"

    @cached_property
    def id(self) -> str:
        """The store's name: 12 hexadecimal digits, made at random when its tables were."""
        with self._database.read() as connection:
            return str(connection.execute(select(identity.c.id)).scalar_one())

    @property
    def address(self) -> str:
        """Where it is, with its password: for processes of ours, never to be shown."""
        return self._database.url.render_as_string(hide_password=False)

    # Runs

    def start_run(
        self,
        key: RunKey,
        spec: Spec,
        *,
        triggered_by: str,
        provenance: Provenance,
        advice: Advice | None = None,
        fingerprint: str | None = None,
        team: str = "",
    ) -> Run:
        """Start a run, or give the one that has this key, whatever spec it was started with.

        A run that was refused before is started now: nothing of it was ever tried. `advice` is
        kept for all of its steps. Results are reused among runs of one `fingerprint`; without one
        the run neither takes nor gives any.
        """
        values = {
            "triggered_by": triggered_by,
            "provenance": provenance.dump(),
            "started_at": self._now(),
            "earlier": (advice.dump() or None) if advice else None,
            "fingerprint": fingerprint,
            "team": team,
        }
        with self._database.write() as connection:
            return runs.start(connection, key, spec, values)

    def refuse_run(
        self, key: RunKey, reason: str, *, triggered_by: str, way: str = "", team: str = ""
    ) -> Run:
        """Record that a conf was refused, and why; of several refusals the last one counts.

        A run that was once accepted is not refused any more: it is given as it is. `way` is as in
        Provenance.
        """
        with self._database.write() as connection:
            by = Actor(triggered_by, way)
            return runs.refuse(connection, key, reason, by, self._now(), team)

    def run(self, key: RunKey) -> Run:
        """Give a run by its name in the outside world; NotFound."""
        with self._database.read() as connection:
            return read_run(connection, key)

    def run_by_id(self, run_id: int) -> Run:
        """Give a run; NotFound."""
        with self._database.read() as connection:
            return read_run(connection, run_id)

    def runs(self, limit: int = 50) -> list[Run]:
        """List runs, the newest first."""
        with self._database.read() as connection:
            return runs.newest(connection, limit)

    def running(self) -> list[Run]:
        """List the runs that have not ended, the oldest first."""
        with self._database.read() as connection:
            return runs.running(connection)

    def past(self, experiments: Sequence[str], limit: int) -> list[Past]:
        """Give the complete runs of some experiments with their trials, the newest first."""
        with self._database.read() as connection:
            return runs.past(connection, experiments, limit, self._now())

    def finish_run(
        self, run_id: int, status: RunStatus, reason: str, stopped_by: Actor | None = None
    ) -> Run:
        """End a run, which somebody may have stopped; one that has ended stays as it is."""
        if status not in (RunStatus.COMPLETE, RunStatus.FAILED):
            raise ValueError(f"a run can end complete or failed, got {status}")
        with self._database.write() as connection:
            return runs.finish(connection, run_id, status, reason, self._now(), stopped_by)

    def forget_fingerprint(self, run_id: int) -> None:
        """Keep this run from giving results to others, and from now on from taking any."""
        with self._database.write() as connection:
            runs.change(connection, run_id, fingerprint=None)

    def judge_run_again(self, run_id: int, status: RunStatus, reason: str) -> Run:
        """Change how a run has ended, and why; one that has not ended stays as it is."""
        with self._database.write() as connection:
            return runs.judge_again(connection, run_id, status, reason)

    # Batches

    def next_batch(self, run_id: int, slot: str, ask: Callable[[History], Answer]) -> Batch:
        """Give a slot's answer; if there is none yet, ask, and keep the answer and its new trials.

        `ask` runs outside of any transaction: others read and write while it thinks. The first
        answer to a slot is kept, for all who have asked; after an answer to another slot of the
        run it is asked again, with what is known by then. It is not called again once an answer is
        kept. If it raises, nothing is kept. In a run that has ended, or that somebody has stopped,
        a new slot gets a stop, with the reason. After a change of the spec it is asked again, too.
        New trials whose result is known from another run of one fingerprint are complete at once.
        """
        return self._next_batch(run_id, slot, lambda history, _: (ask(history), None), final=False)

    def next_final_batch(
        self, run_id: int, slot: str, ask: Callable[[History, Model | None], FinalAnswer]
    ) -> Batch:
        """Do as `next_batch` for a run's final trials, and enter the challenger beside them.

        `ask` is told the experiment's champion, with which the challenger will be compared, and
        asked again if the champion has changed meanwhile.
        """

        def answer(history: History, best: Model | None) -> tuple[Answer, Trial | None]:
            found = ask(history, best)
            return found, found.challenger

        return self._next_batch(run_id, slot, answer, final=True)

    def _next_batch(
        self,
        run_id: int,
        slot: str,
        ask: Callable[[History, Model | None], tuple[Answer, Trial | None]],
        *,
        final: bool,
    ) -> Batch:
        while True:
            with self._database.read() as connection:
                run = read_run(connection, run_id)
                found = batches.given(connection, run, slot)
                if found is not None:
                    return found
                asked = self.slots.question(connection, run)
                best = champion(connection, run.experiment) if final else None
            answer, won = ask(asked.history, best)
            with self._database.write() as connection:
                run = read_run(connection, run_id, lock=True)
                if final:
                    lock(connection, run.experiment)
                same = not final or champion(connection, run.experiment) == best
                if not same or not batches.is_open(connection, run, asked):
                    continue
                if won is not None:
                    challenge(
                        connection, run.experiment, run_id, won.number, won.params, self._now()
                    )
                return batches.keep(connection, run, slot, answer, asked.history, self._now())

    def batch_of(self, run_id: int, slot: str) -> Batch | None:
        """Give a slot's answer, None if it has none yet."""
        with self._database.read() as connection:
            return batches.answered(connection, run_id, slot)

    def settled_batch(self, run_id: int, slot: str) -> Batch | None:
        """Give a slot's answer, else the stop that another slot was told; None without either."""
        with self._database.read() as connection:
            return batches.settled(connection, run_id, slot)

    def stop_of(self, run_id: int) -> Decision | None:
        """Give the first stop among the answers to a run's slots."""
        with self._database.read() as connection:
            return batches.first_stop(connection, run_id)

    # Trials and attempts

    def history(self, run_id: int) -> History:
        """Give all that a decision may depend on; NotFound."""
        with self._database.read() as connection:
            return history_of(connection, read_run(connection, run_id), self._now())

    def failed(self, run_id: int) -> History:
        """Give the trials of a run's search that have failed, and nothing else."""
        with self._database.read() as connection:
            return queries.failed_of(connection, run_id)

    def trial(self, run_id: int, number: int) -> Trial:
        """Give a trial; NotFound."""
        with self._database.read() as connection:
            return read_trial(connection, run_id, number)

    def assignment(self, run_id: int, number: int) -> tuple[str, Assignment]:
        """Give the slot that a trial was last given to, and what it is to do; NotFound."""
        with self._database.read() as connection:
            trial_row(connection, run_id, number)
            found = batches.newest_assignment(connection, run_id, number)
            if found is None:
                raise NotFound(f"trial {number} of run {run_id} was given to no slot")
            return found

    def told_to_stop(self, run_id: int, number: int) -> str | None:
        """Say why a scheduler has decided that a trial stops, None if it has not."""
        with self._database.read() as connection:
            return decisions.told_to_stop(connection, run_id, number)

    def attempts(self, run_id: int, number: int) -> list[Attempt]:
        """List a trial's attempts by number; NotFound if there is no such trial."""
        with self._database.read() as connection:
            trial_row(connection, run_id, number)
            return read_attempts(connection, run_id, number)

    def is_live(self, run_id: int, number: int, attempt: int) -> bool:
        """Say whether a run has this attempt, and neither of the two has ended."""
        with self._database.read() as connection:
            return attempts.is_live(connection, run_id, number, attempt)

    def gpu_hours(self, team: str) -> float:
        """Give the GPU hours that a team has used in this calendar month, in UTC."""
        now = self._now()
        with self._database.read() as connection:
            return usage.gpu_hours(connection, team, usage.month_of(now), now)

    def view(self, run_id: int, chosen: Chosen | None = None) -> RunView:
        """Give everything about a run; `chosen` names whose series are read, all if not given."""
        with self._database.read() as connection:
            return view_of(connection, run_id, chosen)

    def open_attempt(
        self,
        run_id: int,
        number: int,
        handle_for: Callable[[int], Mapping[str, Any]],
        shares: Shares | None = None,
    ) -> Attempt:
        """Give the live attempt of a trial, or begin the next one, with `handle_for(its number)`.

        There is never more than one live attempt. AlreadyFinished if the trial has ended, or if
        its run has and there is no live attempt to take over. With `shares`, NoPlace as long as
        others go first.
        """
        with self._database.write() as connection:
            now = self._now()
            found = attempts.take(connection, run_id, number, handle_for, now, shares)
        if found is None:
            raise NoPlace(f"trial {number} waits for a place")
        return found

    def close_attempt(self, attempt_id: int, outcome: Outcome, *, final: bool) -> Trial:
        """Record what became of an attempt and, if final, of its trial; give the trial.

        The first writer wins: an attempt that has ended, and a trial whose newest attempt is
        another one, stay as they are. A trial that was asked to reach a rung waits there, its
        value at the rung is kept. ValueError if a final outcome lacks what its trial needs:
        a finite value, or a cause.
        """
        with self._database.write() as connection:
            return attempts.close(connection, attempt_id, outcome, self._now(), final=final)

    def recollect(self, attempt_id: int, outcome: Outcome, spec: Spec, by: Actor = ITSELF) -> Trial:
        """Give an ended trial the metrics of an outcome that was read again, as `spec` reads them.

        This alone turns failed into complete, for metrics that were there and were not found;
        nothing is run. The run gets the spec, which may differ in `metrics` alone, and no other
        run reuses its results. ValueError if the outcome has no finite value, if the trial still
        runs, or if the attempt is not its newest.
        """
        with self._database.write() as connection:
            return attempts.read_again(connection, attempt_id, outcome, spec, by, self._now())

    def stop_trial(self, run_id: int, number: int, reason: str) -> Trial:
        """Stop a running trial on purpose, with its live attempt; one that has ended stays."""
        with self._database.write() as connection:
            return attempts.stop(connection, run_id, number, reason, self._now())

    def fail_trial(
        self, run_id: int, number: int, cause: Cause, reason: str, stopped_by: Actor | None = None
    ) -> Trial:
        """Fail a trial and its live attempt, which have no outcome; an ended one stays as it is."""
        with self._database.write() as connection:
            return attempts.fail(connection, run_id, number, cause, reason, self._now(), stopped_by)
