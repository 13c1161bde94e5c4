"""Resources of Kubernetes that make pods: what is asked for, and how they say what became of it.

Everything here is pure and works on plain JSON, as the API server sends and takes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import Field, field_validator

from hpo_lib.backends.condition import Condition
from hpo_lib.backends.pod_status import LOST_S, exit_of, told
from hpo_lib.backends.pods import (
    LABEL,
    START,
    TIMEOUT,
    Json,
    containers,
    state_of,
)
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import SpecError
from hpo_lib.validation import Strict, rule

BATCH = "batch/v1/Job"
SUCCESS, FAILURE, PRIMARY = f"{LABEL}success", f"{LABEL}failure", f"{LABEL}primary"

#: By kind: the conditions that its controller sets, unless the conf names others.
_SAYS = {
    BATCH: ("Complete", "Failed"),
    "kubeflow.org/v1/MPIJob": ("Succeeded", "Failed"),
    "kubeflow.org/v1/PyTorchJob": ("Succeeded", "Failed"),
    "kubeflow.org/v1/TFJob": ("Succeeded", "Failed"),
    "kubeflow.org/v1/XGBoostJob": ("Succeeded", "Failed"),
    "trainer.kubeflow.org/v1alpha1/TrainJob": ("Complete", "Failed"),
}
#: The retry policy decides how often a trial is tried again, not a controller.
DEFAULTS: Mapping[str, Json] = {BATCH: {"spec": {"backoffLimit": 0}}}
ONCE = {"spec": {"restartPolicy": "Never"}}

#: Endings of a pod before it has begun; no controller mends them.
_HOPELESS = (Ending.IMAGE_NOT_PULLABLE, Ending.UNSTARTABLE, Ending.UNSCHEDULABLE)
#: Of several failed pods, the one whose ending is first here has made the others fail.
_RANK = (
    Ending.NODE_LOST,
    Ending.PREEMPTED,
    Ending.EVICTED,
    Ending.OUT_OF_MEMORY,
    Ending.IMAGE_NOT_PULLABLE,
    Ending.UNSTARTABLE,
    Ending.UNSCHEDULABLE,
    Ending.TIMEOUT,
    Ending.EXITED,
    Ending.LOST,
)
_KILLED = 128
_SUCCEEDED = Exit(Ending.EXITED, 0)


class Primary(Strict):
    """Labels of the pods that print the metrics, and which of their containers, else the first."""

    labels: dict[str, str] = Field(default_factory=dict)
    container: str | None = None


class JobOptions(Strict):
    """`trial.options` of backend job: the resource, and how it says what became of it."""

    namespace: str | None = None
    resource: dict[str, Any] = Field(default_factory=dict)
    success: str | None = None
    failure: str | None = None
    primary: Primary = Primary()

    @field_validator("success", "failure")
    @classmethod
    def _check_condition(cls, text: str | None) -> str | None:
        try:
            return text if text is None else Condition.parse(text).text
        except SpecError as error:
            raise rule(str(error)) from None

    @cached_property
    def api(self) -> str:
        """The resource's apiVersion."""
        return str(self.resource.get("apiVersion", "batch/v1"))

    @cached_property
    def kind(self) -> str:
        """The resource's kind with its apiVersion, such as `batch/v1/Job`."""
        return f"{self.api}/{self.resource.get('kind', 'Job')}"

    @property
    def conditions(self) -> tuple[str | None, str | None]:
        """The conditions of success and of failure: the conf's, or those of its kind."""
        known = _SAYS.get(self.kind)
        said = [f"status.conditions[type={one}].status == True" for one in known or ()]
        success, failure = said or (None, None)
        return self.success or success, self.failure or failure


def templates(value: Any, path: str = "") -> Iterator[tuple[str, Json]]:
    """Give every pod template in a resource with its path: a mapping with `spec.containers`."""
    if isinstance(value, Mapping) and containers(value):
        yield path, value
        return
    for name, one in _inner(value):
        yield from templates(one, f"{path}.{name}" if path else str(name))


