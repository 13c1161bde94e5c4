"""Places for trials, where an operator has set how many may run at once: who may begin, who waits.

Whoever asks holds the only row of `identity` until the end of the transaction, so that two who ask
at the same time never take one place.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, func, literal_column, or_, select, update

from hpo_lib.core.shares import Shares, Waiting, may_begin
from hpo_lib.core.shares import why_not as shares_why_not
from hpo_lib.core.trial import TrialState
from hpo_lib.records import Provenance, Run, RunStatus
from hpo_lib.store.queries import seconds
from hpo_lib.store.schema import attempts, identity, runs, trials, waiting
from hpo_lib.store.writes import insert_unless_there

#: Who has not asked for so long waits no more: its task was killed. It asks every few seconds.
_GONE_S = 30.0
#: What a team has used counts for so long, of runs that go on.
_LATELY_S = 3_600.0
#: How DAG runs come to be that no person has started.
_NIGHTLY = {"scheduled", "asset_triggered", "backfill"}


def admit(connection: Connection, run: Run, trial: int, shares: Shares, now: datetime) -> bool:
    """Say whether a trial may begin now; if not, it waits, and has to ask again soon."""
    connection.execute(select(identity.c.id).with_for_update()).first()
    _forget_gone(connection, now)
    mine = {"run_id": run.id, "trial": trial}
    insert_unless_there(connection, waiting, mine | {"since": now, "seen_at": now})
    this = and_(waiting.c.run_id == run.id, waiting.c.trial == trial)
    connection.execute(update(waiting).where(this).values(seen_at=now))
    used = _used(connection, now - timedelta(seconds=_LATELY_S))
    chosen = may_begin(shares, _running(connection), _waiting(connection, now), used)
    if all((one.run, one.trial) != (run.id, trial) for one in chosen):
        return False
    connection.execute(delete(waiting).where(this))
    return True


def count_waiting(connection: Connection, run_id: int, now: datetime) -> int:
    """Count a run's trials that have asked for a place lately, and have none."""
    query = (
        select(func.count())
        .select_from(waiting)
        .join(trials, and_(trials.c.run_id == waiting.c.run_id, trials.c.number == waiting.c.trial))
        .where(waiting.c.run_id == run_id, trials.c.state == TrialState.RUNNING)
        .where(waiting.c.seen_at >= now - timedelta(seconds=_GONE_S))
    )
    return int(connection.execute(query).scalar_one())


def why_not(connection: Connection, team: str, shares: Shares) -> str:
    """Say why a trial of a team may not begin now."""
    return shares_why_not(shares, _running(connection), team)


def _forget_gone(connection: Connection, now: datetime) -> None:
    """Let go of who asks no more, also where the clock was stepped back after its last question."""
    lately, soon = (now + timedelta(seconds=sign * _GONE_S) for sign in (-1, 1))
    seen = waiting.c.seen_at
    connection.execute(delete(waiting).where(or_(seen < lately, seen > soon)))


def _running(connection: Connection) -> dict[str, int]:
    """Count the attempts that run, by team; as a word, the state lets SQLite use its index."""
    live = and_(attempts.c.state == literal_column("'running'"), runs.c.status == RunStatus.RUNNING)
    query = (
        select(runs.c.team, func.count().label("trials"))
        .join(attempts, attempts.c.run_id == runs.c.id)
        .where(live)
        .group_by(runs.c.team)
    )
    return {row.team: row.trials for row in connection.execute(query)}


def _used(connection: Connection, since: datetime) -> dict[str, float]:
    """Sum up for how many seconds attempts have run that ended since, by team."""
    query = (
        select(runs.c.team, attempts.c.started_at, attempts.c.ended_at)
        .join(attempts, attempts.c.run_id == runs.c.id)
        .where(runs.c.status == RunStatus.RUNNING, attempts.c.ended_at > since)
    )
    found: dict[str, float] = {}
    for row in connection.execute(query):
        found[row.team] = found.get(row.team, 0.0) + seconds(row.started_at, row.ended_at)
    return found


def _waiting(connection: Connection, now: datetime) -> list[Waiting]:
    query = (
        select(waiting, runs.c.team, runs.c.provenance)
        .join(runs, runs.c.id == waiting.c.run_id)
        .where(runs.c.status == RunStatus.RUNNING)
    )
    return [
        Waiting(
            run=row.run_id,
            trial=row.trial,
            team=row.team,
            waited_s=seconds(row.since, now),
            nightly=Provenance.read(row.provenance).way in _NIGHTLY,
        )
        for row in connection.execute(query)
    ]
