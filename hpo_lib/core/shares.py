"""Fair shares: which of the trials that wait may begin, when not all of them can."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_lib.core.teams import Team
from hpo_lib.errors import SpecError
from hpo_lib.validation import shown

#: Who has waited so long has starved.
STARVED_S = 1_800.0


@dataclass(frozen=True, slots=True)
class Shares:
    """How many trials run at once, over all teams (None: as many as ask), and the teams' rules."""

    capacity: int | None = None
    teams: Mapping[str, Team] = field(default_factory=dict)

    @property
    def decide(self) -> bool:
        """Whether there is anything to decide: without a limit every trial may begin."""
        limited = (one.quotas.parallel_trials for one in self.teams.values())
        return self.capacity is not None or any(one is not None for one in limited)


def capacity_of(plain: Any) -> int | None:
    """Read `capacity` of config/deployment.yaml; None if nobody has said so. SpecError."""
    if plain is not None and (type(plain) is not int or plain < 1):
        at = "config/deployment.yaml: capacity"
        raise SpecError(f"{at}: must be a whole number > 0, got {shown(plain)}")
    return plain


@dataclass(frozen=True, slots=True)
class Waiting:
    """A trial that waits; a `nightly` one was started by a schedule, not by a person."""

    run: int
    trial: int
    team: str = ""
    waited_s: float = 0.0
    nightly: bool = False


def may_begin(
    shares: Shares,
    running: Mapping[str, int],
    waiting: Collection[Waiting],
    used: Mapping[str, float] | None = None,
) -> list[Waiting]:
    """Choose who begins, in order: no capacity stays idle while somebody within quota waits.

    `running` counts trials by team, `used` says for how many seconds some have run lately. The team
    whose running trials, by its weight, are the fewest goes first, of equal ones that which has
    used the least by its weight, then that with the larger weight; but before all others a team of
    which nothing runs and somebody has starved. Within a team those go first who have starved,
    then a person's before a schedule's, then who has waited the longest.
    """
    counts = dict(running)
    queues: dict[str, list[Waiting]] = {}
    for one in sorted(waiting, key=_within_team):
        queues.setdefault(one.team, []).append(one)
    chosen: list[Waiting] = []
    while _has_room(shares, counts):
        team = _next_team(shares, counts, queues, used or {})
        if team is None:
            break
        chosen.append(queues[team].pop(0))
        counts[team] = counts.get(team, 0) + 1
    return chosen


def why_not(shares: Shares, running: Mapping[str, int], team: str) -> str:
    """Say why a trial of a team may not begin while so many `running` ones do."""
    quota = shares.teams.get(team, Team()).quotas.parallel_trials
    if quota is not None and running.get(team, 0) >= quota:
        return f"the quota of team {team} is used up (parallel_trials: {quota})"
    if not _has_room(shares, running):
        return f"the capacity of the installation is used up ({shares.capacity})"
    return "others go first"


def _within_team(one: Waiting) -> tuple[bool, bool, float, int, int]:
    fresh = one.waited_s < STARVED_S
    return fresh, fresh and one.nightly, -one.waited_s, one.run, one.trial


def _has_room(shares: Shares, counts: Mapping[str, int]) -> bool:
    return shares.capacity is None or sum(counts.values()) < shares.capacity


def _next_team(
    shares: Shares,
    counts: Mapping[str, int],
    queues: Mapping[str, Sequence[Waiting]],
    used: Mapping[str, float],
) -> str | None:
    """Give the team that is next, None if no team has a trial that may begin."""

    def rank(team: str) -> tuple[bool, float, float, float, float, str]:
        weight, waited_s = shares.teams.get(team, Team()).weight, queues[team][0].waited_s
        running = counts.get(team, 0)
        if running == 0 and waited_s >= STARVED_S:
            return False, -waited_s, -weight, 0.0, 0.0, team
        lately = used.get(team, 0.0) / weight
        return True, running / weight, lately, -weight, -waited_s, team

    able = [team for team in queues if _may_more(shares, counts, queues, team)]
    return min(able, key=rank, default=None)


def _may_more(
    shares: Shares,
    counts: Mapping[str, int],
    queues: Mapping[str, Sequence[Waiting]],
    team: str,
) -> bool:
    """Say whether a team has a trial that waits, and its quota allows another."""
    quota = shares.teams.get(team, Team()).quotas.parallel_trials
    return bool(queues[team]) and (quota is None or counts.get(team, 0) < quota)
