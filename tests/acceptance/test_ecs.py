"""Trials as ECS tasks under a real Airflow; MiniStack runs them on a real Docker engine.

Needs DOCKER_HOST, and an image that the engine has or can pull (HPO_TEST_IMAGE); an HPO_CONFIG of
one's own has to allow the launch type EC2. Spot interruptions and memory limits, which MiniStack
knows nothing of, are in tests/integration/test_ecs_operator.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from hpo_lib.errors import HpoError
from hpo_lib.record import RunKey, RunStatus
from hpo_lib.trial import Cause, TrialState
from tests.acceptance.conftest import Stack, kill_task, until
from tests.ministack import CLUSTER, KEYS, client, ministack, needs_ecs

pytestmark = [pytest.mark.airflow, *needs_ecs]

DAG = "hpo_ecs"
IMAGE = os.environ.get("HPO_TEST_IMAGE", "debian:bookworm-slim")

#: What a trial does, by its number; all others print their loss. On its second attempt it is well.
SCRIPT = """
case "$HPO_TRIAL" in
  2|5) echo "no such layer" >&2; exit 3 ;;
  3)   sleep 600 ;;
  4)   test "$HPO_ATTEMPT" = 1 && sleep 600 ;;
  6)   sleep 15 ;;
esac
echo loss=$1
"""
STOPPED, SURVIVES = 4, 6
FAILS = {2: Cause.USER_ERROR, 3: Cause.TIMEOUT, 5: Cause.USER_ERROR}


def conf(script: str = SCRIPT, **changes: Any) -> dict[str, Any]:
    """Describe an experiment whose objective is its parameter; the image has no entry point."""
    base = {
        "name": "tasks",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "sampler": {"name": "sobol", "seed": 3},
        "limits": {"max_trials": 8, "parallel_trials": 4, "max_failed_trials": 3},
        "trial": {
            "backend": "ecs",
            "image": IMAGE,
            "args": ["sh", "-c", script, "trial", "${params.x}"],
            "timeout": "30s",
            "options": {"launch_type": "EC2"},
        },
    }
    return base | changes


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MiniStack, started once."""
    with ministack(tmp_path_factory.mktemp("ministack")) as address:
        yield address


@pytest.fixture
def ecs(up: Stack, endpoint: str) -> Iterator[Any]:
    """ECS, to which Airflow has its usual connection; nothing of ours is left on it."""
    name, extra = "aws_default", {"region_name": KEYS["region_name"], "endpoint_url": endpoint}
    with suppress(HpoError):
        up.client().call("DELETE", f"/connections/{name}")
    body = {"connection_id": name, "conn_type": "aws", "extra": json.dumps(extra)}
    body |= {"login": KEYS["aws_access_key_id"], "password": KEYS["aws_secret_access_key"]}
    up.client().call("POST", "/connections", body)
    service = client("ecs", endpoint)
    yield service
    until(lambda: running(service) == [], "the end of the last task")
    until(lambda: containers() == [], "the end of the last container")
    arns = service.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]
    assert arns == [], "definitions of attempts are taken back"


def containers() -> list[Any]:
    """List the containers of ECS tasks on the engine."""
    import docker

    label = {"label": "com.amazonaws.ecs.task-arn"}
    return list(docker.from_env().containers.list(filters=label))


def running(ecs: Any, trial: int | None = None) -> list[dict[str, Any]]:
    """List the tasks whose container runs, of one trial or of all."""
    arns = ecs.list_tasks(cluster=CLUSTER)["taskArns"]
    if not arns:
        return []
    found = ecs.describe_tasks(cluster=CLUSTER, tasks=arns, include=["TAGS"])["tasks"]
    wanted = {"key": "hpo:trial", "value": str(trial)}
    going = [task for task in found if task["lastStatus"] == "RUNNING"]
    return [task for task in going if trial is None or wanted in task["tags"]]


def test_whatever_befalls_tasks_each_trial_has_its_cause(up: Stack, ecs: Any) -> None:
    key = RunKey(DAG, up.client().trigger(DAG, conf()))
    (victim,) = until(lambda: running(ecs, STOPPED), "the task to stop")
    ecs.stop_task(cluster=CLUSTER, task=victim["taskArn"], reason="somebody's hand")
    (taken_over,) = until(lambda: running(ecs, SURVIVES), "the task whose Airflow task is killed")
    kill_task(up, key, SURVIVES)

    assert up.wait(key) == "success"
    run = up.run(key)
    assert run.status is RunStatus.COMPLETE, run.reason
    trials = {v.trial.number: v for v in up.store.view(run.id).trials}
    failed = {n: v.trial for n, v in trials.items() if v.trial.state is TrialState.FAILED}
    assert {number: trial.cause for number, trial in failed.items()} == FAILS
    assert failed[2].reason == "exit code 3"
    assert failed[3].reason == "hpo: still running after 30 s"
    for number in trials.keys() - FAILS.keys():
        assert trials[number].trial.value == pytest.approx(trials[number].trial.params["x"])
    attempts = {n: [a.cause for a in v.attempts] for n, v in trials.items()}
    assert {n: causes for n, causes in attempts.items() if len(causes) > 1} == {
        STOPPED: [Cause.LOST, None]
    }
    (survivor,) = trials[SURVIVES].attempts
    assert survivor.handle["task"] == taken_over["startedBy"]
    assert trials[2].attempts[-1].log_tail == "no such layer\n"
    assert "no such layer" in up.log(key, "wave_01.trial", map_index=1), "also in Airflow's log"


def test_a_trial_marked_failed_ends_its_task(up: Stack, ecs: Any) -> None:
    limits = {"max_trials": 1, "parallel_trials": 1}
    trial = conf("echo wait; sleep 600")["trial"] | {"timeout": "15m"}
    key = RunKey(DAG, up.client().trigger(DAG, conf(limits=limits, trial=trial)))
    until(lambda: running(ecs, 1), "the task")
    path = f"/dags/{DAG}/dagRuns/{key.dag_run_id}/taskInstances/wave_01.trial/0"
    up.client().call("PATCH", path, {"new_state": "failed"})
    until(lambda: running(ecs) == [], "the end of the task")
    up.wait(key)
    view = up.store.view(up.run(key).id)
    assert [v.trial.cause for v in view.trials] == [Cause.KILLED_BY_OPERATOR]
