"""The fields of a pod that a conf may set, and by which list of the operator's each is judged.

All others are refused, those too that a later Kubernetes brings: until somebody judges them here,
or the operator allows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_NODES = "spec.affinity.nodeAffinity"
_SPREAD = "spec.topologySpreadConstraints"
_FILES = "items.key items.mode items.path defaultMode optional"
_SELECTOR = "labelSelector.matchLabels " + " ".join(
    f"labelSelector.matchExpressions.{name}" for name in ("key", "operator", "values")
)
#: Pods of the same namespace, by their labels: without `namespaces` and `namespaceSelector`.
_NEIGHBOURS = f"{_SELECTOR} matchLabelKeys mismatchLabelKeys topologyKey"


def _node_terms(path: str) -> dict[str, str]:
    return {f"{path}.{kind}": "key operator values" for kind in ("matchExpressions", "matchFields")}


def _near(path: str) -> dict[str, str]:
    return {
        f"{path}.{_REQUIRED}": _NEIGHBOURS,
        f"{path}.{_PREFERRED}": "weight",
        f"{path}.{_PREFERRED}.podAffinityTerm": _NEIGHBOURS,
    }


_FIELDS: Mapping[str, str] = {
    "metadata": "namespace",
    "spec": "nodeSelector priorityClassName runtimeClassName serviceAccountName "
    "terminationGracePeriodSeconds",
    **_node_terms(f"{_NODES}.{_REQUIRED}.nodeSelectorTerms"),
    **_node_terms(f"{_NODES}.{_PREFERRED}.preference"),
    f"{_NODES}.{_PREFERRED}": "weight",
    **_near("spec.affinity.podAffinity"),
    **_near("spec.affinity.podAntiAffinity"),
    "spec.containers": "imagePullPolicy name workingDir",
    "spec.containers.env": "name value",
    "spec.containers.env.valueFrom.configMapKeyRef": "key name optional",
    "spec.containers.env.valueFrom.secretKeyRef": "key name optional",
    "spec.containers.volumeMounts": "mountPath name readOnly recursiveReadOnly subPath",
    "spec.imagePullSecrets": "name",
    "spec.tolerations": "effect key operator tolerationSeconds value",
    _SPREAD: f"{_SELECTOR} matchLabelKeys topologyKey maxSkew minDomains whenUnsatisfiable "
    "nodeAffinityPolicy nodeTaintsPolicy",
    "spec.volumes": "name",
    "spec.volumes.configMap": f"{_FILES} name",
    "spec.volumes.emptyDir": "medium sizeLimit",
    "spec.volumes.persistentVolumeClaim": "claimName readOnly",
    "spec.volumes.secret": f"{_FILES} secretName",
}
#: The fields that a conf may set, as paths without indices.
FIELDS = frozenset(f"{path}.{name}" for path, names in _FIELDS.items() for name in names.split())
#: Those that are mappings of any keys.
MAPS = tuple(path for path in FIELDS if path.endswith((".nodeSelector", ".matchLabels")))

#: By the end of a field's path, the list of the rules that has to hold its value, wherever it is:
#: among those above, in one that `allow` opens, or beside a pod template.
_LISTS: Mapping[str, str] = {
    "claimName": "claims",
    "configMap.name": "config_maps",
    "configMapKeyRef.name": "config_maps",
    "configMapRef.name": "config_maps",
    "image": "images",
    "image.reference": "images",
    "imagePullSecrets.name": "image_pull_secrets",
    "metadata.namespace": "namespaces",
    "nodePublishSecretRef.name": "secrets",
    "priorityClass": "priority_classes",
    "priorityClassName": "priority_classes",
    "runtimeClassName": "runtime_classes",
    "secret.name": "secrets",
    "secretKeyRef.name": "secrets",
    "secretName": "secrets",
    "secretRef.name": "secrets",
    "serviceAccount": "service_accounts",
    "serviceAccountName": "service_accounts",
    "topologyKey": "topology_keys",
}


def list_of(path: str) -> str | None:
    """Name the list that has to hold the value of a field; None if any value will do."""
    return next((_LISTS[end] for end in _ends(path) if end in _LISTS), None)


def _ends(path: str) -> Iterator[str]:
    names = path.split(".")
    return (".".join(names[-length:]) for length in (3, 2, 1))


def begins_field(path: str) -> bool:
    """Say whether fields that a conf may set lie below a path."""
    return any(field.startswith(f"{path}.") for field in FIELDS)
