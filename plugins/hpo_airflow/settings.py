"""What DAGs are made with, from HPO_* variables of the environment.

HPO_POOL         Airflow pool of the trials (default_pool)
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


def pool() -> str:
    """Name the pool of the trials."""
    return os.environ.get("HPO_POOL", "default_pool")


def experiments(root: Path) -> Path:
    """Give the folder of the experiments' files, by default the one of the DAG file's checkout."""
    return Path(os.environ.get("HPO_EXPERIMENTS") or root / "config" / "experiments")
