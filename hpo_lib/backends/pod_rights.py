"""What a conf may ask of a pod: which namespaces, images and fields, for trials and for servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import Field

from hpo_lib.backends.images import IMAGES, is_allowed_image
from hpo_lib.backends.pod_fields import FIELDS, MAPS, begins_field, list_of
from hpo_lib.backends.pod_shape import Misfits
from hpo_lib.backends.pods import CONTAINER, LABEL, Json, containers, leaves, within
from hpo_lib.spec import variables
from hpo_lib.validation import Strict, shown

_OURS = (f"metadata.annotations.{LABEL}", f"metadata.labels.{LABEL}")
_ENVIRONMENTS = ("env", "envFrom")
_GRACE = "terminationGracePeriodSeconds"


class PodRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of pods; the first namespace is used.

    Lists hold names, or patterns such as `team-*`, but for namespaces; `node_selectors` and
    `tolerations` hold keys, or `key=value`. What they name, a conf may name wherever a pod does.
    `allow` names fields beyond those that are harmless, such as `spec.volumes.hostPath`, or with
    a pattern of their values, `spec.schedulerName=volcano`. `pod_template` goes into every pod.
    `user` is who containers run as; None leaves it to the image.
    """

    #: The section of the file that holds them.
    section: ClassVar[str] = "kubernetes"

    connection: str | None = None
    namespaces: tuple[str, ...] = Field(default=("default",), strict=False, min_length=1)
    images: tuple[str, ...] = Field(default=IMAGES, strict=False)
    service_accounts: tuple[str, ...] = Field(default=(), strict=False)
    image_pull_secrets: tuple[str, ...] = Field(default=(), strict=False)
    priority_classes: tuple[str, ...] = Field(default=(), strict=False)
    runtime_classes: tuple[str, ...] = Field(default=(), strict=False)
    secrets: tuple[str, ...] = Field(default=(), strict=False)
    config_maps: tuple[str, ...] = Field(default=(), strict=False)
    claims: tuple[str, ...] = Field(default=(), strict=False)
    node_selectors: tuple[str, ...] = Field(default=(), strict=False)
    tolerations: tuple[str, ...] = Field(default=(), strict=False)
    topology_keys: tuple[str, ...] = Field(default=(), strict=False)
    max_grace_s: int = Field(default=120, ge=0)
    gpu_resources: tuple[str, ...] = Field(default=("nvidia.com/gpu",), strict=False)
    allow: tuple[str, ...] = Field(default=(), strict=False)
    user: int | None = Field(default=65_532, ge=1)
    pod_template: dict[str, Any] = Field(default_factory=dict)


class KubernetesRules(PodRules):
    """The rules for trials: `spot` and `on_demand` go into pods on capacity of that kind."""

    spot: dict[str, Any] = Field(default_factory=dict)
    on_demand: dict[str, Any] = Field(default_factory=dict)


def refusals(
    pod: Json,
    rules: PodRules,
    more: Sequence[str] = (),
    container: str = CONTAINER,
    *,
    own_program: bool = True,
) -> list[str]:
    """List, a line each, what of a conf's part of a pod is malformed or not allowed.

    `more` are further fields that it may set; with the image among them, it may add containers.
    `own_program` says that the conf decides what the container runs.
    """
    misfits, allow = Misfits.of(pod), (*more, *rules.allow)
    lines = list(misfits.lines)
    for path, value in leaves(pod):
        if not misfits.hold(path):
            lines += _field_refusals(path, value, rules, allow)
    lines += _node_refusals(pod, rules)
    strangers = [name for name in containers(pod) if name != container]
    if strangers and not within("spec.containers.image", allow):
        lines.append(f"spec.containers: must hold {container} alone, got {shown(strangers)}")
    lines += variable_refusals(pod, own_program=own_program)
    return list(dict.fromkeys(lines))


def _field_refusals(path: str, value: Any, rules: PodRules, allow: Sequence[str]) -> Iterator[str]:
    """Say why a conf may not set a field of a pod to this value."""
    if path.startswith(_OURS):
        yield f"{path}: names with {LABEL} in front are taken, got {shown(value)}"
    elif path == "spec.volumes.name" and str(value).startswith("hpo-"):
        yield f"{path}: names with hpo- in front are taken, got {shown(value)}"
    elif not (_is_harmless(path, value) or is_allowed(path, value, allow)):
        yield (
            f"{path}: is not allowed by this installation, got {shown(value)}; its operator "
            f"can name it under {rules.section}.allow in config/deployment.yaml"
        )
    yield from list_refusals(path, value, rules)
    if path.endswith(_GRACE) and not _is_within(value, rules.max_grace_s):
        yield f"{path}: must be 0 to {rules.max_grace_s} here, got {shown(value)}"


def list_refusals(path: str, value: Any, rules: PodRules) -> Iterator[str]:
    """Say that the list which judges a field does not hold its value."""
    name = list_of(path)
    if name is None:
        return
    allowed: Sequence[str] = getattr(rules, name)
    if _has_placeholder(value):
        yield f"{path}: must hold no placeholder, got {shown(value)}"
    elif not _JUDGES.get(name, _matches)(value, allowed):
        yield f"{path}: {_allows(rules, name)}, got {shown(value)}"


