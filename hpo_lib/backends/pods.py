"""Pods: how they are described, as plain JSON, and what is read of that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from hpo_lib.backends import Request
from hpo_lib.backends.pod_shape import under
from hpo_lib.backends.server_time import server_time
from hpo_lib.errors import TransientError

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

#: The container that runs a trial; in the installation's templates it stands for any container.
CONTAINER = "trial"
#: Our labels: `hpo.io/store` says whose a pod is, the others which attempt it runs.
LABEL = "hpo.io/"
OUTPUT = "/hpo/output"
OWNER, START, TIMEOUT = f"{LABEL}store", f"{LABEL}start-timeout-s", f"{LABEL}timeout-s"
GRACE = f"{LABEL}stop-grace-s"
#: On the pods of a job: its name.
JOB = f"{LABEL}job"
_TMP = "/tmp"  # noqa: S108 - in the pod, a volume of its own
#: Seconds that a pod has to end by itself when it is deleted; its removal then takes longer.
GRACE_S = 5

Json = Mapping[str, Any]


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


def with_grace(request: Request) -> dict[str, Any]:
    """Describe how long a pod has to end by itself, as far as its trial says."""
    if request.stop_grace_s is None:
        return {}
    return {"terminationGracePeriodSeconds": math.ceil(request.stop_grace_s)}


def told_grace(request: Request) -> dict[str, str]:
    """Give the annotation by which `grace_s` knows it."""
    return {} if request.stop_grace_s is None else {GRACE: str(request.stop_grace_s)}


def grace_s(found: Json | None) -> int:
    """Give how many seconds what is to be deleted has to end by itself."""
    said = ((found or {}).get("metadata") or {}).get("annotations") or {}
    return math.ceil(float(said.get(GRACE, GRACE_S)))


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
            yield from leaves(inner, under(path, name))
    elif isinstance(value, list | tuple) and value:
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def within(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)


def now_of(client: CoreV1Api) -> datetime:
    """Give the time by the API server's clock, as of its newest answer."""
    answer = getattr(client.api_client, "last_response", None)
    headers = getattr(getattr(answer, "urllib3_response", answer), "headers", {})
    return server_time(headers.get("Date"))


def is_refusal(error: Exception) -> bool:
    """Say whether an API server answers that it has not made something."""
    from kubernetes.client.exceptions import ApiException

    unsure = (None, 0, HTTPStatus.CONFLICT, HTTPStatus.GATEWAY_TIMEOUT)
    return isinstance(error, ApiException) and error.status not in unsure


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
