"""Attempts as Jobs of several pods, and as a custom resource, on a real cluster."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends import AttemptName, Request
from hpo_lib.backends.job import JobBackend
from hpo_lib.backends.job_rights import JobRules
from hpo_lib.backends.pod_rights import KubernetesRules
from hpo_lib.core.ending import Ending, Exit
from tests.integration.backend_contract import (
    LABELS,
    MIB,
    STORE,
    WAIT,
    BackendContract,
    ReturnsContract,
)
from tests.integration.test_kubernetes_backend import IMAGE, connect

pytestmark = [
    pytest.mark.needs("KUBECONFIG"),
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]

NAMESPACE = "hpo-jobs"
RULES = KubernetesRules(namespaces=(NAMESPACE,))
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


class TestJobBackend(ReturnsContract, BackendContract):
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
        backend.submit(handle, self.several("sleep 1; echo no data >&2; exit 3"))
        found = self.end(backend, handle)
        assert (found.ending, found.code) == (Ending.EXITED, 3)
        assert found.detail.startswith(f"pod {handle['job']}-")
        assert found.detail.endswith("no data")

    def test_a_worker_over_its_memory_is_the_cause(self, backend: JobBackend, handle: Any) -> None:
        greedy = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60"
        limits = {"resources": {"limits": {"memory": str(64 * MIB)}}}
        worker = {"name": "worker", "image": IMAGE, "command": ["sh", "-c", greedy]} | limits
        chief = {"name": "chief", "command": ["sh", "-c", "sleep 4"], "image": IMAGE}
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

    def test_a_kind_that_the_cluster_does_not_know(self, backend: JobBackend) -> None:
        options = {"resource": {"apiVersion": "kubeflow.org/v1", "kind": "TFJob"}}
        handle = backend.handle(AttemptName(STORE, "000001-custom", 99, 1, options))
        backend.submit(handle, request("", options, command=()))
        found = backend.poll(handle)
        assert found == Exit(
            Ending.UNSTARTABLE, detail="this cluster has no kind kubeflow.org/v1/TFJob"
        )
        backend.stop(handle)


@dataclass(frozen=True)
class Kind:
    """A kind whose pods the test makes, with a condition that says what is so."""

    group: str
    version: str
    name: str
    plural: str
    condition: str

    @property
    def api(self) -> str:
        return f"{self.group}/{self.version}"

    def said(self, one: dict[str, Any]) -> list[Any]:
        """Give what was said before."""
        return one.get("status", {}).get("conditions", [])

    def say(self, objects: Any, one: dict[str, Any], what: str) -> None:
        """Add a condition to the status."""
        said = [*self.said(one), {"type": what, "status": "True", "reason": f"Training{what}"}]
        objects.patch_namespaced_custom_object_status(
            *self.path(), one["metadata"]["name"], {"status": {"conditions": said}}
        )

    def path(self) -> tuple[str, str, str, str]:
        """Give the place of the kind in the API."""
        return self.group, self.version, NAMESPACE, self.plural


class StandIn(Kind):
    """A Job that asks for no pods, so that its own controller leaves it alone."""

    def said(self, one: dict[str, Any]) -> list[Any]:
        known = one["metadata"].get("annotations", {})
        return [{"type": what} for what in ("Created", "Failed", "Succeeded") if what in known]

    def say(self, objects: Any, one: dict[str, Any], what: str) -> None:
        patch = {"metadata": {"annotations": {what: "True"}}}
        objects.patch_namespaced_custom_object(*self.path(), one["metadata"]["name"], patch)


CUSTOM = Kind(
    *("test.hpo.io", "v1", "Training", "trainings"),
    "status.conditions[type={}][status=True]",
)
STAND_IN = StandIn("batch", "v1", "Job", "jobs", "metadata.annotations.{} == True")
PODS = {"chief": 1, "worker": 2}
#: A kind as operators of training jobs define them: conditions in the status.
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{CUSTOM.plural}.{CUSTOM.group}"},
    "spec": {
        "group": CUSTOM.group,
        "scope": "Namespaced",
        "names": {"plural": CUSTOM.plural, "singular": "training", "kind": CUSTOM.name},
        "versions": [
            {
                "name": CUSTOM.version,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


class Controller(threading.Thread):
    """Makes the pods of every resource, and says when its chief has ended or a replica failed."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(daemon=True)
        from kubernetes.client import CustomObjectsApi

        self.kind = kind
        self.core = connect()
        self.objects = CustomObjectsApi(self.core.api_client)
        self.ended = threading.Event()
        self.idle = False
        self.trouble: list[Exception] = []

    def run(self) -> None:
        from kubernetes.client.exceptions import ApiException

        while not self.ended.wait(0.3):
            try:
                listed = self.objects.list_namespaced_custom_object(*self.kind.path())
                for one in listed["items"]:
                    self.look_after(one)
            except ApiException as error:
                if error.status not in (404, 409):  # deleted, or changed, meanwhile
                    self.trouble.append(error)

    def look_after(self, one: dict[str, Any]) -> None:
        """Bring one resource a step further."""
        if "deletionTimestamp" in one["metadata"]:
            return
        if not self.kind.said(one):
            for role, count in ({} if self.idle else PODS).items():
                for number in range(count):
                    self.make(one, role, number)
            self.say(one, "Created")
            return
        name = one["metadata"]["name"]
        pods = self.core.list_namespaced_pod(NAMESPACE, label_selector=f"training={name}").items
        if any(pod.status.phase == "Failed" for pod in pods):
            self.say(one, "Failed")
        if any(p.status.phase == "Succeeded" for p in pods if p.metadata.labels["role"] == "chief"):
            self.say(one, "Succeeded")

    def make(self, one: dict[str, Any], role: str, number: int) -> None:
        """Make one pod from the template, owned by the resource."""
        template, name = one["spec"]["template"], one["metadata"]["name"]
        metadata = template["metadata"]
        # Not those by which the controller of Jobs knows its own.
        labels = {key: of for key, of in metadata["labels"].items() if key.startswith("hpo.io/")}
        owner = {"apiVersion": self.kind.api, "kind": self.kind.name, "name": name}
        owner |= {"uid": one["metadata"]["uid"], "blockOwnerDeletion": True}
        pod = {
            "metadata": {
                "name": f"{name}-{role}-{number}",
                "labels": labels | {"role": role, "training": name},
                "annotations": metadata["annotations"],
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }
        self.core.create_namespaced_pod(NAMESPACE, pod)

    def say(self, one: dict[str, Any], what: str) -> None:
        """Say something, once."""
        if what not in {condition["type"] for condition in self.kind.said(one)}:
            self.kind.say(self.objects, one, what)


def training(kind: Kind, chief: str, worker: str, **container: Any) -> dict[str, Any]:
    """Describe options for a chief and two workers; the chief's log holds the metrics."""
    script = f"case $HOSTNAME in *-chief-0) {chief};; *) {worker};; esac"
    main = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]} | container
    made = job(main, parallelism=0)
    return {
        "resource": made | {"apiVersion": kind.api, "kind": kind.name},
        "success": kind.condition.format("Succeeded"),
        "failure": f"{kind.condition.format('Failed')} or status.phase == Broken",
        "primary": {"labels": {"role": "chief"}, "container": "main"},
    }


