"""Conf-triggered DAGs, one per backend: `hpo_local`, `hpo_kubernetes` and so on."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import get_parsing_context

from hpo_airflow.on_demand import installed, on_demand
from hpo_lib.registry import backends

_examples = Path(__file__).resolve().parents[1] / "config" / "experiments"
_wanted = get_parsing_context().dag_id
for _backend, _row in backends().items():
    _dag_id = f"hpo_{_backend}"
    if _wanted in (None, _dag_id) and installed(_row):
        globals()[_dag_id] = on_demand(_dag_id, _backend, _row, _examples)
