"""Jobs: what a conf may ask for in a resource, what it becomes, and what its state means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.backends import AttemptName, Request, pods
from hpo_lib.backends.job import JobBackend
from hpo_lib.backends.job_rights import JobRules
from hpo_lib.backends.pod_rights import KubernetesRules
from hpo_lib.backends.resource import (
    as_text,
    end_of,
    primary,
    templates,
    with_templates,
)
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Trial
from hpo_lib.errors import SpecError
from hpo_lib.spec import command_line, load
from hpo_lib.spec.placeholders import filled
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.spec.yaml_file import from_yaml
from hpo_lib.validation import parse

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
TFJOB = "kubeflow.org/v1/TFJob"
EXAMPLES = Path(__file__).resolve().parents[2] / "config" / "experiments"


def backend(kinds: Any = ("batch/v1/Job", TFJOB), allow: Any = (), **rules: Any) -> JobBackend:
    """A backend that never connects."""
    jobs = JobRules(kinds=kinds, allow=allow)
    pods = KubernetesRules(**({"images": ("team/*",)} | rules))
    return JobBackend(Path("home"), connect=lambda: None, rules=pods, jobs=jobs)


def container(**fields: Any) -> dict[str, Any]:
    """A container with an image that is allowed."""
    return {"name": "main", "image": "team/model:3"} | fields


def job(pod: Any = None, *, top: Any = None, **spec: Any) -> dict[str, Any]:
    """A Job with one container, whose pods have this beside it."""
    template = {"spec": {"containers": [container()]} | (pod or {})}
    resource = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template} | spec}
    return resource | (top or {})


def replicas(**by_role: Any) -> dict[str, Any]:
    """A TFJob with a pod template by role."""
    specs = {
        role: {"replicas": 1, "template": {"spec": {"containers": [one]}}}
        for role, one in by_role.items()
    }
    return {"apiVersion": "kubeflow.org/v1", "kind": "TFJob", "spec": {"tfReplicaSpecs": specs}}


def trial(resource: Any, more: Any = None, **said: Any) -> TrialSpec:
    """Ask for a resource."""
    return TrialSpec(backend="job", options={"resource": resource} | (more or {}), **said)


AT = "trial.options.resource"
IN = f"{AT}.spec.template"


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (trial({}), f"{AT}: apiVersion, kind is required, got {{}}"),
        (
            trial({"apiVersion": "ray.io/v1", "kind": "RayJob"}),
            f"{AT}.kind: this installation allows batch/v1/Job, {TFJOB}, got ray.io/v1/RayJob",
        ),
        (
            trial({"apiVersion": "ray.io/v1", "kind": "RayJob"}),
            "trial.options.success: is required of a ray.io/v1/RayJob",
        ),
        (trial(job(), {"success": "status.#"}), "trial.options.success: must be a condition such"),
        (trial(job(), {"sucess": "x"}), "unknown key \"sucess\", did you mean 'success'?"),
        (
            trial(job(), {"primary": {"container": "tensorflow"}}),
            "trial.options.primary.container: must be one of main, got tensorflow",
        ),
        # What a pod may not have, a pod template may not have.
        (trial(job({"hostNetwork": True})), f"{IN}: spec.hostNetwork: is not allowed"),
        (trial(job({"serviceAccountName": "admin"})), f"{IN}: spec.serviceAccountName: this"),
        (trial(job({"initContainers": [{"name": "x"}]})), f"{IN}: spec.initContainers.name: is"),
        (
            trial(job({"containers": [container(securityContext={"privileged": True})]})),
            f"{IN}: spec.containers.securityContext.privileged: is not allowed",
        ),
        (
            trial(job({"containers": [container(ports=[{"hostPort": 1}])]})),
            f"{IN}: spec.containers.ports.hostPort: is not allowed",
        ),
        (
            trial(job({"containers": [container(resources={"limits": {"evil/gpu": 1}})]})),
            f"{IN}: spec.containers.resources.limits.evil/gpu: is not allowed",
        ),
        (
            trial(job({"containers": [container(), container(name="b", image="evil/miner")]})),
            f"{IN}: spec.containers.image: this installation allows team/* (kubernetes.images)",
        ),
        (
            trial(job({"containers": [container(image="team/${trial.number}")]})),
            f'{IN}: spec.containers.image: must hold no placeholder, got "team/${{trial.number}}"',
        ),
        (
            trial(replicas(Chief=container(), Worker=container(lifecycle={"postStart": {}}))),
            f"{AT}.spec.tfReplicaSpecs.Worker.template: spec.containers.lifecycle.postStart: is",
        ),
        # Nor around them.
        (trial(job(top={"metadata": {"name": "mine"}})), f"{AT}: metadata.name: is not allowed"),
        (trial(job(top={"metadata": {"finalizers": ["x"]}})), f"{AT}: metadata.finalizers: is"),
        (
            trial(job(), {"namespace": "kube-system"}),
            f"{AT}: metadata.namespace: this installation",
        ),
        (trial(job(manualSelector=True)), f"{AT}.spec.manualSelector: is not allowed in a batch"),
        (
            trial(replicas() | {"podSpec": {"containers": [container()]}}),
            f"{AT}.podSpec.containers.name: belongs into a pod template",
        ),
        (
            trial(replicas() | {"spec": {"template": {"spec": {"hostNetwork": True}}}}),
            f"{AT}.spec.template.spec.hostNetwork: belongs into a pod template",
        ),
        *(
            (trial(replicas() | {word: []}), f"{AT}.{word}: belongs into a pod template")
            for word in ("fieldRef", "resourceFieldRef", "hostPort", "sysctls", "procMount")
        ),
        *(
            (
                trial(replicas() | {"driver": beside}),
                f"{AT}.driver.{path}: this installation allows",
            )
            for path, beside in (
                ("limits.evil/gpu", {"limits": {"evil/gpu": 1}}),
                ("limits.evil/gpu", {"limits": [{"cpu": 1}, {"evil/gpu": 1}]}),
                ("job.requests.evil.org/gpu", {"job": {"requests": {"evil.org/gpu": 1}}}),
                ("requests", {"requests": "evil/gpu"}),
                ("requests", {"requests": None}),
            )
        ),
        (
            trial(replicas() | {"trainer": {"image": "evil/miner"}}),
            f"{AT}.trainer.image: this installation allows team/* (kubernetes.images), got",
        ),
        # What would go nowhere.
        (
            trial(job(), image="team/other:1"),
            "trial.image: every primary container in trial.options.resource has its own",
        ),
        (
            trial(job({"containers": [container(args=["x"])]}), command=("sh",)),
            "trial.command: every primary container in trial.options.resource has its own",
        ),
    ],
)
def test_a_conf_cannot_reach_what_the_deployment_does_not_allow(
    asked: TrialSpec, line: str
) -> None:
    with pytest.raises(SpecError) as caught:
        backend().permit(asked)
    lines = str(caught.value).splitlines()
    assert any(line in one for one in lines), lines


def test_what_the_deployment_allows_a_conf_may_ask_for() -> None:
    queue = {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "team"}}}
    opened = ("spec.runPolicy.serviceAccountName", "queue.limits")
    made = backend(allow=opened, service_accounts=("trainer",))
    asked = replicas(Chief=container(resources={"limits": {"nvidia.com/gpu": 2, "memory": "1Gi"}}))
    asked["spec"]["runPolicy"] = {"serviceAccountName": "trainer", "cleanPodPolicy": "None"}
    asked["driver"] = {"limits": {"nvidia.com/gpu": 1, "cpu": 4}, "requests": {}}
    asked["queue"] = {"limits": 3}
    made.permit(trial(asked))
    labelled = JobBackend(
        Path("home"),
        connect=lambda: None,
        rules=KubernetesRules(
            images=("team/*",), allow=("metadata.labels.kueue.x-k8s.io/queue-name",)
        ),
    )
    labelled.permit(trial(job(top=queue)))


def test_a_kind_has_a_group_and_a_version() -> None:
    with pytest.raises(SpecError, match=r"kinds: must be group, version and kind, .* got \"v1/Pod"):
        parse(JobRules, {"kinds": ["batch/v1/Job", "v1/Pod"]})


def request(options: Any, **changes: Any) -> Request:
    """Ask for a resource, for the first trial."""
    known = {"command": (), "env": {"HPO_TRIAL": "1"}, "timeout_s": 90.4}
    return Request(**(known | {"labels": {"trial": "1"}, "options": options} | changes))


def test_every_pod_template_is_made_safe_and_told_of_its_attempt() -> None:
    made = backend(pod_template={"spec": {"containers": [{"name": "trial", "tty": True}]}})
    options = {"resource": replicas(Chief=container(), Worker=container(env=[{"name": "A"}]))}
    handle = made.handle(AttemptName("5707e", f"000012-{'a' * 60}", 3, 2, options))
    assert len(handle["job"]) <= 48
    assert handle["kind"] == TFJOB
    resource = made.wanted(handle, request(options))
    assert resource["metadata"]["name"] == handle["job"]
    labels = {"hpo.io/trial": "1", "hpo.io/store": "5707e", "hpo.io/job": handle["job"]}
    assert resource["metadata"]["labels"] == labels
    found = dict(templates(resource))
    assert [path.split(".")[2] for path in found] == ["Chief", "Worker"]
    for pod in found.values():
        assert pod["metadata"]["labels"] == labels
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["activeDeadlineSeconds"] == 991, "start_timeout is 900 s"
        assert pod["spec"]["automountServiceAccountToken"] is False
        (only,) = pod["spec"]["containers"]
        assert (only["name"], only["tty"]) == ("main", True), (
            "the installation's, for any container"
        )
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"name": "HPO_TRIAL", "value": "1"} in only["env"]


def test_a_container_that_leaves_it_open_gets_what_the_trial_says() -> None:
    whole = container(image="team/other:1", command=["sleep"], resources={"limits": {"memory": 1}})
    bare = {"name": "main"}
    options = {"resource": replicas(Chief=bare, Worker=whole, Proxy={"name": "proxy"})}
    options["primary"] = {"container": "main"}
    made = backend()
    made.permit(trial(options["resource"], {"primary": options["primary"]}, image="team/model:3"))
    handle = made.handle(AttemptName("5707e", "000001-x", 1, 1, options))
    asked = request(options, image="team/model:3", args=["--lr=1"], memory_bytes=2**20)
    chief, worker, proxy = (
        pod["spec"]["containers"][0] for _, pod in templates(made.wanted(handle, asked))
    )
    assert (chief["image"], chief["args"]) == ("team/model:3", ["--lr=1"])
    assert chief["resources"]["limits"] == {"memory": "1048576"}
    assert (worker["image"], worker["command"]) == ("team/other:1", ["sleep"])
    assert "args" not in worker
    assert worker["resources"]["limits"] == {"memory": 1}
    assert not {"image", "args", "resources"} & set(proxy)


def test_a_job_is_not_tried_again_by_its_controller_unless_the_conf_wants_that() -> None:
    made = backend()
    for asked, limit in ((job(), 0), (job(backoffLimit=3), 3)):
        handle = made.handle(AttemptName("5707e", "000001-x", 1, 1, {"resource": asked}))
        wanted = made.wanted(handle, request({"resource": asked}))
        assert wanted["spec"]["backoffLimit"] == limit


def test_the_example_gets_the_values_of_a_trial() -> None:
    spec = from_yaml((EXAMPLES / "digits-job.yaml").read_text())
    made = JobBackend(Path("home"), connect=lambda: None)
    made.permit(spec.trial)
    params = {"learning_rate": 0.01, "units": 64, "layers": 2, "batch_size": 32}
    params |= {"dropout": 0.1, "optimizer": "adam"}
    found = command_line.invocation(spec, Trial(1, params), run=1, attempt=1, output="/o")
    handle = made.handle(AttemptName("5707e", "000001-x", 1, 1, spec.trial.options))
    asked = request(found.options, args=found.args)
    ((_, pod),) = templates(made.wanted(handle, asked))
    (only,) = pod["spec"]["containers"]
    assert only["args"][:2] == ["--learning_rate=0.01", "--units=64"]
    assert not any("momentum" in word or "${" in word for word in only["args"])


def test_numbers_stay_numbers_but_for_what_has_to_be_text() -> None:
    spec = load(
        {
            "name": "x",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": {"n": {"type": "int", "low": 1, "high": 4}},
            "trial": {
                "backend": "job",
                "options": {
                    "replicas": "${params.n}",
                    "args": ["${params.n}", "-n=${params.n}"],
                    "env": [{"name": "N", "value": "${params.n}"}],
                    "value": "${params.n}",
                },
            },
        }
    )
    assert as_text(filled(spec.trial.options, {"n": 3}, {})) == {
        "replicas": 3,
        "args": ["3", "-n=3"],
        "env": [{"name": "N", "value": "3"}],
        "value": 3,
    }
    assert as_text({"command": [True, 0.5, "x"]}) == {"command": ["true", "0.5", "x"]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["spec", "containers", "name", "x"]), inner)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_whatever_a_resource_holds_it_is_read_or_refused(resource: dict[str, Any]) -> None:
    assert with_templates(resource, lambda pod: pod) == resource
    with pytest.raises(SpecError):
        backend().permit(trial(resource | {"apiVersion": "batch/v1", "kind": "NoSuchKind"}))


def pod(
    name: str = "a", *, phase: str = "Running", age_s: float = 10, labels: Any = None, **state: Any
) -> dict[str, Any]:
    """A pod of an attempt with one container, in a state."""
    created = (NOW - timedelta(seconds=age_s)).isoformat()
    statuses = [{"name": "main", "state": state}] if state else []
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": labels or {},
            "annotations": {"hpo.io/start-timeout-s": "60"},
        },
        "spec": {"containers": [{"name": "main"}]},
        "status": {"phase": phase, "startTime": created, "containerStatuses": statuses},
    }


def ended(code: int, reason: str = "Error", after_s: int = 0) -> dict[str, Any]:
    """The state of a container that has ended."""
    when = (NOW + timedelta(seconds=after_s)).isoformat()
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": when}}


def runs(age_s: int) -> dict[str, Any]:
    """The state of a container that runs since then."""
    return {"running": {"startedAt": (NOW - timedelta(seconds=age_s)).isoformat()}}


def resource(*conditions: str, age_s: float = 10, **metadata: Any) -> dict[str, Any]:
    """A resource whose controller has said this."""
    annotations = {
        "hpo.io/success": "status.conditions[type=Complete]",
        "hpo.io/failure": "status.conditions[type=Failed]",
        "hpo.io/primary": json.dumps({"labels": {"role": "chief"}}),
        "hpo.io/timeout-s": "600",
        "hpo.io/start-timeout-s": "60",
    }
    said = [{"type": one, "status": "True", "reason": f"Is{one}"} for one in conditions]
    created = (NOW - timedelta(seconds=age_s)).isoformat()
    known = {"creationTimestamp": created, "annotations": annotations}
    return job() | {"metadata": known | metadata, "status": {"conditions": said}}


OOM = pod("oom", phase="Failed", **ended(137, "OOMKilled", after_s=9))
LATE = Exit(Ending.TIMEOUT, detail="still going on after 600 s")
PULL = {"waiting": {"reason": "ImagePullBackOff"}}


@pytest.mark.parametrize(
    ("said", "pods", "expected"),
    [
        (resource(), [pod(running={})], None),
        (resource(), [], None),
        (resource("Complete"), [pod(running={})], Exit(Ending.EXITED, 0)),
        (resource("Complete", "Failed"), [], Exit(Ending.FAILED, detail="IsFailed")),
        # A pod that failed is no failure while its controller goes on.
        (resource(), [pod(phase="Failed", **ended(3)), pod("b", running={})], None),
        (
            resource("Failed"),
            [
                pod("late", phase="Failed", **ended(1, after_s=5)),
                pod("x", phase="Failed", **ended(3)),
            ],
            Exit(Ending.EXITED, 3, "pod x"),
        ),
        # What the others end with follows from this one.
        (
            resource("Failed"),
            [pod(phase="Failed", **ended(1)), OOM, pod("c", phase="Failed", **ended(143))],
            Exit(Ending.OUT_OF_MEMORY, 137, "pod oom: over its memory limit"),
        ),
        (
            resource("Failed"),
            [pod(phase="Failed", **ended(143)), pod("x", phase="Failed", **ended(2, after_s=3))],
            Exit(Ending.EXITED, 2, "pod x"),
        ),
        (
            resource("Failed"),
            [pod(phase="Succeeded", **ended(0)), pod("b", running={})],
            Exit(Ending.FAILED, detail="IsFailed"),
        ),
        (
            resource(),
            [pod(running={}), pod("b", phase="Pending", **PULL)],
            Exit(Ending.IMAGE_NOT_PULLABLE, detail="pod b: ImagePullBackOff"),
        ),
        (
            resource(age_s=61),
            [],
            Exit(
                Ending.UNSCHEDULABLE,
                detail="has no pod after 60 s: its conditions give no reason",
            ),
        ),
        # The time counts from when all have begun, or could have.
        (resource(age_s=650), [pod(age_s=640, **runs(599))], None),
        (resource(age_s=620), [pod(age_s=610, **runs(601))], LATE),
        (resource(age_s=650), [pod(**runs(610)), pod("b", **runs(599))], None),
        (resource(age_s=650), [pod(**runs(640)), pod("b", phase="Pending", waiting={})], None),
        (resource(age_s=650), [pod(**ended(0)), pod("b", **runs(599))], None),
        (resource(age_s=661), [pod(**runs(599))], LATE),
        (resource(deletionTimestamp=NOW.isoformat()), [pod(running={})], None),
        (
            resource(deletionTimestamp=(NOW - timedelta(seconds=100)).isoformat()),
            [],
            Exit(Ending.NODE_LOST, detail="its deletion does not end"),
        ),
    ],
)
def test_how_an_attempt_ended(said: Any, pods: Any, expected: Exit | None) -> None:
    assert end_of(said, pods, NOW) == expected


def test_the_primary_pods_are_those_with_its_labels_that_have_begun() -> None:
    chief = {"role": "chief", "other": "x"}
    pods = [
        pod("second", age_s=5, labels=chief, running={}),
        pod("first", age_s=9, labels=chief, **ended(0)),
        pod("waits", labels=chief, waiting={}),
        pod("worker", labels={"role": "worker"}, running={}),
    ]
    found = [(one["metadata"]["name"], container) for one, container in primary(resource(), pods)]
    assert found == [("first", "main"), ("second", "main")]


@pytest.mark.parametrize(("said_s", "grace_s"), [(None, 5), (12.5, 13)])
def test_the_pods_of_a_job_have_as_long_to_end_by_themselves_as_their_trial_says(
    said_s: float | None, grace_s: int
) -> None:
    made, options = backend(), {"resource": job()}
    handle = made.handle(AttemptName("5707e", "000001-x", 1, 1, options))
    wanted = made.wanted(handle, request(options, stop_grace_s=said_s))
    ((_, pod),) = templates(wanted)
    assert pod["spec"].get("terminationGracePeriodSeconds") == (said_s and grace_s)
    assert pods.grace_s(wanted) == grace_s