@contextmanager
def defined() -> Iterator[None]:
    """Have the cluster know the custom kind."""
    from kubernetes.client import ApiextensionsV1Api

    kinds, name = ApiextensionsV1Api(connect().api_client), CRD["metadata"]["name"]
    kinds.create_custom_resource_definition(CRD)
    until(lambda: _is_served(kinds.read_custom_resource_definition(name)))
    yield
    kinds.delete_custom_resource_definition(name)


def _is_served(definition: Any) -> bool:
    conditions = definition.status.conditions or []
    return any(one.type == "Established" and one.status == "True" for one in conditions)


@pytest.fixture(scope="module", params=[STAND_IN, CUSTOM], ids=lambda kind: kind.name)
def controller(request: pytest.FixtureRequest) -> Iterator[Controller]:
    """A kind whose resources are looked after while tests run."""
    kind = request.param
    if kind is CUSTOM and "HPO_TEST_CUSTOM_RESOURCES" not in os.environ:
        pytest.skip(
            "HPO_TEST_CUSTOM_RESOURCES is not set: an API server of Kubernetes 1.20 that was "
            "built with Go 1.18 or later ends at the first custom resource"
        )
    with warnings.catch_warnings(), defined() if kind is CUSTOM else nullcontext():
        warnings.simplefilter("ignore")
        made = Controller(kind)
        made.start()
        yield made
        made.ended.set()
        made.join()
    assert made.trouble == []


