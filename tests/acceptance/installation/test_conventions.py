"""Airflow's own ways on a real Airflow: the form, notes, notifiers, assets, and what failed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_lib.errors import HpoError
from hpo_lib.records import RunKey, RunStatus
from tests.acceptance.conftest import WAVES, Stack, until
from tests.acceptance.promotion import test_promotion
from tests.acceptance.runs.test_run import conf

pytestmark = pytest.mark.airflow

FINAL = ("final.choose", "final.trial", "gate", "approve", "deploy")


def told(home: Path) -> list[str]:
    file = home / "told.txt"
    return file.read_text().splitlines() if file.exists() else []


def note(stack: Stack, key: RunKey) -> str:
    path = f"/dags/{key.dag_id}/dagRuns/{key.dag_run_id}"
    return str(stack.ask("GET", path)["note"])


def test_the_form_refuses_what_no_run_could_begin_with(stack: Stack) -> None:
    with pytest.raises(HpoError, match=r"400 .*max_trails"):
        stack.trigger(conf(limits={"max_trails": 3}))


def test_a_refusal_stands_at_the_end_of_the_log_in_the_note_and_in_a_mail(
    stack: Stack, home: Path
) -> None:
    key = stack.trigger(conf(name="../x", final=None))
    assert stack.wait(key) == "failed"
    said = stack.log(key, "validate")
    assert "name: must be lower-case letters, digits and -" in said
    assert "Traceback" not in said
    assert note(stack, key).startswith("**refused**\n\n* `name: ")
    assert "failed|hpo_local was refused" in told(home)


def test_a_first_wave_that_fails_alike_ends_the_run_and_says_why(stack: Stack, home: Path) -> None:
    spec = conf(name="alike", limits={"max_trials": 6, "parallel_trials": 2})
    spec["trial"] = {"command": ["python3", "churn.py"]}
    key = stack.trigger(spec, WAVES)
    assert stack.wait(key) == "failed"
    run = stack.run(key)
    assert run.status is RunStatus.FAILED
    said = "all 2 trials of the first wave failed alike: user_error: exit code 2: "
    assert str(run.reason).startswith(said)
    assert "can't open file" in str(run.reason)
    assert "churn.py" in str(run.reason)
    assert len(stack.store.view(run.id).trials) == 2
    labels = [t["rendered_map_index"] for t in stack.tasks(key) if t["task_id"] == "wave_01.trial"]
    assert all(" · user_error: exit code 2: " in label for label in labels)
    assert all("churn.py" in label for label in labels)
    assert "churn.py" in note(stack, key)
    assert f"failed|run {run.id} of alike: failed" in told(home)
    assert "Traceback" not in stack.log(key, "report")


def test_final_training_is_skipped_at_once_where_there_is_none(stack: Stack) -> None:
    key = stack.trigger(conf(name="plain", limits={"max_trials": 2, "parallel_trials": 2}))
    view = stack.complete(key)
    assert {state for one in FINAL for state in stack.states(key, one)} == {"skipped"}
    assert stack.states(key, "report") == ["success"]
    best = min(one.trial.value or 0.0 for one in view.trials)
    assert f"best loss {best:.5g}" in note(stack, key)
    assert "**complete**: max trials reached: 2 of 2" in note(stack, key)
    instances = f"/dags/{key.dag_id}/dagRuns/{key.dag_run_id}/taskInstances"
    buttons = stack.ask("GET", f"{instances}/report/links")["extra_links"]
    assert buttons["Report"].endswith(f"/hpo/api/v1/runs/{view.run.id}/report")
    assert buttons["Artifacts"] is None, "it keeps none"
    path = f"{instances}/slot/links?map_index=0"
    buttons = stack.ask("GET", path)["extra_links"]
    assert re.search(rf"/hpo/api/v1/runs/{view.run.id}/trials/[12]/log$", buttons["Whole log"])


def test_a_champion_wakes_up_other_dags(stack: Stack, home: Path) -> None:
    until(lambda: stack.client().has("consumer"), "the DAG that waits")
    key = stack.trigger(test_promotion.conf("conventions"))
    stack.complete(key)
    assert stack.states(key, "deploy") == ["success"]
    uri = "hpo://champion/conventions"
    # Airflow 3.3.2 answers 500 while the run that it has woken is queued, as that has no start yet.
    (event,) = stack.ask("GET", "/assets/events?source_task_id=deploy")["asset_events"]
    assert (event["uri"], event["extra"]["version"]) == (uri, 1)
    runs = "/dags/consumer/dagRuns"

    def woken() -> list[dict[str, Any]]:
        return list(stack.ask("GET", runs)["dag_runs"])

    (run,) = until(woken, "a run of the DAG that waits")
    assert run["run_type"] == "asset_triggered"
    assert stack.wait(RunKey("consumer", run["dag_run_id"])) == "success"
    assert "champion|conventions: version 1 serves" in told(home)
    again = stack.trigger(test_promotion.conf("conventions"))
    stack.complete(again)
    assert len(woken()) == 1, "the champion stayed"


def test_a_broken_file_is_red_once_and_told(stack: Stack, home: Path, experiments: Path) -> None:
    dag_id = "hpo_scheduled_broken"
    file = conf(limits={"max_trails": 3}) | {"schedule": {"cron": "0 3 * * *"}}
    (experiments / "broken.yaml").write_text(yaml.safe_dump(file))
    until(lambda: stack.client().has(dag_id), "the broken file's DAG")
    for _ in range(2):
        stack.sweep()

    def ended() -> list[dict[str, Any]]:
        found = stack.ask("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return [run for run in found if run["state"] == "failed"]

    (run,) = until(ended, "the failed run")
    assert run["dag_run_id"].startswith("broken__")
    assert told(home).count(f"broken|{dag_id} is broken") == 1
    assert "max_trails" in note(stack, RunKey(dag_id, run["dag_run_id"]))
