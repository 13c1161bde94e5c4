"""Attempts as pods, one each: what is asked for, and where Airflow's operator finds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from hpo_lib.backends import RETURNED, AttemptName, Found, Remote, Request, Site, bring, unstarted
from hpo_lib.backends.beginning import Vanished, begin, prepare
from hpo_lib.backends.images import check_image, unpinned_image
from hpo_lib.backends.pod_logs import PodLogs, followed, joined
from hpo_lib.backends.pod_rights import KubernetesRules, refusals
from hpo_lib.backends.pod_status import exit_of, returned
from hpo_lib.backends.pods import (
    CONTAINER,
    JOB,
    LABEL,
    OUTPUT,
    OWNER,
    START,
    TIMEOUT,
    Json,
    deadline_s,
    grace_s,
    is_refusal,
    longest_s,
    merged,
    now_of,
    resources,
    safe,
    server,
    state_of,
    told_grace,
    with_grace,
)
from hpo_lib.backends.resource import as_text
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.files.artifacts import Offers
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict, as_error, parse, told

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, V1Pod

_POLL_S, _STOP_S = 1.0, 90.0
_LONGEST_NAME = 63


class Secret(Strict):
    """A key of a Kubernetes secret, as an environment variable."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    name: str
    key: str


class KubernetesOptions(Strict):
    """`trial.options` of backend kubernetes; the others override `pod_template`, a pod as JSON."""

    namespace: str | None = None
    service_account: str | None = None
    image_pull_secrets: tuple[str, ...] = Field(default=(), strict=False)
    priority_class: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    affinity: dict[str, Any] = Field(default_factory=dict)
    volumes: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    volume_mounts: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    secrets: tuple[Secret, ...] = Field(default=(), strict=False)
    gpu_resource: str = Field(default="nvidia.com/gpu", max_length=100)
    pod_template: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class KubernetesBackend(Remote):
    """Keeps logs below `home`; `connect` gives a client, `offers` lead to artifacts."""

    Options: ClassVar[type[Strict]] = KubernetesOptions

    home: Path
    connect: Callable[[], CoreV1Api]
    rules: KubernetesRules = field(default_factory=KubernetesRules)
    offers: Offers = field(default_factory=dict)

    @classmethod
    def at(cls, site: Site) -> Self:
        """Build it for the cluster of its rules; it connects when it first has to."""
        rules = site.rules(KubernetesRules.section, KubernetesRules)
        return cls(site.home, partial(site.cluster, rules.connection), rules, site.offers)

    @classmethod
    def unpinned(cls, trial: TrialSpec) -> str | None:
        """Say which image is not named by its digest."""
        return unpinned_image(trial)

    def permit(self, trial: TrialSpec) -> None:
        """Refuse images, names and fields that the installation does not allow."""
        lines = told(check_image, trial, self.rules.images)
        try:
            options = parse(KubernetesOptions, trial.options, at="trial.options")
        except SpecError as error:
            raise as_error([*lines, *str(error).split("\n")]) from None
        lines += (f"trial.options: {line}" for line in refusals(asked(options), self.rules))
        if options.gpu_resource not in self.rules.gpu_resources:
            lines.append(
                "trial.options.gpu_resource: must be one of "
                f"{', '.join(self.rules.gpu_resources)}, got {options.gpu_resource}"
            )
        if lines:
            raise as_error(lines)

    def handle(self, name: AttemptName) -> dict[str, Any]:
        """Name the pod, its namespace, and the folder of its log."""
        namespace = parse(KubernetesOptions, name.options).namespace or self.rules.namespaces[0]
        place = {"pod": name.text(_LONGEST_NAME), "namespace": namespace, "store": name.store}
        return place | {"output": name.artifacts or OUTPUT, "folder": str(name.folder(self.home))}

    def wanted(self, handle: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """Describe the pod: safe defaults, on them the conf's part, ours, the installation's."""
        options = parse(KubernetesOptions, request.options)
        kind = self.rules.spot if request.spot else self.rules.on_demand
        base = merged(safe(self.rules.user), asked(options), self._own(handle, request, options))
        return merged(base, self.rules.pod_template, kind)

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Create the pod unless it exists, or existed before."""
        prepare(handle, request)
        wanted = self.wanted(handle, request)
        with server(), suppress(Vanished):
            if self.pod(handle) is None:
                self.begin(
                    handle, lambda: self.client.create_namespaced_pod(handle["namespace"], wanted)
                )

    def begin(self, handle: Mapping[str, Any], create: Callable[[], V1Pod]) -> V1Pod:
        """Have the pod created, which is not there; Vanished if it was to be."""
        return begin(handle, "pod", create, is_refusal)

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Yield the pod's lines as they come, and last the Exit."""
        yield from followed(PodLogs.of(handle), self.client, lambda: self._look(handle))

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the pod waits or runs; its time counts once it has begun."""
        return PodLogs.of(handle).end or self._look(handle)[0]

    def begun(self, handle: Mapping[str, Any], found: V1Pod) -> None:
        """Count a pod's time from now on, as `poll` does, without reading it again."""
        with server():
            self._time(handle, self._ours(handle, found))

    def copying(self, handle: Mapping[str, Any]) -> Iterator[None]:
        """Write, at each step, what has come of the running container's log to the log file."""
        return joined(PodLogs.of(handle), self.log(handle), lambda: self.pod(handle))

    def fetch(self, handle: Mapping[str, Any]) -> None:
        """Write what the container has printed to the log file, and bring what it has returned."""
        logs = PodLogs.of(handle)
        with server():
            pod = self.pod(handle)
        if pod is not None:
            logs.fetch(self.client, pod, CONTAINER)
        logs.put_together(self.log(handle))
        if pod is not None and (text := returned(pod)):
            bring(self.output(handle), text)

    def release(self, handle: Mapping[str, Any]) -> None:
        """Do nothing: the pod goes on until its retry, its end, or its timeout."""

    def end(self, handle: Mapping[str, Any]) -> None:
        """Delete the pod, without waiting; it gets a moment to end by itself."""
        with server():
            self._delete(handle, grace_period_seconds=grace_s(self.pod(handle)))

    def stop(self, handle: Mapping[str, Any]) -> None:
        """Delete the pod and wait until it is gone; by force if it takes too long."""
        self.end(handle)
        end = time.monotonic() + _STOP_S
        with server():
            while self.pod(handle) is not None and time.monotonic() < end:
                time.sleep(_POLL_S)
            if self.pod(handle) is not None:
                self._delete(handle, grace_period_seconds=0)

    def found(self, store: str) -> Iterator[Found]:
        """Give the attempts that have a pod, in any namespace that the installation uses."""
        for namespace in self.rules.namespaces:
            with server():
                listed = self.client.list_namespaced_pod(
                    namespace, label_selector=f"{OWNER}={store},!{JOB}"
                )
            for pod in listed.items:
                place = {"pod": pod.metadata.name, "namespace": namespace}
                handle = place | {"store": store, "folder": ""}
                yield Found.labelled(pod.metadata.labels, LABEL, handle)

    def discard(self, handle: Mapping[str, Any]) -> None:
        """Delete the pod, without waiting."""
        with server():
            self._delete(handle)

    def pod(self, handle: Mapping[str, Any]) -> Json | None:
        """Read the attempt's pod; TransientError if that name is somebody else's."""
        from kubernetes.client.exceptions import ApiException

        try:
            found = self.client.read_namespaced_pod(*_named(handle))
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return self._ours(handle, found)

    def _look(self, handle: Mapping[str, Any]) -> tuple[Exit | None, list[tuple[Json, str]]]:
        """Give the Exit, if there is one, and the pod with its container, once that has begun."""
        with server():
            pod = self.pod(handle)
            if pod is None:
                gone = Exit(Ending.LOST, detail="its pod is gone: deleted, or its node was")
                return unstarted(handle) or gone, []
            self._time(handle, pod)
            now = now_of(self.client)
        begun = {"running", "terminated"} & set(state_of(pod, CONTAINER))
        return exit_of(pod, now), [(pod, CONTAINER)] if begun else []

    def _ours(self, handle: Mapping[str, Any], found: V1Pod) -> Json:
        pod: Json = self.client.api_client.sanitize_for_serialization(found)
        if pod["metadata"].get("labels", {}).get(OWNER) != handle["store"]:
            raise TransientError(f"pod {handle['pod']} is not of store {handle['store']}")
        return pod

    @cached_property
    def client(self) -> CoreV1Api:
        """Connect to the cluster, once."""
        return self.connect()

    def _time(self, handle: Mapping[str, Any], pod: Json) -> None:
        """Have the node end a pod at its timeout, which counts from when its container began."""
        from kubernetes.client.exceptions import ApiException

        limit_s = deadline_s(pod)
        if limit_s is None:
            return
        try:
            self.client.patch_namespaced_pod(
                *_named(handle), {"spec": {"activeDeadlineSeconds": limit_s}}
            )
        except ApiException as error:
            # Without the right to patch, the deadline that the pod was made with stays.
            if error.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                raise

    def _delete(self, handle: Mapping[str, Any], **how: int) -> None:
        from kubernetes.client.exceptions import ApiException

        try:
            self.client.delete_namespaced_pod(*_named(handle), **how)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def _own(
        self, handle: Mapping[str, Any], request: Request, options: KubernetesOptions
    ) -> dict[str, Any]:
        """Describe the part of a pod that neither conf nor template decides."""
        labels = {f"{LABEL}{name}": value for name, value in request.labels.items()}
        container: dict[str, Any] = {
            "name": CONTAINER,
            "image": request.image,
            "env": [{"name": name, "value": value} for name, value in request.env.items()],
            "resources": resources(request, options.gpu_resource),
        }
        container |= {"command": list(request.command)} if request.command else {}
        container |= {"args": list(request.args)} if request.args else {}
        container |= {"terminationMessagePath": RETURNED} if request.returns else {}
        return {
            "metadata": {
                "name": handle["pod"],
                "namespace": handle["namespace"],
                "labels": labels | {OWNER: handle["store"]},
                "annotations": {
                    START: str(request.start_timeout_s),
                    TIMEOUT: str(request.timeout_s),
                }
                | told_grace(request),
            },
            "spec": {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": longest_s(request),
                "containers": [container],
            }
            | with_grace(request),
        }


def asked(options: KubernetesOptions) -> dict[str, Any]:
    """Write what a conf asks for as a part of a pod."""
    container: dict[str, Any] = {
        "name": CONTAINER,
        "volumeMounts": list(options.volume_mounts),
        "env": [
            {
                "name": secret.env,
                "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}},
            }
            for secret in options.secrets
        ],
    }
    spec = {
        "serviceAccountName": options.service_account,
        "imagePullSecrets": [{"name": name} for name in options.image_pull_secrets],
        "priorityClassName": options.priority_class,
        "nodeSelector": options.node_selector,
        "tolerations": list(options.tolerations),
        "affinity": options.affinity,
        "volumes": list(options.volumes),
        "containers": [{name: value for name, value in container.items() if value}],
    }
    pod: dict[str, Any] = {"spec": {name: value for name, value in spec.items() if value}}
    if options.namespace:
        pod["metadata"] = {"namespace": options.namespace}
    made: dict[str, Any] = as_text(merged(options.pod_template, pod))
    return made


def _named(handle: Mapping[str, Any]) -> tuple[str, str]:
    return handle["pod"], handle["namespace"]
