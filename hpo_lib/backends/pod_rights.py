"""What a conf may ask of a pod: which namespaces, images and fields, for trials and for servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from hpo_lib.backends.pods import CONTAINER, Json, containers, leaves, name_of, within
from hpo_lib.spec.variables import looks_secret
from hpo_lib.validation import Strict, shown


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
