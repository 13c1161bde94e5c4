"""Attempts as tasks of Amazon ECS: what is asked for, what is allowed, and how a task ended.

Everything that decides is pure and works on plain JSON, as ECS sends and takes it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from hpo_lib.artifacts import Offers, open_folder, options_for
from hpo_lib.backends import Ending, Exit, Found, Request, check_image
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.places import Place
from hpo_lib.spec import TrialSpec
from hpo_lib.validation import Strict, parse, shown

CONTAINER = "trial"
OUTPUT = "/hpo/output"
#: Our tags: `hpo:store` says whose a task is, others which attempt it runs and how long it may.
TAG = "hpo:"
_OWNER, _NAME = f"{TAG}store", f"{TAG}container"
_TIMEOUT, _START = f"{TAG}timeout-s", f"{TAG}start-timeout-s"
#: What ECS is told when we stop a task, and tells us afterwards.
_LATE, _NO_PLACE, _ENDED = "hpo: still running after", "hpo: has not begun after", "hpo: ended"
_PREFIX = "hpo"
_POLL_S, _STOP_S, _LOST_S = 2.0, 90.0, 300.0
#: How long a new task, or the last lines of a log, may take to be seen by a question.
_UNSEEN_S, _QUIET_S = 60.0, 2.0
_LONGEST_NAME, _PAGE = 36, 100
_MIB, _UNITS = 2**20, 1_024

Json = Mapping[str, Any]
Kind = Literal["FARGATE", "EC2"]


class Secret(Strict):
    """A secret or parameter, named by its ARN, as an environment variable."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    arn: str = Field(pattern=r"^arn:", max_length=2_048)


class EcsOptions(Strict):
    """`trial.options` of backend ecs; what is left out is as the deployment has it.

    `task_definition` names one that is there, whose `container` gets command and environment;
    without it one is registered for every attempt. `ephemeral_storage` is in GiB.
    """

    cluster: str | None = None
    task_definition: str | None = None
    container: str = CONTAINER
    launch_type: Kind | None = None
    capacity_provider: str | None = None
    spot_capacity_provider: str | None = None
    subnets: tuple[str, ...] = Field(default=(), strict=False)
    security_groups: tuple[str, ...] = Field(default=(), strict=False)
    assign_public_ip: bool | None = None
    task_role: str | None = None
    execution_role: str | None = None
    ephemeral_storage: int | None = Field(default=None, ge=21, le=200)
    secrets: tuple[Secret, ...] = Field(default=(), strict=False)
    log_group: str | None = None


class EcsRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of ECS; of a list the first is used.

    Of subnets and security groups all are used. `spot` and `on_demand` are capacity providers;
    without any the cluster's own default is, and `default` says of which kind that is.
    """

    connection: str | None = "aws_default"
    region: str | None = None
    clusters: tuple[str, ...] = Field(default=("default",), strict=False, min_length=1)
    images: tuple[str, ...] = Field(default=("*",), strict=False)
    task_definitions: tuple[str, ...] = Field(default=(), strict=False)
    task_roles: tuple[str, ...] = Field(default=(), strict=False)
    execution_roles: tuple[str, ...] = Field(default=(), strict=False)
    secrets: tuple[str, ...] = Field(default=(), strict=False)
    subnets: tuple[str, ...] = Field(default=(), strict=False)
    security_groups: tuple[str, ...] = Field(default=(), strict=False)
    assign_public_ip: bool = False
    default: Kind = "FARGATE"
    spot: tuple[str, ...] = Field(default=(), strict=False)
    on_demand: tuple[str, ...] = Field(default=(), strict=False)
    log_groups: tuple[str, ...] = Field(default=("/hpo/trials",), strict=False, min_length=1)


#: Options that must be in a list of the rules, those of _PATTERNS match one of its patterns.
_NAMED = {
    "cluster": "clusters",
    "capacity_provider": "on_demand",
    "spot_capacity_provider": "spot",
    "subnets": "subnets",
    "security_groups": "security_groups",
    "task_role": "task_roles",
    "execution_role": "execution_roles",
    "log_group": "log_groups",
}
_PATTERNS = {"task_definition": "task_definitions", "secrets": "secrets"}


class Wanted(NamedTuple):
    """What ECS is asked: to register a definition (None: there is a named one), and to run it."""

    definition: dict[str, Any] | None
    run: dict[str, Any]


class Stream(NamedTuple):
    """Where awslogs writes what a container prints: a group, and a prefix of its streams."""

    group: str
    prefix: str
    region: str | None


@dataclass(frozen=True)
class EcsBackend:
    """Keeps logs below `home`; `connect` gives a client of a service, `offers` lead to artifacts.

    ECS forgets a task an hour after its end, and has no timeouts: `poll` keeps those.
    """

    keeps_output: ClassVar[bool] = False

    home: Path
    connect: Callable[[str], Any]
    rules: EcsRules = field(default_factory=EcsRules)
    offers: Offers = field(default_factory=dict)

    def permit(self, trial: TrialSpec) -> None:
        """Refuse images, names and combinations that this deployment does not allow."""
        options = parse(EcsOptions, trial.options, at="trial.options")
        if options.task_definition is None:
            check_image(trial, self.rules.images)
        if lines := refusals(trial, options, self.rules):
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
        """Name what the task is started by, its cluster, and the folder of its log."""
        asked = parse(EcsOptions, options)
        folder = self.home / "runs" / run / f"trial-{trial:04d}" / f"attempt-{attempt}"
        tail = f"-{trial:04d}-{attempt}"
        head = f"hpo-{store[:6]}-{run}"[: _LONGEST_NAME - len(tail)].rstrip("-")
        return {
            "task": head + tail,
            "cluster": asked.cluster or self.rules.clusters[0],
            "definition": asked.task_definition or "",
            "container": asked.container,
            "output": artifacts or OUTPUT,
            "store": store,
            "folder": str(folder),
        }

    def output(self, handle: Mapping[str, Any]) -> Place:
        """Give what the trial knows as HPO_OUTPUT: the artifacts' URI, or a folder of the task."""
        uri = handle["output"]
        return open_folder(uri, options_for(uri, self.offers)) if "://" in uri else Path(uri)

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the file with everything the attempt printed."""
        return Path(handle["folder"]) / "log.txt"

    def wanted(self, handle: Mapping[str, Any], request: Request) -> Wanted:
        """Describe the definition, with all that the attempt needs, and the request to run it."""
        options = parse(EcsOptions, request.options)
        kind, place = capacity(options, self.rules, spot=request.spot)
        tags = _tags(handle, request)
        run = {
            "cluster": handle["cluster"],
            "taskDefinition": handle["definition"] or handle["task"],
            "startedBy": handle["task"],
            "tags": tags,
            **place,
            **network(options, self.rules, kind),
        }
        if handle["definition"]:
            return Wanted(None, run | {"overrides": overrides(request, options, kind)})
        region = self.rules.region or self.ecs.meta.region_name
        made = definition(handle["task"], request, options, self.rules, kind, region)
        return Wanted(made | {"tags": tags}, run | {"overrides": {}})

    def defined(self, wanted: Wanted) -> Json:
        """Give the definition to run: the named one, or the attempt's, registered if need be."""
        if wanted.definition is None:
            return self._definition(wanted.run["taskDefinition"])
        found = self._registered(wanted.definition["family"])
        if found is None:
            found = self.ecs.register_task_definition(**wanted.definition)["taskDefinition"]
        return found

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Run the task unless it was run before."""
        with service():
            if self.task(handle) is not None:
                return
            wanted = self.wanted(handle, request)
            arn = self.defined(wanted)["taskDefinitionArn"]
            answer = self.ecs.run_task(**(wanted.run | {"taskDefinition": arn}))
        if answer["failures"]:
            raise TransientError(f"ecs: {no_place(answer['failures']).detail}")
        self.keep(handle, answer["tasks"][0]["taskArn"])

    def keep(self, handle: Mapping[str, Any], arn: str) -> None:
        """Note the task that was started, which ECS may take a moment to list."""
        note = _note(handle)
        note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        note.write_text(arn)

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Wait for the end and yield the Exit; no lines: Airflow's own operator streams them."""
        while (found := self.poll(handle)) is None:
            time.sleep(_POLL_S)
        yield found

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the task waits or runs; stop one that does so too long."""
        now = datetime.now(UTC)
        with service():
            task = self.task(handle)
            if task is None:
                gone = Exit(Ending.LOST, detail="ECS has no task of it, or forgot it after an hour")
                return None if _is_new(handle) else gone
            end, why = exit_of(task, now), overdue(task, now)
            if end is None and why is not None:
                self._stop(handle, why)
        return end

    def fetch(self, handle: Mapping[str, Any]) -> None:
        """Write what CloudWatch has of the container's output to the log file."""
        log = self.log(handle)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with service():
            task = self.task(handle)
            stream = task and stream_of(self._definition(task["taskDefinitionArn"]), handle)
            if not task or not stream:
                return
            name = f"{stream.prefix}/{handle['container']}/{task['taskArn'].split('/')[-1]}"
            part = log.with_suffix(".part")
            with part.open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in self._printed(stream.group, name))
        part.replace(log)

    def release(self, handle: Mapping[str, Any]) -> None:
        """Nothing: the task goes on until its retry or its end."""

    def end(self, handle: Mapping[str, Any]) -> None:
        """Stop the task, without waiting."""
        with service():
            self._stop(handle, _ENDED)

    def stop(self, handle: Mapping[str, Any]) -> None:
        """Stop the task and wait until it has: SIGTERM, half a minute, SIGKILL."""
        self.end(handle)
        until = time.monotonic() + _STOP_S
        with service():
            while any(map(_goes, self._tasks(handle))) and time.monotonic() < until:
                time.sleep(_POLL_S)

    def found(self, store: str) -> Iterator[Found]:
        """Give the attempts that have a task which runs, in any cluster that we use."""
        for cluster in self.rules.clusters:
            with service():
                tasks = [t for t in self._all(cluster) if _tagged(t).get(_OWNER) == store]
            for task in tasks:
                yield Found.labelled(_tagged(task), TAG, _handle_of(task, cluster, store))

    def discard(self, handle: Mapping[str, Any]) -> None:
        """Stop the task, if it still runs, and take back the definition that we registered."""
        with service():
            self._stop(handle, _ENDED)
            if not handle["definition"] and (found := self._registered(handle["task"])):
                self.ecs.deregister_task_definition(taskDefinition=found["taskDefinitionArn"])

    def task(self, handle: Mapping[str, Any]) -> Json | None:
        """Read the attempt's task, the first if there are several."""
        return min(self._tasks(handle), key=lambda task: task["createdAt"], default=None)

    @cached_property
    def ecs(self) -> Any:
        """Connect to ECS, once."""
        return self.connect("ecs")

    @cached_property
    def logs(self) -> Any:
        """Connect to CloudWatch Logs, once."""
        return self.connect("logs")

    def _tasks(self, handle: Mapping[str, Any]) -> list[Json]:
        """Read the tasks started by an attempt; TransientError if one is somebody else's."""
        cluster, by = handle["cluster"], handle["task"]
        arns = _noted(handle)
        for state in () if arns else ("RUNNING", "STOPPED"):
            answer = self.ecs.list_tasks(cluster=cluster, startedBy=by, desiredStatus=state)
            arns += answer["taskArns"]
        tasks = self._described(cluster, arns)
        if any(_tagged(task).get(_OWNER) != handle["store"] for task in tasks):
            raise TransientError(f"ECS task {by} is not of store {handle['store']}")
        return tasks

    def _all(self, cluster: str) -> Iterator[Json]:
        pages = self.ecs.get_paginator("list_tasks").paginate(cluster=cluster)
        for page in pages:
            yield from self._described(cluster, page["taskArns"])

    def _described(self, cluster: str, arns: Sequence[str]) -> list[Json]:
        if not arns:
            return []
        answer = self.ecs.describe_tasks(cluster=cluster, tasks=arns[:_PAGE], include=["TAGS"])
        return list(answer["tasks"])

    def _definition(self, name: str) -> Json:
        found: Json = self.ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]
        return found

    def _registered(self, family: str) -> Json | None:
        """Give the definition that an attempt has registered, unless it was taken back."""
        from botocore.exceptions import ClientError

        try:
            found = self._definition(family)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ClientException":
                return None
            raise
        return found if found["status"] == "ACTIVE" else None

    def _stop(self, handle: Mapping[str, Any], why: str) -> None:
        for task in filter(_goes, self._tasks(handle)):
            self.ecs.stop_task(cluster=handle["cluster"], task=task["taskArn"], reason=why)

    def _printed(self, group: str, stream: str) -> Iterator[str]:
        """Give a stream's lines until nothing has come for a moment: the last ones come late."""
        token, until = "", time.monotonic() + _QUIET_S
        while True:
            page = self._page(group, stream, token)
            yield from (event["message"] for event in page["events"])
            if page["events"]:
                until = time.monotonic() + _QUIET_S
            elif page["nextForwardToken"] == token:
                if time.monotonic() > until:
                    return
                time.sleep(_QUIET_S / 4)
            token = page["nextForwardToken"]

    def _page(self, group: str, stream: str, token: str) -> Json:
        from botocore.exceptions import ClientError

        asked = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
        asked |= {"nextToken": token} if token else {}
        try:
            page: Json = self.logs.get_log_events(**asked)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return {"events": [], "nextForwardToken": token}
        return page


