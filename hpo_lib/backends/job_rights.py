"""What a conf may ask of a resource that makes pods: its kind, its pod templates, and the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import Field, field_validator

from hpo_lib.backends.pod_rights import (
    KubernetesRules,
    is_allowed,
    list_refusals,
    refusals,
    variable_refusals,
)
from hpo_lib.backends.pod_shape import JOB, NONE, Misfits, fields
from hpo_lib.backends.pods import containers, leaves, within
from hpo_lib.backends.resource import (
    BATCH,
    JobOptions,
    as_text,
    metadata_of,
    templates,
    with_templates,
)
from hpo_lib.errors import nearest
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict, rule, shown

#: Fields that a conf may set here beyond those of backend kubernetes.
_OF_CONTAINERS = (
    "spec.containers.args",
    "spec.containers.command",
    "spec.containers.image",
    "spec.containers.ports.containerPort",
    "spec.containers.ports.name",
    "spec.containers.ports.protocol",
    "spec.restartPolicy",
)
_AMOUNTS = ("cpu", "ephemeral-storage", "memory")
_OF_AMOUNTS = re.compile(r"(?:^|\.)(?:limits|requests)(?:\.|$)")
#: What a Job may have beside its pod template.
_OF_JOBS = (
    "apiVersion",
    "kind",
    "metadata",
    "spec.backoffLimit",
    "spec.backoffLimitPerIndex",
    "spec.completionMode",
    "spec.completions",
    "spec.maxFailedIndexes",
    "spec.parallelism",
    "spec.podFailurePolicy",
    "spec.podReplacementPolicy",
    "spec.successPolicy",
)
#: Words of a pod that mean no right beside a template: what they hold is checked, or harmless.
_ANYWHERE = frozenset(
    {
        *("activeDeadlineSeconds", "args", "command", "env", "image", "name", "ports", "resources"),
        *("restartPolicy", "workingDir"),
    }
)
#: Kubernetes' models whose fields mean a right.
_RIGHTS = (
    *("V1PodSpec", "V1Container", "V1Volume", "V1EnvVarSource"),
    *("V1PodSecurityContext", "V1SecurityContext"),
)
#: Words besides those of these models that mean a right.
_FURTHER = frozenset(
    {
        *("annotations", "claimName", "configMapRef", "finalizers", "hostIP", "hostPort", "labels"),
        *("ownerReferences", "priorityClass", "secretName", "secretRef"),
        *("volumeClaimTemplate", "volumeClaimTemplates"),
    }
)


class JobRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of this backend, beside its pods.

    `kinds` are group, version and kind; `allow` names fields that may also stand outside of pod
    templates, such as `spec.taskRunTemplate.serviceAccountName`.
    """

    kinds: tuple[str, ...] = Field(default=(BATCH,), strict=False)
    allow: tuple[str, ...] = Field(default=(), strict=False)

    @field_validator("kinds")
    @classmethod
    def _check_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if [bool(part) for part in kind.split("/")] != [True] * 3:
                raise rule(f"must be group, version and kind, as in {BATCH}, got {shown(kind)}")
        return kinds


def refused_fields(options: JobOptions, rules: KubernetesRules, jobs: JobRules) -> list[str]:
    """List, a line each, what the rules do not allow in a conf's resource."""
    at = "trial.options.resource"
    amounts = [
        f"spec.containers.resources.{part}.{name}"
        for part in ("limits", "requests")
        for name in (*_AMOUNTS, *rules.gpu_resources)
    ]
    lines = []
    for path, template in templates(options.resource):
        found = refusals(as_text(template), rules, (*_OF_CONTAINERS, *amounts))
        lines += [f"{at}.{path}: {line}" if path else f"{at}: {line}" for line in found]
    metadata = metadata_of(options)
    found = refusals({"metadata": metadata}, rules) if metadata else []
    lines += [f"{at}: {line}" for line in found]
    return [*lines, *(f"{at}.{line}" for line in _beside(options, rules, jobs))]


def _beside(options: JobOptions, rules: KubernetesRules, jobs: JobRules) -> Iterator[str]:
    """Say what is not allowed of all that stands beside the pod templates."""
    beside = with_templates(as_text(options.resource), lambda _: {})
    misfits = Misfits.of(beside, JOB) if options.kind == BATCH else NONE
    yield from misfits.lines
    yield from variable_refusals(beside)
    for path, value in leaves(beside):
        if within(path, ("metadata",)) or misfits.hold(path):
            continue
        yield from list_refusals(path, value, rules)
        listed = is_allowed(path, value, jobs.allow)
        if not listed:
            yield from _amount_refusals(path, value, rules)
        if set(path.split(".")) & _of_pods() and not listed:
            yield f"{path}: belongs into a pod template, beside its spec.containers"
        elif options.kind == BATCH and not (within(path, _OF_JOBS) or path == "spec.template"):
            yield f"{path}: is not allowed in a {BATCH}"


def _amount_refusals(path: str, value: Any, rules: KubernetesRules) -> Iterator[str]:
    """Say that limits or requests name what no container may ask for either."""
    *above, name = _OF_AMOUNTS.split(path)
    known = (*_AMOUNTS, *rules.gpu_resources)
    if above and name not in known and (name or value != {}):
        got = name or shown(value)
        yield f"{path}: this installation allows amounts of {', '.join(known)}, got {got}"


@cache
def _of_pods() -> frozenset[str]:
    """Give the words that belong into a pod template, where they are checked."""
    known = (name for kind in _RIGHTS for name in fields(kind))
    return _FURTHER | (frozenset(known) - _ANYWHERE)


def incomplete(options: JobOptions, jobs: JobRules) -> Iterator[str]:
    """Say what a conf leaves open, or asks of a kind that is not allowed."""
    at = "trial.options"
    missing = [name for name in ("apiVersion", "kind") if not options.resource.get(name)]
    if missing:
        yield f"{at}.resource: {', '.join(missing)} is required, got {shown(options.resource)}"
        return
    if options.kind not in jobs.kinds:
        known = ", ".join(jobs.kinds) or "none"
        hint = nearest(options.kind, jobs.kinds)
        yield f"{at}.resource.kind: this installation allows {known}, got {options.kind}{hint}"
    for name, condition in zip(("success", "failure"), options.conditions, strict=True):
        if condition is None:
            yield f"{at}.{name}: is required of a {options.kind}"
    names = {name for _, pod in templates(options.resource) for name in containers(pod)}
    if None in names:
        yield f"{at}.resource: every container must have a name"
    wanted = options.primary.container
    if names and wanted and wanted not in names:
        known = ", ".join(sorted(str(name) for name in names))
        yield f"{at}.primary.container: must be one of {known}, got {wanted}"


def unused(trial: TrialSpec, options: JobOptions) -> Iterator[str]:
    """Say which settings of `trial` no container takes, because each has its own."""
    open_ones = [
        one
        for _, pod in templates(options.resource)
        for one in pod["spec"]["containers"]
        if isinstance(one, Mapping)
        and one.get("name") == (options.primary.container or containers(pod)[0])
    ]
    given = {
        "image": (trial.image, ("image",)),
        "command": (trial.command, ("command", "args")),
        "args": (trial.args, ("command", "args")),
        "resources": (trial.resources.model_dump(exclude_none=True), ("resources",)),
    }
    for name, (value, keys) in given.items():
        if value and all(set(keys) & set(one) for one in open_ones):
            yield (
                f"trial.{name}: every primary container in trial.options.resource has its own; "
                f"leave it out here or there, got {shown(value)}"
            )
