"""What DAG files ask for: each function makes the DAGs of one file, or only the one that is wanted.

A DAG file needs two lines, wherever it is; `hpo init-airflow` writes them:

    from hpo_airflow.dags import on_demand

    globals().update(on_demand())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from hpo_airflow import settings

if TYPE_CHECKING:
    from airflow.sdk import DAG


def on_demand() -> dict[str, DAG]:
    """Make the conf-triggered DAGs, one per backend that is set up and team: `hpo_local`."""
    from hpo_airflow.on_demand import dags_of_all

    return dict(dags_of_all(get_parsing_context().dag_id))


def scheduled() -> dict[str, DAG]:
    """Make the DAGs `hpo_scheduled_<file>`, one per file of an experiment that has a `schedule`.

    The files of a team are in the folder of its name, their DAGs are
    `hpo_scheduled_<team>.<file>`.
    """
    from hpo_airflow.scheduled_dag import files
    from hpo_airflow.scheduled_dag import scheduled as dag_of

    try:
        teams = settings.teams()
    except Exception:
        teams = []  # the DAG `hpo_teams` says why
    found = files(get_parsing_context().dag_id, teams)
    return {file.dag_id: dag_of(file) for file in found}


def housekeeping() -> dict[str, DAG]:
    """Make the DAG `hpo_housekeeping`, which ends what nobody looks after any more."""
    from hpo_airflow.dag_factory import housekeeping as dag_of

    name = "hpo_housekeeping"
    return {name: dag_of(name, settings.experiments())}
