"""Teams: whose a DAG is, what a team may have, and how its experiments are named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field, field_validator

from hpo_lib.errors import NotFound, SpecError
from hpo_lib.validation import Strict, each, parse, refuse, rule, shown

#: A DAG with the tag `team:NAME` is that team's.
TAG = "team:"
#: Between a team and what it calls its own: neither of the two may hold it.
_BETWEEN = "."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
#: A retention of more than a hundred years is a slip of the pen.
MOST_DAYS = 36_500


def team_name(name: str) -> str:
    """Let through the names that a team may have, which are among Airflow's."""
    if not _NAME.fullmatch(name):
        raise rule(
            "a team must be letters, digits, _ and -, at most 50, beginning with a letter or "
            f"digit, got {shown(name)}"
        )
    return name


def no_team(name: str, known: Iterable[str]) -> NotFound:
    """Make the error of whoever names a team that there is none of."""
    return NotFound(f"there is no team {name}; known: {', '.join(sorted(known)) or 'none'}")


def within(team: str, name: str) -> str:
    """Give the full name of what a team calls so: `team.name`, without a team the name itself."""
    return f"{team}{_BETWEEN}{name}" if team else name


def owner_of(full: str) -> str:
    """Give the team in a full name; empty if there is none."""
    return full.rpartition(_BETWEEN)[0]


def own_name(full: str) -> str:
    """Give what its team calls a full name."""
    return full.rpartition(_BETWEEN)[2]


class Quotas(Strict):
    """How much a team may use at most; None is without a limit."""

    parallel_trials: int | None = Field(default=None, ge=1)
    gpu_hours: float | None = Field(default=None, ge=0)


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days ended runs are kept, and where config/deployment.yaml says so."""

    days: int
    at: str

    def __str__(self) -> str:
        """Write it as the file does."""
        return f"{self.at}: {self.days}"


def retention_of(days: Any, at: str) -> Retention | None:
    """Read `retention_days`, which the file says at `at`; None: for ever. SpecError."""
    if days is None:
        return None
    if type(days) is not int or not 1 <= days <= MOST_DAYS:
        rule = f"must be a whole number from 1 to {MOST_DAYS:,}"
        raise SpecError(f"config/deployment.yaml: {at}: {rule}, got {shown(days)}")
    return Retention(days, at)


class Team(Strict):
    """A team in config/deployment.yaml: whose DAGs are its own, and what it may have.

    `dags` are patterns of DAG ids. Of `backends` and `connections` None means all. `pool` and
    `queue` are Airflow's, for its trials; `shares_with` names teams that its results may advise.
    A `retention_days` that is said to be None keeps its runs for ever. `roles` says what roles of
    Airflow's FAB auth manager may do with its DAGs; None says nothing of any.
    """

    dags: tuple[str, ...] = Field(default=(), strict=False)
    backends: tuple[str, ...] | None = Field(default=None, strict=False)
    connections: tuple[str, ...] | None = Field(default=None, strict=False)
    pool: str | None = None
    queue: str | None = None
    quotas: Quotas = Quotas()
    weight: float = Field(default=1.0, gt=0)
    shares_with: tuple[str, ...] = Field(default=(), strict=False)
    retention_days: int | None = Field(default=None, ge=1, le=MOST_DAYS)
    roles: Mapping[str, Literal["viewer", "member"]] | None = None

    def may_have(self, backend: str) -> bool:
        """Say whether the team may have trials on a backend."""
        return self.backends is None or backend in self.backends

    @field_validator("shares_with")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        refuse(each(team_name, names))
        return names


def teams_of(plain: Any, sections: Iterable[str], at: str) -> dict[str, Team]:
    """Read `teams`; what a team says of the installation's `sections` is read with these.

    SpecError tells what is wrong, with its path.
    """
    found = {}
    for name, said in _mapping(plain, at).items():
        try:
            team_name(str(name))
        except ValueError as error:
            raise SpecError(f"{at}: {error}") from None
        own = dict(_mapping(said, f"{at}.{name}"))
        for key in own.keys() & set(sections):
            _mapping(own.pop(key), f"{at}.{name}.{key}")
        found[str(name)] = parse(Team, own, at=f"{at}.{name}")
    return found


def _mapping(plain: Any, at: str) -> Mapping[str, Any]:
    if plain is None:
        return {}
    if not isinstance(plain, Mapping):
        raise SpecError(f"{at}: must be a mapping, got {shown(plain)}")
    return plain


def team_of(
    dag_id: str, tags: Iterable[str], teams: Mapping[str, Team], of_airflow: str | None = None
) -> str:
    """Say whose a DAG is: empty if it is no team's. SpecError if it is said to be two teams'.

    `of_airflow` is the team of the DAG's bundle, where Airflow has several teams. A tag, and a
    pattern in the team's `dags`, say it elsewhere; they must not say anything else.
    """
    tagged = {tag.removeprefix(TAG) for tag in tags if tag.startswith(TAG)}
    if unknown := sorted(tagged - teams.keys() - {of_airflow}):
        raise SpecError(
            f"DAG {dag_id} has the tag {TAG}{unknown[0]}, and config/deployment.yaml names no "
            "such team"
        )
    patterns = ((name, one) for name, team in teams.items() for one in team.dags)
    matching = {name for name, pattern in patterns if fnmatchcase(dag_id, pattern)}
    if teams and of_airflow and of_airflow not in teams:
        raise SpecError(
            f"DAG {dag_id} is of Airflow's team {of_airflow}, and config/deployment.yaml names no "
            "such team"
        )
    found = sorted({*tagged, *matching, *([of_airflow] if of_airflow else [])})
    if len(found) > 1:
        raise SpecError(f"DAG {dag_id} must be of one team, is of {' and '.join(found)}")
    return found[0] if found else ""
