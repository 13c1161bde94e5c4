"""The manifests that serve a model, as plain JSON, and how to read what a cluster has of them.

Every version has a Deployment and a ConfigMap of its own; one Service chooses among them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, field_validator

from hpo_lib.backends import Request
from hpo_lib.backends.images import wrong_image
from hpo_lib.backends.pod_rights import PodRules, refusals
from hpo_lib.backends.pod_status import exit_of, told
from hpo_lib.backends.pods import LABEL, Json, merged, resources, safe
from hpo_lib.core.ending import Ending
from hpo_lib.deployers import Check
from hpo_lib.deployers.answers import status_path
from hpo_lib.deployers.sample import SAMPLE
from hpo_lib.errors import SpecError
from hpo_lib.spec.trial_section import IMAGE, Resources
from hpo_lib.spec.units import seconds
from hpo_lib.validation import Strict, as_error, rule, shown

#: The containers of a pod that serves: the server, and the one that first fetches a large model.
SERVER, FETCH = "server", "fetch"
#: Labels: what a thing serves and as which version, for which experiment, and whose store said so.
SERVES, VERSION = f"{LABEL}serves", f"{LABEL}version"
EXPERIMENT, OWNER = f"{LABEL}experiment", f"{LABEL}served-by"
#: Annotations: what a thing was made from, and when the Service was last switched.
CONTENT, SWITCHED = f"{LABEL}content", f"{LABEL}switched-at"
#: Lets a server load a pickle; a conf cannot set it.
PICKLES = "HPO_ALLOW_PICKLE"
#: The layout that TensorFlow Serving's image expects: /models/NAME/VERSION/saved_model.pb.
MODELS = "/models"
MAX_CONFIG_BYTES = 900_000  # a ConfigMap holds 1 MiB with everything
_TMP = "/tmp"  # noqa: S108 - in the pod, a volume of its own
_LABEL = 63  # of a label's value
_LONGEST = 40  # leaves room for what Kubernetes appends
_NAME = re.compile(rf"[a-z]([a-z0-9-]{{0,{_LONGEST - 2}}}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MANY_CRASHES = 2


class ServeRules(PodRules):
    """What a conf may ask of Kubernetes for serving: nothing while no namespace is named.

    `image` serves where a conf names none, and fetches the models for other images. `grace_s`, the
    time from a switch to the end of the old version, keeps requests in flight from being cut off.
    """

    section: ClassVar[str] = "serve"

    namespaces: tuple[str, ...] = Field(default=(), strict=False)
    images: tuple[str, ...] = Field(default=(), strict=False)
    image: str = "hpo-serve"
    max_replicas: int = Field(default=4, ge=1)
    grace_s: float = Field(default=10.0, ge=0, le=300)


class ServeOptions(Strict):
    """`deploy.options` of kubernetes; `pod_template` is a part of a pod, of container `server`."""

    namespace: str | None = None
    name: str | None = None
    image: str | None = None
    port: int = Field(default=8501, ge=1024, le=65_535)
    replicas: int = Field(default=1, ge=1)
    resources: Resources = Resources()
    start_timeout: str = "5m"
    pod_template: dict[str, Any] = Field(default_factory=dict)

    @field_validator("namespace")
    @classmethod
    def _check_namespace(cls, name: str | None) -> str | None:
        if name is not None and not _NAMESPACE.fullmatch(name):
            raise rule(
                "must be small letters, digits and -, at most 63, not beginning or ending with -, "
                f"got {shown(name)}"
            )
        return name

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        if name is not None and not _NAME.fullmatch(name):
            raise rule(
                f"must be small letters, digits and -, at most {_LONGEST}, beginning with a letter "
                f"and not ending with -, got {shown(name)}"
            )
        return name

    @field_validator("image")
    @classmethod
    def _check_image(cls, image: str | None) -> str | None:
        if image is not None and not IMAGE.fullmatch(image):
            raise rule(f"must be an image such as registry/name:tag, got {shown(image)}")
        return image

    @field_validator("start_timeout")
    @classmethod
    def _check_duration(cls, text: str) -> str:
        seconds(text)
        return text

    @property
    def start_timeout_s(self) -> float:
        """How long, in seconds, a version may take to become ready."""
        return seconds(self.start_timeout)


def permit(options: ServeOptions, rules: ServeRules) -> None:
    """Raise SpecError if the installation does not let a conf ask for these options."""
    if not rules.namespaces:
        raise SpecError(
            "deploy.to: kubernetes is not offered by this installation; its operator can name "
            "namespaces under serve in config/deployment.yaml"
        )
    if lines := list(_refusals(options, rules)):
        raise as_error(f"deploy.options.{line}" for line in lines)


def _refusals(options: ServeOptions, rules: ServeRules) -> Iterator[str]:
    if options.namespace not in (None, *rules.namespaces):
        known = ", ".join(rules.namespaces)
        yield f"namespace: this installation allows {known}, got {options.namespace}"
    if options.image not in (None, rules.image):
        yield from (f"image: {words}" for words in wrong_image(options.image, rules.images))
    if options.replicas > rules.max_replicas:
        yield f"replicas: must be at most {rules.max_replicas} here, got {options.replicas}"
    if options.pod_template:
        lines = refusals(options.pod_template, rules, container=SERVER, own_program=False)
        yield from (f"pod_template: {line}" for line in lines)


def label(text: str) -> str:
    """Turn any name into one that a Service may have, always the same."""
    plain = re.sub("[^a-z0-9-]", "-", text.lower())
    word = plain if re.match("[a-z]", plain) else f"hpo-{plain}"
    if plain == text and len(word) <= _LONGEST:
        return word
    return f"{word[: _LONGEST - 9].rstrip('-')}-{digest(text)}"


def digest(content: Any) -> str:
    """Give a digest of JSON, text or bytes, eight letters long."""
    if not isinstance(content, bytes):
        content = json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:8]


def served_as(path: str, version: int) -> str:
    """Give the path of a model's file below MODEL_DIR: `saved_model/1` gets the version's name."""
    inner = path.removeprefix("saved_model/1/")
    return path if inner == path else f"{version}/{inner}"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version's files by path: all of them, or the sample alone and the `uri` of the folder."""

    version: int
    files: Mapping[str, bytes]
    uri: str | None = None

    @property
    def digest(self) -> str:
        """A digest of all that is served."""
        parts = {path: digest(content) for path, content in self.files.items()}
        return digest([self.uri, parts])

    @property
    def keys(self) -> dict[str, str]:
        """The ConfigMap's key for each file by its path: keys cannot hold folders."""
        named = {path: f"f{number:04d}" for number, path in enumerate(sorted(self.files))}
        return named | ({SAMPLE: SAMPLE} if SAMPLE in self.files else {})


