"""Runs and experiments with what became of them, summed up by the database: for pages of many."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, case, cast, func, or_, select

from hpo_lib.core.trial import Direction, Origin, Trial, TrialState
from hpo_lib.errors import SpecError, nearest
from hpo_lib.records import AttemptState, Run, RunStatus, TrialView
from hpo_lib.store import table
from hpo_lib.store.database import Database
from hpo_lib.store.json_values import epoch
from hpo_lib.store.models import of_run
from hpo_lib.store.queries import read_run
from hpo_lib.store.rows import run_of, trial_of
from hpo_lib.store.schema import attempts, audit, decisions, leases, observations, runs, trials

_OPEN = (TrialState.RUNNING, TrialState.WAITING)
#: What runs are sorted by in the database.
SORTED: Mapping[str, ColumnElement[Any]] = {
    "id": runs.c.id,
    "experiment": runs.c.experiment,
    "status": runs.c.status,
    "triggered_by": runs.c.triggered_by,
    "started_at": runs.c.started_at,
    "ended_at": runs.c.ended_at,
}
_SEARCHED = (runs.c.experiment, runs.c.triggered_by, runs.c.reason, runs.c.dag_run_id)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a run's trials come to; times are of attempts, in seconds, and of the search alone.

    `ended` counts the trials that were trained and have ended, which took `ended_s`. `busy_s` is
    of all attempts that have ended, `running` says since when the others run. `final_s` is of the
    attempts of final training. `lowest` and `highest` are values of the first objective.
    """

    states: Mapping[TrialState, int] = field(default_factory=dict)
    finals: int = 0
    reused: int = 0
    lowest: float | None = None
    highest: float | None = None
    ended: int = 0
    ended_s: float = 0.0
    busy_s: float = 0.0
    final_s: float = 0.0
    running: Sequence[datetime] = ()
    first_start: datetime | None = None
    last_end: datetime | None = None

    @property
    def trials(self) -> int:
        """How many trials the search has."""
        return sum(self.states.values())

    @property
    def done(self) -> int:
        """How many of these have ended."""
        return self.trials - sum(self.states.get(one, 0) for one in _OPEN)

    def best(self, direction: Direction) -> float | None:
        """Give the best value of the first objective."""
        return self.lowest if direction is Direction.MINIMIZE else self.highest


