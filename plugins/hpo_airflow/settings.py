"""What DAGs are made with, from HPO_* variables of the environment.

HPO_POOL         Airflow pool of the trials (default_pool), but for teams that have one of their own
HPO_HOUSEKEEPING when housekeeping runs, a cron expression (*/10 * * * *)
HPO_EXPERIMENTS  folder of the files that get a DAG each (config/experiments beside dags/)
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

if TYPE_CHECKING:
    from hpo_lib.core.teams import Team

ROOT = Path(__file__).resolve().parents[2]


def max_waves() -> int:
    """Give the number of waves that conf-triggered DAGs unroll."""
    from hpo_lib.installation import Environment

    return Environment(ROOT).max_waves


def max_parallel() -> int:
    """Give the number of trials that conf-triggered DAGs run at once."""
    from hpo_lib.installation import Environment

    return Environment(ROOT).max_parallel


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
    from hpo_lib.installation import Environment

    return [] if several_teams() else sorted(Environment(ROOT).teams)


def has_backend(team: str, backend: str) -> bool:
    """Say whether a team may have trials on a backend."""
    return _team(team).may_have(backend)


def placement(team: str = "", *, of_file: bool = False) -> dict[str, Any]:
    """Give the pool of a team's trials, their priority in it and, if it has one, the team's queue.

    Where a pool is full, Airflow starts the trials of files' DAGs last, also of a run that a person
    has started: a weight is a DAG's.
    """
    own = _team(team)
    pool = own.pool or os.environ.get("HPO_POOL", "default_pool")
    placed = {"pool": pool, "priority_weight": 1 if of_file else 2, "weight_rule": "absolute"}
    return placed | ({"queue": own.queue} if own.queue else {})


def _team(team: str) -> Team:
    from hpo_lib.core.teams import Team
    from hpo_lib.installation import Environment

    return Environment(ROOT, team=team).may if team else Team()


def tags(team: str) -> list[str]:
    """Give the tags that say whose a DAG is."""
    from hpo_lib.core.teams import TAG

    return [f"{TAG}{team}"] if team else []


def experiments(root: Path) -> Path:
    """Give the folder of the experiments' files, by default the one of the DAG file's checkout."""
    return Path(os.environ.get("HPO_EXPERIMENTS") or root / "config" / "experiments")
