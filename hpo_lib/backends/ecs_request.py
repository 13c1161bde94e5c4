"""What may be asked of Amazon ECS, and what is asked for an attempt: all of it pure, plain JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from pydantic import Field

from hpo_lib.backends import Request
from hpo_lib.backends.images import IMAGES
from hpo_lib.errors import SpecError
from hpo_lib.spec import variables
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict, parse, shown

CONTAINER = "trial"
OUTPUT = "/hpo/output"
#: Our tags: `hpo:store` names a task's store; others say which attempt it runs and how long it may.
TAG = "hpo:"
OWNER, NAME = f"{TAG}store", f"{TAG}container"
TIMEOUT, START = f"{TAG}timeout-s", f"{TAG}start-timeout-s"
_PREFIX = "hpo"
_MIB, _UNITS, _LEAST_MIB = 2**20, 1_024, 128
#: What Fargate gives a container at least to end by itself.
_LEAST_STOP_S = 2

Kind = Literal["FARGATE", "EC2"]


class EcsSecret(Strict):
    """A secret or parameter, named by its ARN, as an environment variable."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    arn: str = Field(pattern=r"^arn:", max_length=2_048)


class EcsOptions(Strict):
    """`trial.options` of backend ecs; for what is left out, the installation's rules decide.

    `task_definition` names an existing one, whose `container` gets command and environment; without
    it, every attempt registers its own. `ephemeral_storage` is in GiB.
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
    secrets: tuple[EcsSecret, ...] = Field(default=(), strict=False)
    log_group: str | None = None


class EcsRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of ECS; the first of a list is the default.

    All subnets and security groups are used. `spot` and `on_demand` are capacity providers; without
    any, the cluster's own default is used, and `default` says of which kind that is. A launch type
    bypasses all of these, so it is used only if a conf names one of `launch_types`. `containers` of
    a named definition get a conf's command and variables; its others are not for confs.
    """

    connection: str | None = "aws_default"
    region: str | None = None
    clusters: tuple[str, ...] = Field(default=("default",), strict=False, min_length=1)
    images: tuple[str, ...] = Field(default=IMAGES, strict=False)
    task_definitions: tuple[str, ...] = Field(default=(), strict=False)
    containers: tuple[str, ...] = Field(default=(CONTAINER,), strict=False)
    task_roles: tuple[str, ...] = Field(default=(), strict=False)
    execution_roles: tuple[str, ...] = Field(default=(), strict=False)
    secrets: tuple[str, ...] = Field(default=(), strict=False)
    subnets: tuple[str, ...] = Field(default=(), strict=False)
    security_groups: tuple[str, ...] = Field(default=(), strict=False)
    assign_public_ip: bool = False
    default: Kind = "FARGATE"
    spot: tuple[str, ...] = Field(default=(), strict=False)
    on_demand: tuple[str, ...] = Field(default=(), strict=False)
    launch_types: tuple[Kind, ...] = Field(default=(), strict=False)
    log_groups: tuple[str, ...] = Field(default=("/hpo/trials",), strict=False, min_length=1)


