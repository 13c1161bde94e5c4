"""The DAGs of one team, for the bundle that is the team's where Airflow has several teams.

The bundle needs one file, such as `hpo_vision.py`:

    from hpo_airflow.team_dags import dags_of_team

    globals().update(dags_of_team("vision"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import get_parsing_context

from hpo_airflow.on_demand import on_demand_dags
from hpo_airflow.scheduled_dag import files, scheduled

if TYPE_CHECKING:
    from airflow.sdk import DAG


def dags_of_team(team: str) -> dict[str, DAG]:
    """Build a team's conf-triggered DAGs, and those of the scheduled files in its folder."""
    wanted = get_parsing_context().dag_id
    own = [file for file in files(wanted, [team]) if file.team == team]
    nightly = {file.dag_id: scheduled(file) for file in own}
    return dict(on_demand_dags(team, wanted)) | nightly
