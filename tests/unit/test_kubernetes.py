"""Pods: what a conf may ask for, and what their status means."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.backends import AttemptName, Request, output_of, output_within
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.backends.pod_rights import KubernetesRules, refusals
from hpo_lib.backends.pod_status import exit_of, refused, returned
from hpo_lib.backends.pods import deadline_s, merged
from hpo_lib.collectors import Source
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Cause
from hpo_lib.errors import SpecError
from hpo_lib.records import Outcome
from hpo_lib.spec import load
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.trials import outcome
from tests.integration import fake_engines

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
README = Path(__file__).parents[2] / "README.md"
HOST = {"name": "host", "hostPath": {"path": "/"}}


def backend(**rules: Any) -> KubernetesBackend:
    """A backend that never connects."""
    known = KubernetesRules(**({"images": ("team/*",)} | rules))
    return KubernetesBackend(Path("home"), connect=lambda: None, rules=known)


def trial(**options: Any) -> TrialSpec:
    """Ask for a pod with these options."""
    return TrialSpec(backend="kubernetes", image="team/model:3", options=options)


def template(**spec: Any) -> dict[str, Any]:
    """Ask for a pod by a template."""
    return {"pod_template": {"spec": spec}}


def container(**fields: Any) -> dict[str, Any]:
    """Ask for a pod by a template of its container."""
    return template(containers=[{"name": "trial"} | fields])


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"namespace": "kube-system"}, "metadata.namespace"),
        ({"service_account": "admin"}, "spec.serviceAccountName"),
        ({"priority_class": "system-node-critical"}, "spec.priorityClassName"),
        ({"image_pull_secrets": ["theirs"]}, "spec.imagePullSecrets.name"),
        ({"secrets": [{"env": "X", "name": "airflow", "key": "k"}]}, "secretKeyRef.name"),
        ({"volumes": [HOST]}, "spec.volumes.hostPath.path"),
        ({"volumes": [{"name": "s", "secret": {"secretName": "airflow"}}]}, "secret.secretName"),
        ({"volumes": [{"name": "s", "projected": {"sources": []}}]}, "spec.volumes.projected"),
        ({"gpu_resource": "memory"}, "trial.options.gpu_resource"),
        (template(hostNetwork=True), "spec.hostNetwork"),
        (template(hostPID=True), "spec.hostPID"),
        (template(automountServiceAccountToken=True), "spec.automountServiceAccountToken"),
        (template(serviceAccount="admin"), "spec.serviceAccount"),
        (template(nodeName="master"), "spec.nodeName"),
        (template(securityContext={"runAsUser": 0}), "spec.securityContext.runAsUser"),
        (template(initContainers=[{"name": "x"}]), "spec.initContainers.name"),
        (template(containers=[{"name": "other"}]), "spec.containers"),
        (container(image="evil/miner"), "spec.containers.image"),
        (container(command=["sh"]), "spec.containers.command"),
        (container(lifecycle={"postStart": {}}), "spec.containers.lifecycle"),
        (container(env=[{"name": "DB_PASSWORD", "value": "x"}]), "DB_PASSWORD looks like a secret"),
        (template(containers=[{"name": ["trial"]}]), "spec.containers"),
        (container(securityContext={"privileged": True}), "securityContext.privileged"),
        (container(envFrom=[{"secretRef": {"name": "airflow"}}]), "spec.containers.envFrom"),
        ({"pod_template": {"metadata": {"labels": {"hpo.io/run": "1"}}}}, "metadata.labels"),
        ({"pod_template": {"metadata": {"annotations": {"a": "b"}}}}, "metadata.annotations"),
    ],
)
def test_a_conf_cannot_reach_what_the_deployment_does_not_allow(options: Any, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        backend().permit(trial(**options))
    assert path in str(caught.value)
    assert all(line.startswith("trial.options") for line in str(caught.value).splitlines())


def test_what_the_deployment_allows_a_conf_may_ask_for() -> None:
    rules = {
        "namespaces": ("hpo", "team"),
        "service_accounts": ("trainer",),
        "secrets": ("wandb",),
        "claims": ("data*",),
        "node_selectors": ("gpu=a100",),
        "tolerations": ("gpu",),
        "images": ("team/*",),
        "allow": ("spec.volumes.hostPath", "spec.containers.securityContext"),
    }
    wanted = trial(
        namespace="team",
        service_account="trainer",
        secrets=[{"env": "KEY", "name": "wandb", "key": "key"}],
        volumes=[HOST, {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        volume_mounts=[{"name": "data", "mountPath": "/data"}],
        node_selector={"gpu": "a100"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        **container(securityContext={"readOnlyRootFilesystem": False}),
    )
    made = backend(**rules)
    made.permit(wanted)
    handle = made.handle(AttemptName("5707e", "000001-x", 1, 1, wanted.options))
    request = Request(["sh"], {}, 60.0, image=wanted.image, options=wanted.options)
    pod = made.wanted(handle, request)
    assert pod["metadata"]["namespace"] == "team"
    (only,) = pod["spec"]["containers"]
    assert only["securityContext"]["readOnlyRootFilesystem"] is False
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    names = [volume["name"] for volume in pod["spec"]["volumes"]]
    assert names == ["hpo-tmp", "hpo-output", "host", "data"]


def test_what_the_deployment_puts_into_every_pod_a_conf_cannot_undo() -> None:
    variable = [{"name": "PROXY", "value": "ours"}]
    wanted = trial(**template(runtimeClassName="runc", nodeSelector={"pool": "system"}))
    ours = {
        "runtimeClassName": "gvisor",
        "nodeSelector": {"pool": "trials"},
        "containers": [{"name": "trial", "env": variable}],
    }
    made = backend(pod_template={"spec": ours}, runtime_classes=("runc",), node_selectors=("pool",))
    made.permit(wanted)
    handle = made.handle(AttemptName("5707e", "000001-x", 1, 1, wanted.options))
    request = Request(["sh"], {"PROXY": "theirs"}, 60.0, image="i", options=wanted.options)
    spec = made.wanted(handle, request)["spec"]
    assert (spec["runtimeClassName"], spec["nodeSelector"]) == ("gvisor", {"pool": "trials"})
    (only,) = spec["containers"]
    assert [one for one in only["env"] if one["name"] == "PROXY"] == variable


def test_another_image_is_refused() -> None:
    with pytest.raises(SpecError, match=r"trial.image: must match one of team/\*"):
        backend(images=("team/*",)).permit(TrialSpec(backend="kubernetes", image="evil/miner"))


def readme(language: str, word: str) -> Any:
    """Give the block of the README that has a word in it."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return yaml.safe_load(found)


