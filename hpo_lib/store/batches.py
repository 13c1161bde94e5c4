"""What a slot is to run: its batch of assignments, given once and for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Protocol

from sqlalchemy import Connection, and_, func, select

from hpo_lib.core.space import key as params_key
from hpo_lib.core.trial import (
    Assignment,
    Decision,
    History,
    Reused,
    Trial,
    TrialState,
)
from hpo_lib.records import (
    Run,
    RunStatus,
    TrialDecision,
)
from hpo_lib.store.decisions import keep_promotions, keep_stops, read_decisions
from hpo_lib.store.reuse import known as known_results
from hpo_lib.store.rows import (
    assignment_of,
    assignment_row,
    decision_of,
    decision_row,
    reused_of,
)
from hpo_lib.store.schema import leases, trials
from hpo_lib.store.writes import insert_all

#: The slot whose answer is the stop that somebody has asked for.
STOPPED = "stopped"
#: Columns of `trials` that an assignment is read from, with its row of `leases`.
_ASSIGNED = ("params", "origin", "repeat", "reused_run", "reused_trial")
#: What joins the two.
SAME_TRIAL = and_(trials.c.run_id == leases.c.run_id, trials.c.number == leases.c.trial)
#: Columns in which a new trial has a value only if its result is known already.
_OF_A_RESULT = ("value", "reason", "ended_at", "reused_run", "reused_trial")


class Answer(Protocol):
    """An answer of the engine: what to try next, and whether to stop."""

    @property
    def assignments(self) -> Sequence[Assignment]:
        """What to try: new trials, and trials that waited and go on."""
        ...

    @property
    def decisions(self) -> Mapping[int, Decision]:
        """What the scheduler says of trials that run or wait, by number."""
        ...

    @property
    def stop(self) -> Decision | None:
        """Why the run is to stop; None if it is not."""
        ...


class FinalAnswer(Answer, Protocol):
    """An answer about final training, which also names the challenger."""

    @property
    def challenger(self) -> Trial | None:
        """The trial of the search whose configuration is trained again, if any is."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """What a slot was answered, once and for all: assignments by position, and a stop.

    `reused` are further trials of the slot that are complete already, each with the trial whose
    result it has.
    `decisions` are what the scheduler decided when it was asked.
    """

    assignments: Sequence[Assignment] = ()
    stop: Decision | None = None
    reused: Sequence[tuple[Assignment, Reused]] = ()
    decisions: Sequence[TrialDecision] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer may depend on, and the spec and newest row of the run's answers by then."""

    history: History
    newest: int
    document: Mapping[str, Any]


def given(connection: Connection, run: Run, slot: str) -> Batch | None:
    """Give a slot's answer; None if it is to be asked for.

    A new slot gets a stop in a run that has ended, or that somebody has stopped.
    """
    known = answered(connection, run.id, slot)
    if known is None and run.status is not RunStatus.RUNNING:
        return Batch(stop=stop_of_ended(run))
    if known is None and (stop := stopped(connection, run.id)) is not None:
        return Batch(stop=stop)
    return known


def settled(connection: Connection, run_id: int, slot: str) -> Batch | None:
    """Give a slot's answer, else the stop that another slot was told; None if there is neither."""
    stop = first_stop(connection, run_id)
    known = answered(connection, run_id, slot)
    return Batch(stop=stop) if known is None and stop is not None else known


def is_open(connection: Connection, run: Run, asked: Question) -> bool:
    """Say whether an answer may be kept: the run goes on with the spec that was asked about, and
    no other answer was kept meanwhile.

    Results that have come in meanwhile are no hindrance: it might have been asked before them.
    """
    going = run.status is RunStatus.RUNNING and run.document == asked.document
    return going and newest(connection, run.id) == asked.newest


