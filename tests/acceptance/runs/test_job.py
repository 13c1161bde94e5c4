"""Trials of two pods each, as Jobs of a real cluster under a real Airflow.

Needs KUBECONFIG, and an image that the cluster has or can pull (HPO_TEST_IMAGE). The namespace is
HPO_TEST_NAMESPACE, which the installation has to allow (HPO_CONFIG); else `default`.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from hpo_lib.core.trial import Cause, TrialState
from tests.acceptance.conftest import Stack, until
from tests.integration.test_kubernetes_backend import IMAGE, connect

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
    pytest.mark.needs("KUBECONFIG"),
]

DAG = "hpo_job"
NAMESPACE = os.environ.get("HPO_TEST_NAMESPACE", "default")
SCRIPT = """
test "$HPO_TRIAL" != 2 || { echo "no such layer" >&2; exit 3; }
echo "trial $HPO_TRIAL on $HOSTNAME"; sleep 2; echo "loss=$1"
"""


def conf() -> dict[str, Any]:
    """Describe an experiment whose objective is its parameter."""
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["sh", "-c", SCRIPT, "trial"],
        "args": ["${params.x}"],
    }
    template = {"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    resource = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"parallelism": 2, "completions": 2, "template": template},
    }
    return {
        "name": "jobs",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "sampler": {"name": "sobol", "seed": 3},
        "limits": {"max_trials": 2, "parallel_trials": 2, "max_failed_trials": 1},
        "trial": {
            "backend": "job",
            "timeout": "120s",
            "options": {"namespace": NAMESPACE, "resource": resource},
        },
    }


def pods() -> list[str]:
    """Name the pods of jobs."""
    listed = connect().list_namespaced_pod(NAMESPACE, label_selector="hpo.io/job")
    return [pod.metadata.name for pod in listed.items]


def test_trials_of_two_pods_each(up: Stack) -> None:
    until(lambda: pods() == [], "an empty namespace")
    key = up.trigger(conf(), DAG)
    good, bad = up.complete(key).trials
    assert good.trial.value == good.trial.params["x"]
    log = "".join(up.logs(key, "slot"))
    (attempt,) = good.attempts
    assert log.count(f"trial 1 on {attempt.handle['job']}-") == 2, "what both pods print"
    assert (bad.trial.state, bad.trial.cause) == (TrialState.FAILED, Cause.USER_ERROR)
    assert "exit code 3: pod " in str(bad.trial.reason)
    until(lambda: pods() == [], "the end of the last pod")
