"""What the bodies of control tasks tell Airflow, with a real store and a fake of the task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, RetryDecision
from airflow.sdk.exceptions import AirflowRuntimeError, DownstreamTasksSkipped, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from hpo_airflow import tasks
from hpo_airflow.housekeeping_tasks import broken_files
from hpo_airflow.labels import failed_label
from hpo_airflow.retry_delay import AsErrorsSay, Ended
from hpo_lib.core.trial import Cause, Trial, TrialState
from hpo_lib.errors import TransientError
from hpo_lib.records import RunStatus
from hpo_lib.runs.scheduled_files import scheduled_files
from hpo_lib.store import Store, upgrade

CONF: dict[str, Any] = {
    "name": "run",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "trial": {"command": ["true"]},
}


class FakeTask:
    """Keeps what is pushed, and knows which DAGs are paused."""

    def __init__(self, paused: Mapping[str, bool] | None = None) -> None:
        self.pushed: dict[str, Any] = {}
        self.paused = paused or {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def get_dag(self, dag_id: str) -> Any:
        if dag_id not in self.paused:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
        return SimpleNamespace(is_paused=self.paused[dag_id])

    def get_task_states(self, **_: Any) -> dict[str, Any]:
        return {"manual": {"report": None}}

    dag_id, run_id = "hpo_local", "manual"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store that the tasks find by their environment."""
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    for name, value in {"HPO_HOME": str(tmp_path), "HPO_STORE": url}.items():
        monkeypatch.setenv(name, value)
    with Store.open(url) as opened:
        yield opened


def context(conf: Any, run_id: str = "manual", **more: Any) -> dict[str, Any]:
    """Describe a DAG run that somebody has triggered."""
    dag_run = SimpleNamespace(
        dag_id="hpo_local",
        run_id=run_id,
        conf=conf,
        triggering_user_name="ada",
        run_type=SimpleNamespace(value="manual"),
    )
    dag = DAG("hpo_local")
    for task_id in ("validate", *tasks.FINAL, "report"):
        EmptyOperator(task_id=task_id, dag=dag)
    return {
        "dag": dag,
        "dag_run": dag_run,
        "params": {},
        "ti": FakeTask(),
        "task": SimpleNamespace(),
        **more,
    }


def test_a_refused_conf_ends_the_task_with_a_line_for_each_reason(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = CONF | {"name": "../x", "limits": {"max_trials": -1}}
    with pytest.raises(Ended) as ended:
        tasks.validate(context(wrong), "local")
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert [line.partition(":")[0] for line in told] == ["name", "limits.max_trials"]
    assert str(ended.value) == "\n".join(told)
    assert ended.value.code == 1
    assert AsErrorsSay().evaluate(ended.value, 1, 20) == RetryDecision.fail()
    gone = RuntimeError("cannot expand field mapped to length 0")
    assert AsErrorsSay().evaluate(gone, 1, 20) == RetryDecision.fail()


def test_airflow_shows_no_traceback_of_what_ends_a_task() -> None:
    """It handles SystemExit by itself, without one: of an Exception it would write one."""
    assert issubclass(Ended, SystemExit)
    assert not issubclass(Ended, Exception)


def test_what_may_get_better_is_tried_again() -> None:
    policy = AsErrorsSay()
    assert policy.evaluate(ValueError("x"), 1, 20) == RetryDecision.default()
    assert policy.evaluate(TransientError("x"), 1, 20) == RetryDecision.default()
    soon = policy.evaluate(TransientError("x", after_s=3), 1, 20)
    assert soon.retry_delay is not None
    assert soon.retry_delay.total_seconds() == 3


@pytest.mark.usefixtures("store")
def test_final_training_is_skipped_from_the_start_where_there_is_none() -> None:
    given = context(CONF)
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        tasks.validate(given, "local")
    assert skipped.value.tasks == ["final.choose", "final.trial", "gate", "approve", "deploy"]
    assert given["ti"].pushed["return_value"] == {"run": 1, "experiment": "run"}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("final", [{}, {"seeds": 2}])
def test_final_training_is_not_skipped_where_it_is_wanted(final: dict[str, Any]) -> None:
    assert tasks.validate(context(CONF | {"final": final}), "local")["run"] == 1


@pytest.mark.usefixtures("store")
def test_a_part_that_the_form_left_empty_is_absent() -> None:
    with pytest.raises(DownstreamTasksSkipped):
        tasks.validate(context(CONF | {"final": None, "deploy": None, "limits": None}), "local")


def test_broken_files_are_started_once_for_each_error(tmp_path: Path) -> None:
    def named() -> dict[str, str]:
        found = broken_files({"ti": FakeTask(known)}, tmp_path)
        return {one["trigger_dag_id"]: one["trigger_run_id"] for one in found}

    known = {f"hpo_scheduled_{name}": name == "paused" for name in ("bad", "paused", "sound")}
    sound = yaml.safe_dump(CONF | {"schedule": {"cron": "0 3 * * *"}})
    (tmp_path / "sound.yaml").write_text(sound)
    for name in ("bad", "paused", "unknown"):
        (tmp_path / f"{name}.yaml").write_text(sound.replace("loss", "''"))
    first = named()
    assert list(first) == ["hpo_scheduled_bad"], "not one that is paused, or unknown to Airflow"
    assert first == named(), "the same error is the same run"
    (tmp_path / "bad.yaml").write_text("[")
    assert named() != first
    assert broken_files({"ti": FakeTask()}, tmp_path / "none") == []


def test_a_file_that_was_mended_meanwhile_is_not_run_unasked(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "a.yaml").write_text(yaml.safe_dump(CONF | {"schedule": {"cron": "0 3 * * *"}}))
    (file,) = scheduled_files(folder)
    given = context(None, run_id=f"{tasks.BROKEN}123")
    with pytest.raises(Ended, match=r"a\.yaml was broken when this run was asked for"):
        tasks.validate_file(given, file, "report")
    assert store.run(tasks.key_of(given)).status is RunStatus.REFUSED


@pytest.mark.parametrize("text", ["1: x=0.5", f"1: {'x' * 190}"])
def test_the_label_of_a_failed_trial_says_why(text: str) -> None:
    why = "exit code 2: can't open file 'churn.py'"
    trial = Trial(1, {}, TrialState.FAILED, cause=Cause.USER_ERROR, reason=why)
    label = failed_label(text, trial)
    assert label.endswith(f" · user_error: {why}")
    assert label.startswith(text[:80])
    long = replace(trial, reason="x" * 1_000)
    assert len(failed_label(text, long)) == 250, "as long as Airflow's column"
