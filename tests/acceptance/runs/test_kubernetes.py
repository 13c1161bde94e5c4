"""Trials as pods of a real cluster, under a real Airflow, with everything that can befall a pod.

Needs KUBECONFIG, and an image that the cluster has or can pull (HPO_TEST_IMAGE). The namespace is
HPO_TEST_NAMESPACE, the first that the installation allows (HPO_CONFIG); else `default`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from hpo_lib.backends import log_of
from hpo_lib.core.trial import Cause
from hpo_lib.errors import HpoError
from hpo_lib.records import AttemptState, RunStatus
from tests.acceptance.conftest import (
    Stack,
    causes,
    instance,
    kill_task,
    no_housekeeping,
    repeated,
    undisturbed,
    until,
)

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
    pytest.mark.needs("KUBECONFIG"),
]

DAG = "hpo_kubernetes"
IMAGE = os.environ.get("HPO_TEST_IMAGE", "debian:bookworm-slim")
NAMESPACE = os.environ.get("HPO_TEST_NAMESPACE", "default")
OWNER = "hpo.io/store"

#: What a trial does, by its number; all others print their loss. On its second attempt it is well.
SCRIPT = """
first() { test "$HPO_ATTEMPT" = 1; }
case "$HPO_TRIAL" in
  2|9)   echo "no such layer" >&2; exit 3 ;;
  4|15)  x=$(head -c 400m /dev/zero | tr '\\0' x); echo "$x" | wc -c ;;
  7|20)  sleep 600 ;;
  11)    if first; then sleep 300; fi ;;
  18)    if first; then head -c 20m /dev/zero > /scratch/fill; sleep 300; fi ;;
  22)    sleep 20 ;;
esac
sleep 1
echo loss=$1
"""
DELETED, UNPULLABLE, EVICTED, SURVIVES = 11, 13, 18, 22
FAILS = {
    2: Cause.USER_ERROR,
    9: Cause.USER_ERROR,
    4: Cause.OUT_OF_MEMORY,
    15: Cause.OUT_OF_MEMORY,
    7: Cause.TIMEOUT,
    20: Cause.TIMEOUT,
}
REPEATED = {
    DELETED: Cause.LOST,
    UNPULLABLE: Cause.IMAGE_NOT_PULLABLE,
    EVICTED: Cause.EVICTED,
}


def conf(**changes: Any) -> dict[str, Any]:
    """Describe an experiment whose objective is its parameter."""
    base = {
        "name": "pods",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "sampler": {"name": "sobol", "seed": 3},
        "limits": {"max_trials": 24, "parallel_trials": 4, "max_failed_trials": 6},
        "trial": {
            "backend": "kubernetes",
            "image": IMAGE,
            "command": ["sh", "-c", SCRIPT, "trial"],
            "args": ["${params.x}"],
            "timeout": "60s",
            "resources": {"cpu": 0.1, "memory": "64Mi"},
            "options": {
                "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "4Mi"}}],
                "volume_mounts": [{"name": "scratch", "mountPath": "/scratch"}],
            },
        },
    }
    return base | changes


@pytest.fixture(scope="module")
def core() -> Any:
    """The cluster's API."""
    from kubernetes import client, config

    configuration = client.Configuration()
    config.load_kube_config(client_configuration=configuration)
    return client.CoreV1Api(client.ApiClient(configuration))


@pytest.fixture(autouse=True)
def nothing_left(core: Any) -> Iterator[None]:
    """No pod is there before a test, and none after it."""
    core.delete_collection_namespaced_pod(NAMESPACE, label_selector=OWNER, grace_period_seconds=0)
    until(lambda: pods(core) == [], "an empty namespace")
    yield
    cordon(core, False)
    until(lambda: pods(core) == [], "the end of the last pod")


def pods(core: Any) -> list[Any]:
    """List our pods."""
    return list(core.list_namespaced_pod(NAMESPACE, label_selector=OWNER).items)


def pod_of(core: Any, trial: int, attempt: int = 1) -> Any:
    """Give the pod of an attempt."""
    for pod in pods(core):
        labels = pod.metadata.labels
        if (labels["hpo.io/trial"], labels["hpo.io/attempt"]) == (str(trial), str(attempt)):
            return pod
    return None


def running(core: Any, trial: int, attempt: int = 1) -> Any:
    """Give the pod of an attempt once its program runs."""
    pod = pod_of(core, trial, attempt)
    return pod if pod is not None and pod.status.phase == "Running" else None


def cordon(core: Any, closed: bool) -> None:
    """Let nodes take no new pods, or take them again."""
    for node in core.list_node().items:
        core.patch_node(node.metadata.name, {"spec": {"unschedulable": closed}})


def test_whatever_befalls_pods_each_trial_has_its_cause(up: Stack, core: Any) -> None:
    spec = conf()
    key = up.trigger(spec, DAG)

    victim = until(lambda: running(core, DELETED), "the pod to delete")
    core.delete_namespaced_pod(victim.metadata.name, NAMESPACE, grace_period_seconds=0)
    until(lambda: running(core, DELETED, attempt=2), "its second attempt")
    cordon(core, True)
    victim = until(lambda: pod_of(core, UNPULLABLE), "the pod to spoil")
    image = {"spec": {"containers": [{"name": "trial", "image": "no-such-image:1"}]}}
    core.patch_namespaced_pod(victim.metadata.name, NAMESPACE, image)
    cordon(core, False)
    until(lambda: running(core, SURVIVES), "the pod whose task is killed")
    kill_task(up, key, SURVIVES)

    view = up.complete(key)
    trials = {v.trial.number: v for v in view.trials}
    expected = undisturbed(spec)
    assert {number: dict(v.trial.params) for number, v in trials.items()} == expected
    assert causes(view) == FAILS
    for number in expected.keys() - FAILS.keys():
        assert trials[number].trial.value == expected[number]["x"]
    assert repeated(view) == {number: [cause, None] for number, cause in REPEATED.items()}
    assert str(trials[9].trial.reason).startswith("exit code 3")
    assert Counter(a.state for a in trials[SURVIVES].attempts) == {AttemptState.SUCCEEDED: 1}
    assert pods(core) == []


