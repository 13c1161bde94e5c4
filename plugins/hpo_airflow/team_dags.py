"""The DAGs of one team, for the bundle that is the team's where Airflow has several teams.

The bundle needs one file, such as `hpo_vision.py`:

    from hpo_airflow.team_dags import dags_of_team

    globals().update(dags_of_team("vision"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from hpo_airflow import settings
from hpo_airflow.on_demand import on_demand_dags
from hpo_airflow.scheduled_dag import scheduled
from hpo_lib.runs.scheduled_files import scheduled_files

if TYPE_CHECKING:
    from airflow.sdk import DAG


def dags_of_team(team: str) -> dict[str, DAG]:
    """Build a team's conf-triggered DAGs, and those of the scheduled files in its folder."""
    wanted = get_parsing_context().dag_id
    examples = settings.ROOT / "config" / "experiments"
    files = scheduled_files(settings.experiments(settings.ROOT), wanted, [team])
    nightly = {file.dag_id: scheduled(file) for file in files if file.team == team}
    return dict(on_demand_dags(examples, team, wanted)) | nightly