def test_the_readmes_deployment_takes_the_readmes_conf() -> None:
    backend(**readme("yaml", "kubernetes:")["kubernetes"]).permit(
        load(readme("json", '"backend": "kubernetes"')).trial
    )


def test_a_variable_of_a_template_is_text_whatever_its_parameter_is() -> None:
    wanted = trial(**container(env=[{"name": "N", "value": 3}]))
    made = backend()
    made.permit(wanted)
    handle = made.handle(AttemptName("5707e", "000001-x", 1, 1, wanted.options))
    request = Request(["sh"], {}, 60.0, image=wanted.image, options=wanted.options)
    (only,) = made.wanted(handle, request)["spec"]["containers"]
    assert {"name": "N", "value": "3"} in only["env"]


def test_a_pod_is_named_and_labelled_after_its_attempt() -> None:
    made = backend()
    handle = made.handle(AttemptName("5707e", f"000012-{'a' * 60}", 3, 2))
    assert len(handle["pod"]) <= 63
    assert handle["pod"].endswith("-0003-2")
    request = Request([], {"A": "b"}, 90.4, 2**20, ["--x=1"], "i", 2.0, 1, labels={"trial": "3"})
    pod = made.wanted(handle, request)
    assert pod["metadata"]["labels"] == {"hpo.io/trial": "3", "hpo.io/store": "5707e"}
    (only,) = pod["spec"]["containers"]
    assert ("command" in only, only["args"]) == (False, ["--x=1"]), "the image's own command"
    assert only["resources"] == {
        "requests": {"cpu": "2", "memory": "1048576", "nvidia.com/gpu": "1"},
        "limits": {"memory": "1048576", "nvidia.com/gpu": "1"},
    }
    assert pod["spec"]["activeDeadlineSeconds"] == 991, "start_timeout is 900 s"
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_container_returns_json_only_if_the_trial_is_to() -> None:
    made = backend()
    handle = made.handle(AttemptName("5707e", "000001-x", 1, 1))
    for returns, path in ((True, "/airflow/xcom/return.json"), (False, None)):
        request = Request(["sh"], {}, 60.0, image="i", returns=returns)
        (only,) = made.wanted(handle, request)["spec"]["containers"]
        assert only.get("terminationMessagePath") == path
        assert only["terminationMessagePolicy"] == "FallbackToLogsOnError"


