"""Attempts as resources of Kubernetes that make pods themselves: a Job, a TFJob, a PyTorchJob.

The resource is the conf's, with our labels, environment and safe defaults in every pod template
that it holds. Conditions on it say whether it has succeeded or failed, its pods say why it failed,
and the logs of its primary pods hold the metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from hpo_lib.backends import (
    RETURNED,
    AttemptName,
    Found,
    Remote,
    Request,
    Site,
    bring,
    keep_unstarted,
    unstarted,
)
from hpo_lib.backends.beginning import Vanished, begin, prepare
from hpo_lib.backends.images import images_within, unpinned_image, wrong_image
from hpo_lib.backends.job_rights import (
    JobRules,
    incomplete,
    refused_fields,
    unused,
)
from hpo_lib.backends.pod_logs import PodLogs, followed, joined
from hpo_lib.backends.pod_rights import KubernetesRules
from hpo_lib.backends.pod_status import refused, returned
from hpo_lib.backends.pods import (
    JOB,
    LABEL,
    OUTPUT,
    OWNER,
    START,
    TIMEOUT,
    Json,
    containers,
    grace_s,
    is_refusal,
    longest_s,
    merged,
    now_of,
    resources,
    safe,
    server,
    spread,
    told_grace,
    with_grace,
)
from hpo_lib.backends.resource import (
    DEFAULTS,
    FAILURE,
    ONCE,
    PRIMARY,
    SUCCESS,
    JobOptions,
    as_text,
    end_of,
    metadata_of,
    primary,
    with_templates,
)
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import TransientError
from hpo_lib.files.artifacts import Offers
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict, as_error, parse

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, CustomObjectsApi

_POLL_S, _STOP_S = 1.0, 90.0
#: Controllers append to the name: `-worker-0`, five letters.
_LONGEST_NAME = 48


@dataclass(frozen=True)
class JobBackend(Remote):
    """Keeps logs below `home`; `connect` gives a client, `offers` lead to artifacts.

    `rules` are those of backend kubernetes, for every pod template; `jobs` are for the rest.
    """

    Options: ClassVar[type[Strict]] = JobOptions

    home: Path
    connect: Callable[[], CoreV1Api]
    rules: KubernetesRules = field(default_factory=KubernetesRules)
    jobs: JobRules = field(default_factory=JobRules)
    offers: Offers = field(default_factory=dict)

    @classmethod
    def at(cls, site: Site) -> Self:
        """Build it for the cluster of backend kubernetes, with its rules and those of its own."""
        pods = site.rules(KubernetesRules.section, KubernetesRules)
        connect = partial(site.cluster, pods.connection)
        return cls(site.home, connect, pods, site.rules("job", JobRules), site.offers)

    @classmethod
    def unpinned(cls, trial: TrialSpec) -> str | None:
        """Say which image is not named by its digest."""
        if not images_within(trial.options):
            return "trial.options.resource: names no image"
        return unpinned_image(trial)

    def permit(self, trial: TrialSpec) -> None:
        """Refuse kinds, images, names and fields that the installation does not allow."""
        options = parse(JobOptions, trial.options, at="trial.options")
        lines = [*incomplete(options, self.jobs), *unused(trial, options)]
        lines += refused_fields(options, self.rules, self.jobs)
        if trial.image is not None:
            found = wrong_image(trial.image, self.rules.images)
            lines += [f"trial.image: {words}" for words in found]
        if lines:
            raise as_error(lines)

    def handle(self, name: AttemptName) -> dict[str, Any]:
        """Name the resource, its kind and namespace, and the folder of its log."""
        asked = parse(JobOptions, name.options)
        namespace = metadata_of(asked).get("namespace", self.rules.namespaces[0])
        return {
            "job": name.text(_LONGEST_NAME),
            "namespace": namespace,
            "kind": asked.kind,
            "output": name.artifacts or OUTPUT,
            "store": name.store,
            "folder": str(name.folder(self.home)),
        }

    def wanted(self, handle: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """Describe the resource: the conf's, with safe pod templates and our own metadata."""
        options = parse(JobOptions, request.options)
        labels = {f"{LABEL}{name}": value for name, value in request.labels.items()}
        labels |= {OWNER: handle["store"], JOB: handle["job"]}
        success, failure = options.conditions
        annotations = {
            SUCCESS: success,
            FAILURE: failure,
            PRIMARY: options.primary.model_dump_json(),
            TIMEOUT: str(request.timeout_s),
            START: str(request.start_timeout_s),
        } | told_grace(request)
        api, _, kind = handle["kind"].rpartition("/")
        names = {"name": handle["job"], "namespace": handle["namespace"]}
        own = {
            "apiVersion": api,
            "kind": kind,
            "metadata": names | {"labels": labels, "annotations": annotations},
        }
        made = with_templates(
            as_text(options.resource), lambda pod: self._pod(pod, labels, request, options)
        )
        return merged(DEFAULTS.get(handle["kind"], {}), made, own)

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Create the resource unless it exists, existed before, or was refused before."""
        from kubernetes.client.exceptions import ApiException

        if unstarted(handle) is not None:
            return
        prepare(handle, request)
        with server():
            if self._plural(handle["kind"]) is None:
                why = f"this cluster has no kind {handle['kind']}"
                keep_unstarted(handle, Exit(Ending.UNSTARTABLE, detail=why))
                return
            if self._resource(handle) is not None:
                return
            wanted, place = self.wanted(handle, request), self._path(handle)
            create = partial(self._objects.create_namespaced_custom_object, *place, wanted)
            try:
                begin(handle, "resource", create, is_refusal)
            except Vanished:
                return
            except ApiException as error:
                end = refused(error.status, error.body)
                if end is None:
                    raise
                keep_unstarted(handle, end)

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Yield the primary pods' lines as they come, and last the Exit."""
        yield from followed(PodLogs.of(handle), self.client, lambda: self._look(handle))

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the resource neither succeeds nor fails."""
        return PodLogs.of(handle).end or self._look(handle)[0]

    def copying(self, handle: Mapping[str, Any]) -> Iterator[None]:
        """Join, at each step, what has come of the running primary pods' logs."""
        return joined(PodLogs.of(handle), self.log(handle), lambda: self._resource(handle))

    def fetch(self, handle: Mapping[str, Any]) -> None:
        """Join what the primary pods have printed, and bring what the first of them returned."""
        logs, begun = PodLogs.of(handle), self._look(handle)[1]
        for pod, container in begun:
            logs.fetch(self.client, pod, container)
        logs.put_together(self.log(handle))
        for text in filter(None, (returned(pod, container) for pod, container in begun)):
            bring(self.output(handle), text)

    def release(self, handle: Mapping[str, Any]) -> None:
        """Do nothing: the resource goes on until its retry, its end, or its timeout."""

    def end(self, handle: Mapping[str, Any]) -> None:
        """Delete the resource with its pods, without waiting; these get a moment to end."""
        with server():
            moment_s = grace_s(self._resource(handle))
        self.discard(handle)
        self._delete_pods(handle, moment_s)

    def stop(self, handle: Mapping[str, Any]) -> None:
        """Delete the resource and its pods and wait until they are gone; by force if need be."""
        self.end(handle)
        end = time.monotonic() + _STOP_S
        with server():
            while (left := self._left(handle)) and time.monotonic() < end:
                time.sleep(_POLL_S)
            if left:
                self._delete(handle, "Background")
                self._delete_pods(handle, 0)

    def found(self, store: str) -> Iterator[Found]:
        """Give the attempts that have a resource of an allowed kind, in any allowed namespace."""
        for kind in dict.fromkeys(self.jobs.kinds):
            for namespace in self.rules.namespaces:
                place = {"kind": kind, "namespace": namespace, "store": store, "folder": ""}
                with server():
                    listed = self._list(place)
                for one in listed:
                    handle = place | {"job": one["metadata"]["name"]}
                    yield Found.labelled(one["metadata"]["labels"], LABEL, handle)

    def discard(self, handle: Mapping[str, Any]) -> None:
        """Delete the resource with its pods, without waiting."""
        with server():
            self._delete(handle, "Foreground")

    @cached_property
    def client(self) -> CoreV1Api:
        """Connect to the cluster, once."""
        return self.connect()

    @cached_property
    def _objects(self) -> CustomObjectsApi:
        from kubernetes.client import CustomObjectsApi

        return CustomObjectsApi(self.client.api_client)

    def _pod(
        self, template: Json, labels: Json, request: Request, options: JobOptions
    ) -> dict[str, Any]:
        """Make a pod template safe, label it with its attempt, and fill in what it leaves out."""
        kind = self.rules.spot if request.spot else self.rules.on_demand
        names = containers(template)
        main = options.primary.container or names[0]
        below, above = (safe(self.rules.user), ONCE), (self.rules.pod_template, kind)
        env = [{"name": name, "value": value} for name, value in request.env.items()]
        told = {"terminationMessagePath": RETURNED} if request.returns else {}
        own = {
            "metadata": {"labels": labels, "annotations": {START: str(request.start_timeout_s)}},
            "spec": {
                "activeDeadlineSeconds": longest_s(request),
                "containers": [
                    {"name": name, "env": env} | (told if name == main else {}) for name in names
                ],
            }
            | with_grace(request),
        }
        gpu = self.rules.gpu_resources[0] if self.rules.gpu_resources else ""
        open_ones = [
            _open(one, request, resources(request, gpu))
            for one in template["spec"]["containers"]
            if one["name"] == main
        ]
        base = merged(*(spread(layer, names) for layer in below))
        made = merged(base, {"spec": {"containers": open_ones}}, template, own)
        return merged(made, *(spread(layer, names) for layer in above))

    def _look(self, handle: Mapping[str, Any]) -> tuple[Exit | None, list[tuple[Json, str]]]:
        """Give the Exit, if there is one, and the primary pods that have begun."""
        kept = unstarted(handle)
        if kept is not None:
            return kept, []
        with server():
            resource, pods = self._resource(handle), self._pods(handle)
        if resource is None:
            return Exit(Ending.LOST, detail="its resource is gone: somebody has deleted it"), []
        return end_of(resource, pods, now_of(self.client)), primary(resource, pods)

    def _resource(self, handle: Mapping[str, Any]) -> Json | None:
        """Read the attempt's resource; TransientError if that name is somebody else's."""
        from kubernetes.client.exceptions import ApiException

        if self._plural(handle["kind"]) is None:
            return None
        try:
            found: Json = self._objects.get_namespaced_custom_object(
                *self._path(handle), handle["job"]
            )
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        if found["metadata"].get("labels", {}).get(OWNER) != handle["store"]:
            raise TransientError(f"{handle['job']} is not of store {handle['store']}")
        return found

    def _pods(self, handle: Mapping[str, Any]) -> list[Json]:
        listed = self.client.list_namespaced_pod(
            handle["namespace"], label_selector=_selector(handle)
        )
        pods: list[Json] = self.client.api_client.sanitize_for_serialization(listed.items)
        return pods

    def _left(self, handle: Mapping[str, Any]) -> bool:
        return self._resource(handle) is not None or bool(self._pods(handle))

    def _list(self, place: Mapping[str, Any]) -> list[Json]:
        if self._plural(place["kind"]) is None:
            return []
        found = self._objects.list_namespaced_custom_object(
            *self._path(place), label_selector=f"{OWNER}={place['store']}"
        )
        return list(found["items"])

    def _delete(self, handle: Mapping[str, Any], propagation: str) -> None:
        from kubernetes.client.exceptions import ApiException

        try:
            if self._resource(handle) is not None:
                self._objects.delete_namespaced_custom_object(
                    *self._path(handle), handle["job"], propagation_policy=propagation
                )
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def _delete_pods(self, handle: Mapping[str, Any], grace_s: int) -> None:
        with server():
            self.client.delete_collection_namespaced_pod(
                handle["namespace"], label_selector=_selector(handle), grace_period_seconds=grace_s
            )

    def _path(self, handle: Mapping[str, Any]) -> tuple[str, str, str, str]:
        group, version, _ = handle["kind"].split("/")
        return group, version, handle["namespace"], str(self._plural(handle["kind"]))

    def _plural(self, kind: str) -> str | None:
        """Ask the cluster for the plural by which it lists a kind; None if it has no such kind."""
        from kubernetes.client.exceptions import ApiException

        if kind in self._plurals:
            return self._plurals[kind]
        group, version, name = kind.split("/")
        try:
            known = self._objects.get_api_resources(group, version).resources
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        found = [one.name for one in known if one.kind == name and "/" not in one.name]
        self._plurals.update({kind: found[0]} if found else {})
        return self._plurals.get(kind)

    @cached_property
    def _plurals(self) -> dict[str, str]:
        return {}


def _open(container: Json, request: Request, amounts: Json) -> dict[str, Any]:
    """Give the image, resources and command of the spec's `trial`, for a container to fill in."""
    said: dict[str, Any] = {"image": request.image, "resources": amounts}
    if not {"command", "args"} & set(container):
        said |= {"command": list(request.command), "args": list(request.args)}
    return {"name": container["name"]} | {name: value for name, value in said.items() if value}


def _selector(handle: Mapping[str, Any]) -> str:
    return f"{JOB}={handle['job']},{OWNER}={handle['store']}"
