"""Where a file's DAG is placed, whose it is, and when a run of it is late."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.serialization.serialized_objects import DagSerialization

from hpo_airflow import deadline
from hpo_airflow.scheduled_dag import scheduled
from hpo_lib.errors import SpecError
from hpo_lib.installation import Environment, installation_of
from hpo_lib.runs import admission
from hpo_lib.runs.scheduled_files import scheduled_files
from hpo_lib.spec import load
from tests.integration.test_tasks import CONF

if TYPE_CHECKING:
    from airflow.sdk import DAG

ALLOWED: dict[str, Any] = {
    "airflow": {
        "owner": "ml",
        "deadline": "12h",
        "pools": ["gpu-*"],
        "queues": ["gpu"],
        "executors": ["LocalExecutor"],
        "max_priority": 5,
    }
}
ASKED = {"pool": "gpu-a", "queue": "gpu", "executor": "LocalExecutor", "priority": 5}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's file."""
    path = tmp_path / "deployment.yaml"
    path.write_text(yaml.safe_dump(ALLOWED))
    monkeypatch.setenv("HPO_CONFIG", str(path))
    return path


def dag_of(folder: Path, **airflow: Any) -> DAG:
    (folder / "experiments").mkdir(exist_ok=True)
    spec = CONF | {"schedule": {"cron": "0 3 * * *"}}
    spec |= {"airflow": airflow} if airflow else {}
    (folder / "experiments" / "a.yaml").write_text(yaml.safe_dump(spec))
    (file,) = scheduled_files(folder / "experiments")
    return scheduled(file)


@pytest.mark.usefixtures("config")
def test_trials_are_placed_as_their_file_asks(tmp_path: Path) -> None:
    dag = dag_of(tmp_path, **ASKED)
    trial = dag.get_task("wave_01.trial")
    assert (trial.pool, trial.queue, trial.executor) == ("gpu-a", "gpu", "LocalExecutor")
    assert trial.priority_weight == 5
    assert dag.get_task("wave_01.suggest").pool == "default_pool", "control tasks do not wait"


@pytest.mark.usefixtures("config")
def test_a_file_that_asks_for_nothing_has_what_holds_for_all(tmp_path: Path) -> None:
    dag = dag_of(tmp_path)
    assert dag.get_task("wave_01.trial").pool == "default_pool"
    assert {task.owner for task in dag.tasks} == {"ml"}
    (alert,) = dag.deadline
    assert alert.interval == timedelta(hours=12)


@pytest.mark.usefixtures("config")
def test_owner_and_deadline_of_a_file_go_before(tmp_path: Path) -> None:
    dag = dag_of(tmp_path, owner="churn", deadline="30m")
    assert dag.owner == "churn"
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert read.owner == "churn"
    (alert,) = dag.deadline
    assert alert.interval == timedelta(minutes=30)
    assert alert.callback.kwargs == {"experiment": "run", "team": "", "limit": "30m"}


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"pool": "prod"}, 'airflow.pool: must be one of ["gpu-*"], which config/deployment.yaml'),
        ({"queue": "prod"}, 'airflow.queue: must be one of ["gpu"], which'),
        ({"executor": "CeleryExecutor"}, 'airflow.executor: must be one of ["LocalExecutor"]'),
        ({"priority": 6}, "airflow.priority: must be <= 5, which config/deployment.yaml says in"),
    ],
)
def test_what_the_operator_does_not_list_breaks_the_file(
    tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    dag = dag_of(tmp_path, **asked)
    assert "broken" in dag.tags
    assert message in str(dag.doc_md)
    assert dag.task_ids == ["validate", "report"], "no trial is placed anywhere"
    with pytest.raises(SpecError) as error:
        admission.validate(
            CONF | {"airflow": asked},
            installation_of(Environment(tmp_path)),
            backend="local",
            by_file=True,
        )
    assert message in str(error.value)


@pytest.mark.usefixtures("config")
def test_a_conf_is_placed_by_its_dag(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="airflow: belongs to a file"):
        admission.validate(
            CONF | {"airflow": {"owner": "me"}},
            installation_of(Environment(tmp_path)),
            backend="local",
        )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"deadline": 3}, "airflow.deadline: must be a duration such as"),
        ({"owner": ""}, "airflow.owner: must be 1 to 100 printable characters"),
        ({"pools": "x"}, "airflow: unknown key"),
        ({"priority": 0}, "airflow.priority: "),
    ],
)
def test_a_wrong_section_is_told(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        load(CONF | {"airflow": asked})
    assert message in str(error.value)


def test_where_it_runs_does_not_change_what_an_experiment_is() -> None:
    assert load(CONF | {"airflow": ASKED}).digest == load(CONF).digest


def test_a_late_run_is_told(tmp_path: Path, config: Path) -> None:
    told = tmp_path / "told.txt"
    options = {"file": str(told), "text": "{{ hpo.subject }}: {{ hpo.text }}"}
    rule = {"on": "late", "by": "tests.notifier.FileNotifier", "options": options}
    config.write_text(yaml.safe_dump({"notify": {"x": rule}}))
    run = {"dag_run": {"dag_run_id": "scheduled__x", "dag_id": "a"}}
    asyncio.run(deadline.late(experiment="churn", team="", limit="12h", context=run))
    said = "The DAG run scheduled__x goes on after 12h, its deadline."
    assert told.read_text() == f"churn: a run is late: {said}\n"
