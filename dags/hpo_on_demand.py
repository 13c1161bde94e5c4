"""Conf-triggered DAGs, one per backend and team: `hpo_local`, `hpo_vision.local` and so on."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import get_parsing_context

from hpo_airflow import settings
from hpo_airflow.on_demand import dag_id_of, installed, on_demand
from hpo_lib.registry import backends

_examples = Path(__file__).resolve().parents[1] / "config" / "experiments"
_wanted = get_parsing_context().dag_id
for _team in ("", *settings.teams()):
    for _backend, _row in backends().items():
        _dag_id = dag_id_of(_backend, _team)
        if _wanted not in (None, _dag_id):
            continue
        if installed(_row) and settings.has_backend(_team, _backend):
            globals()[_dag_id] = on_demand(_dag_id, _backend, _row, _examples, _team)