def refusals(trial: TrialSpec, options: EcsOptions, rules: EcsRules) -> list[str]:
    """Say what of a conf the rules do not allow, or what cannot be together, a line each."""
    lines = []
    for name, listed in (_NAMED | _PATTERNS).items():
        value, allowed = getattr(options, name), getattr(rules, listed)
        asked = value if isinstance(value, tuple) else () if value is None else (value,)
        for one in asked:
            text = one.arn if isinstance(one, Secret) else one
            if not _allowed(text, allowed, patterns=name in _PATTERNS):
                known = ", ".join(allowed) or "none"
                lines.append(
                    f"trial.options.{name}: this deployment allows {known}, got {shown(text)}"
                )
    if options.assign_public_ip and not rules.assign_public_ip:
        lines.append("trial.options.assign_public_ip: is not allowed by this deployment, got true")
    return [*lines, *_named_refusals(trial, options), *_capacity_refusals(trial, options, rules)]


def capacity(options: EcsOptions, rules: EcsRules, *, spot: bool) -> tuple[Kind, dict[str, Any]]:
    """Say of which kind an attempt's capacity is, and how to ask RunTask for it."""
    provider = options.capacity_provider
    if spot:
        provider = options.spot_capacity_provider or next(iter(rules.spot), None)
    elif provider is None and options.launch_type is None:
        provider = next(iter(rules.on_demand), None)
    if provider is not None:
        kind: Kind = "FARGATE" if provider.startswith("FARGATE") else "EC2"
        return kind, {"capacityProviderStrategy": [{"capacityProvider": provider, "weight": 1}]}
    if options.launch_type is not None:
        return options.launch_type, {"launchType": options.launch_type}
    return rules.default, {}