class TestAnyResource:
    """A kind with a controller that the test runs: a custom resource, or what stands in for it."""

    @pytest.fixture
    def kind(self, controller: Controller) -> Kind:
        return controller.kind

    @pytest.fixture
    def backend(self, tmp_path: Path, kind: Kind) -> JobBackend:
        jobs = JobRules(kinds=(f"{kind.api}/{kind.name}",))
        return JobBackend(home=tmp_path, connect=connect, rules=RULES, jobs=jobs)

    @pytest.fixture
    def handle(
        self, backend: JobBackend, kind: Kind, request: pytest.FixtureRequest
    ) -> Iterator[Any]:
        options = {"resource": {"apiVersion": kind.api, "kind": kind.name}}
        number = [*vars(TestAnyResource)].index(request.node.originalname)
        made = backend.handle(AttemptName(STORE, "000001-custom", number, 1, options))
        yield made
        backend.stop(made)

    def pods(self, backend: JobBackend, handle: Any) -> list[str]:
        """Name the pods of an attempt."""
        label = f"hpo.io/job={handle['job']}"
        listed = backend.client.list_namespaced_pod(NAMESPACE, label_selector=label)
        return sorted(pod.metadata.name for pod in listed.items)

    def test_its_condition_says_that_it_succeeded(
        self, backend: JobBackend, handle: Any, kind: Kind
    ) -> None:
        chief = "echo trial $HPO_TRIAL; echo loss=0.25; sleep 2; echo done"
        options = training(kind, chief, "echo loss=9; sleep 600")
        backend.submit(handle, request("", options, command=(), image=None))
        *lines, last = backend.follow(handle)
        assert last == Exit(Ending.EXITED, 0), "though its workers still run"
        assert lines == ["trial 1", "loss=0.25", "done"], "of the chief alone"
        backend.fetch(handle)
        assert backend.log(handle).read_text().splitlines() == lines
        assert [pod.removeprefix(handle["job"]) for pod in self.pods(backend, handle)] == [
            *("-chief-0", "-worker-0", "-worker-1")
        ]
        (found,) = backend.found(STORE)
        assert found.handle["job"] == handle["job"]
        backend.stop(found.handle)
        assert self.pods(backend, handle) == []
        assert list(backend.found(STORE)) == []

    def test_its_condition_says_that_it_failed_and_a_worker_says_why(
        self, backend: JobBackend, handle: Any, kind: Kind
    ) -> None:
        greedy = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60"
        options = training(
            kind, "sleep 600", greedy, resources={"limits": {"memory": str(64 * MIB)}}
        )
        backend.submit(handle, request("", options, command=(), image=None))
        *_, last = backend.follow(handle)
        assert last.ending is Ending.OUT_OF_MEMORY
        assert last.detail.startswith(f"pod {handle['job']}-worker-")

    def test_a_failure_that_no_pod_explains(
        self, backend: JobBackend, handle: Any, kind: Kind
    ) -> None:
        options = training(kind, "sleep 600", "sleep 600")
        options["failure"] = kind.condition.format("Created")
        backend.submit(handle, request("", options, command=(), image=None))
        *_, last = backend.follow(handle)
        assert last.ending is Ending.FAILED
        assert last.detail in ("TrainingCreated", "its conditions give no reason")

    def test_a_controller_that_does_nothing_is_given_up(
        self, backend: JobBackend, handle: Any, controller: Controller
    ) -> None:
        controller.idle = True
        options = training(controller.kind, "true", "true")
        asked = request("", options, command=(), image=None, start_timeout_s=3.0)
        backend.submit(handle, asked)
        *_, last = backend.follow(handle)
        controller.idle = False
        assert last.ending is Ending.UNSCHEDULABLE
        assert "has no pod after 3 s" in last.detail
