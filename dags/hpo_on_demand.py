"""Conf-triggered DAGs, one per backend: `hpo_local`, `hpo_kubernetes` and so on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import yaml
from airflow.sdk import get_parsing_context

from hpo_airflow import settings
from hpo_airflow.dag_factory import conf_triggered

_EXPERIMENTS = Path(__file__).resolve().parents[1] / "config" / "experiments"
#: By backend: the example of its form, and what has to be installed for it.
_BACKENDS = {
    "docker": ("digits-docker.yaml", "docker.client"),
    "ecs": ("digits-ecs.yaml", "airflow.providers.amazon.aws.operators.ecs"),
    "job": ("digits-job.yaml", "airflow.providers.cncf.kubernetes.hooks"),
    "kubernetes": ("digits-kubernetes.yaml", "airflow.providers.cncf.kubernetes.operators"),
    "local": ("digits.yaml", "airflow"),
}


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


_wanted = get_parsing_context().dag_id
for _backend, (_example, _needs) in _BACKENDS.items():
    _dag_id = f"hpo_{_backend}"
    if _wanted in (None, _dag_id) and _installed(_needs):
        globals()[_dag_id] = conf_triggered(
            _dag_id,
            backend=_backend,
            example=yaml.safe_load((_EXPERIMENTS / _example).read_text()),
            waves=settings.max_waves(),
        )