#: Options that must be in a list of the rules; those in _PATTERNS must match one of its patterns.
_NAMED = {
    "cluster": "clusters",
    "container": "containers",
    "launch_type": "launch_types",
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
    """What ECS is asked: to register a definition (None: the conf names one), and to run it."""

    definition: dict[str, Any] | None
    run: dict[str, Any]


def refusals(trial: TrialSpec, options: EcsOptions, rules: EcsRules) -> list[str]:
    """List, a line each, what the rules do not allow, and what cannot be asked for together."""
    lines = []
    for name, listed in (_NAMED | _PATTERNS).items():
        value, allowed = getattr(options, name), getattr(rules, listed)
        asked = value if isinstance(value, tuple) else () if value is None else (value,)
        for one in asked:
            text = one.arn if isinstance(one, EcsSecret) else one
            if not _allowed(text, allowed, patterns=name in _PATTERNS):
                known = ", ".join(allowed) or "none"
                lines.append(
                    f"trial.options.{name}: this installation allows {known}, got {shown(text)}"
                )
    if options.assign_public_ip and not rules.assign_public_ip:
        lines.append(
            "trial.options.assign_public_ip: is not allowed by this installation, got true"
        )
    lines += _variable_refusals(trial, options)
    return [*lines, *_named_refusals(trial, options), *_capacity_refusals(trial, options, rules)]


def describe(handle: Mapping[str, Any], request: Request, rules: EcsRules, region: str) -> Wanted:
    """Describe the definition of an attempt, with all that it needs, and the request to run it."""
    options = parse(EcsOptions, request.options)
    kind, place = place_of(options, rules, spot=request.spot)
    tags = _tags(handle, request)
    run = {
        "cluster": handle["cluster"],
        "taskDefinition": handle["definition"] or handle["task"],
        "startedBy": handle["task"],
        "tags": tags,
        **place,
        **network(options, rules, kind),
    }
    if handle["definition"]:
        return Wanted(None, run | {"overrides": overrides(request, options, kind)})
    made = definition(handle["task"], request, options, rules, kind, region)
    return Wanted(made | {"tags": tags}, run | {"overrides": {}})


def place_of(options: EcsOptions, rules: EcsRules, *, spot: bool) -> tuple[Kind, dict[str, Any]]:
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
    """Say where a task's network interface goes; on EC2 without subnets it has none.

    On EC2 it never has a public address: ECS refuses the task.
    """
    subnets = options.subnets or rules.subnets
    if not subnets and kind == "EC2":
        return {}
    asked = options.assign_public_ip
    public = kind == "FARGATE" and (rules.assign_public_ip if asked is None else asked)
    place = {
        "subnets": list(subnets),
        "securityGroups": list(options.security_groups or rules.security_groups),
        "assignPublicIp": "ENABLED" if public else "DISABLED",
    }
    return {"networkConfiguration": {"awsvpcConfiguration": place}}


def definition(
    family: str, request: Request, options: EcsOptions, rules: EcsRules, kind: Kind, region: str
) -> dict[str, Any]:
    """Describe an attempt's task definition, as RegisterTaskDefinition takes it."""
    group = options.log_group or rules.log_groups[0]
    logs = {"awslogs-group": group, "awslogs-region": region, "awslogs-stream-prefix": _PREFIX}
    logs["mode"] = "blocking"  # else ECS drops lines that come faster than they are taken
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
    container |= _stop_timeout(request)
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
    """Describe what an attempt overrides in a named definition, whose entry point stays."""
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
    """Give Fargate's smallest size that holds this, in CPU units and MiB; None if none does."""
    units = _UNITS if cpu is None else math.ceil(cpu * _UNITS)
    mib = 2 * _UNITS if memory_bytes is None else math.ceil(memory_bytes / _MIB)
    for sold, (least, most, step) in _FARGATE.items():
        if units <= sold and mib <= most:
            return sold, max(least, math.ceil(mib / step) * step)
    return None


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


def _allowed(value: str, allowed: Sequence[str], *, patterns: bool) -> bool:
    if not patterns:
        return value in allowed
    return "${" not in value and any(fnmatchcase(value, pattern) for pattern in allowed)


def _named_refusals(trial: TrialSpec, options: EcsOptions) -> Iterator[str]:
    """Say what a trial asks for although its named definition decides it."""
    if options.task_definition is None:
        return
    if trial.stop_grace is not None:
        yield f"trial.stop_grace: the task definition has its own, got {trial.stop_grace}"
    if trial.image is not None:
        yield f"trial.image: the task definition names its own, got {trial.image}"
    for name in ("secrets", "log_group"):
        if value := getattr(options, name):
            text = shown([one.arn for one in value] if name == "secrets" else value)
            yield f"trial.options.{name}: the task definition names its own, got {text}"


def _variable_refusals(trial: TrialSpec, options: EcsOptions) -> Iterator[str]:
    """Say which variables may not be set; a named definition keeps its own entry point."""
    own = options.task_definition is None
    names = [("trial.env", name) for name in trial.env]
    names += [("trial.options.secrets", one.env) for one in options.secrets]
    for path, name in names:
        yield from (f"{path}: {line}" for line in variables.taken(name, own_program=own))


def _capacity_refusals(trial: TrialSpec, options: EcsOptions, rules: EcsRules) -> Iterator[str]:
    if options.launch_type and options.capacity_provider:
        yield (
            "trial.options.launch_type: does not go with capacity_provider, "
            f"got {options.launch_type} and {options.capacity_provider}"
        )
    if trial.spot and not (options.spot_capacity_provider or rules.spot):
        yield "trial.spot: this installation has no capacity provider for it under ecs.spot"
    kinds = {place_of(options, rules, spot=spot)[0] for spot in {False, trial.spot}}
    if "FARGATE" not in kinds:
        return
    if not (options.subnets or rules.subnets):
        yield "trial.options.subnets: Fargate needs some, this installation has none in ecs.subnets"
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


def _stop_timeout(request: Request) -> dict[str, int]:
    if request.stop_grace_s is None:
        return {}
    return {"stopTimeout": max(_LEAST_STOP_S, math.ceil(request.stop_grace_s))}


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
        OWNER: handle["store"],
        NAME: handle["container"],
        TIMEOUT: str(request.timeout_s),
        START: str(request.start_timeout_s),
    }
    return [{"key": name, "value": value} for name, value in found.items()]
