"""What DAGs are made with, from HPO_* variables of the environment.

HPO_POOL         Airflow pool of the trials (default_pool), but for teams that have one of their own
HPO_HOUSEKEEPING when housekeeping runs, a cron expression (*/10 * * * *)
HPO_STORE        store address; else the Airflow connection `hpo_store`; else SQLite in HPO_HOME
HPO_COLLECTORS   packages, comma-separated, that metrics.collector may take its own classes from
HPO_DEPLOYERS    the same for deploy.to
HPO_SAMPLERS     the same for sampler.name
HPO_SCHEDULERS   the same for scheduler.name
HPO_BACKENDS     backends of one's own, name=package.module:Class, comma-separated

What an installation offers, and its variables, are in `hpo_lib.installation`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.errors import SpecError

if TYPE_CHECKING:
    from hpo_lib.core.teams import Team
    from hpo_lib.installation import Environment
    from hpo_lib.spec.airflow_section import AirflowRules, AirflowSection

#: What roles may do with a team's DAGs, in the words of Airflow's FAB auth manager.
_ACCESS = {"viewer": {"can_read"}, "member": {"can_read", "can_edit"}}


def environment(team: str = "") -> Environment:
    """Give what the operator has set up, for a team, without connections."""
    from hpo_lib.installation import Environment

    return Environment(root(), team=team)


def root() -> Path:
    """Give the folder in which local trials run and whose config/ holds."""
    from hpo_lib.files import shipped

    return shipped.root(shipped.airflow_home(os.environ))


def max_waves() -> int:
    """Give the number of waves that conf-triggered DAGs unroll."""
    return environment().max_waves


def max_parallel() -> int:
    """Give the number of trials that conf-triggered DAGs run at once."""
    return environment().max_parallel


def housekeeping() -> str:
    """Give the schedule of the housekeeping DAG."""
    return os.environ.get("HPO_HOUSEKEEPING", "*/10 * * * *")


def several_teams() -> bool:
    """Say whether Airflow has several teams, to which it gives the DAGs of a bundle."""
    from airflow.sdk.configuration import conf

    return bool(conf.getboolean("core", "multi_team", fallback=False))


def teams() -> list[str]:
    """Name the teams whose DAGs are in the folder that all teams share; SpecError.

    Where Airflow has several teams it is empty: they are in the teams' bundles, by `team_dags`.
    """
    return [] if several_teams() else sorted(environment().teams)


def has_backend(team: str, backend: str) -> bool:
    """Say whether a backend is set up and a team may have trials on it.

    While it cannot be read what is set up, no DAG goes away for that.
    """
    return _team(team).may_have(backend) and _is_set_up(team, backend)


def _is_set_up(team: str, backend: str) -> bool:
    try:
        return environment(team).is_set_up(backend)
    except Exception:
        return True


def placement(
    team: str = "", *, of_file: bool = False, asked: AirflowSection | None = None
) -> dict[str, Any]:
    """Give the pool of a team's trials, their priority in it and, if it has one, the team's queue.

    What a file has `asked` for goes before; SpecError if it may not have that.

    Where a pool is full, Airflow starts the trials of files' DAGs last, also of a run that a person
    has started: a weight is a DAG's.
    """
    own = _team(team)
    pool = own.pool or os.environ.get("HPO_POOL", "default_pool")
    placed = {"pool": pool, "priority_weight": 1 if of_file else 2, "weight_rule": "absolute"}
    placed |= {"queue": own.queue} if own.queue else {}
    if asked is None:
        return placed
    if refused := list(placing(team).problems_of(asked)):
        raise SpecError("\n".join(refused))
    return placed | asked.placed


def placing(team: str = "") -> AirflowRules:
    """Give what the operator says of all of a team's DAGs; SpecError."""
    return environment(team).placing


def _team(team: str) -> Team:
    from hpo_lib.core.teams import Team

    return environment(team).may if team else Team()


def tags(team: str) -> list[str]:
    """Give the tags that say whose a DAG is."""
    from hpo_lib.core.teams import TAG

    return [f"{TAG}{team}"] if team else []


def access(team: str) -> dict[str, dict[str, set[str]]] | None:
    """Give the roles that may see or run a team's DAGs; None where the operator names none.

    Only the FAB auth manager reads it. Then it takes the DAG from all other roles that it was
    granted to; with None it leaves alone what was granted by hand.
    """
    roles = _team(team).roles
    return None if roles is None else {name: {"DAGs": _ACCESS[may]} for name, may in roles.items()}


def experiments() -> Path:
    """Give the folder of the experiments' files."""
    return environment().experiments