def network(options: EcsOptions, rules: EcsRules, kind: Kind) -> dict[str, Any]:
    """Say where a task's network interface goes; on EC2 without subnets it has none."""
    subnets = options.subnets or rules.subnets
    if not subnets and kind == "EC2":
        return {}
    public = options.assign_public_ip
    place = {
        "subnets": list(subnets),
        "securityGroups": list(options.security_groups or rules.security_groups),
        "assignPublicIp": "ENABLED"
        if (rules.assign_public_ip if public is None else public)
        else "DISABLED",
    }
    return {"networkConfiguration": {"awsvpcConfiguration": place}}


def definition(
    family: str, request: Request, options: EcsOptions, rules: EcsRules, kind: Kind, region: str
) -> dict[str, Any]:
    """Describe an attempt's task definition, as RegisterTaskDefinition takes it."""
    group = options.log_group or rules.log_groups[0]
    logs = {"awslogs-group": group, "awslogs-region": region, "awslogs-stream-prefix": _PREFIX}
    container: dict[str, Any] = {
        "name": options.container,
        "image": request.image,
        "essential": True,
        **_told(request),
        "secrets": [{"name": one.env, "valueFrom": one.arn} for one in options.secrets],
        "logConfiguration": {"logDriver": "awslogs", "options": logs},
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
        "mountPoints": [{"sourceVolume": "hpo-output", "containerPath": OUTPUT}],
    }
    container |= {"entryPoint": list(request.command)} if request.command else {}
    container |= {"command": list(request.args)} if request.args else {}
    container |= {} if "memory" in container else {"memoryReservation": _LEAST_MIB}
    fargate = kind == "FARGATE"
    made = {
        "family": family,
        "containerDefinitions": [container],
        "volumes": [{"name": "hpo-output"}],
        "networkMode": "awsvpc" if network(options, rules, kind) else "bridge",
        "requiresCompatibilities": [kind],
        "taskRoleArn": options.task_role or next(iter(rules.task_roles), None),
        "executionRoleArn": options.execution_role or next(iter(rules.execution_roles), None),
        **(_fargate_size(request) if fargate else {}),
        "ephemeralStorage": _storage(options),
    }
    return {name: value for name, value in made.items() if value is not None}


