"""What a scheduler has decided of trials, as rows, and what follows for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, select

from hpo_lib.core.trial import Action, Assignment, Decision, TrialState
from hpo_lib.records import TrialDecision
from hpo_lib.store.rows import trial_decision_of
from hpo_lib.store.schema import decisions, trials
from hpo_lib.store.writes import change_trial, insert_all


def read_decisions(
    connection: Connection, run_id: int, slot: str | None = None
) -> list[TrialDecision]:
    """List what was decided of a run's trials, in order; or what came with one slot's answer."""
    query = select(decisions).where(decisions.c.run_id == run_id).order_by(decisions.c.id)
    if slot is not None:
        query = query.where(decisions.c.slot == slot)
    return [trial_decision_of(row) for row in connection.execute(query)]


def told_to_stop(connection: Connection, run_id: int, number: int) -> str | None:
    """Say why a trial is to stop, None if nobody has decided that."""
    this = and_(decisions.c.run_id == run_id, decisions.c.trial == number)
    query = select(decisions.c.reason).where(this, decisions.c.action == Action.STOP)
    found: str | None = connection.execute(query.limit(1)).scalar()
    return found


def keep_stops(
    connection: Connection,
    run_id: int,
    slot: str | None,
    said: Mapping[int, Decision],
    now: datetime,
) -> None:
    """Keep once which trials stop, and stop those that wait; a running trial's task ends it."""
    stops = {number: one for number, one in said.items() if one.action is Action.STOP}
    if not stops:
        return
    known = {one.trial for one in read_decisions(connection, run_id) if one.action is Action.STOP}
    fresh = {number: one for number, one in stops.items() if number not in known}
    common = {"run_id": run_id, "slot": slot, "resource": None, "created_at": now}
    rows = [
        common | {"trial": number, "action": one.action, "reason": one.reason}
        for number, one in fresh.items()
    ]
    insert_all(connection, decisions, rows)
    for number, one in stops.items():
        stopped = {"state": TrialState.STOPPED, "reason": one.reason, "ended_at": now}
        change_trial(connection, run_id, number, TrialState.WAITING, stopped)


def stop_waiting(connection: Connection, run_id: int, reason: str, now: datetime) -> None:
    """Stop every trial of a run that waits."""
    this = and_(trials.c.run_id == run_id, trials.c.state == TrialState.WAITING)
    numbers = connection.execute(select(trials.c.number).where(this)).scalars()
    ended = Decision.stop(reason)
    keep_stops(connection, run_id, None, dict.fromkeys(numbers, ended), now)


def keep_promotions(
    connection: Connection,
    run_id: int,
    slot: str,
    promoted: Sequence[tuple[int, Assignment]],
    now: datetime,
) -> None:
    """Let trials that waited run again, in another slot at the given positions, and keep why.

    ValueError if one of them does not wait.
    """
    for position, one in promoted:
        going = {"state": TrialState.RUNNING, "slot": slot, "position": position}
        going |= {"reason": None, "ended_at": None}
        if not change_trial(connection, run_id, one.trial, TrialState.WAITING, going):
            raise ValueError(f"trial {one.trial} cannot go on: it does not wait")
    common = {"run_id": run_id, "slot": slot, "action": Action.PROMOTE, "created_at": now}
    rows = [
        common | {"trial": one.trial, "reason": one.reason, "resource": one.resource}
        for _, one in promoted
    ]
    insert_all(connection, decisions, rows)