@dataclass(frozen=True)
class Plan:
    """How an experiment is served: from names to manifests, without a cluster."""

    experiment: str
    store: str
    options: ServeOptions
    rules: ServeRules
    allow_pickle: bool = False

    @property
    def name(self) -> str:
        """Name the Service, which is also the model's name in paths."""
        return self.options.name or label(self.experiment)

    @property
    def namespace(self) -> str:
        """Name the namespace."""
        return self.options.namespace or self.rules.namespaces[0]

    @property
    def owner(self) -> dict[str, str]:
        """Give the labels that say whose a thing is."""
        told = self.experiment if len(self.experiment) <= _LABEL else label(self.experiment)
        return {EXPERIMENT: told, OWNER: self.store}

    def selector(self, version: int) -> dict[str, str]:
        """Give the labels that the pods of a version have, and no others."""
        return {SERVES: self.name, VERSION: str(version)}

    def named(self, version: int) -> str:
        """Name the Deployment of a version."""
        return f"{self.name}-v{version}"

    def config_map(self, model: ServedModel) -> dict[str, Any]:
        """Describe the ConfigMap of the files; its name has their digest, so it never changes."""
        encoded = {
            key: base64.b64encode(model.files[path]).decode() for path, key in model.keys.items()
        }
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self._metadata(self._config_name(model), model.version),
            "immutable": True,
            "binaryData": encoded,
        }

    def deployment(self, model: ServedModel) -> dict[str, Any]:
        """Describe the Deployment of a version: safe, the conf's part, ours, the operator's."""
        base = safe(self.rules.user, SERVER, (_TMP,))
        asked = self.options.pod_template
        pod = merged(base, asked, self._pod(model), self.rules.pod_template)
        if model.uri is None:  # the template's part on `fetch` is only for models that are fetched
            pod["spec"].pop("initContainers", None)
        spec = {
            "replicas": self.options.replicas,
            "selector": {"matchLabels": self.selector(model.version)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
            "template": pod,
        }
        metadata = self._metadata(self.named(model.version), model.version)
        metadata["annotations"] = {CONTENT: digest(spec)}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}

    def service(self, version: int, now: str) -> dict[str, Any]:
        """Describe the Service while it serves a version."""
        metadata = {"name": self.name, "namespace": self.namespace}
        labels = {SERVES: self.name, **self.owner}
        port = {"name": "http", "port": self.options.port, "targetPort": "http"}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**metadata, "labels": labels, "annotations": {SWITCHED: now}},
            "spec": {"selector": self.selector(version), "ports": [port]},
        }

    def _metadata(self, name: str, version: int) -> dict[str, Any]:
        labels = self.selector(version) | self.owner
        return {"name": name, "namespace": self.namespace, "labels": labels}

    def _config_name(self, model: ServedModel) -> str:
        return f"{self.named(model.version)}-{model.digest}"

    def _pod(self, model: ServedModel) -> dict[str, Any]:
        """Describe the part of a pod that neither conf nor template decides."""
        mount = {"name": "hpo-model", "mountPath": f"{MODELS}/{self.name}"}
        environment = [{"name": name, "value": value} for name, value in self._env(model).items()]
        server = {
            "name": SERVER,
            "image": self.options.image or self.rules.image,
            "env": environment,
            "ports": [{"name": "http", "containerPort": self.options.port}],
            "volumeMounts": [mount | {"readOnly": True}],
            "resources": resources(self._request(), self.rules.gpu_resources[0]),
            **self._probes(),
        }
        spec: dict[str, Any] = {"containers": [server], "volumes": [self._volume(model)]}
        if model.uri is not None:
            (confined,) = safe(self.rules.user, FETCH, (_TMP,))["spec"]["containers"]
            fetch = {
                "image": self.rules.image,
                "command": ["python", "/app/fetch.py"],
                "env": [{"name": "MODEL_URI", "value": model.uri}, *environment],
                "volumeMounts": [mount],
            }
            spec["initContainers"] = [merged(confined, fetch)]
        labels = self.selector(model.version) | self.owner
        return {
            "metadata": {"labels": labels, "annotations": {CONTENT: model.digest}},
            "spec": spec,
        }

    def _env(self, model: ServedModel) -> dict[str, str]:
        return {
            "MODEL_NAME": self.name,
            "MODEL_VERSION": str(model.version),
            "MODEL_DIR": f"{MODELS}/{self.name}",
            "MODEL_BASE_PATH": MODELS,
            "PORT": str(self.options.port),
            **({PICKLES: "1"} if self.allow_pickle else {}),
        }

    def _request(self) -> Request:
        asked = self.options.resources
        return Request(
            command=(),
            env={},
            timeout_s=0,
            cpu=asked.cpu,
            memory_bytes=asked.memory_bytes,
            gpu=asked.gpu or 0,
        )

    def _volume(self, model: ServedModel) -> dict[str, Any]:
        if model.uri is not None:
            return {"name": "hpo-model", "emptyDir": {}}
        items = [
            {"key": key, "path": served_as(path, model.version)} for path, key in model.keys.items()
        ]
        source = {"name": self._config_name(model), "items": items}
        return {"name": "hpo-model", "configMap": source}

    def _probes(self) -> dict[str, Any]:
        ask = {"httpGet": {"path": status_path(self.name), "port": "http"}, "timeoutSeconds": 5}
        tries = max(1, round(self.options.start_timeout_s))
        alive = {"tcpSocket": {"port": "http"}, "periodSeconds": 10, "failureThreshold": 3}
        return {
            "startupProbe": ask | {"periodSeconds": 1, "failureThreshold": tries},
            "readinessProbe": ask | {"periodSeconds": 2, "failureThreshold": 2},
            "livenessProbe": alive,
        }


