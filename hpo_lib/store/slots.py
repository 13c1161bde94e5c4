"""What a slot is to run next: it asks again and again, and each of its turns is kept.

A slot's turns are its answers by position: a task that was killed finds its trial in the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, select

from hpo_lib.core.shares import Shares
from hpo_lib.core.trial import Action, Assignment, Decision, History, Reused, TrialState
from hpo_lib.records import Run, RunStatus
from hpo_lib.spec import Spec
from hpo_lib.store import batches, places
from hpo_lib.store.batches import Answer, Question
from hpo_lib.store.database import Database
from hpo_lib.store.decisions import keep_stops
from hpo_lib.store.queries import read_run, trial_row
from hpo_lib.store.remembered import Remembered
from hpo_lib.store.rows import assignment_row
from hpo_lib.store.schema import leases, trials
from hpo_lib.store.writes import insert_all


@dataclass(frozen=True, slots=True)
class Turn:
    """What a slot does next: a trial, or nothing more and why; with neither it asks again later.

    `reused` is a trial that was complete as soon as it was given, with the one whose result it has.
    """

    assignment: Assignment | None = None
    stop: Decision | None = None
    reused: tuple[Assignment, Reused] | None = None


@dataclass(frozen=True, slots=True)
class Slots:
    """Gives slots their turns; `Store.slots` gives it."""

    database: Database
    now: Callable[[], datetime]
    _remembered: dict[int, Remembered] = field(default_factory=dict)

    def history(self, run: Run) -> History:
        """Give what `Store.history` does, at the cost of what has changed since the last time."""
        with self.database.read() as connection:
            return self._history(connection, run)

    def forget(self, run_id: int) -> None:
        """Forget what is remembered of a run, as a process that begins anew knows nothing."""
        self._remembered.pop(run_id, None)

    def held(self, run_id: int, slot: str) -> Assignment | None:
        """Give the trial that a slot was given last, if it still runs there."""
        with self.database.read() as connection:
            return _held(connection, run_id, slot)

    def ask(self, run_id: int, slot: str, ask: Callable[[History], Answer]) -> Turn:
        """Give a slot its next turn by an answer of at most one trial, and keep that.

        As with `Store.next_batch`, `ask` runs outside of any transaction, is asked again after an
        answer to another slot, and is not asked in a run that stops or has ended. An answer without
        trial and stop is not kept: its slot may ask again.
        """
        while True:
            with self.database.read() as connection:
                run = read_run(connection, run_id)
                stop = _stop(connection, run)
                if stop is not None:
                    return Turn(stop=stop)
                asked = self.question(connection, run)
            answer = ask(asked.history)
            if not (answer.assignments or answer.stop or _stops(answer)):
                return Turn()
            with self.database.write() as connection:
                run = read_run(connection, run_id, lock=True)
                if batches.is_open(connection, run, asked):
                    return self._kept(connection, run, slot, answer, asked.history)

    def judge(self, run_id: int, ask: Callable[[Spec, History], Mapping[int, Decision]]) -> None:
        """Ask about trials while no slot asks for one, and keep which of them are to stop.

        As with `ask`, it is asked outside of any transaction; its answer counts only if the run
        still goes on with the same spec.
        """
        with self.database.read() as connection:
            run = read_run(connection, run_id)
            if run.status is not RunStatus.RUNNING:
                return
            history = self._history(connection, run)
        said = ask(run.spec, history)
        if not any(one.action is Action.STOP for one in said.values()):
            return
        with self.database.write() as connection:
            now = read_run(connection, run_id, lock=True)
            if now.status is RunStatus.RUNNING and now.document == run.document:
                keep_stops(connection, run_id, None, said, self.now())

    def claim(self, run_id: int, slot: str, batch: str) -> Assignment | None:
        """Give a slot the first trial of a batch that runs and that no slot has been given.

        None if there is none, or if the run stops.
        """
        with self.database.read() as connection:
            if not _unclaimed(connection, run_id, batch):
                return None
        with self.database.write() as connection:
            run = read_run(connection, run_id, lock=True)
            free = _unclaimed(connection, run_id, batch)
            if not free or _stop(connection, run) is not None:
                return None
            _, assignment = batches.newest_assignment(connection, run_id, free[0]) or ("", None)
            if assignment is not None:
                place = {"run_id": run_id, "slot": slot, "created_at": self.now()}
                row = assignment_row(assignment) | place
                row["position"] = _next_position(connection, run_id, slot)
                insert_all(connection, leases, [row])
            return assignment

    def running(self, run_id: int) -> dict[int, str]:
        """Name the slot that each running trial of a run was last given to, by its number."""
        with self.database.read() as connection:
            this = (trials.c.run_id == run_id, trials.c.state == TrialState.RUNNING)
            numbers = connection.execute(select(trials.c.number).where(*this)).scalars().all()
            found = {n: batches.newest_assignment(connection, run_id, n) for n in numbers}
        return {number: one[0] for number, one in found.items() if one is not None}

    def waiting(self, run_id: int) -> int:
        """Count the running trials of a run that wait for a place."""
        with self.database.read() as connection:
            return places.count_waiting(connection, run_id, self.now())

    def why_waits(self, team: str, shares: Shares) -> str:
        """Say why a trial of a team has to wait for a place now."""
        with self.database.read() as connection:
            return places.why_not(connection, team, shares)

    def pulse(self, run_id: int) -> tuple[object, ...]:
        """Give something that differs when there may be another answer: cheap enough to poll."""
        this = (trials.c.run_id == run_id, trials.c.state == TrialState.RUNNING)
        with self.database.read() as connection:
            going = connection.execute(select(trials.c.number).where(*this)).scalars().all()
            run = read_run(connection, run_id)
            newest = batches.newest(connection, run_id)
        return (newest, frozenset(going), run.status, str(run.document.get("limits")))

    def question(self, connection: Connection, run: Run) -> Question:
        """Give what an answer for a slot of a run may depend on."""
        newest = batches.newest(connection, run.id)
        return Question(self._history(connection, run), newest, run.document)

    def _history(self, connection: Connection, run: Run) -> History:
        known = self._remembered.setdefault(run.id, Remembered())
        return known.history(connection, run, self.now())

    def _kept(
        self, connection: Connection, run: Run, slot: str, answer: Answer, history: History
    ) -> Turn:
        now = self.now()
        if not answer.assignments and answer.stop is None:
            keep_stops(connection, run.id, slot, answer.decisions, now)
            return Turn()
        first = _next_position(connection, run.id, slot)
        kept = batches.keep(connection, run, slot, answer, history, now, first=first)
        return Turn(
            assignment=next(iter(kept.assignments), None),
            stop=kept.stop,
            reused=next(iter(kept.reused), None),
        )


def _stops(answer: Answer) -> bool:
    return any(one.action is Action.STOP for one in answer.decisions.values())


def _stop(connection: Connection, run: Run) -> Decision | None:
    """Say why a run gives slots nothing more; None if it goes on."""
    if run.status is not RunStatus.RUNNING:
        return batches.stop_of_ended(run)
    return batches.first_stop(connection, run.id)


def _held(connection: Connection, run_id: int, slot: str) -> Assignment | None:
    this = (leases.c.run_id == run_id, leases.c.slot == slot)
    query = select(leases.c.trial).where(*this).order_by(leases.c.position.desc()).limit(1)
    number = connection.execute(query).scalar()
    if number is None or trial_row(connection, run_id, number).state != TrialState.RUNNING:
        return None
    found = batches.newest_assignment(connection, run_id, number)
    return found[1] if found is not None and found[0] == slot else None


def _next_position(connection: Connection, run_id: int, slot: str) -> int:
    query = select(func.max(leases.c.position))
    found = connection.execute(query.where(leases.c.run_id == run_id, leases.c.slot == slot))
    last = found.scalar()
    return 0 if last is None else int(last) + 1


def _unclaimed(connection: Connection, run_id: int, batch: str) -> list[int]:
    """List the running trials of a batch that were last given to the batch itself."""
    given = (
        select(leases.c.trial)
        .join(trials, batches.SAME_TRIAL)
        .where(leases.c.run_id == run_id, leases.c.slot == batch)
        .where(trials.c.state == TrialState.RUNNING)
        .order_by(leases.c.position)
    )
    numbers = connection.execute(given).scalars().all()
    newest = {n: batches.newest_assignment(connection, run_id, n) for n in numbers}
    return [n for n in numbers if (one := newest[n]) is not None and one[0] == batch]
