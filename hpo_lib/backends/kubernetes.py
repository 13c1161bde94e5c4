"""Attempts as pods: what is asked for, what of it is allowed, and how a pod came to its end.

Everything that decides is pure and works on plain JSON, as the API server sends and takes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from hpo_lib.artifacts import Offers, open_folder, options_for
from hpo_lib.backends import Ending, Exit, Found, Request, check_image
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.places import Place
from hpo_lib.spec import TrialSpec
from hpo_lib.validation import Strict, parse, shown

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

CONTAINER = "trial"
#: Our labels: `hpo.io/store` says whose a pod is, the others which attempt it runs.
LABEL = "hpo.io/"
OUTPUT = "/hpo/output"
_OWNER, _START = f"{LABEL}store", f"{LABEL}start-timeout-s"
_TMP = "/tmp"  # noqa: S108 - in the pod, a volume of its own
_POLL_S, _GRACE_S, _STOP_S, _LOST_S = 1.0, 10, 60.0, 90.0
_LONGEST_NAME = 63

Json = Mapping[str, Any]


class Secret(Strict):
    """A key of a Kubernetes secret, as an environment variable."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    name: str
    key: str


class KubernetesOptions(Strict):
    """`trial.options` of backend kubernetes; `pod_template` is a pod as JSON, merged below them."""

    namespace: str | None = None
    service_account: str | None = None
    image_pull_secrets: tuple[str, ...] = Field(default=(), strict=False)
    priority_class: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    affinity: dict[str, Any] = Field(default_factory=dict)
    volumes: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    volume_mounts: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    secrets: tuple[Secret, ...] = Field(default=(), strict=False)
    gpu_resource: str = Field(default="nvidia.com/gpu", max_length=100)
    pod_template: dict[str, Any] = Field(default_factory=dict)


class KubernetesRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of Kubernetes; the first namespace is used.

    `allow` names fields of a pod beyond those that are harmless, such as `spec.volumes.hostPath` or
    `spec.containers.securityContext`. `pod_template` goes into every pod, `spot` and `on_demand`
    into those of their kind. `user` is who containers run as; None leaves it to the image.
    """

    connection: str | None = None
    namespaces: tuple[str, ...] = Field(default=("default",), strict=False, min_length=1)
    images: tuple[str, ...] = Field(default=("*",), strict=False)
    service_accounts: tuple[str, ...] = Field(default=(), strict=False)
    image_pull_secrets: tuple[str, ...] = Field(default=(), strict=False)
    priority_classes: tuple[str, ...] = Field(default=(), strict=False)
    secrets: tuple[str, ...] = Field(default=(), strict=False)
    gpu_resources: tuple[str, ...] = Field(default=("nvidia.com/gpu",), strict=False)
    allow: tuple[str, ...] = Field(default=(), strict=False)
    user: int | None = Field(default=65_532, ge=1)
    pod_template: dict[str, Any] = Field(default_factory=dict)
    spot: dict[str, Any] = Field(default_factory=dict)
    on_demand: dict[str, Any] = Field(default_factory=dict)


#: Fields that a conf may set; those of _NAMED if their value is in the list of the rules.
_HARMLESS = (
    "spec.affinity",
    "spec.containers.env.name",
    "spec.containers.env.value",
    "spec.containers.env.valueFrom.secretKeyRef.key",
    "spec.containers.imagePullPolicy",
    "spec.containers.name",
    "spec.containers.volumeMounts",
    "spec.containers.workingDir",
    "spec.nodeSelector",
    "spec.runtimeClassName",
    "spec.terminationGracePeriodSeconds",
    "spec.tolerations",
    "spec.topologySpreadConstraints",
    "spec.volumes.configMap",
    "spec.volumes.emptyDir",
    "spec.volumes.name",
    "spec.volumes.persistentVolumeClaim",
)
_NAMED = {
    "metadata.namespace": "namespaces",
    "spec.containers.env.valueFrom.secretKeyRef.name": "secrets",
    "spec.imagePullSecrets.name": "image_pull_secrets",
    "spec.priorityClassName": "priority_classes",
    "spec.serviceAccountName": "service_accounts",
    "spec.volumes.secret.secretName": "secrets",
}


@dataclass(frozen=True)
class KubernetesBackend:
    """Keeps logs below `home`; `connect` gives a client, `offers` lead to artifacts."""

    keeps_output: ClassVar[bool] = False

    home: Path
    connect: Callable[[], CoreV1Api]
    rules: KubernetesRules = field(default_factory=KubernetesRules)
    offers: Offers = field(default_factory=dict)

    def permit(self, trial: TrialSpec) -> None:
        """Refuse images, names and fields that this deployment does not allow."""
        check_image(trial, self.rules.images)
        options = parse(KubernetesOptions, trial.options, at="trial.options")
        lines = [f"trial.options: {line}" for line in refusals(asked(options), self.rules)]
        if options.gpu_resource not in self.rules.gpu_resources:
            lines.append(
                "trial.options.gpu_resource: must be one of "
                f"{', '.join(self.rules.gpu_resources)}, got {options.gpu_resource}"
            )
        if lines:
            raise SpecError("\n".join(lines))

    def handle(
        self,
        store: str,
        run: str,
        trial: int,
        attempt: int,
        options: Json,
        artifacts: str | None = None,
    ) -> dict[str, Any]:
        """Name the pod, its namespace, and the folder of its log."""
        namespace = parse(KubernetesOptions, options).namespace or self.rules.namespaces[0]
        folder = self.home / "runs" / run / f"trial-{trial:04d}" / f"attempt-{attempt}"
        tail = f"-{trial:04d}-{attempt}"
        head = f"hpo-{store[:6]}-{run}"[: _LONGEST_NAME - len(tail)].rstrip("-")
        place = {"pod": head + tail, "namespace": namespace, "output": artifacts or OUTPUT}
        return place | {"store": store, "folder": str(folder)}

    def output(self, handle: Mapping[str, Any]) -> Place:
        """Give what the trial knows as HPO_OUTPUT: the artifacts' URI, or a folder of the pod."""
        uri = handle["output"]
        return open_folder(uri, options_for(uri, self.offers)) if "://" in uri else Path(uri)

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the file with everything the attempt printed."""
        return Path(handle["folder"]) / "log.txt"

    def wanted(self, handle: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """Describe the pod: safe by default, the deployment's template, the conf's, ours."""
        options = parse(KubernetesOptions, request.options)
        kind = self.rules.spot if request.spot else self.rules.on_demand
        base = merged(_safe(self.rules.user), self.rules.pod_template, kind, asked(options))
        return merged(base, self._own(handle, request, options))

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Create the pod unless it exists."""
        with _server():
            if self.pod(handle) is None:
                self.client.create_namespaced_pod(handle["namespace"], self.wanted(handle, request))

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Wait for the end and yield the Exit; no lines: Airflow's own operator streams them."""
        while (found := self.poll(handle)) is None:
            time.sleep(_POLL_S)
        yield found

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the pod waits or runs."""
        with _server():
            pod = self.pod(handle)
        if pod is None:
            return Exit(Ending.LOST, detail="its pod is gone: deleted, or its node was")
        return exit_of(pod, datetime.now(UTC))

    def fetch(self, handle: Mapping[str, Any]) -> None:
        """Write what the node still has of the container's output to the log file."""
        from kubernetes.client.exceptions import ApiException

        log = self.log(handle)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _server():
            try:
                response = self.client.read_namespaced_pod_log(
                    *_named(handle), container=CONTAINER, _preload_content=False
                )
            except ApiException as error:
                if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
                    return  # The pod is gone, or its container never began.
                raise
            part = log.with_suffix(".part")
            with part.open("wb") as file:
                for chunk in response.stream(1 << 16):
                    file.write(chunk)
            part.replace(log)

    def release(self, handle: Mapping[str, Any]) -> None:
        """Nothing: the pod goes on until its retry, its end, or its timeout."""

    def end(self, handle: Mapping[str, Any]) -> None:
        """Delete the pod, without waiting; it gets a moment to end by itself."""
        with _server():
            self._delete(handle, grace_period_seconds=_GRACE_S)

    def stop(self, handle: Mapping[str, Any]) -> None:
        """Delete the pod and wait until it is gone; by force if it takes too long."""
        self.end(handle)
        end = time.monotonic() + _STOP_S
        with _server():
            while self.pod(handle) is not None and time.monotonic() < end:
                time.sleep(_POLL_S)
            if self.pod(handle) is not None:
                self._delete(handle, grace_period_seconds=0)

    def found(self, store: str) -> Iterator[Found]:
        """Give the attempts that have a pod, in any namespace that this deployment uses."""
        for namespace in self.rules.namespaces:
            with _server():
                listed = self.client.list_namespaced_pod(
                    namespace, label_selector=f"{_OWNER}={store}"
                )
            for pod in listed.items:
                place = {"pod": pod.metadata.name, "namespace": namespace}
                handle = place | {"store": store, "folder": ""}
                yield Found.labelled(pod.metadata.labels, LABEL, handle)

    def discard(self, handle: Mapping[str, Any]) -> None:
        """Delete the pod, without waiting."""
        with _server():
            self._delete(handle)

    def pod(self, handle: Mapping[str, Any]) -> Json | None:
        """Read the attempt's pod; TransientError if that name is somebody else's."""
        from kubernetes.client.exceptions import ApiException

        try:
            found = self.client.read_namespaced_pod(*_named(handle))
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        pod: Json = self.client.api_client.sanitize_for_serialization(found)
        if pod["metadata"].get("labels", {}).get(_OWNER) != handle["store"]:
            raise TransientError(f"pod {handle['pod']} is not of store {handle['store']}")
        return pod

    @cached_property
    def client(self) -> CoreV1Api:
        """Connect to the cluster, once."""
        return self.connect()

    def _delete(self, handle: Mapping[str, Any], **how: int) -> None:
        from kubernetes.client.exceptions import ApiException

        try:
            self.client.delete_namespaced_pod(*_named(handle), **how)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def _own(
        self, handle: Mapping[str, Any], request: Request, options: KubernetesOptions
    ) -> dict[str, Any]:
        """Describe what neither conf nor template decide."""
        labels = {f"{LABEL}{name}": value for name, value in request.labels.items()}
        container: dict[str, Any] = {
            "name": CONTAINER,
            "image": request.image,
            "env": [{"name": name, "value": value} for name, value in request.env.items()],
            "resources": _resources(request, options.gpu_resource),
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
        container |= {"command": list(request.command)} if request.command else {}
        container |= {"args": list(request.args)} if request.args else {}
        return {
            "metadata": {
                "name": handle["pod"],
                "namespace": handle["namespace"],
                "labels": labels | {_OWNER: handle["store"]},
                "annotations": {_START: str(request.start_timeout_s)},
            },
            "spec": {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": max(1, round(request.timeout_s)),
                "containers": [container],
            },
        }


def asked(options: KubernetesOptions) -> dict[str, Any]:
    """Write what a conf asks for as a part of a pod."""
    container: dict[str, Any] = {
        "name": CONTAINER,
        "volumeMounts": list(options.volume_mounts),
        "env": [
            {
                "name": secret.env,
                "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}},
            }
            for secret in options.secrets
        ],
    }
    spec = {
        "serviceAccountName": options.service_account,
        "imagePullSecrets": [{"name": name} for name in options.image_pull_secrets],
        "priorityClassName": options.priority_class,
        "nodeSelector": options.node_selector,
        "tolerations": list(options.tolerations),
        "affinity": options.affinity,
        "volumes": list(options.volumes),
        "containers": [{name: value for name, value in container.items() if value}],
    }
    pod: dict[str, Any] = {"spec": {name: value for name, value in spec.items() if value}}
    if options.namespace:
        pod["metadata"] = {"namespace": options.namespace}
    return merged(options.pod_template, pod)


def refusals(pod: Json, rules: KubernetesRules) -> list[str]:
    """Say what of a conf's part of a pod the rules do not allow, a line each."""
    lines = []
    for path, value in _leaves(pod):
        allowed = getattr(rules, _NAMED[path]) if path in _NAMED else None
        if allowed is not None and value not in allowed:
            known = ", ".join(allowed) or "none"
            lines.append(f"{path}: this deployment allows {known}, got {shown(value)}")
        elif allowed is None and not _within(path, (*_HARMLESS, *rules.allow)):
            lines.append(
                f"{path}: is not allowed by this deployment, got {shown(value)}; its operator can "
                "name it under kubernetes.allow in config/deployment.yaml"
            )
    strangers = [name for name in _containers(pod) if name != CONTAINER]
    if strangers and not _within("spec.containers.image", rules.allow):
        lines.append(f"spec.containers: must hold {CONTAINER} alone, got {shown(strangers)}")
    return list(dict.fromkeys(lines))


def merged(*parts: Json) -> dict[str, Any]:
    """Merge JSON objects, later ones on top: objects by key, lists of named things by name."""
    result: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            result[name] = _over(result[name], value) if name in result else value
    return result


def refused(status: int | None, body: str | None) -> Exit | None:
    """Read the API server's refusal to make a pod; None if it is no verdict on the pod."""
    if status == HTTPStatus.FORBIDDEN and "quota" in (body or ""):
        return Exit(Ending.UNSCHEDULABLE, detail=_message(body))
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY):
        return Exit(Ending.UNSTARTABLE, detail=_message(body))
    return None