def overrides(request: Request, options: EcsOptions, kind: Kind) -> dict[str, Any]:
    """Describe what an attempt changes of a named definition; its entry point stays."""
    container = {"name": options.container, **_told(request)}
    words = [*request.command, *request.args]
    container |= {"command": words} if words else {}
    sized = kind == "FARGATE" and (request.cpu or request.memory_bytes)
    made = {
        "containerOverrides": [container],
        "taskRoleArn": options.task_role,
        "executionRoleArn": options.execution_role,
        **(_fargate_size(request) if sized else {}),
        "ephemeralStorage": _storage(options),
    }
    return {name: value for name, value in made.items() if value is not None}


def fargate_size(cpu: float | None, memory_bytes: int | None) -> tuple[int, int] | None:
    """Give the least CPU units and MiB that Fargate sells and that hold this; None if none do."""
    units = _UNITS if cpu is None else math.ceil(cpu * _UNITS)
    mib = 2 * _UNITS if memory_bytes is None else math.ceil(memory_bytes / _MIB)
    for sold, (least, most, step) in _FARGATE.items():
        if units <= sold and mib <= most:
            return sold, max(least, math.ceil(mib / step) * step)
    return None


def stream_of(definition: Json, handle: Json) -> Stream | None:
    """Read from a definition where its container's output goes; None: not to CloudWatch."""
    for container in definition["containerDefinitions"]:
        logs = container.get("logConfiguration") or {}
        options = logs.get("options") or {}
        names = ("awslogs-group", "awslogs-stream-prefix")
        if container["name"] == handle["container"] and all(name in options for name in names):
            group, prefix = (options[name] for name in names)
            return Stream(group, prefix, options.get("awslogs-region"))
    return None


def no_place(failures: Sequence[Json]) -> Exit:
    """Read why ECS has not placed a task."""
    said = "; ".join(
        ": ".join(filter(None, (one.get("reason"), one.get("detail")))) for one in failures
    )
    return Exit(Ending.UNSCHEDULABLE, detail=said)


def refused(code: str, message: str) -> Exit | None:
    """Read an error of ECS as a verdict on what was asked; None if it is none."""
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
    began, tags = task.get("startedAt"), _tagged(task)
    if began is not None:
        limit_s = float(tags.get(_TIMEOUT, "inf"))
        return f"{_LATE} {limit_s:g} s" if (now - began).total_seconds() > limit_s else None
    limit_s = float(tags.get(_START, "inf"))
    late = (now - task["createdAt"]).total_seconds() > limit_s
    return f"{_NO_PLACE} {limit_s:g} s: {task['lastStatus']}" if late else None


#: By stop code (None: any) and what task and container say of their end, the first that fits.
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
        *("TaskFailedToStart", r"RESOURCE|AGENT|(?i:capacity|timeout|timed out|EC2 ?error)"),
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
#: Fargate's sizes: CPU units -> least and most memory in MiB, and its steps.
_FARGATE = {
    256: (512, 2_048, 512),
    512: (1_024, 4_096, 1_024),
    1_024: (2_048, 8_192, 1_024),
    2_048: (4_096, 16_384, 1_024),
    4_096: (8_192, 30_720, 1_024),
    8_192: (16_384, 61_440, 4_096),
    16_384: (32_768, 122_880, 8_192),
}
_LEAST_MIB = 128


def _allowed(value: str, allowed: Sequence[str], *, patterns: bool) -> bool:
    if not patterns:
        return value in allowed
    return any(fnmatchcase(value, pattern) for pattern in allowed)


def _named_refusals(trial: TrialSpec, options: EcsOptions) -> Iterator[str]:
    """Say what does not go with a definition that is there."""
    if options.task_definition is None:
        return
    if trial.image is not None:
        yield f"trial.image: the task definition names its own, got {trial.image}"
    for name in ("secrets", "log_group"):
        if value := getattr(options, name):
            text = shown([one.arn for one in value] if name == "secrets" else value)
            yield f"trial.options.{name}: the task definition names its own, got {text}"