@pytest.mark.parametrize(
    ("path", "code", "found"),
    [
        ("/airflow/xcom/return.json", 0, '{"loss": 0.5}'),
        ("/airflow/xcom/return.json", 1, None),  # the message may be the end of the log
        ("/dev/termination-log", 0, None),
    ],
)
def test_what_a_container_returns_is_its_message(path: str, code: int, found: Any) -> None:
    one = {"name": "trial", "terminationMessagePath": path}
    ended = {"phase": "Failed"} | terminated(code, message='{"loss": 0.5}')
    assert returned({"spec": {"containers": [one]}, "status": ended}) == found
    assert returned({"spec": {"containers": [one]}, "status": state(running={})}) is None


class FakeCluster:
    """Has one pod that has ended, with a message and a log."""

    def __init__(self, backend: KubernetesBackend, handle: Any, message: str) -> None:
        request = Request(["sh"], {}, 60.0, image="i", returns=True)
        made = backend.wanted(handle, request)
        metadata = made["metadata"] | {"creationTimestamp": NOW.isoformat()}
        ended = terminated(0, "Completed", message) | {"phase": "Succeeded"}
        ended["containerStatuses"][1]["state"]["terminated"]["startedAt"] = NOW.isoformat()
        self.pod = made | {"metadata": metadata, "status": ended}
        self.api_client = self

    def sanitize_for_serialization(self, pod: Any) -> Any:
        return pod

    def read_namespaced_pod(self, *_: Any) -> Any:
        return self.pod

    def read_namespaced_pod_log(self, *_: Any, **__: Any) -> Any:
        return self

    def stream(self, _: int) -> Any:
        yield f"{NOW.isoformat()} done\n".encode()


def returning(home: Path, message: str) -> tuple[KubernetesBackend, Any]:
    """Give a backend and an attempt whose container has returned this."""
    bare = KubernetesBackend(home, connect=lambda: None)
    handle = bare.handle(AttemptName("5707e", "000001-x", 1, 1))
    cluster = FakeCluster(bare, handle, message)
    return KubernetesBackend(home, connect=lambda: cluster), handle


def judged(backend: KubernetesBackend, handle: Any) -> Outcome:
    conf = {
        "name": "pods",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "trial": {"backend": "kubernetes", "image": "i"},
        "metrics": {"collector": "xcom"},
    }
    source = Source(backend.log(handle), output_of(handle, {}))
    return outcome.outcome(load(conf), Exit(Ending.EXITED, 0), source)