def keep(
    connection: Connection,
    run: Run,
    slot: str,
    step: Answer,
    history: History,
    now: datetime,
    *,
    first: int = 0,
) -> Batch:
    """Keep an answer to a slot with its new trials, and give it as it is given from now on.

    `first` is its first position: that of a slot with several turns is not 0.
    """
    _keep(connection, run, slot, step, history, now, first)
    return answered(connection, run.id, slot, first) or Batch()


def newest(connection: Connection, run_id: int) -> int:
    """Number the newest row of a run's answers; 0 if it has none."""
    query = select(func.max(leases.c.id)).where(leases.c.run_id == run_id)
    return int(connection.execute(query).scalar() or 0)


def newest_assignment(
    connection: Connection, run_id: int, number: int
) -> tuple[str, Assignment] | None:
    """Give the slot that a trial was last given to, and what it is to do there."""
    query = (
        select(leases, *(trials.c[name] for name in _ASSIGNED))
        .join(trials, SAME_TRIAL)
        .where(leases.c.run_id == run_id, leases.c.trial == number)
        .order_by(leases.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else (row.slot, assignment_of(row))


def stop_of_ended(run: Run) -> Decision:
    """Say why a run that has ended goes no further."""
    reason = f"the run is {run.status}: {run.reason}"
    return Decision.stop(reason, failed=run.status is not RunStatus.COMPLETE)


def first_stop(connection: Connection, run_id: int) -> Decision | None:
    """Give the stop that somebody has asked for, else the first among the answers to slots."""
    query = (
        select(leases)
        .where(leases.c.run_id == run_id, leases.c.action.is_not(None))
        .order_by(leases.c.slot != STOPPED, leases.c.id)
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else decision_of(row)


def stopped(connection: Connection, run_id: int) -> Decision | None:
    """Give the stop that somebody has asked for; None if nobody has."""
    batch = answered(connection, run_id, STOPPED)
    return None if batch is None else batch.stop


def answered(connection: Connection, run_id: int, slot: str, first: int = 0) -> Batch | None:
    """Give a slot's answer from its position `first` on, None if it has none yet."""
    query = (
        select(leases, *(trials.c[name] for name in _ASSIGNED))
        .outerjoin(trials, SAME_TRIAL)
        .where(leases.c.run_id == run_id, leases.c.slot == slot, leases.c.position >= first)
        .order_by(leases.c.position)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    stops = [decision_of(row) for row in rows if row.action is not None]
    placed = [(assignment_of(row), reused_of(row)) for row in rows if row.trial is not None]
    return Batch(
        assignments=tuple(one for one, source in placed if source is None),
        stop=stops[0] if stops else None,
        reused=tuple((one, source) for one, source in placed if source is not None),
        decisions=tuple(read_decisions(connection, run_id, slot)),
    )


def _keep(
    connection: Connection,
    run: Run,
    slot: str,
    step: Answer,
    history: History,
    now: datetime,
    first: int,
) -> None:
    asked = {assignment.trial for assignment in step.assignments}
    there = asked.intersection(map(attrgetter("number"), history.trials))
    placed = list(enumerate(step.assignments, first))
    keep_stops(connection, run.id, slot, step.decisions, now)
    promoted = [(position, one) for position, one in placed if one.trial in there]
    keep_promotions(connection, run.id, slot, promoted, now)
    fresh = [(position, one) for position, one in placed if one.trial not in there]
    results = known_results(connection, run, [one for _, one in fresh])
    ended = {number: result | {"ended_at": now} for number, result in results.items()}
    new = [
        _trial_values(one) | {"position": position} | ended.get(one.trial, {})
        for position, one in fresh
    ]
    answer = [assignment_row(assignment) | {"position": at} for at, assignment in placed]
    if step.stop is not None or not answer:
        answer.append(decision_row(step.stop) | {"position": first + len(answer)})
    common = {"run_id": run.id, "slot": slot, "created_at": now}
    insert_all(connection, trials, [common | row for row in new])
    insert_all(connection, leases, [common | row for row in answer])


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