def _capacity_refusals(trial: TrialSpec, options: EcsOptions, rules: EcsRules) -> Iterator[str]:
    if options.launch_type and options.capacity_provider:
        yield (
            "trial.options.launch_type: does not go with capacity_provider, "
            f"got {options.launch_type} and {options.capacity_provider}"
        )
    if trial.spot and not (options.spot_capacity_provider or rules.spot):
        yield "trial.spot: this deployment has no capacity provider for it under ecs.spot"
    kinds = {capacity(options, rules, spot=spot)[0] for spot in {False, trial.spot}}
    if "FARGATE" not in kinds:
        return
    if not (options.subnets or rules.subnets):
        yield "trial.options.subnets: Fargate needs some, this deployment has none in ecs.subnets"
    resources = trial.resources
    if resources.gpu:
        yield f"trial.resources.gpu: Fargate has none, got {resources.gpu}; ask for capacity on EC2"
    if fargate_size(resources.cpu, resources.memory_bytes) is None:
        yield "trial.resources: Fargate has at most 16 CPUs and 120Gi of memory for one task"


def _told(request: Request) -> dict[str, Any]:
    """Describe a container's environment and resources, as definition and overrides take it."""
    gpu = [{"type": "GPU", "value": str(request.gpu)}] if request.gpu else None
    memory = max(_LEAST_MIB, request.memory_bytes // _MIB) if request.memory_bytes else None
    cpu = math.ceil(request.cpu * _UNITS) if request.cpu else None
    found = {"cpu": cpu, "memory": memory, "resourceRequirements": gpu}
    env = [{"name": name, "value": value} for name, value in request.env.items()]
    return {"environment": env} | {name: value for name, value in found.items() if value}


def _fargate_size(request: Request) -> dict[str, str]:
    size = fargate_size(request.cpu, request.memory_bytes)
    if size is None:
        raise SpecError("trial.resources: Fargate has no task of that size")
    return {"cpu": str(size[0]), "memory": str(size[1])}


def _storage(options: EcsOptions) -> dict[str, int] | None:
    gib = options.ephemeral_storage
    return {"sizeInGiB": gib} if gib else None


def _tags(handle: Mapping[str, Any], request: Request) -> list[dict[str, str]]:
    found = {f"{TAG}{name}": value for name, value in request.labels.items()} | {
        _OWNER: handle["store"],
        _NAME: handle["container"],
        _TIMEOUT: str(request.timeout_s),
        _START: str(request.start_timeout_s),
    }
    return [{"key": name, "value": value} for name, value in found.items()]


def _tagged(task: Json) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in task.get("tags", [])}


def _container(task: Json) -> Json:
    name = _tagged(task).get(_NAME, CONTAINER)
    return next((one for one in task.get("containers", []) if one["name"] == name), {})


def _goes(task: Json) -> bool:
    return bool(task["lastStatus"] != "STOPPED")


def _stuck(task: Json, now: datetime) -> Exit | None:
    """Give up on a task that ECS has been stopping for long: its agent does not answer."""
    since = task.get("stoppingAt")
    if since is None or (now - since).total_seconds() <= _LOST_S:
        return None
    return Exit(Ending.NODE_LOST, detail="its host does not end it")


def _handle_of(task: Json, cluster: str, store: str) -> dict[str, Any]:
    """Name a task that was found as `handle` would, but for its folder."""
    started_by, arn = task.get("startedBy", ""), task["taskDefinitionArn"]
    named = "" if f"/{started_by}:" in arn else arn
    known = {"task": started_by, "cluster": cluster, "definition": named, "output": OUTPUT}
    return known | {"container": _tagged(task).get(_NAME, CONTAINER), "store": store, "folder": ""}


def _note(handle: Mapping[str, Any]) -> Path:
    return Path(handle["folder"]) / "task.txt"


def _noted(handle: Mapping[str, Any]) -> list[str]:
    """Give the task that this worker has started; another one, and housekeeping, have to ask."""
    there = bool(handle["folder"]) and _note(handle).exists()
    return [_note(handle).read_text()] if there else []


def _is_new(handle: Mapping[str, Any]) -> bool:
    """Say whether a task was started so lately that ECS may not know it yet."""
    return bool(_noted(handle)) and time.time() - _note(handle).stat().st_mtime < _UNSEEN_S


@contextmanager
def service() -> Iterator[None]:
    """Take trouble with AWS for the world's, not the trial's."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise TransientError(f"ecs: {error}") from error