def test_what_a_pod_returns_outlives_it(tmp_path: Path) -> None:
    made, handle = returning(tmp_path, '{"loss": 0.25, "step": 3}')
    assert output_within(made, handle) == "/hpo/output", "that is where the pod has it"
    made.fetch(handle)
    assert made.log(handle).read_text() == "done\n"
    (made.output(handle) / "return.json").write_text('{"loss": 0.5}')
    made.fetch(handle)
    found = judged(made, handle)
    assert (found.value, found.reason) == (0.5, "loss = 0.5"), "what is there stays"


def test_with_artifacts_it_lies_where_the_trial_leaves_its_files(tmp_path: Path) -> None:
    uri = f"memory:/{tmp_path}"
    bare = KubernetesBackend(tmp_path, connect=lambda: None)
    handle = bare.handle(AttemptName("5707e", "000001-x", 1, 1, artifacts=uri))
    cluster = FakeCluster(bare, handle, '{"loss": 0.25}')
    made = KubernetesBackend(tmp_path, connect=lambda: cluster, offers={"memory://": dict})
    assert output_within(made, handle) == str(made.output(handle))
    made.fetch(handle)
    assert (made.output(handle) / "return.json").read_bytes() == b'{"loss": 0.25}'
    (made.output(handle) / "return.json").write_bytes(b'{"loss": 0.5}')
    made.fetch(handle)
    assert (made.output(handle) / "return.json").read_bytes() == b'{"loss": 0.5}', "its own"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", "nothing was returned: return.json is missing or empty in "),
        ("0.5", "return.json must be one JSON object of metric to number, got 3 bytes"),
        (
            '{"acc": 0.5, "note": "x"}',
            "where loss was expected; return.json has acc",
        ),
        ("{}", "return.json has no number"),
        ('{"loss": 0.5, "curve": [' + "0.5, " * 900, "Kubernetes keeps at most 4,096 bytes of"),
        ("0.5, " * 800 + '0.5], "loss": 0.5}', "collector: jsonl, with artifacts.uri"),
    ],
)
def test_what_cannot_be_read_of_a_pods_return_is_told(
    tmp_path: Path, message: str, said: str
) -> None:
    made, handle = returning(tmp_path, message[-4_096:])
    made.fetch(handle)
    found = judged(made, handle)
    assert found.cause is Cause.OBJECTIVE_MISSING
    assert said in found.reason
    assert ("4,096" in found.reason) == (len(message) > 1_024)


def test_a_large_message_that_is_whole_is_read(tmp_path: Path) -> None:
    text = json.dumps({"loss": 0.5, "note": "x" * 5_000})
    whole = text[: 4_096 - 2] + '"}'
    made, handle = returning(tmp_path, whole)
    made.fetch(handle)
    assert judged(made, handle).value == 0.5


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    """A condition of a pod."""
    return {"type": kind, "status": status, "reason": reason, "message": message}


def state(**of: Any) -> dict[str, Any]:
    """The status of the trial's container, beside one of a sidecar."""
    sidecar = {"name": "istio-proxy", "state": {"terminated": {"exitCode": 0}}}
    return {"containerStatuses": [sidecar, {"name": "trial", "state": of}]}


