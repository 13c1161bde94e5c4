"""What Airflow's processes have imported before they fork: no fork does it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Starts a job as a component does, forks, and looks at the DAG files as the fork of one does.
START = """
import json, os, sys
files, component, executor, contexts = json.loads(sys.argv[1])
sys.argv = ["airflow", component]
os.environ["AIRFLOW__CORE__EXECUTOR"] = executor
import airflow.models, airflow.dag_processing.processor
from airflow.dag_processing.dagbag import DagBag
from airflow.jobs.job import Job
from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager

Job()
preloaded = sorted(sys.modules)
for dag_id, task_id in contexts:
    if os.fork() == 0:
        with _airflow_parsing_context_manager(dag_id=dag_id, task_id=task_id):
            bag = DagBag(files)
        print("\\n" + json.dumps({
            "new": sorted(set(sys.modules) - set(preloaded)),
            "errors": list(bag.import_errors.values()),
            "params": {dag_id: len(dag.params) for dag_id, dag in bag.dags.items()},
            "preloaded": preloaded,
        }), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""

OF_PODS = "hpo_airflow.operators.kubernetes"


def started(
    home: Path,
    component: str,
    *contexts: tuple[str | None, str | None],
    executor: str = "LocalExecutor",
    **variables: str,
) -> list[dict[str, Any]]:
    """Start a component's job, and tell what each of its forks has seen."""
    env = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "HPO_ROOT": str(ROOT),
        **variables,
    }
    given = json.dumps([str(ROOT / "dags"), component, executor, contexts])
    done = subprocess.run(
        [sys.executable, "-c", START, given], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"new"')]


def ours(found: dict[str, Any]) -> list[str]:
    """List what a fork has imported of ours or of a provider, besides the DAG files themselves."""
    wanted = ("hpo_", "kubernetes", "airflow.providers", "sqlalchemy", "boto")
    return [name for name in found["new"] if name.startswith(wanted)]


def test_a_look_at_the_dag_files_imports_nothing_more(tmp_path: Path) -> None:
    (seen,) = started(tmp_path, "dag-processor", (None, None))
    assert seen["errors"] == []
    assert OF_PODS in seen["preloaded"], "Kubernetes is set up here, and its DAGs are there"
    assert "skopt" not in seen["preloaded"], "only tasks ask a sampler"
    assert {"hpo_local", "hpo_kubernetes_waves", "hpo_housekeeping"} <= set(seen["params"])
    assert ours(seen) == []
    assert seen["params"]["hpo_local"] > 10, "people get the form"


@pytest.mark.parametrize("dag", ["hpo_local", "hpo_kubernetes_waves"])
def test_a_task_imports_nothing_more_and_checks_no_form(tmp_path: Path, dag: str) -> None:
    (seen,) = started(tmp_path, "scheduler", (dag, "validate"))
    assert (seen["errors"], ours(seen), seen["params"][dag]) == ([], [], 0)
    assert {"skopt", "hpo_lib.store.store", OF_PODS} <= set(seen["preloaded"])


def test_what_forks_no_tasks_of_ours_imports_nothing_of_theirs(tmp_path: Path) -> None:
    for component, executor in (("triggerer", "LocalExecutor"), ("scheduler", "CeleryExecutor")):
        (seen,) = started(tmp_path, component, ("hpo_local", "x"), executor=executor)
        assert {OF_PODS, "skopt", "hpo_lib.store.store"}.isdisjoint(seen["preloaded"]), component


def test_a_backend_of_ones_own_is_not_held_fast(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from hpo_lib.backends.local import LocalBackend as Mine\n")
    variables = {"HPO_BACKENDS": "mine=mine:Mine", "PYTHONPATH": str(tmp_path)}
    (seen,) = started(tmp_path, "dag-processor", (None, None), **variables)
    assert "mine" in seen["new"], "a changed file is seen when its DAG is looked at again"
