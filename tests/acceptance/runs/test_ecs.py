"""Trials as ECS tasks under a real Airflow; MiniStack runs them on a real Docker engine.

Needs DOCKER_HOST, and an image that the engine has or can pull (HPO_TEST_IMAGE); an HPO_CONFIG of
one's own has to allow the launch type EC2. Spot interruptions and memory limits, which MiniStack
knows nothing of, are in tests/integration/test_ecs_operator.py.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from hpo_lib.core.trial import Cause
from tests.acceptance.conftest import Stack, causes, kill_task, repeated, until
from tests.ministack import CLUSTER, needs_ecs, running

pytestmark = [pytest.mark.airflow, needs_ecs]

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


def test_whatever_befalls_tasks_each_trial_has_its_cause(up: Stack, ecs: Any) -> None:
    key = up.trigger(conf(), DAG)
    (victim,) = until(lambda: running(ecs, STOPPED), "the task to stop")
    ecs.stop_task(cluster=CLUSTER, task=victim["taskArn"], reason="somebody's hand")
    (taken_over,) = until(lambda: running(ecs, SURVIVES), "the task whose Airflow task is killed")
    kill_task(up, key, SURVIVES)

    view = up.complete(key)
    assert causes(view) == FAILS
    trials = {v.trial.number: v for v in view.trials}
    assert trials[2].trial.reason == "exit code 3: no such layer"
    assert trials[3].trial.reason == "hpo: still running after 30 s"
    for number in trials.keys() - FAILS.keys():
        assert trials[number].trial.value == pytest.approx(trials[number].trial.params["x"])
    assert repeated(view) == {STOPPED: [Cause.LOST, None]}
    (survivor,) = trials[SURVIVES].attempts
    assert survivor.handle["task"] == taken_over["startedBy"]
    assert trials[2].attempts[-1].log_tail == "no such layer\n"
    assert any("no such layer" in log for log in up.logs(key, "slot")), "also in Airflow's log"


def test_a_trial_marked_failed_ends_its_task(up: Stack, ecs: Any) -> None:
    limits = {"max_trials": 1, "parallel_trials": 1}
    trial = conf("echo wait; sleep 600")["trial"] | {"timeout": "15m"}
    key = up.trigger(conf(limits=limits, trial=trial), DAG)
    until(lambda: running(ecs, 1), "the task")
    up.mark_trial_failed(key, 1)
    until(lambda: running(ecs) == [], "the end of the task")
    up.wait(key)
    view = up.store.view(up.run(key).id)
    assert [v.trial.cause for v in view.trials] == [Cause.KILLED_BY_OPERATOR]