def terminated(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    """A container that has ended."""
    return state(terminated={"exitCode": code, "reason": reason, "message": message})


DISRUPTED = "DisruptionTarget"


@pytest.mark.parametrize(
    ("status", "ending", "code", "said"),
    [
        ({"phase": "Succeeded"}, Ending.EXITED, 0, ""),
        ({"phase": "Failed"} | terminated(3, message="a\nb\n"), Ending.EXITED, 3, "b"),
        ({"phase": "Failed"} | terminated(137), Ending.EXITED, 137, ""),
        ({"phase": "Failed"} | terminated(137, "OOMKilled"), Ending.OUT_OF_MEMORY, 137, "memory"),
        (terminated(128, "ContainerCannotRun", "x: not found"), Ending.UNSTARTABLE, 128, "x:"),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, Ending.TIMEOUT, None, "Deadline"),
        (
            {"phase": "Failed", "reason": "DeadlineExceeded"} | state(waiting={"reason": "x"}),
            *(Ending.UNSCHEDULABLE, None, "never began: DeadlineExceeded"),
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, Ending.EVICTED, None, "disk"),
        ({"phase": "Failed", "reason": "NodeLost"}, Ending.NODE_LOST, None, ""),
        ({"phase": "Failed", "reason": "Shutdown"}, Ending.NODE_LOST, None, ""),
        ({"phase": "Failed", "reason": "OutOfcpu"}, Ending.UNSCHEDULABLE, None, ""),
        ({"phase": "Failed", "message": "what?"}, Ending.LOST, None, "what?"),
        (
            {
                "phase": "Failed",
                "conditions": [condition(DISRUPTED, "True", "PreemptionByScheduler")],
            }
            | terminated(143),
            *(Ending.PREEMPTED, None, "PreemptionByScheduler"),
        ),
        (
            {"conditions": [condition(DISRUPTED, "True", "EvictionByEvictionAPI", "drain")]},
            *(Ending.EVICTED, None, "drain"),
        ),
        (
            {"conditions": [condition(DISRUPTED, "True", "DeletionByTaintManager")]},
            *(Ending.NODE_LOST, None, ""),
        ),
        (state(waiting={"reason": "ImagePullBackOff"}), Ending.IMAGE_NOT_PULLABLE, None, "Image"),
        (state(waiting={"reason": "InvalidImageName"}), Ending.IMAGE_NOT_PULLABLE, None, ""),
        (state(waiting={"reason": "CreateContainerConfigError"}), Ending.UNSTARTABLE, None, ""),
    ],
)
def test_how_a_pod_ended(status: dict, ending: Ending, code: int | None, said: str) -> None:
    found = exit_of(pod({"phase": "Pending"} | status), NOW)
    assert found is not None
    assert (found.ending, found.code) == (ending, code)
    assert said in found.detail


def pod(status: dict[str, Any], *, age_s: float = 10.0, **metadata: Any) -> dict[str, Any]:
    """A pod that may wait for 60 s."""
    created = (NOW - timedelta(seconds=age_s)).isoformat().replace("+00:00", "Z")
    annotations = {"hpo.io/start-timeout-s": "60"}
    return {
        "metadata": {"creationTimestamp": created, "annotations": annotations} | metadata,
        "status": status,
    }


PULLING = state(waiting={"reason": "ContainerCreating"})


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Pending"},
        {"phase": "Pending"} | PULLING,
        {"phase": "Running"} | state(running={}),
        {"phase": "Unknown"},
        {"phase": "Running", "conditions": [condition(DISRUPTED, "False", "")]},
    ],
)
def test_a_pod_that_waits_or_runs_has_no_end(status: dict[str, Any]) -> None:
    assert exit_of(pod(status), NOW) is None


def test_a_pod_that_does_not_start_in_time_says_why() -> None:
    why = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    waits = {"conditions": [condition("PodScheduled", "False", "Unschedulable", why)]}
    found = exit_of(pod({"phase": "Pending"} | waits, age_s=61), NOW)
    assert found is not None
    assert (found.ending, why in found.detail) == (Ending.UNSCHEDULABLE, True)
    slow = exit_of(pod({"phase": "Pending"} | PULLING, age_s=61), NOW)
    assert slow is not None
    assert "ContainerCreating" in slow.detail
    assert exit_of(pod({"phase": "Running"}, age_s=10_000), NOW) is None


SECONDS = st.floats(0.1, 1e6)


