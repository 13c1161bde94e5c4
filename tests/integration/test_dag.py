"""The DAG file as Airflow sees it: light, complete, and free of templates that users could fill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "alembic",
    "kubernetes",
    "numpy",
    "optuna",
    "pandas",
    "scipy",
    "sklearn",
    "skopt",
}
HEAVY |= {"boto3", "matplotlib", "sqlalchemy", "tensorflow"}

LOOK = """
import json, sys
from airflow.sdk import DAG
with DAG("empty"): pass
before = set(sys.modules)
sys.path.insert(0, sys.argv[1] + "/dags")
import hpo_on_demand
dag = getattr(hpo_on_demand, sys.argv[2])
print(json.dumps({
    "imported": sorted({m.split(".")[0] for m in set(sys.modules) - before}),
    "providers": sorted(m for m in set(sys.modules) - before if m.startswith("airflow.providers.")),
    "tasks": sorted(dag.task_ids),
    "rules": {t.task_id: t.trigger_rule.value for t in dag.tasks},
    "retries": {t.task_id: t.retries for t in dag.tasks},
    "patience": {t.task_id: sum(
        min(t.retry_delay.total_seconds() * (t.retry_exponential_backoff or 1) ** n,
            t.max_retry_delay.total_seconds() if t.max_retry_delay else float("inf"))
        for n in range(t.retries)) for t in dag.tasks},
    "timeouts": {t.task_id: t.execution_timeout and t.execution_timeout.total_seconds()
                 for t in dag.tasks if not t.task_id.endswith(("trial", "slot"))},
    "pools": {t.task_id: t.pool for t in dag.tasks},
    "templates": sorted(
        {field for t in dag.tasks for field in t.template_fields
         if t.task_id.endswith(("trial", "slot"))}
    ),
    "dags": sorted(name for name in vars(hpo_on_demand) if name.startswith("hpo_")),
    "backend": dag.params["trial"]["backend"],
    "before_report": sorted(dag.get_task("report").upstream_task_ids),
}))
"""


#: By DAG: the providers that importing it may import, beside those that plain tasks need.
PROVIDERS = {
    "hpo_docker_waves": set(),
    "hpo_ecs_waves": {"amazon"},
    "hpo_job_waves": set(),
    "hpo_kubernetes_waves": {"cncf"},
    "hpo_local_waves": set(),
}
#: What is heavy that these providers import themselves.
BROUGHT = {"amazon": {"boto3"}, "cncf": {"kubernetes", "sqlalchemy"}}


@pytest.fixture(scope="module", params=sorted(PROVIDERS))
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What importing the DAG file for one DAG, in a process of its own, brings."""
    return look(request.param, tmp_path_factory.mktemp("airflow"))


def look(dag: str, home: Path) -> dict[str, Any]:
    env = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "PYTHONPATH": str(ROOT / "plugins"),
        "HPO_MAX_WAVES": "12",
        "HPO_POOL": "trials",
        "_AIRFLOW_PARSING_CONTEXT_DAG_ID": dag,
    }
    command = [sys.executable, "-c", LOOK, str(ROOT), dag]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return {"dag": dag} | json.loads(done.stdout.splitlines()[-1])


def test_parsing_imports_nothing_heavy(seen: dict[str, Any]) -> None:
    wanted = PROVIDERS[seen["dag"]]
    allowed = set().union(*(BROUGHT[name] for name in wanted))
    assert HEAVY & set(seen["imported"]) <= allowed
    used = {name.split(".")[2] for name in seen["providers"]}
    assert used <= {"common", "standard", *wanted}


def test_a_task_builds_its_own_dag_only(seen: dict[str, Any]) -> None:
    assert seen["dags"] == [seen["dag"]]


def test_waves_are_unrolled_as_the_deployment_says(seen: dict[str, Any]) -> None:
    waves = [f"wave_{n:02d}.{name}" for n in range(1, 13) for name in ("suggest", "trial")]
    after = ["final.choose", "final.trial", "gate", "report", "approve", "deploy"]
    assert seen["tasks"] == sorted(["validate", *waves, *after])


def test_control_tasks_run_whatever_happened_before_them(seen: dict[str, Any]) -> None:
    control = {t for t in seen["tasks"] if t.endswith(("suggest", "choose", "gate", "report"))}
    assert {t for t, rule in seen["rules"].items() if rule == "all_done"} == control


def test_every_task_is_retried(seen: dict[str, Any]) -> None:
    assert min(seen["retries"].values()) >= 5
    assert seen["timeouts"].pop("approve") is None, "people may take longer"
    assert set(seen["timeouts"].values()) == {7_200.0}, "no control task may hang"


def test_every_task_outlives_an_api_server_that_is_away_for_a_while(seen: dict[str, Any]) -> None:
    """Airflow begins tasks also while it is away: each time as one of their tries."""
    assert min(seen["patience"].values()) >= 25 * 60


def test_a_sweep_that_dies_with_airflow_is_retried(tmp_path: Path) -> None:
    look = "import hpo_housekeeping as h; print(h.hpo_housekeeping.get_task('sweep').retries)"
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), str(ROOT / "dags")]),
    }
    command = [sys.executable, "-c", look]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) >= 5


def test_trials_alone_wait_in_the_pool(seen: dict[str, Any]) -> None:
    pooled = {task for task, pool in seen["pools"].items() if pool == "trials"}
    assert pooled == {task for task in seen["tasks"] if task.endswith("trial")}


def test_no_field_of_a_trial_is_a_template(seen: dict[str, Any]) -> None:
    assert seen["templates"] == []


def test_the_form_is_filled_with_an_example_of_the_backend(seen: dict[str, Any]) -> None:
    assert f"hpo_{seen['backend']}_waves" == seen["dag"]


def test_the_report_waits_for_the_search_also_where_final_training_is_skipped(
    seen: dict[str, Any],
) -> None:
    assert seen["before_report"] == ["gate", "wave_12.trial"]


def test_slots_are_one_mapped_task_however_long_the_run(tmp_path: Path) -> None:
    seen = look("hpo_local", tmp_path)
    after = ["final.choose", "final.trial", "gate", "report", "approve", "deploy"]
    assert seen["dags"] == ["hpo_local"]
    assert HEAVY.isdisjoint(seen["imported"])
    assert seen["tasks"] == sorted(["validate", "slots", "slot", *after])
    assert seen["before_report"] == ["gate", "slot"]
    assert seen["rules"]["slots"] == "all_done"
    assert {task for task, pool in seen["pools"].items() if pool == "trials"} == {
        "slot",
        "final.trial",
    }
    assert seen["templates"] == []
    assert seen["retries"]["slot"] >= 100, "it lasts as long as many trials"
    assert min(seen["patience"].values()) >= 25 * 60