@dataclass(frozen=True, slots=True)
class Sought:
    """Which runs of these DAGs: `search` is in a name, a reason, or who; the rest is equal."""

    dags: Collection[str]
    search: str = ""
    experiment: str | None = None
    team: str | None = None
    statuses: Collection[RunStatus] = ()
    sort: str = "id"
    descending: bool = True
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Group:
    """An experiment: how many runs it has, how many of them run, and the newest one's number."""

    name: str
    team: str
    runs: int
    running: int
    newest: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Sums up what a store holds; `Store.overview` gives it."""

    database: Database
    now: Callable[[], datetime]

    def runs(self, sought: Sought) -> tuple[list[Run], int]:
        """Give a page of runs, and how many there are on all pages; SpecError."""
        with self.database.read() as connection:
            query = select(runs).order_by(*_order(sought), runs.c.id.desc())
            rows = connection.execute(
                _which(query, sought).offset(sought.offset).limit(sought.limit)
            )
            found = [run_of(row) for row in rows]
            return found, _counted(connection, _which(select(func.count(runs.c.id)), sought))

    def experiments(self, sought: Sought) -> tuple[list[Group], int]:
        """Give a page of experiments, by name or by their newest run, and how many there are."""
        with self.database.read() as connection:
            return _experiments(connection, sought)

    def runs_of(self, numbers: Collection[int]) -> dict[int, Run]:
        """Give runs by their numbers."""
        with self.database.read() as connection:
            rows = connection.execute(select(runs).where(runs.c.id.in_(numbers)))
            return {row.id: run_of(row) for row in rows}

    def totals(self, numbers: Collection[int]) -> dict[int, Totals]:
        """Sum up the trials of runs, by the runs' numbers."""
        with self.database.read() as connection:
            counted, timed = _states(connection, numbers), _times(connection, numbers)
            running = _running(connection, numbers)
        return {
            one: Totals(**counted[one], **timed[one], running=tuple(running[one]))
            for one in numbers
        }

    def best(self, run: Run) -> list[Trial]:
        """Give the best trial of a run, or its Pareto front; empty before there is one."""
        goal = run.outline.goal
        if goal is None:
            return []
        query = select(trials).where(trials.c.run_id == run.id, trials.c.origin != Origin.FINAL)
        query = query.where(trials.c.state == TrialState.COMPLETE)
        if not goal.several and not goal.constraints:
            ascending = goal.direction is Direction.MINIMIZE
            value = trials.c.value.asc() if ascending else trials.c.value.desc()
            query = query.order_by(value, trials.c.number).limit(1)
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        return goal.front(trial_of(row, None) for row in rows)

    def deeds(self, numbers: Collection[int]) -> dict[int, int]:
        """Number the newest entry of each run in the audit trail; 0 without one."""
        query = select(audit.c.run_id, func.max(audit.c.id)).where(audit.c.run_id.in_(numbers))
        with self.database.read() as connection:
            rows = connection.execute(query.group_by(audit.c.run_id))
            return dict.fromkeys(numbers, 0) | {one.run_id: one[1] for one in rows}

    def values(self, run_id: int) -> list[tuple[float, datetime]]:
        """Give the values of a search's complete trials in the order in which they have ended."""
        these = (trials.c.run_id == run_id, trials.c.value.is_not(None))
        query = select(trials.c.value, trials.c.ended_at).where(*these)
        query = query.where(trials.c.origin != Origin.FINAL, trials.c.ended_at.is_not(None))
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(trials.c.ended_at, trials.c.number))
            return [(value, ended_at) for value, ended_at in rows]

    def given(self, run_id: int, slot: str) -> list[int]:
        """Number the trials that a slot was given, in the order in which it was."""
        these = (leases.c.run_id == run_id, leases.c.slot == slot, leases.c.trial.is_not(None))
        query = select(leases.c.trial).where(*these).order_by(leases.c.position)
        with self.database.read() as connection:
            return list(dict.fromkeys(connection.execute(query).scalars()))

    def table(self, run_id: int, asked: table.Asked) -> tuple[list[TrialView], int]:
        """Give a page of a run's trials, and how many there are on all pages; SpecError."""
        with self.database.read() as connection:
            return table.page(connection, run_id, asked)

    def version(self, run_id: int) -> str:
        """Give a text that differs once anything of a run has changed: cheap enough to poll."""
        with self.database.read() as connection:
            run, model = read_run(connection, run_id), of_run(connection, run_id)
            newest = [
                connection.execute(
                    select(func.max(one.c.id)).where(one.c.run_id == run_id)
                ).scalar()
                for one in (leases, decisions, attempts, audit)
            ]
            going = _live(connection, run_id)
            shown = select(func.count()).where(observations.c.attempt_id.in_(going))
            told = connection.execute(shown).scalar() if going else 0
            said = (model.status, model.changed_at, model.verdict_reason) if model else None
        facts = (run.status, run.reason, run.document, run.closed, said, going, told)
        return _digest((*facts, *newest))


def _which(query: Select[Any], sought: Sought) -> Select[Any]:
    query = query.where(runs.c.dag_id.in_(sought.dags))
    if sought.experiment is not None:
        query = query.where(runs.c.experiment == sought.experiment)
    if sought.team is not None:
        query = query.where(runs.c.team == sought.team)
    if sought.statuses:
        query = query.where(runs.c.status.in_(sought.statuses))
    if sought.search:
        found = [one.icontains(sought.search, autoescape=True) for one in _SEARCHED]
        number = cast(runs.c.id, Text) == sought.search.lstrip("#")
        query = query.where(or_(*found, number))
    return query


def _order(sought: Sought) -> list[ColumnElement[Any]]:
    if sought.sort not in SORTED:
        hint = nearest(sought.sort, SORTED)
        raise SpecError(f"sort: must be one of {', '.join(SORTED)}, got {sought.sort[:80]!r}{hint}")
    column = SORTED[sought.sort]
    return [(column.desc() if sought.descending else column.asc()).nulls_last()]


def _experiments(connection: Connection, sought: Sought) -> tuple[list[Group], int]:
    going = func.count(case((runs.c.status == RunStatus.RUNNING, 1)))
    counted = (func.max(runs.c.team), func.count(), going, func.max(runs.c.id))
    named = _which(select(runs.c.experiment, *counted), sought)
    named = named.where(runs.c.experiment.is_not(None)).group_by(runs.c.experiment)
    total = _counted(connection, select(func.count()).select_from(named.subquery()))
    key = runs.c.experiment if sought.sort == "experiment" else func.max(runs.c.id)
    ordered = named.order_by(key.desc() if sought.descending else key.asc())
    rows = connection.execute(ordered.offset(sought.offset).limit(sought.limit))
    return [Group(*row) for row in rows], total