# What is there


def rolled_out(deployment: Json) -> bool:
    """Say whether all pods of a Deployment are as it describes them, and ready."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return seen and counts == [wanted] * 3


def trouble(pods: list[Json], now: datetime) -> Check:
    """Say why waiting will not make pods ready, in the words of the first pod that says so."""
    return next((found for pod in pods if (found := _trouble(pod, now))), Check())


#: Endings that waiting does not mend.
_HOPELESS = (Ending.IMAGE_NOT_PULLABLE, Ending.UNSTARTABLE)


def _trouble(pod: Json, now: datetime) -> Check:
    status = pod.get("status", {})
    listed = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    for container in listed:
        whole = {**pod, "status": {**status, "containerStatuses": listed}}
        end = exit_of(whole, now, container["name"])
        if end and end.ending in _HOPELESS:
            return Check(f"its pod cannot start: {end.detail}")
        last = container.get("lastState", {}).get("terminated")
        if last and container.get("restartCount", 0) >= _MANY_CRASHES:
            said = (last.get("message") or last.get("reason") or "").strip().splitlines()
            words = said[-1] if said else "it said nothing"
            return Check(f"its {container['name']} ends with code {last['exitCode']}: {words}")
    return Check()


def unready(pods: list[Json]) -> str:
    """Say what pods are waiting for."""
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", []):
            if condition["status"] != "True" and (words := told(condition)):
                return words
    return "it has no pods" if not pods else "its pods do not say why"


def present(pods: list[Json]) -> list[Json]:
    """Leave out the pods that are about to end."""
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def addressed(endpoints: Json | None) -> list[str]:
    """Name the pods that a Service sends requests to."""
    subsets = (endpoints or {}).get("subsets") or []
    found = [one for subset in subsets for one in subset.get("addresses") or []]
    return [one["targetRef"]["name"] for one in found if one.get("targetRef")]


def version_of(labels: Mapping[str, str]) -> int | None:
    """Read a version from labels or a selector."""
    text = labels.get(VERSION, "")
    return int(text) if text.isdigit() else None