def _inner(value: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def with_templates(value: Any, change: Callable[[Json], Json]) -> Any:
    """Copy a resource with every pod template changed."""
    if isinstance(value, Mapping):
        if containers(value):
            return change(value)
        return {name: with_templates(inner, change) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [with_templates(inner, change) for inner in value]
    return value


def as_text(value: Any, key: str = "") -> Any:
    """Turn into text what Kubernetes takes only as text: `command`, `args`, and named values."""
    if isinstance(value, Mapping):
        pair = "name" in value and "value" in value
        return {
            name: as_text(inner, "args" if pair and name == "value" else name)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [as_text(inner, key) for inner in value]
    if key not in ("args", "command") or value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def end_of(resource: Json, pods: Sequence[Json], now: datetime) -> Exit | None:
    """Read how an attempt came to its end; None while it waits or runs as it may."""
    metadata, said = resource["metadata"], resource["metadata"]["annotations"]
    if Condition.parse(said[FAILURE]).holds(resource):
        return worst(pods, now) or Exit(Ending.FAILED, detail=_why(resource))
    if Condition.parse(said[SUCCESS]).holds(resource):
        return _SUCCEEDED
    if "deletionTimestamp" in metadata:
        late = _age_s(metadata["deletionTimestamp"], now) > LOST_S
        return Exit(Ending.NODE_LOST, detail="its deletion does not end") if late else None
    waiting = [pod for pod in pods if pod.get("status", {}).get("phase", "Pending") == "Pending"]
    found = worst(waiting, now)
    if found is not None and found.ending in _HOPELESS:
        return found
    return _overdue(resource, pods, now)


def worst(pods: Sequence[Json], now: datetime) -> Exit | None:
    """Give the end of the pod that made the others fail; None if none has failed."""
    ends = [
        (_rank(end), state_of(pod, name).get("terminated", {}).get("finishedAt") or "~", pod, end)
        for pod in pods
        for name in containers(pod)
        if (end := exit_of(pod, now, name)) is not None and not _is_well(end)
    ]
    if not ends:
        return None
    *_, pod, end = min(ends, key=lambda one: one[:2])
    said = (f"pod {pod['metadata']['name']}", end.detail)
    return Exit(end.ending, end.code, ": ".join(one for one in said if one))


def primary(resource: Json, pods: Sequence[Json]) -> list[tuple[Json, str]]:
    """Give the pods that print the metrics, with their container, once that has begun."""
    wanted = Primary.model_validate_json(resource["metadata"]["annotations"][PRIMARY])
    found = []
    for pod in sorted(pods, key=_order):
        container = wanted.container or containers(pod)[0]
        labels = pod["metadata"].get("labels", {})
        begun = {"running", "terminated"} & set(state_of(pod, container))
        if begun and wanted.labels.items() <= labels.items():
            found.append((pod, container))
    return found


def metadata_of(options: JobOptions) -> dict[str, Any]:
    found = options.resource.get("metadata")
    named = {"namespace": options.namespace} if options.namespace else {}
    return (dict(found) if isinstance(found, Mapping) else {}) | named


def _overdue(resource: Json, pods: Sequence[Json], now: datetime) -> Exit | None:
    """Give up on a resource that makes no pods, or that goes on for too long."""
    metadata = resource["metadata"]
    said, age_s = metadata["annotations"], _age_s(metadata["creationTimestamp"], now)
    start_s, timeout_s = float(said[START]), float(said[TIMEOUT])
    if not pods and age_s > start_s and any(templates(resource)):
        why = f"has no pod after {start_s:g} s: {_why(resource)}"
        return Exit(Ending.UNSCHEDULABLE, detail=why)
    begun = [_began(pod) for pod in pods]
    # A pod that has yet to begin, or begins anew, delays the timeout by start_timeout at most.
    all_s = _age_s(max(begun), now) if begun and all(begun) else 0.0
    ran_s = max(age_s - start_s, all_s)
    if ran_s > timeout_s:
        return Exit(Ending.TIMEOUT, detail=f"still going on after {timeout_s:g} s")
    return None


def _began(pod: Json) -> str:
    """Give when the last of a pod's containers began; empty if one has yet to begin."""
    states = [state_of(pod, name) for name in containers(pod)]
    found = [(one.get("running") or one.get("terminated") or {}).get("startedAt") for one in states]
    known = [str(when) for when in found if when]
    return max(known, default="") if len(known) == len(found) else ""


def _is_well(end: Exit) -> bool:
    return end.ending is Ending.EXITED and end.code == 0


def _rank(end: Exit) -> tuple[int, bool]:
    """Rank ends, causes before effects: a pod that was killed failed because of another."""
    return _RANK.index(end.ending), end.code is not None and end.code > _KILLED


def _why(resource: Json) -> str:
    """Give the reason that a resource states: its last condition that is true."""
    status = resource.get("status")
    listed = status.get("conditions") if isinstance(status, Mapping) else None
    said = [told(one) for one in listed or [] if one.get("status") == "True"]
    return next((one for one in reversed(said) if one), "its conditions give no reason")


def _age_s(when: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(when)).total_seconds()


def _order(pod: Json) -> tuple[str, str]:
    return pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]
