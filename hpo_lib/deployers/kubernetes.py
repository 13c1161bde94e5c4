"""Models served by Kubernetes: a Deployment per version, and one Service that chooses among them.

A version is tried in its own pods, which no user reaches; a switch is one change of the Service's
selector. Pods are asked through the API server, which needs no way into the cluster's network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from hpo_lib.backends.pods import Json
from hpo_lib.deployers import Check, Release
from hpo_lib.deployers.answers import (
    check_header,
    check_status,
    predict_path,
    status_path,
)
from hpo_lib.deployers.api_server import asking, request_through
from hpo_lib.deployers.manifests import (
    CONTENT,
    SERVES,
    SWITCHED,
    Plan,
    ServeOptions,
    ServeRules,
    addressed,
    permit,
    present,
    rolled_out,
    trouble,
    unready,
    version_of,
)
from hpo_lib.deployers.packing import packed
from hpo_lib.deployers.sample import SAMPLE, Sample, read_sample
from hpo_lib.deployers.shapes import refuse_pickle
from hpo_lib.errors import NotFound, SpecError, TransientError
from hpo_lib.validation import Strict

if TYPE_CHECKING:
    from kubernetes.client import AppsV1Api, CoreV1Api

_POLL_S, _SETTLE_S, _SWITCH_S = 0.5, 10.0, 60.0


@dataclass(frozen=True)
class KubernetesDeployer:
    """`connect` gives a client, `rules` say what is allowed (else SpecError), `store` owns it all.

    Without `allow_pickle` a model that is a pickle is refused, whatever image would serve it.
    One process at a time changes what an experiment serves.
    """

    Options: ClassVar[type[Strict]] = ServeOptions

    experiment: str
    options: ServeOptions
    connect: Callable[[], CoreV1Api]
    rules: ServeRules = field(default_factory=ServeRules)
    store: str = ""
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        """Refuse what the installation does not allow."""
        permit(self.options, self.rules)

    @property
    def address(self) -> str:
        """The Service."""
        return f"Service {self.plan.namespace}/{self.plan.name}"

    def stage(self, release: Release) -> None:
        """Create the pods of a version; done again with other options, change them."""
        if not self.allow_pickle:
            refuse_pickle(release)
        model = packed(release)
        config_map, deployment = self.plan.config_map(model), self.plan.deployment(model)
        with asking():
            self._create(self.core.create_namespaced_config_map, config_map)
            there = self._deployment(release.version)
            if there is None:
                self._create(self.apps.create_namespaced_deployment, deployment)
            elif there["metadata"].get("annotations", {}).get(CONTENT) != _content(deployment):
                self.apps.replace_namespaced_deployment(
                    self.plan.named(release.version), self.plan.namespace, deployment
                )

    def try_out(self, release: Release) -> Check:
        """Wait until a version's pods are ready, and ask each of them its sample."""
        return self._until_ready(release.version) or self._ask_pods(release.version)

    def switch(self, version: int) -> None:
        """Have the Service choose a version's pods; returns when it sends requests to no others."""
        with asking():
            if not rolled_out(self._staged(version)):
                raise TransientError(f"version {version} is not ready to be switched to")
            service = self._service()
            wanted = self.plan.service(version, datetime.now(UTC).isoformat())
            if service is None:
                self._create(self.core.create_namespaced_service, wanted)
            elif service["spec"].get("selector") != wanted["spec"]["selector"]:
                self._turn(service, wanted)
        if not _within(_SWITCH_S, lambda: self._addressed() == {version}):
            raise TransientError(f"the Service {self.plan.name} does not send to version {version}")

    def serving(self) -> int | None:
        """Give the version whose pods the Service sends requests to."""
        found = self._settled()
        if len(found) > 1:
            several = ", ".join(map(str, sorted(found)))
            raise TransientError(
                f"the Service {self.plan.name} sends to versions {several} at once"
            )
        return next(iter(found), None)

    def verify(self, version: int) -> Check:
        """Ask the Service, and every pod that it sends requests to."""
        found = self._settled()
        if found != {version}:
            listed = ", ".join(map(str, sorted(found))) or "none"
            return Check(
                f"the Service {self.plan.name} must send to version {version}, sends to {listed}"
            )
        place = f"services/{self.plan.name}:http"
        return self._ask(place, version) or self._ask_pods(version)

    def drop(self, version: int) -> None:
        """Delete a version, when requests that were sent to it before a switch are answered."""
        with asking():
            service = self._service()
            if service and version_of(service["spec"].get("selector", {})) == version:
                raise SpecError(
                    f"version {version} of {self.experiment} is being served: serve another one "
                    "before it is dropped"
                )
            if self._deployment(version) is not None:
                time.sleep(_rest_s(service, self.rules.grace_s))
            self._delete(version)

    def withdraw(self) -> None:
        """Delete the Service; returns when it sends requests to nobody."""
        with asking():
            if self._service() is None:
                return
            self._remove(self.core.delete_namespaced_service, self.plan.name)
        if not _within(_SWITCH_S, lambda: not self._addressed()):
            raise TransientError(
                f"the Service {self.plan.name} is deleted, but still has endpoints"
            )

    @cached_property
    def plan(self) -> Plan:
        """Give the names and manifests of this experiment."""
        return Plan(self.experiment, self.store, self.options, self.rules, self.allow_pickle)

    @cached_property
    def core(self) -> CoreV1Api:
        """Connect to the cluster, once."""
        return self.connect()

    @cached_property
    def apps(self) -> AppsV1Api:
        """Give the client for Deployments, on the same connection."""
        from kubernetes.client import AppsV1Api

        return AppsV1Api(self.core.api_client)

    # Waiting and asking

    def _until_ready(self, version: int) -> Check:
        """Wait until all pods of a version are ready, or cannot become so."""
        end = time.monotonic() + self.options.start_timeout_s
        while True:
            with asking():
                deployment, pods = self._staged(version), self._pods(version)
            if rolled_out(deployment):
                return Check()
            if problem := trouble(pods, datetime.now(UTC)):
                return problem
            if time.monotonic() > end:
                timeout = self.options.start_timeout
                return Check(f"it is not ready after {timeout}: {unready(pods)}")
            time.sleep(_POLL_S)

    def _ask_pods(self, version: int) -> Check:
        with asking():
            pods = self._pods(version)
        for pod in pods:
            place = f"pods/{pod['metadata']['name']}:{self.options.port}"
            if problem := self._ask(place, version):
                return problem
        return Check() if pods else Check(f"version {version} has no pods")

    def _ask(self, place: str, version: int) -> Check:
        """Ask a pod or a Service for its version and for the sample's rows."""
        try:
            with asking():
                sample = self._sample(version)
        except ValueError as error:
            return Check(str(error))
        name = self.plan.name
        ask = partial(request_through, self.core, self.plan.namespace, place)
        code, headers, body = ask(status_path(name))
        problem = _code(code, body) or check_header(headers, version) or check_status(body, version)
        if problem or sample is None:
            return problem
        code, headers, body = ask(predict_path(name), sample.request)
        problem = _code(code, body) or check_header(headers, version)
        return problem or sample.check(body)

    # What is there

    def _settled(self) -> set[int]:
        """Wait until requests go where the Service says, and give the versions that get them."""
        with asking():
            service = self._service()
        if service is None:
            return set()
        wanted = version_of(service["spec"].get("selector", {}))
        _within(_SETTLE_S, lambda: self._addressed() == {wanted})
        return self._addressed()

    def _addressed(self) -> set[int]:
        """Give the versions whose pods the Service sends requests to."""
        with asking():
            names = set(addressed(self._read(self.core.read_namespaced_endpoints, self.plan.name)))
            pods = self._listed(f"{SERVES}={self.plan.name}")
        labels = [pod["metadata"]["labels"] for pod in pods if pod["metadata"]["name"] in names]
        return {version for one in labels if (version := version_of(one)) is not None}

    def _staged(self, version: int) -> Json:
        """Read a version's Deployment; NotFound if there is none."""
        found = self._deployment(version)
        if found is None:
            raise NotFound(f"version {version} of {self.experiment} is not staged")
        return found

    def _deployment(self, version: int) -> Json | None:
        return self._own(self.apps.read_namespaced_deployment, self.plan.named(version))

    def _service(self) -> Json | None:
        return self._own(self.core.read_namespaced_service, self.plan.name)

    def _sample(self, version: int) -> Sample | None:
        """Read the sample that a version was staged with, if any; ValueError if it is malformed."""
        import base64

        maps = self.core.list_namespaced_config_map(
            self.plan.namespace,
            label_selector=_written(self.plan.selector(version) | self.plan.owner),
        )
        for one in maps.items:
            if text := (one.binary_data or {}).get(SAMPLE):
                return read_sample(base64.b64decode(text))
        return None

    def _pods(self, version: int) -> list[Json]:
        return present(self._listed(_written(self.plan.selector(version))))

    def _listed(self, selector: str) -> list[Json]:
        found = self.core.list_namespaced_pod(self.plan.namespace, label_selector=selector)
        pods: list[Json] = self.core.api_client.sanitize_for_serialization(found)["items"]
        return pods

    def _own(self, read: Callable[..., Any], name: str) -> Json | None:
        """Read a thing of ours; SpecError if somebody else has one of that name."""
        found = self._read(read, name)
        labels = {} if found is None else found["metadata"].get("labels", {})
        if found is not None and not self.plan.owner.items() <= labels.items():
            raise SpecError(
                f"deploy.options.name: {self.plan.namespace}/{name} is not of this experiment: "
                "name another one"
            )
        return found

    def _read(self, read: Callable[..., Any], name: str) -> Json | None:
        from kubernetes.client.exceptions import ApiException

        try:
            found = read(name, self.plan.namespace)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        thing: Json = self.core.api_client.sanitize_for_serialization(found)
        return thing

    # Changing it

    def _create(self, create: Callable[..., Any], thing: Json) -> None:
        """Create a thing, unless a process that has died since created it."""
        from kubernetes.client.exceptions import ApiException

        try:
            create(self.plan.namespace, thing)
        except ApiException as error:
            if error.status != HTTPStatus.CONFLICT:
                raise

    def _turn(self, service: Json, wanted: Json) -> None:
        """Change selector and port in one step, unless somebody else changed the Service."""
        turned = {
            **service,
            "metadata": service["metadata"] | {"annotations": wanted["metadata"]["annotations"]},
            "spec": service["spec"] | wanted["spec"],
        }
        self.core.replace_namespaced_service(self.plan.name, self.plan.namespace, turned)

    def _remove(self, delete: Callable[..., Any], name: str, **how: Any) -> None:
        """Delete what another process may have deleted meanwhile."""
        from kubernetes.client.exceptions import ApiException

        try:
            delete(name, self.plan.namespace, **how)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def _delete(self, version: int) -> None:
        self._remove(
            self.apps.delete_namespaced_deployment,
            self.plan.named(version),
            propagation_policy="Background",
        )
        self.core.delete_collection_namespaced_config_map(
            self.plan.namespace,
            label_selector=_written(self.plan.selector(version) | self.plan.owner),
        )


def _content(thing: Json) -> str:
    return str(thing["metadata"]["annotations"][CONTENT])


def _code(code: int, body: bytes) -> Check:
    if code == HTTPStatus.OK:
        return Check()
    return Check(f"it answers with {code}: {' '.join(body[:300].decode(errors='replace').split())}")


def _written(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _within(time_s: float, holds: Callable[[], bool]) -> bool:
    """Wait until something holds; False if it does not in time."""
    end = time.monotonic() + time_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True


def _rest_s(service: Json | None, grace_s: float) -> float:
    """Give what is left of the grace that follows the last switch, in seconds."""
    text = (service or {}).get("metadata", {}).get("annotations", {}).get(SWITCHED)
    if text is None:
        return 0.0
    since_s = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    return min(max(0.0, grace_s - since_s), grace_s)
