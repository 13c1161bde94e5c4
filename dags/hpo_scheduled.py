"""The DAGs `hpo_scheduled_<file>`: one per file in config/experiments that has a `schedule`.

The files of a team are in the folder of its name there, its DAGs are `hpo_scheduled_<team>.<file>`.
"""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import get_parsing_context

from hpo_airflow import settings
from hpo_airflow.scheduled_dag import scheduled
from hpo_lib.runs.scheduled_files import scheduled_files

_folder = settings.experiments(Path(__file__).resolve().parents[1])
try:
    _teams = settings.teams()
except Exception:
    _teams = []  # the DAG `hpo_teams` says why
for _file in scheduled_files(_folder, get_parsing_context().dag_id, _teams):
    globals()[_file.dag_id] = scheduled(_file)
