"""How a pod came to its end: preempted, evicted, out of memory, never placed."""

from __future__ import annotations

import json
from datetime import datetime
from http import HTTPStatus

from hpo_lib.backends import RETURNED
from hpo_lib.backends.pods import CONTAINER, START, Json, state_of
from hpo_lib.core.ending import Ending, Exit

LOST_S = 90.0


def refused(status: int | None, body: str | None) -> Exit | None:
    """Read the API server's refusal to make a pod; None if it does not blame the pod."""
    if status == HTTPStatus.FORBIDDEN and "quota" in (body or ""):
        return Exit(Ending.UNSCHEDULABLE, detail=_message(body))
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY):
        return Exit(Ending.UNSTARTABLE, detail=_message(body))
    return None


def exit_of(pod: Json, now: datetime, container: str = CONTAINER) -> Exit | None:
    """Read how a pod's container came to its end; None while it waits or runs as it may."""
    status, state = pod.get("status", {}), state_of(pod, container)
    if status.get("phase") == "Succeeded":
        return Exit(Ending.EXITED, 0)
    return (
        _disrupted(status)
        or _failed(status, state)
        or _terminated(state)
        or _stuck(state)
        or _overdue(pod, state, now)
    )


def returned(pod: Json, container: str = CONTAINER) -> str | None:
    """Give the JSON that a container has returned as its termination message, if it was to.

    Of one that failed the message may be the end of its log, so it has returned nothing.
    """
    asked = any(
        one["name"] == container and one.get("terminationMessagePath") == RETURNED
        for one in pod["spec"]["containers"]
    )
    end = state_of(pod, container).get("terminated", {})
    return end.get("message") if asked and end.get("exitCode") == 0 else None


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
            return Exit(_DISRUPTIONS.get(reason, Ending.EVICTED), detail=told(condition))
    return None


def _failed(status: Json, state: Json) -> Exit | None:
    ending = _REASONS.get(status.get("reason", ""))
    if ending is Ending.TIMEOUT and "waiting" in state:
        return Exit(Ending.UNSCHEDULABLE, detail=f"never began: {told(status)}")
    return Exit(ending, detail=told(status)) if ending else None


def _terminated(state: Json) -> Exit | None:
    end = state.get("terminated")
    if end is None:
        return None
    if end.get("reason") == "OOMKilled":
        return Exit(Ending.OUT_OF_MEMORY, end["exitCode"], "over its memory limit")
    if end.get("reason") in _CANNOT_RUN:
        return Exit(Ending.UNSTARTABLE, end["exitCode"], told(end))
    said = (end.get("message") or "").strip().splitlines()
    return Exit(Ending.EXITED, end["exitCode"], said[-1] if said else "")


def _stuck(state: Json) -> Exit | None:
    waiting = state.get("waiting", {})
    ending = _WAITING.get(waiting.get("reason", ""))
    return Exit(ending, detail=told(waiting)) if ending else None


def _overdue(pod: Json, state: Json, now: datetime) -> Exit | None:
    """Give up on a pod that does not start, or that its node does not end."""
    status, metadata = pod.get("status", {}), pod["metadata"]
    if "deletionTimestamp" in metadata:
        late_s = (now - datetime.fromisoformat(metadata["deletionTimestamp"])).total_seconds()
        return (
            Exit(Ending.NODE_LOST, detail="its node does not end it") if late_s > LOST_S else None
        )
    if status.get("phase", "Pending") != "Pending":
        return Exit(Ending.LOST, detail=told(status)) if status["phase"] == "Failed" else None
    limit_s = float(metadata.get("annotations", {}).get(START, "inf"))
    if (now - datetime.fromisoformat(metadata["creationTimestamp"])).total_seconds() <= limit_s:
        return None
    unmet = [c for c in status.get("conditions", []) if c["status"] != "True"]
    why = next((told(c) for c in unmet if c.get("message")), told(state.get("waiting", {})))
    return Exit(Ending.UNSCHEDULABLE, detail=f"has not begun after {limit_s:g} s: {why}")


def _message(body: str | None) -> str:
    """Give what an answer of the API server says."""
    try:
        return " ".join(str(json.loads(body or "{}")["message"]).split())
    except (ValueError, TypeError, KeyError):
        return body or ""


def told(thing: Json) -> str:
    """Give what Kubernetes has to say: reason and message."""
    words = (thing.get("reason"), " ".join((thing.get("message") or "").split()))
    return ": ".join(word for word in words if word)