def _allows(rules: PodRules, name: str) -> str:
    known = ", ".join(getattr(rules, name)) or "none"
    return f"this installation allows {known} ({rules.section}.{name})"


def _is_harmless(path: str, value: Any) -> bool:
    empty = isinstance(value, Mapping | list | tuple) and not value
    return path in FIELDS or within(path, MAPS) or (empty and (not path or begins_field(path)))


def is_allowed(path: str, value: Any, allow: Sequence[str]) -> bool:
    """Say whether the operator allows a field: what lies below it, or some of its values."""
    return any(_fits(path, value, *one.partition("=")) for one in allow)


def _fits(path: str, value: Any, field: str, equals: str, pattern: str) -> bool:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return within(path, (field,)) and (not equals or _matches(text, (pattern,)))


def _matches(value: Any, patterns: Sequence[str]) -> bool:
    """Say whether a text matches a pattern; one with a placeholder is yet to become something."""
    known = isinstance(value, str) and not _has_placeholder(value)
    return known and any(fnmatchcase(value, one) for one in patterns)


def _is_image(value: Any, patterns: Sequence[str]) -> bool:
    return isinstance(value, str) and is_allowed_image(value, patterns)


#: How a list judges a value, if not by names that are patterns.
_JUDGES: Mapping[str, Callable[[Any, Sequence[str]], bool]] = {
    "images": _is_image,
    "namespaces": lambda value, names: value in names,
}


def _has_placeholder(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def _is_within(value: Any, most: int) -> bool:
    return isinstance(value, int) and 0 <= value <= most


def _node_refusals(pod: Json, rules: PodRules) -> Iterator[str]:
    """Say which nodes a conf may not choose, and which taints it may not pass."""
    spec = _listed_in(pod, "spec")
    for name, choices in (("node_selectors", _chosen(spec)), ("tolerations", _tolerated(spec))):
        for path, key, value in choices:
            words = [key] if value is None else [key, f"{key}={value}"]
            if not any(_matches(word, getattr(rules, name)) for word in words):
                got = shown(words[-1] if key else "any taint")
                yield f"{path}: {_allows(rules, name)}, got {got}"


Choice = tuple[str, str, str | None]


def _chosen(spec: Json) -> Iterator[Choice]:
    """Give by which labels nodes are chosen: a value, or None for whatever else is said of one."""
    for key, value in _listed_in(spec, "nodeSelector").items():
        yield "spec.nodeSelector", str(key), str(value)
    affinity = _listed_in(_listed_in(spec, "affinity"), "nodeAffinity")
    for path, key, one in _expressions(affinity, "spec.affinity.nodeAffinity"):
        values = one.get("values")
        if one.get("operator") == "In" and isinstance(values, list):
            yield from ((path, key, str(value)) for value in values)
        else:
            yield path, key, None


def _expressions(value: Any, path: str) -> Iterator[tuple[str, str, Json]]:
    """Give every mapping with a `key` below a path."""
    if isinstance(value, list):
        for one in value:
            yield from _expressions(one, path)
    elif isinstance(value, Mapping) and "key" in value:
        yield path, str(value["key"]), value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _expressions(one, f"{path}.{name}")


def _tolerated(spec: Json) -> Iterator[Choice]:
    """Give the taints that are tolerated; without a key it is every one."""
    for one in _listed(spec, "tolerations"):
        value = one.get("value", "") if one.get("operator", "Equal") == "Equal" else None
        yield "spec.tolerations", str(one.get("key", "")), None if value is None else str(value)


def variable_refusals(value: Any, *, own_program: bool = True) -> Iterator[str]:
    """Say which variables may not be set, of whatever has an `env` or an `envFrom` in JSON."""
    for path, one in _variables(value):
        name, prefix = str(one.get("name", "")), str(one.get("prefix", ""))
        found = list(variables.taken(name, own_program=own_program)) if name else []
        yield from (f"{path}: {line}" for line in found)
        if "value" in one and not found and variables.looks_secret(name):
            yield (
                f"{path}: {name} looks like a secret, which a spec must not hold; name a "
                "Kubernetes secret by valueFrom"
            )
        if variables.begins_taken(prefix):
            yield f"{path}.prefix: must not be the beginning of a name that is taken, got {prefix}"


def _variables(value: Any, path: str = "") -> Iterator[tuple[str, Json]]:
    """Give the variables below every `env` and `envFrom`, which may be lists or mappings."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from _variables(one, path)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else str(name)
            if name in _ENVIRONMENTS and isinstance(inner, Mapping):
                yield from ((here, {"name": one, "value": said}) for one, said in inner.items())
            elif name in _ENVIRONMENTS and isinstance(inner, list | tuple):
                yield from ((here, one) for one in inner if isinstance(one, Mapping))
            if isinstance(inner, Mapping | list | tuple):
                yield from _variables(inner, here)


def _listed_in(value: Json, name: str) -> Json:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _listed(value: Json, name: str) -> list[Json]:
    found = value.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
