"""What this installation offers, from HPO_* variables of the environment.

HPO_STORE        store address; else the Airflow connection `hpo_store`; else SQLite in HPO_HOME
HPO_HOME         folder for attempts and reports (AIRFLOW_HOME/hpo)
HPO_TRIAL_DIR    where local trials run (the folder that holds dags/ and plugins/)
HPO_TRIAL_PATH   put before the trials' PATH (.venv-trial/bin there, if it exists)
HPO_GRACE_S      seconds that a local trial survives without its Airflow task (600)
HPO_MAX_WAVES    waves that a conf-triggered DAG unrolls (40)
HPO_MAX_PARALLEL trials that a conf-triggered DAG runs at once (8)
HPO_COLLECTORS   packages, comma-separated, that metrics.collector may take its own classes from
HPO_POOL         Airflow pool of the trials (default_pool)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpo_lib.backends.local import LocalBackend
    from hpo_lib.runs import Deployment
    from hpo_lib.store import Store

ROOT = Path(__file__).resolve().parents[2]
_CONNECTION = "hpo_store"


def max_waves() -> int:
    """Give the number of waves that conf-triggered DAGs unroll."""
    return int(os.environ.get("HPO_MAX_WAVES", "40"))


def pool() -> str:
    """Name the pool of the trials."""
    return os.environ.get("HPO_POOL", "default_pool")


def home() -> Path:
    """Give the folder for attempts and reports."""
    airflow_home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return Path(os.environ.get("HPO_HOME") or airflow_home / "hpo").absolute()


def deployment() -> Deployment:
    """Put the settings together for hpo_lib."""
    from hpo_lib.runs import Deployment

    return Deployment(
        home=home(),
        backends={"local": local_backend},
        max_waves=max_waves(),
        max_parallel=int(os.environ.get("HPO_MAX_PARALLEL", "8")),
    )


def local_backend() -> LocalBackend:
    """Build the backend that runs trials on this worker."""
    from hpo_lib.backends.local import LocalBackend

    return LocalBackend(
        home=home(),
        workdir=Path(os.environ.get("HPO_TRIAL_DIR") or ROOT),
        path=os.environ.get("HPO_TRIAL_PATH") or str(ROOT / ".venv-trial" / "bin"),
        grace_s=float(os.environ.get("HPO_GRACE_S", "600")),
    )


def open_store() -> Store:
    """Open the store; StoreError says how to prepare it."""
    from hpo_lib.store import Store

    return Store.open(_store_url())


def _store_url() -> str:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    if url := os.environ.get("HPO_STORE"):
        return url
    try:
        return str(BaseHook.get_connection(_CONNECTION).get_uri())
    except AirflowNotFoundException:
        return f"sqlite:///{home() / 'hpo.db'}"
