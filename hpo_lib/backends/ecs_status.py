"""How a task of ECS came to its end: interrupted, out of memory, never placed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hpo_lib.backends.ecs_request import CONTAINER, NAME, START, TIMEOUT
from hpo_lib.core.ending import Ending, Exit

#: What ECS is told when we stop a task, and tells us afterwards.
_LATE, _NO_PLACE = "hpo: still running after", "hpo: has not begun after"
_LOST_S = 300.0
Json = Mapping[str, Any]


def no_place(failures: Sequence[Json]) -> Exit:
    """Read why ECS has not placed a task."""
    said = "; ".join(
        ": ".join(filter(None, (one.get("reason"), one.get("detail")))) for one in failures
    )
    return Exit(Ending.UNSCHEDULABLE, detail=said)


def refused(code: str, message: str) -> Exit | None:
    """Read an error of ECS as the attempt's end; None if it does not blame the request."""
    if code not in _REFUSALS:
        return None
    crowded = re.search(r"limit|capacity|No Container Instances", message, re.IGNORECASE)
    ending = Ending.UNSCHEDULABLE if crowded else Ending.UNSTARTABLE
    return Exit(ending, detail=f"{code}: {message}")


def exit_of(task: Json, now: datetime) -> Exit | None:
    """Read how a task came to its end; None while it waits, runs or is being stopped."""
    if task["lastStatus"] != "STOPPED":
        return _stuck(task, now)
    container = _container(task)
    code, reason = container.get("exitCode"), container.get("reason") or ""
    said = ": ".join(dict.fromkeys(filter(None, (task.get("stoppedReason"), reason))))
    for stop_code, pattern, ending in _ENDINGS:
        if stop_code in (None, task.get("stopCode")) and re.search(pattern, said):
            return Exit(ending, code, said)
    if code is None:
        return Exit(Ending.LOST, detail=said or "its container has no exit code")
    return Exit(Ending.EXITED, code, reason)


def overdue(task: Json, now: datetime) -> str | None:
    """Say why a task has to be stopped: it runs, or waits, for longer than it may."""
    if "STOPPED" in (task["lastStatus"], task.get("desiredStatus")):
        return None
    began, tags = task.get("startedAt"), tagged(task)
    if began is not None:
        limit_s = float(tags.get(TIMEOUT, "inf"))
        return f"{_LATE} {limit_s:g} s" if (now - began).total_seconds() > limit_s else None
    limit_s = float(tags.get(START, "inf"))
    late = (now - task["createdAt"]).total_seconds() > limit_s
    return f"{_NO_PLACE} {limit_s:g} s: {task['lastStatus']}" if late else None


#: By stop code (None: any) and a pattern in what task and container say; the first match counts.
_ENDINGS: tuple[tuple[str | None, str, Ending], ...] = (
    ("UserInitiated", _LATE, Ending.TIMEOUT),
    ("UserInitiated", _NO_PLACE, Ending.UNSCHEDULABLE),
    ("UserInitiated", "", Ending.LOST),
    ("SpotInterruption", "", Ending.PREEMPTED),
    (None, r"(?i)spot .*interrupt", Ending.PREEMPTED),
    ("TerminationNotice", "", Ending.NODE_LOST),
    (None, r"Host EC2 \(instance .+?\) (stopped|terminated)", Ending.NODE_LOST),
    (None, "DockerTimeoutError|ContainerRuntimeTimeoutError|InternalError", Ending.NODE_LOST),
    (None, "OutOfMemory|memory usage", Ending.OUT_OF_MEMORY),
    (None, "CannotPull|pull image manifest", Ending.IMAGE_NOT_PULLABLE),
    (None, "CannotStartContainer|CannotCreateContainer", Ending.UNSTARTABLE),
    (
        "TaskFailedToStart",
        r"RESOURCE|AGENT|(?i:capacity|timeout|timed out|EC2 ?error)",
        Ending.UNSCHEDULABLE,
    ),
    ("TaskFailedToStart", "", Ending.UNSTARTABLE),
)
#: Errors that say that the request is wrong, not the moment.
_REFUSALS = (
    "AccessDeniedException",
    "ClientException",
    "ClusterNotFoundException",
    "InvalidParameterException",
    "PlatformTaskDefinitionIncompatibilityException",
    "PlatformUnknownException",
    "UnsupportedFeatureException",
)


def tagged(task: Json) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in task.get("tags", [])}


def _container(task: Json) -> Json:
    name = tagged(task).get(NAME, CONTAINER)
    return next((one for one in task.get("containers", []) if one["name"] == name), {})


def goes(task: Json) -> bool:
    return bool(task["lastStatus"] != "STOPPED")


def _stuck(task: Json, now: datetime) -> Exit | None:
    """Give up on a task that ECS has been stopping for long: its agent does not answer."""
    since = task.get("stoppingAt")
    if since is None or (now - since).total_seconds() <= _LOST_S:
        return None
    return Exit(Ending.NODE_LOST, detail="its host does not end it")
