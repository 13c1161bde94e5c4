"""The store of experiments: runs, trials, attempts, observations and leases.

Every method is one transaction, may be repeated, and may be called by any number of processes at
once: whoever writes to a run holds its row (PostgreSQL) or the file's only writer's place
(SQLite), so what is read before a write is still true when it is written. Methods that cannot get
that place in time, or lose the server, raise TransientError and have changed nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol, Self

from sqlalchemy import Connection, Row, Table, and_, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hpo_lib.errors import AlreadyFinished, NotFound
from hpo_lib.migrations import Database, shown
from hpo_lib.models import Models, challenge, champion, lock, of_run, seen_by
from hpo_lib.record import (
    Attempt,
    AttemptState,
    Model,
    Outcome,
    Past,
    Run,
    RunKey,
    RunStatus,
    RunView,
    TrialView,
)
from hpo_lib.results import curves, known
from hpo_lib.space import key as params_key
from hpo_lib.spec import Spec, load
from hpo_lib.tables import (
    assignment_of,
    assignment_row,
    attempt_of,
    attempts,
    decision_of,
    decision_row,
    experiments,
    identity,
    leases,
    observation_of,
    observation_rows,
    observations,
    reused_of,
    run_of,
    runs,
    trial_of,
    trials,
)
from hpo_lib.trial import (
    Assignment,
    Cause,
    Decision,
    History,
    Observation,
    Origin,
    Reused,
    Trial,
    TrialState,
)
from hpo_lib.warmstart import Advice

_LOCK_TIMEOUT_S = 30.0
#: Columns of `trials` that an assignment is read from, with its row of `leases`.
_ASSIGNED = ("params", "origin", "repeat", "reused_run", "reused_trial")
#: Those that a new trial has a value in only if its result is known.
_OF_A_RESULT = ("value", "reason", "ended_at", "reused_run", "reused_trial")

Span = tuple[datetime, datetime | None]


class Step(Protocol):
    """An answer of the engine: what to try next, and whether to stop."""

    @property
    def assignments(self) -> Sequence[Assignment]:
        """What to try; a trial number that is new makes a new trial."""
        ...

    @property
    def stop(self) -> Decision | None:
        """Why nothing more should be asked, if so."""
        ...


class Finale(Step, Protocol):
    """An answer about final training: besides, who challenges the champion."""

    @property
    def challenger(self) -> Trial | None:
        """The trial of the search whose configuration is trained again, if any is."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """What a slot was answered, once and for all: assignments by position, and a stop.

    `reused` are further trials of the slot that are complete already, with whose result they have.
    """

    assignments: Sequence[Assignment] = ()
    stop: Decision | None = None
    reused: Sequence[tuple[Assignment, Reused]] = ()


def upgrade(url: str) -> str:
    """Bring the store's tables to this version, safe to be called by several at once.

    Makes the file of an SQLite store and its folder. Gives the revision; StoreError says what is
    in the way.
    """
    return Database.at(url, _LOCK_TIMEOUT_S).upgrade()


def revision(url: str) -> str | None:
    """Give the revision of a store's tables, None if it has none yet; makes nothing."""
    return Database.at(url, _LOCK_TIMEOUT_S).revision()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """Runs and their trials; open it with `Store.open`."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        """Use a database whose schema has been checked."""
        self._database = database
        self._now = now

    @classmethod
    def open(
        cls,
        url: str,
        *,
        lock_timeout_s: float = _LOCK_TIMEOUT_S,
        now: Callable[[], datetime] = _utc_now,
    ) -> Store:
        """Open a store that `upgrade` has prepared; StoreError says what to do otherwise.

        Whoever waits for another writer longer than the timeout gets TransientError.
        """
        database = Database.at(url, lock_timeout_s)
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
    def models(self) -> Models:
        """The models of every experiment."""
        return Models(self._database, self._now)

    # Runs

    def start_run(
        self,
        key: RunKey,
        spec: Spec,
        *,
        triggered_by: str,
        provenance: Mapping[str, str],
        earlier: Mapping[str, Any] | None = None,
        fingerprint: str | None = None,
    ) -> Run:
        """Start a run, or give the one that has this key, whatever spec it was started with.

        A run that was refused before is started now: nothing of it was ever tried. `earlier` is
        the plain form of what advises the run, which is kept for all of its steps. Results are
        reused among runs of one `fingerprint`; without one the run neither takes nor gives any.
        """
        values = {
            "experiment": spec.name,
            "spec": spec.dump(),
            "digest": spec.digest,
            "status": RunStatus.RUNNING,
            "reason": None,
            "triggered_by": triggered_by,
            "provenance": dict(provenance),
            "started_at": self._now(),
            "ended_at": None,
            "earlier": dict(earlier) if earlier else None,
            "fingerprint": fingerprint,
        }
        with self._database.write() as connection:
            named = {"name": spec.name, "created_at": values["started_at"]}
            _insert_unless_there(connection, experiments, named)
            return _put_run(connection, key, values)

    def refuse_run(self, key: RunKey, reason: str, *, triggered_by: str) -> Run:
        """Record that a conf was refused, and why; of several refusals the last one counts.

        A run that was once accepted is not refused any more: it is given as it is.
        """
        now = self._now()
        values = {
            "status": RunStatus.REFUSED,
            "reason": reason,
            "triggered_by": triggered_by,
            "provenance": {},
            "started_at": now,
            "ended_at": now,
        }
        with self._database.write() as connection:
            return _put_run(connection, key, values)

    def run(self, key: RunKey) -> Run:
        """Give a run by its name in the outside world; NotFound."""
        with self._database.read() as connection:
            return run_of(_run_row(connection, key))

    def run_by_id(self, run_id: int) -> Run:
        """Give a run; NotFound."""
        with self._database.read() as connection:
            return run_of(_run_row(connection, run_id))

    def runs(self, limit: int = 50) -> list[Run]:
        """List runs, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(runs).order_by(runs.c.id.desc()).limit(limit))
            return [run_of(row) for row in rows]

    def running(self) -> list[Run]:
        """List the runs that have not ended, the oldest first."""
        query = select(runs).where(runs.c.status == RunStatus.RUNNING).order_by(runs.c.id)
        with self._database.read() as connection:
            return [run_of(row) for row in connection.execute(query)]

    def past(self, experiments: Sequence[str], limit: int) -> list[Past]:
        """Give the complete runs of some experiments with their trials, the newest first."""
        query = (
            select(runs)
            .where(runs.c.experiment.in_(experiments), runs.c.status == RunStatus.COMPLETE)
            .order_by(runs.c.ended_at.desc(), runs.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            now, found = self._now(), [run_of(row) for row in connection.execute(query)]
            return [
                Past(
                    run,
                    tuple(trial_of(row, None) for row in _searched(connection, run.id)),
                    _seconds(run.ended_at or now, now),
                )
                for run in found
            ]

    def finish_run(self, run_id: int, status: RunStatus, reason: str) -> Run:
        """End a run; one that has ended stays as it is."""
        if status not in (RunStatus.COMPLETE, RunStatus.FAILED):
            raise ValueError(f"a run can end complete or failed, got {status}")
        with self._database.write() as connection:
            run = _locked_run(connection, run_id)
            if run.status is not RunStatus.RUNNING:
                return run
            end = {"status": status, "reason": reason, "ended_at": self._now()}
            connection.execute(update(runs).where(runs.c.id == run_id).values(end))
            return run_of(_run_row(connection, run_id))

    def forget_fingerprint(self, run_id: int) -> None:
        """Let no run reuse the results of this one, nor this one any more those of others."""
        with self._database.write() as connection:
            _locked_run(connection, run_id)
            unknown = update(runs).where(runs.c.id == run_id).values(fingerprint=None)
            connection.execute(unknown)

    def judge_run_again(self, run_id: int, status: RunStatus, reason: str) -> Run:
        """Change the verdict on a run that has ended; one that has not stays as it is."""
        with self._database.write() as connection:
            run = _locked_run(connection, run_id)
            if run.status not in (RunStatus.COMPLETE, RunStatus.FAILED):
                return run
            verdict = {"status": RunStatus(status), "reason": reason}
            connection.execute(update(runs).where(runs.c.id == run_id).values(verdict))
            return run_of(_run_row(connection, run_id))

    # Leases

    def lease(self, run_id: int, slot: str, ask: Callable[[History], Step]) -> Lease:
        """Give what a slot was answered, or ask and keep the answer and its new trials.

        `ask` runs at most once per slot whose answer is kept, inside the transaction: it must not
        write to this store. If it raises, nothing is kept. A run that has ended leases nothing
        new: it stops, for the reason that it has ended for. New trials whose result is known from
        another run of the same fingerprint are complete at once.
        """
        return self._lease(run_id, slot, lambda _, __, history: ask(history))

    def lease_final(
        self, run_id: int, slot: str, ask: Callable[[History, Model | None], Finale]
    ) -> Lease:
        """Do as `lease` for a run's final trials, and enter the challenger beside them.

        `ask` is told the experiment's champion, whom the challenger will be compared with.
        """

        def answer(connection: Connection, run: Run, history: History) -> Step:
            lock(connection, run.experiment)
            finale = ask(history, champion(connection, run.experiment))
            if (won := finale.challenger) is not None:
                now = self._now()
                challenge(connection, run.experiment, run_id, won.number, won.params, now)
            return finale

        return self._lease(run_id, slot, answer)

    def _lease(
        self, run_id: int, slot: str, answer: Callable[[Connection, Run, History], Step]
    ) -> Lease:
        with self._database.write() as connection:
            run = _locked_run(connection, run_id)
            answered = _leased(connection, run_id, slot)
            if answered is not None:
                return answered
            if run.status is not RunStatus.RUNNING:
                return Lease(stop=_ended(run))
            now = self._now()
            history = _history(connection, run, now)
            _keep(connection, run, slot, answer(connection, run, history), history, now)
            return _leased(connection, run_id, slot) or Lease()

    def leased(self, run_id: int, slot: str) -> Lease | None:
        """Give what a slot was answered, None if it never asked."""
        with self._database.read() as connection:
            return _leased(connection, run_id, slot)

    def stop_of(self, run_id: int) -> Decision | None:
        """Give the first stop that any slot of a run was answered."""
        query = (
            select(leases)
            .where(leases.c.run_id == run_id, leases.c.action.is_not(None))
            .order_by(leases.c.id)
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return None if row is None else decision_of(row)

    # Trials and attempts

    def history(self, run_id: int) -> History:
        """Give all that a decision may depend on; NotFound."""
        with self._database.read() as connection:
            return _history(connection, run_of(_run_row(connection, run_id)), self._now())

    def trial(self, run_id: int, number: int) -> Trial:
        """Give a trial; NotFound."""
        with self._database.read() as connection:
            return _trial(connection, run_id, number)

    def attempts(self, run_id: int, number: int) -> list[Attempt]:
        """List a trial's attempts by number; NotFound if there is no such trial."""
        with self._database.read() as connection:
            _trial_row(connection, run_id, number)
            return _attempts(connection, run_id, number)

    def is_live(self, run_id: int, number: int, attempt: int) -> bool:
        """Say whether an attempt is one of a run, and neither has ended; unknown ones are not."""
        place = (attempts.c.run_id == run_id, attempts.c.trial == number)
        query = (
            select(attempts.c.id)
            .join(runs, runs.c.id == attempts.c.run_id)
            .where(*place, attempts.c.number == attempt)
            .where(attempts.c.state == AttemptState.RUNNING, runs.c.status == RunStatus.RUNNING)
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def view(self, run_id: int) -> RunView:
        """Give everything about a run, in a handful of queries; NotFound."""
        with self._database.read() as connection:
            run = run_of(_run_row(connection, run_id))
            tried: dict[int, list[Attempt]] = defaultdict(list)
            for attempt in _attempts(connection, run_id):
                tried[attempt.trial].append(attempt)
            rows = _trial_rows(connection, run_id)
            seen = {**_last_observations(connection, run_id), **curves(connection, rows)}
            views = [
                TrialView(
                    trial=trial_of(row, _duration_s(_spans(tried[row.number]))),
                    slot=row.slot,
                    attempts=tried[row.number],
                    observations=seen.get(row.number, []),
                )
                for row in rows
            ]
            searched = [view for view in views if view.trial.origin is not Origin.FINAL]
            finals = [view for view in views if view.trial.origin is Origin.FINAL]
            champion = seen_by(connection, run.experiment, run_id)
            return RunView(run, searched, finals, of_run(connection, run_id), champion)

    def open_attempt(
        self, run_id: int, number: int, handle_for: Callable[[int], Mapping[str, Any]]
    ) -> Attempt:
        """Give the live attempt of a trial, or begin the next one, with `handle_for(its number)`.

        There is never more than one live attempt. AlreadyFinished if the trial has ended, or if
        its run has and there is no live attempt to take over.
        """
        with self._database.write() as connection:
            run = _locked_run(connection, run_id)
            trial = _trial(connection, run_id, number)
            if trial.state is not TrialState.RUNNING:
                raise AlreadyFinished(f"trial {number} is {trial.state}: {trial.reason}")
            tried = _attempts(connection, run_id, number)
            if tried and tried[-1].state is AttemptState.RUNNING:
                return tried[-1]
            if run.status is not RunStatus.RUNNING:
                raise AlreadyFinished(f"trial {number} cannot go on: {_ended(run).reason}")
            following = tried[-1].number + 1 if tried else 1
            handle = dict(handle_for(following))
            return _insert_attempt(connection, run_id, number, following, handle, self._now())

    def close_attempt(self, attempt_id: int, outcome: Outcome, *, final: bool) -> Trial:
        """Record what became of an attempt and, if final, of its trial; give the trial.

        The first writer wins: an attempt that has ended, and a trial whose newest attempt is
        another one, stay as they are. ValueError if a final outcome lacks what its trial needs:
        a finite value, or a cause.
        """
        if outcome.state is AttemptState.RUNNING:
            raise ValueError("an attempt can end succeeded or failed, got running")
        result = _result(outcome) if final else None
        with self._database.write() as connection:
            run_id, number = _place(connection, attempt_id)
            _locked_run(connection, run_id)
            tried = _attempts(connection, run_id, number)
            attempt = next(one for one in tried if one.id == attempt_id)
            if attempt.state is AttemptState.RUNNING:
                now = self._now()
                _end_attempt(connection, attempt_id, outcome, now)
                if result is not None and attempt == tried[-1]:
                    _end_trial(connection, run_id, number, result, now)
            return _trial(connection, run_id, number)

    def recollect(self, attempt_id: int, outcome: Outcome, spec: Spec) -> Trial:
        """Give an ended trial the metrics of an outcome that was read again, as `spec` reads them.

        The one way from failed to complete: for metrics that were there and were not found, nothing
        is run. The run gets the spec, which may differ in `metrics` alone, and no other run takes
        its results over. ValueError if the outcome has no finite value, if the trial still runs,
        or if the attempt is not its newest.
        """
        result = _result(outcome) | {"cause": None}
        if outcome.state is not AttemptState.SUCCEEDED:
            raise ValueError(f"only a success can be collected again, got {outcome.state}")
        with self._database.write() as connection:
            run_id, number = _place(connection, attempt_id)
            run = _locked_run(connection, run_id)
            _check_recollected(connection, run, number, attempt_id, spec)
            read = {"state": outcome.state, "cause": None, "reason": outcome.reason}
            connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(read))
            of_attempt = observations.c.attempt_id == attempt_id
            connection.execute(delete(observations).where(of_attempt))
            rows = observation_rows(attempt_id, outcome.observations)
            _insert_all(connection, observations, rows)
            this = and_(trials.c.run_id == run_id, trials.c.number == number)
            connection.execute(update(trials).where(this).values(result))
            changed = {"spec": spec.dump(), "digest": spec.digest, "fingerprint": None}
            connection.execute(update(runs).where(runs.c.id == run_id).values(changed))
            return _trial(connection, run_id, number)

    def fail_trial(self, run_id: int, number: int, cause: Cause, reason: str) -> Trial:
        """End a trial and its live attempt, for want of an outcome; one that has ended stays."""
        outcome = Outcome(AttemptState.FAILED, reason, cause=cause)
        with self._database.write() as connection:
            _locked_run(connection, run_id)
            trial = _trial(connection, run_id, number)
            if trial.state is not TrialState.RUNNING:
                return trial
            now = self._now()
            for attempt in _attempts(connection, run_id, number):
                if attempt.state is AttemptState.RUNNING:
                    _end_attempt(connection, attempt.id, outcome, now)
            _end_trial(connection, run_id, number, _result(outcome), now)
            return _trial(connection, run_id, number)


def _put_run(connection: Connection, key: RunKey, values: Mapping[str, Any]) -> Run:
    """Write a run whose key is new or was refused: to both, nothing has happened yet."""
    named = {"dag_id": key.dag_id, "dag_run_id": key.dag_run_id}
    blank = {"status": RunStatus.REFUSED, "triggered_by": "", "provenance": {}}
    new = named | blank | {"started_at": values["started_at"]}
    _insert_unless_there(connection, runs, new)
    run = run_of(_run_row(connection, key, lock=True))
    if run.status is not RunStatus.REFUSED:
        return run
    connection.execute(update(runs).where(runs.c.id == run.id).values(values))
    return run_of(_run_row(connection, run.id))


def _insert_unless_there(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    kind = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(kind(table).values(row).on_conflict_do_nothing())


def _locked_run(connection: Connection, run_id: int) -> Run:
    """Give a run and keep every other writer away from it until the transaction ends."""
    return run_of(_run_row(connection, run_id, lock=True))


def _run_row(connection: Connection, wanted: int | RunKey, *, lock: bool = False) -> Row[Any]:
    query = select(runs)
    if isinstance(wanted, RunKey):
        query = query.where(runs.c.dag_id == wanted.dag_id, runs.c.dag_run_id == wanted.dag_run_id)
    else:
        query = query.where(runs.c.id == wanted)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(_no_run(wanted))
    return row


def _no_run(wanted: int | RunKey) -> str:
    if isinstance(wanted, RunKey):
        return f"the store has no run of DAG {wanted.dag_id!r} named {wanted.dag_run_id!r}"
    return f"the store has no run {wanted}"


def _ended(run: Run) -> Decision:
    reason = f"the run is {run.status}: {run.reason}"
    return Decision.stop(reason, failed=run.status is not RunStatus.COMPLETE)


def _leased(connection: Connection, run_id: int, slot: str) -> Lease | None:
    same_trial = and_(trials.c.run_id == leases.c.run_id, trials.c.number == leases.c.trial)
    query = (
        select(leases, *(trials.c[name] for name in _ASSIGNED))
        .outerjoin(trials, same_trial)
        .where(leases.c.run_id == run_id, leases.c.slot == slot)
        .order_by(leases.c.position)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    stops = [decision_of(row) for row in rows if row.action is not None]
    placed = [(assignment_of(row), reused_of(row)) for row in rows if row.trial is not None]
    return Lease(
        assignments=tuple(one for one, source in placed if source is None),
        stop=stops[0] if stops else None,
        reused=tuple((one, source) for one, source in placed if source is not None),
    )


def _keep(
    connection: Connection, run: Run, slot: str, step: Step, history: History, now: datetime
) -> None:
    there = {trial.number for trial in history.trials}
    placed = list(enumerate(step.assignments))
    fresh = [(position, one) for position, one in placed if one.trial not in there]
    results = known(connection, run, [one for _, one in fresh])
    ended = {number: result | {"ended_at": now} for number, result in results.items()}
    new = [
        _trial_values(one) | {"position": position} | ended.get(one.trial, {})
        for position, one in fresh
    ]
    answer = [assignment_row(assignment) | {"position": at} for at, assignment in placed]
    if step.stop is not None or not answer:
        answer.append(decision_row(step.stop) | {"position": len(answer)})
    common = {"run_id": run.id, "slot": slot, "created_at": now}
    _insert_all(connection, trials, [common | row for row in new])
    _insert_all(connection, leases, [common | row for row in answer])


def _trial_values(assignment: Assignment) -> dict[str, Any]:
    return {
        "number": assignment.trial,
        "params": dict(assignment.params),
        "params_hash": _hash(assignment),
        "repeat": assignment.repeat,
        "origin": assignment.origin,
        "state": TrialState.RUNNING,
        "metrics": {},
        **dict.fromkeys(_OF_A_RESULT),
    }


def _hash(assignment: Assignment) -> str:
    """Hash what no two trials of a run share: a configuration, and its repeat in final training."""
    digest = params_key(assignment.params)
    return f"{digest}#{assignment.repeat}" if assignment.repeat else digest


def _insert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _history(connection: Connection, run: Run, now: datetime) -> History:
    columns = (attempts.c.trial, attempts.c.started_at, attempts.c.ended_at)
    query = select(*columns).where(attempts.c.run_id == run.id)
    spans: dict[int, list[Span]] = defaultdict(list)
    for row in connection.execute(query):
        spans[row.trial].append((row.started_at, row.ended_at))
    rows = _searched(connection, run.id)
    return History(
        trials=tuple(trial_of(row, _duration_s(spans[row.number])) for row in rows),
        elapsed_s=_seconds(run.started_at, run.ended_at or now),
        earlier=Advice.read(run.earlier).earlier,
    )


def _duration_s(spans: Iterable[Span]) -> float | None:
    """Sum up the run time of the attempts that have ended, None without one."""
    times = [_seconds(start, end) for start, end in spans if end is not None]
    return math.fsum(times) if times else None


def _spans(tried: Iterable[Attempt]) -> list[Span]:
    return [(attempt.started_at, attempt.ended_at) for attempt in tried]


def _seconds(start: datetime, end: datetime) -> float:
    """Give the time between two clocks, which may disagree: never less than nothing."""
    return max(0.0, (end - start).total_seconds())


def _trial_rows(connection: Connection, run_id: int) -> Sequence[Row[Any]]:
    query = select(trials).where(trials.c.run_id == run_id).order_by(trials.c.number)
    return connection.execute(query).all()


def _searched(connection: Connection, run_id: int) -> list[Row[Any]]:
    """Give the trials of a run's search: all but the final ones."""
    return [row for row in _trial_rows(connection, run_id) if row.origin != Origin.FINAL]


def _trial_row(connection: Connection, run_id: int, number: int) -> Row[Any]:
    query = select(trials).where(trials.c.run_id == run_id, trials.c.number == number)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"run {run_id} has no trial {number}")
    return row


def _trial(connection: Connection, run_id: int, number: int) -> Trial:
    row = _trial_row(connection, run_id, number)
    return trial_of(row, _duration_s(_spans(_attempts(connection, run_id, number))))


def _attempts(connection: Connection, run_id: int, number: int | None = None) -> list[Attempt]:
    query = select(attempts).where(attempts.c.run_id == run_id)
    if number is not None:
        query = query.where(attempts.c.trial == number)
    rows = connection.execute(query.order_by(attempts.c.trial, attempts.c.number))
    return [attempt_of(row) for row in rows]


def _last_observations(connection: Connection, run_id: int) -> dict[int, list[Observation]]:
    """Give the observations of each trial's newest attempt, by trial."""
    newest = select(func.max(attempts.c.id)).where(attempts.c.run_id == run_id)
    query = (
        select(observations, attempts.c.trial)
        .join(attempts, attempts.c.id == observations.c.attempt_id)
        .where(attempts.c.id.in_(newest.group_by(attempts.c.trial)))
        .order_by(observations.c.attempt_id, observations.c.position)
    )
    found: dict[int, list[Observation]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.trial].append(observation_of(row))
    return found


def _insert_attempt(
    connection: Connection,
    run_id: int,
    trial: int,
    number: int,
    handle: Mapping[str, Any],
    now: datetime,
) -> Attempt:
    values = {
        "run_id": run_id,
        "trial": trial,
        "number": number,
        "handle": handle,
        "state": AttemptState.RUNNING,
        "started_at": now,
        "log_tail": "",
    }
    connection.execute(insert(attempts).values(values))
    this = and_(trials.c.run_id == run_id, trials.c.number == trial)
    first = update(trials).where(this, trials.c.started_at.is_(None))
    connection.execute(first.values(started_at=now))
    return _attempts(connection, run_id, trial)[-1]


def _place(connection: Connection, attempt_id: int) -> tuple[int, int]:
    """Give run and trial of an attempt, which never change; NotFound."""
    query = select(attempts.c.run_id, attempts.c.trial).where(attempts.c.id == attempt_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"the store has no attempt {attempt_id}")
    return row.run_id, row.trial


def _end_attempt(connection: Connection, attempt_id: int, outcome: Outcome, now: datetime) -> None:
    values = {
        "state": outcome.state,
        "cause": outcome.cause,
        "reason": outcome.reason,
        "exit_code": outcome.exit_code,
        "ended_at": now,
        "log_tail": outcome.log_tail,
    }
    connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(values))
    _insert_all(connection, observations, observation_rows(attempt_id, outcome.observations))


def _check_recollected(
    connection: Connection, run: Run, number: int, attempt_id: int, spec: Spec
) -> None:
    if load(run.spec).model_copy(update={"metrics": spec.metrics}) != spec:
        raise ValueError(f"run {run.id} can be collected again with other metrics only")
    tried, trial = _attempts(connection, run.id, number), _trial(connection, run.id, number)
    if trial.state is TrialState.RUNNING:
        raise ValueError(f"trial {number} of run {run.id} is still running")
    if tried[-1].id != attempt_id:
        raise ValueError(f"attempt {tried[-1].number} of trial {number} is newer")


def _result(outcome: Outcome) -> dict[str, Any]:
    """Give what a trial becomes by a final outcome; ValueError if the outcome does not say."""
    shared = {"reason": outcome.reason, "metrics": dict(outcome.metrics)}
    if outcome.state is AttemptState.SUCCEEDED:
        if outcome.value is None or not math.isfinite(outcome.value):
            raise ValueError(f"the value of a complete trial must be finite, got {outcome.value}")
        return shared | {"state": TrialState.COMPLETE, "value": float(outcome.value)}
    if outcome.cause is None:
        raise ValueError(f"a failed trial must have a cause, got only {outcome.reason!r}")
    return shared | {"state": TrialState.FAILED, "cause": outcome.cause}


def _end_trial(
    connection: Connection, run_id: int, number: int, result: Mapping[str, Any], now: datetime
) -> None:
    """End a trial that is still running."""
    running = and_(
        trials.c.run_id == run_id,
        trials.c.number == number,
        trials.c.state == TrialState.RUNNING,
    )
    connection.execute(update(trials).where(running).values({**result, "ended_at": now}))