#: Its best loss is printed first, and turned over by the kubelet (10 MiB) before the pod ends.
CHATTY = """
echo loss=$1
sleep 15
head -c 12000000 /dev/zero | tr '\\0' x | fold -w 3999
echo
sleep 15
echo loss=9
"""


def test_a_log_that_is_turned_over_does_not_lose_its_best(up: Stack) -> None:
    trial = conf()["trial"] | {"command": ["sh", "-c", CHATTY, "trial"], "timeout": "5m"}
    objective = conf()["objective"] | {"reduce": "best"}
    limits = {"max_trials": 1, "parallel_trials": 1}
    key = up.trigger(conf(limits=limits, objective=objective, trial=trial), DAG)
    (view,) = up.complete(key).trials
    assert view.trial.value == view.trial.params["x"]
    kept = log_of(view.attempts[-1].handle).read_text().splitlines()
    first, *noise, last = [line for line in kept if not line.startswith("[hpo] ")]
    assert (first, last) == (f"loss={view.trial.params['x']}", "loss=9")
    assert sum(map(len, noise)) == 12_000_000


def test_what_a_pod_returns_is_its_metrics(up: Stack) -> None:
    script = """printf '{"loss": %s, "size": 3}' $1 > /airflow/xcom/return.json"""
    trial = conf()["trial"] | {"command": ["sh", "-c", script, "trial"]}
    limits, metrics = {"max_trials": 2, "parallel_trials": 2}, {"collector": "xcom"}
    extra = ["size"]
    key = up.trigger(conf(limits=limits, metrics=metrics, extra_metrics=extra, trial=trial), DAG)
    for view in up.complete(key).trials:
        assert view.trial.metrics == {"loss": view.trial.params["x"], "size": 3}


def sleeping(script: str = "echo wait; sleep 600") -> dict[str, Any]:
    """Describe an experiment whose only trial takes ten minutes."""
    trial = conf()["trial"] | {"command": ["sh", "-c", script], "timeout": "15m"}
    return conf(limits={"max_trials": 1, "parallel_trials": 1}, trial=trial)


def test_a_trial_marked_failed_ends_its_pod(up: Stack, core: Any) -> None:
    key = up.trigger(sleeping(), DAG)
    until(lambda: running(core, 1), "the pod")
    up.mark_trial_failed(key, 1)
    until(lambda: pods(core) == [], "the end of the pod")
    up.wait(key)
    view = up.store.view(up.run(key).id)
    assert [v.trial.cause for v in view.trials] == [Cause.KILLED_BY_OPERATOR]


def test_a_running_trial_that_is_cleared_is_attempted_again(up: Stack, core: Any) -> None:
    script = "echo loss=1; test $HPO_ATTEMPT = 2 || sleep 600"
    key = up.trigger(sleeping(script), DAG)
    until(lambda: running(core, 1), "the pod")
    up.clear(key, instance(up, key, 1)["task_id"])
    assert up.wait(key) == "success"
    (view,) = up.store.view(up.run(key).id).trials
    assert [attempt.cause for attempt in view.attempts] == [Cause.STOPPED, None]


def test_a_run_marked_failed_ends_its_pods(up: Stack, core: Any) -> None:
    key = up.trigger(sleeping(), DAG)
    until(lambda: running(core, 1), "the pod")
    up.mark(key, "failed")
    until(lambda: pods(core) == [], "the end of the pod")


@pytest.mark.parametrize("state", ["failed", "queued"])
def test_a_deleted_run_ends_its_pods(up: Stack, core: Any, state: str) -> None:
    """Airflow deletes no running run: it is marked failed before, or, tasks and all, queued.

    Its scheduler may die of the deletion, as of 3.3.2, and is started again as in any deployment.
    """
    key = up.trigger(sleeping(), DAG)
    until(lambda: running(core, 1), "the pod")
    with pytest.raises(HpoError, match="cannot be deleted in running state"):
        up.delete(key)
    assert running(core, 1) is not None
    with no_housekeeping(up):
        until(lambda: up.deleted(key, state), "the deletion")
        until(lambda: pods(core) == [], "the end of the pod")
        assert up.run(key).status is RunStatus.RUNNING, "there was no report to end it"
    up.embedded.up(lambda _: None)
    up.sweep()
    run = up.run(key)
    assert run.status is RunStatus.FAILED
    assert causes(up.store.view(run.id)) == {1: Cause.KILLED_BY_OPERATOR}


def test_a_deleted_task_ends_its_pod(up: Stack, core: Any) -> None:
    key = up.trigger(sleeping(), DAG)
    until(lambda: running(core, 1), "the pod")
    task = instance(up, key, 1)["task_id"]
    path = f"/dags/{DAG}/dagRuns/{key.dag_run_id}/taskInstances/{task}?map_index=0"
    up.client().call("DELETE", path)
    until(lambda: pods(core) == [], "the end of the pod")
    up.mark(key, "failed")
