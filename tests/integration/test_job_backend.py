"""Attempts as Jobs of several pods, and as a custom resource, on a real cluster."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends import Ending, Exit, Request
from hpo_lib.backends.job import JobBackend
from hpo_lib.backends.pods import KubernetesRules
from tests.integration.backend_contract import LABELS, MIB, STORE, WAIT, BackendContract
from tests.integration.test_kubernetes_backend import IMAGE, connect

pytestmark = [
    pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="KUBECONFIG is not set"),
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]

NAMESPACE = "hpo-jobs"
RULES = KubernetesRules(
    namespaces=(NAMESPACE,), allow=("metadata.labels.role", "spec.containers.imagePullPolicy")
)
PATIENCE_S = 120.0


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    """A namespace of our own, and nothing of it afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        core = connect()
        there = {one.metadata.name for one in core.list_namespace().items}
        if NAMESPACE not in there:
            core.create_namespace({"metadata": {"name": NAMESPACE}})
        yield
        core.delete_namespace(NAMESPACE)
        until(lambda: NAMESPACE not in {n.metadata.name for n in core.list_namespace().items})


def until(condition: Any) -> Any:
    """Wait until something is so, and give it."""
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
    return found


def job(*containers: Any, pods: int = 1, **spec: Any) -> dict[str, Any]:
    """Describe a Job, of one container without image and command unless there are others."""
    template = {"spec": {"containers": list(containers) or [{"name": "main"}]}}
    template["spec"]["terminationGracePeriodSeconds"] = 1
    several = {"parallelism": pods, "completions": pods} if pods > 1 else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": several | spec | {"template": template},
    }


def request(script: str, options: dict[str, Any], **changes: Any) -> Request:
    """Ask for a shell script in the primary containers of a resource."""
    known = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 120.0, "image": IMAGE, "labels": LABELS}
    return Request(**({"command": ["sh", "-c", script]} | known | {"options": options} | changes))


class TestJobBackend(BackendContract):
    """The contract, with Jobs of one pod; and what only several pods do."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> JobBackend:
        return JobBackend(home=tmp_path, connect=connect, rules=RULES)

    def request(self, script: str, **changes: Any) -> Request:
        return request(script, {"resource": job()}, **changes)

    def several(self, script: str, pods: int = 2, **changes: Any) -> Request:
        """Ask for the same script in several pods at once."""
        return request(script, {"resource": job(pods=pods)}, **changes)

    def pods(self, backend: JobBackend, handle: Any) -> list[Any]:
        """List the pods of an attempt."""
        label = f"hpo.io/job={handle['job']}"
        return list(backend.client.list_namespaced_pod(NAMESPACE, label_selector=label).items)

    def test_several_pods_are_one_attempt(self, backend: JobBackend, handle: Any) -> None:
        backend.submit(handle, self.several("echo $HOSTNAME loss=0.5; sleep 2; echo end"))
        *lines, last = backend.follow(handle)
        assert last == Exit(Ending.EXITED, 0)
        names = sorted(pod.metadata.name for pod in self.pods(backend, handle))
        assert len(names) == 2
        expected = sorted([*(f"{name} loss=0.5" for name in names), "end", "end"])
        assert sorted(lines) == expected, "as they were printed"
        backend.fetch(handle)
        assert sorted(backend.log(handle).read_text().splitlines()) == expected

    def test_one_failing_pod_is_the_cause(self, backend: JobBackend, handle: Any) -> None:
        first = "mkdir /shared/lock 2>/dev/null"
        script = "case $HOSTNAME in *[a-m0-4]) echo no data >&2; exit 3;; *) exit 4;; esac"
        backend.submit(handle, self.several(f"{first}; {script}"))
        found = self.end(backend, handle)
        assert (found.ending, found.code in (3, 4)) == (Ending.EXITED, True)
        assert found.detail.startswith(f"pod {handle['job']}-")

    def test_a_worker_over_its_memory_is_the_cause(self, backend: JobBackend, handle: Any) -> None:
        greedy = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60"
        limits = {"resources": {"limits": {"memory": str(64 * MIB)}}}
        worker = {"name": "worker", "image": IMAGE, "command": ["sh", "-c", greedy]} | limits
        chief = {"name": "chief", "command": ["sh", "-c", "sleep 60"], "image": IMAGE}
        options = {"resource": job(chief, worker), "primary": {"container": "chief"}}
        backend.submit(handle, request("", options, command=()))
        found = self.end(backend, handle)
        assert found.ending is Ending.OUT_OF_MEMORY

    def test_an_image_that_nobody_has(self, backend: JobBackend, handle: Any) -> None:
        backend.submit(handle, self.several("true", image="localhost:9/no-such-image:1"))
        assert self.end(backend, handle).ending is Ending.IMAGE_NOT_PULLABLE

    def test_no_place_for_it(self, backend: JobBackend, handle: Any) -> None:
        backend.submit(handle, self.several("true", gpu=1_000, start_timeout_s=2.0))
        found = self.end(backend, handle)
        assert found.ending is Ending.UNSCHEDULABLE
        assert "nvidia.com/gpu" in found.detail

    def test_stop_leaves_no_pod(self, backend: JobBackend, handle: Any) -> None:
        backend.submit(handle, self.several(WAIT, pods=3))
        until(lambda: len(self.pods(backend, handle)) == 3)
        backend.stop(handle)
        assert self.pods(backend, handle) == []
        assert backend.poll(handle).ending is Ending.LOST

    def test_what_is_discarded_takes_its_pods_along(self, backend: JobBackend, handle: Any) -> None:
        backend.submit(handle, self.several("true"))
        self.end(backend, handle)
        backend.discard(handle)
        until(lambda: self.pods(backend, handle) == [])
        assert list(backend.found(STORE)) == []

    def test_a_resource_that_the_cluster_refuses(self, backend: JobBackend, handle: Any) -> None:
        bad = request("true", {"resource": job(pods=-1, parallelism=-1)})
        backend.submit(handle, bad)
        found = backend.poll(handle)
        assert found.ending is Ending.UNSTARTABLE
        assert "parallelism" in found.detail

    def test_a_pod_may_do_little(self, backend: JobBackend, handle: Any) -> None:
        script = "id -u; touch /here 2>&1; touch $HOME/x && touch /hpo/output/x && echo done"
        backend.submit(handle, self.several(script))
        self.end(backend, handle)
        said = backend.log(handle).read_text()
        assert int(said.split()[0]) != 0
        assert said.count("Read-only file system") == said.count("done") == 2