def exit_of(pod: Json, now: datetime) -> Exit | None:
    """Read how a pod came to its end; None while it waits or runs as it may."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return Exit(Ending.EXITED, 0)
    return (
        _disrupted(status)
        or _failed(status)
        or _terminated(status)
        or _stuck(status)
        or _overdue(pod, now)
    )


#: By the reason of the condition DisruptionTarget.
_DISRUPTIONS = {
    "PreemptionByScheduler": Ending.PREEMPTED,
    "PreemptionByKubeScheduler": Ending.PREEMPTED,
    "EvictionByEvictionAPI": Ending.EVICTED,
    "TerminationByKubelet": Ending.EVICTED,
    "DeletionByTaintManager": Ending.NODE_LOST,
    "DeletionByPodGC": Ending.NODE_LOST,
}
#: By the reason of a failed pod; others are told by its container.
_REASONS = {
    "DeadlineExceeded": Ending.TIMEOUT,
    "Evicted": Ending.EVICTED,
    "Preempting": Ending.PREEMPTED,
    "NodeAffinity": Ending.NODE_LOST,
    "NodeLost": Ending.NODE_LOST,
    "NodeShutdown": Ending.NODE_LOST,
    "Shutdown": Ending.NODE_LOST,
    "Terminated": Ending.NODE_LOST,
    "OutOfcpu": Ending.UNSCHEDULABLE,
    "OutOfmemory": Ending.UNSCHEDULABLE,
    "OutOfpods": Ending.UNSCHEDULABLE,
    "UnexpectedAdmissionError": Ending.UNSCHEDULABLE,
}
#: By the reason that a container waits for.
_WAITING = {
    "CreateContainerConfigError": Ending.UNSTARTABLE,
    "CreateContainerError": Ending.UNSTARTABLE,
    "RunContainerError": Ending.UNSTARTABLE,
    "ErrImageNeverPull": Ending.IMAGE_NOT_PULLABLE,
    "ErrImagePull": Ending.IMAGE_NOT_PULLABLE,
    "ImageInspectError": Ending.IMAGE_NOT_PULLABLE,
    "ImagePullBackOff": Ending.IMAGE_NOT_PULLABLE,
    "InvalidImageName": Ending.IMAGE_NOT_PULLABLE,
    "RegistryUnavailable": Ending.IMAGE_NOT_PULLABLE,
}
_CANNOT_RUN = ("ContainerCannotRun", "StartError")


def _disrupted(status: Json) -> Exit | None:
    for condition in status.get("conditions", []):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            reason = condition.get("reason", "")
            return Exit(_DISRUPTIONS.get(reason, Ending.EVICTED), detail=_said(condition))
    return None


def _failed(status: Json) -> Exit | None:
    ending = _REASONS.get(status.get("reason", ""))
    return Exit(ending, detail=_said(status)) if ending else None


def _terminated(status: Json) -> Exit | None:
    end = _state(status).get("terminated")
    if end is None:
        return None
    if end.get("reason") == "OOMKilled":
        return Exit(Ending.OUT_OF_MEMORY, end["exitCode"], "over its memory limit")
    if end.get("reason") in _CANNOT_RUN:
        return Exit(Ending.UNSTARTABLE, end["exitCode"], _said(end))
    said = (end.get("message") or "").strip().splitlines()
    return Exit(Ending.EXITED, end["exitCode"], said[-1] if said else "")


def _stuck(status: Json) -> Exit | None:
    waiting = _state(status).get("waiting", {})
    ending = _WAITING.get(waiting.get("reason", ""))
    return Exit(ending, detail=_said(waiting)) if ending else None


def _overdue(pod: Json, now: datetime) -> Exit | None:
    """Give up on a pod that does not start, or that its node does not end."""
    status, metadata = pod.get("status", {}), pod["metadata"]
    if "deletionTimestamp" in metadata:
        late_s = (now - datetime.fromisoformat(metadata["deletionTimestamp"])).total_seconds()
        return (
            Exit(Ending.NODE_LOST, detail="its node does not end it") if late_s > _LOST_S else None
        )
    if status.get("phase", "Pending") != "Pending":
        return Exit(Ending.LOST, detail=_said(status)) if status["phase"] == "Failed" else None
    limit_s = float(metadata.get("annotations", {}).get(_START, "inf"))
    if (now - datetime.fromisoformat(metadata["creationTimestamp"])).total_seconds() <= limit_s:
        return None
    unmet = [c for c in status.get("conditions", []) if c["status"] != "True"]
    why = next(
        (_said(c) for c in unmet if c.get("message")), _said(_state(status).get("waiting", {}))
    )
    return Exit(Ending.UNSCHEDULABLE, detail=f"has not begun after {limit_s:g} s: {why}")


def _containers(pod: Json) -> list[Any]:
    """Name the containers of what may not even be a pod."""
    spec = pod.get("spec")
    listed = spec.get("containers") if isinstance(spec, Mapping) else None
    return [_name(one) for one in listed] if isinstance(listed, list) else []


def _state(status: Json) -> Json:
    for container in status.get("containerStatuses", []):
        if container["name"] == CONTAINER:
            state: Json = container.get("state", {})
            return state
    return {}


def _message(body: str | None) -> str:
    """Give what an answer of the API server says."""
    try:
        return " ".join(str(json.loads(body or "{}")["message"]).split())
    except (ValueError, TypeError, KeyError):
        return body or ""


def _said(thing: Json) -> str:
    """Give what Kubernetes has to say: reason and message."""
    words = (thing.get("reason"), " ".join((thing.get("message") or "").split()))
    return ": ".join(word for word in words if word)


def _safe(user: int | None) -> dict[str, Any]:
    """Describe a pod that may do nothing beyond running its program."""
    own = {"runAsUser": user, "runAsGroup": user, "fsGroup": user} if user else {}
    mounts = [{"name": "hpo-tmp", "mountPath": _TMP}, {"name": "hpo-output", "mountPath": OUTPUT}]
    return {
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": _SECCOMP} | own,
            "volumes": [{"name": mount["name"], "emptyDir": {}} for mount in mounts],
            "containers": [
                {
                    "name": CONTAINER,
                    "env": [{"name": "HOME", "value": _TMP}],
                    "volumeMounts": mounts,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        }
    }


_SECCOMP = {"type": "RuntimeDefault"}


def _resources(request: Request, gpu_resource: str) -> dict[str, Any]:
    wanted = {
        "cpu": f"{request.cpu:g}" if request.cpu else None,
        "memory": str(request.memory_bytes) if request.memory_bytes else None,
        gpu_resource: str(request.gpu) if request.gpu else None,
    }
    found = {name: value for name, value in wanted.items() if value}
    limits = {name: value for name, value in found.items() if name != "cpu"}
    return {"requests": found, "limits": limits} if found else {}


def _over(below: Any, above: Any) -> Any:
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return merged(below, above)
    if not (isinstance(below, list) and isinstance(above, list)):
        return above
    names = {_name(item) for item in above} - {None}
    by_name = {_name(item): item for item in below if _name(item)}
    kept = [item for item in below if _name(item) not in names]
    return kept + [
        merged(by_name.get(_name(item), {}), item) if _name(item) else item for item in above
    ]


def _name(item: Any) -> str | None:
    """Give the name by which lists in a pod are merged, such as that of a volume."""
    return item.get("name") if isinstance(item, Mapping) else None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give every value with its path; places in lists are left out of it."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and value:
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


def _within(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)


def _named(handle: Mapping[str, Any]) -> tuple[str, str]:
    return handle["pod"], handle["namespace"]


@contextmanager
def _server() -> Iterator[None]:
    """Take trouble with the API server for the world's, not the trial's."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise TransientError(f"kubernetes: {error.status} {error.reason}: {error.body}") from error
    except HTTPError as error:
        raise TransientError(f"kubernetes: {error}") from error
