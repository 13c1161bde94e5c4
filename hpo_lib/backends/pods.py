"""Pods: which namespaces, images and fields a conf may ask for, and how pods are described."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from hpo_lib.backends import Request
from hpo_lib.errors import TransientError
from hpo_lib.spec.variables import looks_secret
from hpo_lib.validation import Strict, shown

#: The container that runs a trial; in the installation's templates it stands for any container.
CONTAINER = "trial"
#: Our labels: `hpo.io/store` says whose a pod is, the others which attempt it runs.
LABEL = "hpo.io/"
OUTPUT = "/hpo/output"
OWNER, START, TIMEOUT = f"{LABEL}store", f"{LABEL}start-timeout-s", f"{LABEL}timeout-s"
#: On the pods of a job: its name.
JOB = f"{LABEL}job"
_TMP = "/tmp"  # noqa: S108 - in the pod, a volume of its own
#: Seconds that a pod has to end by itself when it is deleted; its removal then takes longer.
GRACE_S = 5

Json = Mapping[str, Any]


class PodRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of pods; the first namespace is used.

    `allow` names fields of a pod beyond those that are harmless, such as `spec.volumes.hostPath` or
    `spec.containers.securityContext`. `pod_template` goes into every pod. `user` is who containers
    run as; None leaves it to the image.
    """

    #: The section of the file that holds them.
    section: ClassVar[str] = "kubernetes"

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


class KubernetesRules(PodRules):
    """The rules for trials: `spot` and `on_demand` go into pods on capacity of that kind."""

    spot: dict[str, Any] = Field(default_factory=dict)
    on_demand: dict[str, Any] = Field(default_factory=dict)


#: Fields that a conf may set; those in _NAMED only to values that the rules list.
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


def refusals(
    pod: Json, rules: PodRules, more: Sequence[str] = (), container: str = CONTAINER
) -> list[str]:
    """List, a line each, what the rules do not allow in a conf's part of a pod.

    `more` are further fields that it may set; with the image among them, it may add containers.
    """
    allow = (*more, *rules.allow)
    lines = []
    for path, value in leaves(pod):
        allowed = getattr(rules, _NAMED[path]) if path in _NAMED else None
        if allowed is not None and value not in allowed:
            known = ", ".join(allowed) or "none"
            lines.append(f"{path}: this installation allows {known}, got {shown(value)}")
        elif allowed is None and not within(path, (*_HARMLESS, *allow)):
            lines.append(
                f"{path}: is not allowed by this installation, got {shown(value)}; its operator "
                f"can name it under {rules.section}.allow in config/deployment.yaml"
            )
    strangers = [name for name in containers(pod) if name != container]
    if strangers and not within("spec.containers.image", allow):
        lines.append(f"spec.containers: must hold {container} alone, got {shown(strangers)}")
    lines += [
        f"spec.containers.env: {name} looks like a secret, which a spec must not hold; name a "
        "Kubernetes secret by valueFrom"
        for name in _plain_variables(pod)
        if looks_secret(name)
    ]
    return list(dict.fromkeys(lines))


def _plain_variables(pod: Json) -> Iterator[str]:
    """Name the variables of containers whose values stand in the pod itself."""
    for container in _listed(_listed_in(pod, "spec"), "containers"):
        for variable in _listed(container, "env"):
            if "value" in variable and name_of(variable):
                yield str(variable["name"])


def _listed_in(value: Json, name: str) -> Json:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _listed(value: Json, name: str) -> list[Json]:
    found = value.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def merged(*parts: Json) -> dict[str, Any]:
    """Merge JSON objects, later ones on top: objects by key, lists of named things by name."""
    result: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            result[name] = _over(result[name], value) if name in result else value
    return result


def containers(pod: Json) -> list[Any]:
    """Name the containers of JSON that should be a pod, and may not be one."""
    spec = pod.get("spec")
    listed = spec.get("containers") if isinstance(spec, Mapping) else None
    return [name_of(one) for one in listed] if isinstance(listed, list) else []


def state_of(pod: Json, container: str | None) -> Json:
    """Give the state of a pod's container, as far as its node has told of it."""
    for one in pod.get("status", {}).get("containerStatuses", []):
        if one["name"] == container:
            state: Json = one.get("state", {})
            return state
    return {}


def longest_s(request: Request) -> int:
    """Give the deadline with which a pod is made, at which its node ends it in any case.

    A node counts from when it took the pod, so the download of its images counts too.
    """
    return max(1, math.ceil(request.start_timeout_s + request.timeout_s))


def deadline_s(pod: Json) -> int | None:
    """Give the deadline that a pod that has begun needs for its timeout; None for no change."""
    began = state_of(pod, CONTAINER).get("running", {}).get("startedAt")
    limit_s = pod["metadata"].get("annotations", {}).get(TIMEOUT)
    if began is None or limit_s is None:
        return None
    taken = datetime.fromisoformat(pod["status"]["startTime"])
    waited_s = (datetime.fromisoformat(began) - taken).total_seconds()
    found = max(1, math.ceil(waited_s + float(limit_s)))
    return found if found < pod["spec"].get("activeDeadlineSeconds", math.inf) else None


def safe(
    user: int | None, container: str = CONTAINER, writable: Sequence[str] = (_TMP, OUTPUT)
) -> dict[str, Any]:
    """Describe a pod that may do nothing beyond running its program and writing to some folders."""
    own = {"runAsUser": user, "runAsGroup": user, "fsGroup": user} if user else {}
    mounts = [{"name": f"hpo-{path.split('/')[-1]}", "mountPath": path} for path in writable]
    return {
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": _SECCOMP} | own,
            "volumes": [{"name": mount["name"], "emptyDir": {}} for mount in mounts],
            "containers": [
                {
                    "name": container,
                    "env": [{"name": "HOME", "value": _TMP}],
                    "volumeMounts": mounts,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
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


def spread(part: Json, names: Sequence[str]) -> dict[str, Any]:
    """Copy a part of a pod, repeating what it says of CONTAINER for each of `names`."""

    def each(one: Any) -> list[Any]:
        return [one | {"name": name} for name in names] if name_of(one) == CONTAINER else [one]

    spec = part.get("spec", {})
    listed = [each(one) for one in spec.get("containers", [])]
    return {**part, "spec": {**spec, "containers": [one for several in listed for one in several]}}


def resources(request: Request, gpu_resource: str) -> dict[str, Any]:
    """Write a container's requests and limits; CPUs have no limit."""
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
    names = {name_of(item) for item in above} - {None}
    by_name = {name_of(item): item for item in below if name_of(item)}
    kept = [item for item in below if name_of(item) not in names]
    return kept + [
        merged(by_name.get(name_of(item), {}), item) if name_of(item) else item for item in above
    ]


def name_of(item: Any) -> str | None:
    """Give the name by which lists in a pod are merged, such as that of a volume."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) else None


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give every value with its path, in which the indices of lists are left out."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and value:
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def within(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)


@contextmanager
def server() -> Iterator[None]:
    """Raise TransientError for trouble with the API server: it is not the trial's fault."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise TransientError(f"kubernetes: {error.status} {error.reason}: {error.body}") from error
    except HTTPError as error:
        raise TransientError(f"kubernetes: {error}") from error