@given(start_s=SECONDS, timeout_s=SECONDS, waited_s=st.integers(0, 10**6))
def test_a_pods_time_counts_from_its_start_and_has_a_bound_before(
    start_s: float, timeout_s: float, waited_s: int
) -> None:
    request = Request([], {}, timeout_s, image="i", start_timeout_s=start_s)
    made = backend().wanted(backend().handle(AttemptName("5707e", "000001-x", 1, 1)), request)
    hard_s = made["spec"]["activeDeadlineSeconds"]
    assert start_s + timeout_s <= hard_s < start_s + timeout_s + 1
    taken = NOW.isoformat()
    waits = made | {"status": {"startTime": taken} | PULLING}
    assert deadline_s(waits) is None

    began = (NOW + timedelta(seconds=waited_s)).isoformat()
    runs = made | {"status": {"startTime": taken} | state(running={"startedAt": began})}
    found = deadline_s(runs)
    if waited_s <= start_s - 1:
        assert found is not None
    if found is None:
        assert waited_s + timeout_s > hard_s - 1, "what it was made with is no more"
        return
    assert found < hard_s
    assert waited_s + timeout_s <= found < waited_s + timeout_s + 1 or found == 1
    runs["spec"] = made["spec"] | {"activeDeadlineSeconds": found}
    assert deadline_s(runs) is None, "once"


def test_a_pod_whose_node_does_not_end_it_is_given_up() -> None:
    when = NOW - timedelta(seconds=30)
    going = {"phase": "Running"} | state(running={})
    assert exit_of(pod(going, deletionTimestamp=when.isoformat()), NOW) is None
    when = NOW - timedelta(seconds=300)
    found = exit_of(pod(going, deletionTimestamp=when.isoformat()), NOW)
    assert found is not None
    assert found.ending is Ending.NODE_LOST


@pytest.mark.parametrize(
    ("status", "body", "ending"),
    [
        (422, '{"message": "spec.volumes[0].name: Required value"}', Ending.UNSTARTABLE),
        (400, None, Ending.UNSTARTABLE),
        (403, '{"message": "pods is forbidden: no role"}', Ending.UNSTARTABLE),
        (403, '{"message": "exceeded quota: gpus"}', Ending.UNSCHEDULABLE),
        (409, "", None),
        (500, "<html>", None),
    ],
)
def test_a_pod_that_is_not_even_made(status: int, body: str | None, ending: Any) -> None:
    found = refused(status, body)
    assert (found and found.ending) == ending
    assert found is None or body is None or found.detail in body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)
OBJECT = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


@given(OBJECT, OBJECT)
def test_merging_keeps_what_only_one_side_has(left: dict, right: dict) -> None:
    both = merged(left, right)
    assert both.keys() == left.keys() | right.keys()
    assert all(both[name] == left[name] for name in left.keys() - right.keys())
    assert all(both[name] == right[name] for name in right.keys() - left.keys())
    assert merged(left, {}) == left
    assert merged({}, right) == right


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "status", "kind"]), JSON))
def test_whatever_is_asked_nothing_breaks_and_nothing_unknown_passes(asked: dict) -> None:
    lines = refusals(asked, KubernetesRules())
    deep = [name for name in asked if name in ("status", "kind")]
    assert all(any(line.startswith(name) for line in lines) for name in deep)


@pytest.mark.parametrize(("said_s", "grace_s"), [(None, 5), (12.5, 13)])
def test_a_pod_has_as_long_to_end_by_itself_as_its_trial_says(
    said_s: float | None, grace_s: int
) -> None:
    cluster = fake_engines.FakeCluster()
    deleted: list[int] = []
    cluster.delete_namespaced_pod = (  # type: ignore[method-assign]
        lambda *_, grace_period_seconds, **__: deleted.append(grace_period_seconds)
    )
    made = KubernetesBackend(Path("home"), connect=lambda: cluster)  # type: ignore[arg-type,return-value]
    handle = made.handle(AttemptName("5707e", "000001-x", 1, 1))
    request = Request(["sh"], {}, 60.0, image="i", stop_grace_s=said_s)
    pod = made.wanted(handle, request)
    assert pod["spec"].get("terminationGracePeriodSeconds") == (said_s and grace_s)
    cluster.create_namespaced_pod("default", pod)
    made.end(handle)
    assert deleted == [grace_s]