def _counted(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(query).scalar() or 0)


def _states(connection: Connection, numbers: Collection[int]) -> dict[int, dict[str, Any]]:
    """Count the trials of runs by state, and give the ends of their values."""
    is_final = trials.c.origin == Origin.FINAL
    query = (
        select(trials.c.run_id, is_final, trials.c.state, func.count(), func.count(
            trials.c.reused_run), func.min(trials.c.value), func.max(trials.c.value))
        .where(trials.c.run_id.in_(numbers))
        .group_by(trials.c.run_id, is_final, trials.c.state)
    )  # fmt: skip
    found: dict[int, dict[str, Any]] = {
        one: {"states": {}, "finals": 0, "reused": 0, "lowest": None, "highest": None}
        for one in numbers
    }
    for run_id, final, state, count, reused, lowest, highest in connection.execute(query):
        known = found[run_id]
        if final:
            known["finals"] += count
            continue
        known["states"][TrialState(state)] = count
        known["reused"] += reused
        if state == TrialState.COMPLETE:
            known["lowest"], known["highest"] = lowest, highest
    return found


def _times(connection: Connection, numbers: Collection[int]) -> dict[int, dict[str, Any]]:
    """Sum up how long the attempts of runs took."""
    is_final, is_open = trials.c.origin == Origin.FINAL, trials.c.state.in_(_OPEN)
    began, ended = attempts.c.started_at, attempts.c.ended_at
    lasted = func.sum(epoch(connection, ended) - epoch(connection, began))
    tried = func.count(attempts.c.trial.distinct())
    same = (trials.c.run_id == attempts.c.run_id) & (trials.c.number == attempts.c.trial)
    query = (
        select(attempts.c.run_id, is_final, is_open, tried, lasted, func.min(began),
               func.max(ended))
        .join(trials, same)
        .where(attempts.c.run_id.in_(numbers))
        .group_by(attempts.c.run_id, is_final, is_open)
    )  # fmt: skip
    sums: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    starts: dict[int, list[datetime]] = defaultdict(list)
    ends: dict[int, list[datetime]] = defaultdict(list)
    for run_id, final, going, count, took_s, first, last in connection.execute(query):
        took_s = max(0.0, took_s or 0.0)
        if final:
            sums[run_id]["final_s"] += took_s
            continue
        sums[run_id]["busy_s"] += took_s
        if not going:
            sums[run_id].update({"ended": count, "ended_s": took_s})
        starts[run_id].append(first)
        ends[run_id] += [last] if last is not None else []
    return {
        one: {
            **sums[one],
            "first_start": min(starts[one], default=None),
            "last_end": max(ends[one], default=None),
        }
        for one in numbers
    }


def _running(connection: Connection, numbers: Collection[int]) -> dict[int, list[datetime]]:
    """Give since when the attempts run that have not ended, by run; not those of final trials."""
    same = (trials.c.run_id == attempts.c.run_id) & (trials.c.number == attempts.c.trial)
    query = (
        select(attempts.c.run_id, attempts.c.started_at)
        .join(trials, same)
        .where(attempts.c.run_id.in_(numbers), attempts.c.state == AttemptState.RUNNING)
        .where(trials.c.origin != Origin.FINAL)
    )
    found: dict[int, list[datetime]] = defaultdict(list)
    for run_id, since in connection.execute(query):
        found[run_id].append(since)
    return found


def _live(connection: Connection, run_id: int) -> list[int]:
    this = (attempts.c.run_id == run_id, attempts.c.state == AttemptState.RUNNING)
    query = select(attempts.c.id).where(*this).order_by(attempts.c.id)
    return list(connection.execute(query).scalars())


def _digest(facts: Sequence[Any]) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def idle_share(run: Run, totals: Totals, now: datetime) -> float | None:
    """Give the share of a search's slots, 0 to 1, in which no attempt ran; None before any did."""
    if totals.first_start is None:
        return None
    until = run.ended_at or now
    last = until if totals.running else totals.last_end
    span_s = run.open_s(last or until) - run.open_s(totals.first_start)
    slots = max(run.outline.parallel_trials or 1, 1)
    if span_s <= 0:
        return None
    going_s = math.fsum(max(0.0, (until - one).total_seconds()) for one in totals.running)
    return min(max(1 - (totals.busy_s + going_s) / (slots * span_s), 0.0), 1.0)
