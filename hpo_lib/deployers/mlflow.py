"""A registered model of MLflow whose alias names the version that serves.

A model's files are the artifacts of a run, with `hpo.json` that lists them:

    model/…       what training has left
    hpo.json      {"files": {"model/…": {"sha256": …, "bytes": …}}, "manifest": …}

MLflow counts versions itself: the tag `hpo.version` of a version, and of its run, has ours.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from hpo_lib.deployers import Check, Release
from hpo_lib.deployers.mlflow_options import MlflowOptions, MlflowRules
from hpo_lib.deployers.mlflow_rest import Json, MlflowServer, Refused, metric_keys
from hpo_lib.deployers.sample import SAMPLE, Sample, read_sample
from hpo_lib.errors import NotFound, SpecError, TransientError
from hpo_lib.files.places import chunks, said, whole
from hpo_lib.validation import Strict, shown

if TYPE_CHECKING:
    import httpx

VERSION, OWNER = "hpo.version", "hpo.experiment"
_MODEL, _LISTING, _MLMODEL = "model", "hpo.json", "MLmodel"
#: What TensorFlow Serving reads, as training leaves it.
_SAVED = re.compile(r"saved_model/(\d+/)?saved_model\.pb")
_SCORE_S, _ANSWER_BYTES = 60.0, 2**24
#: How many parameters, and characters of one, MLflow takes.
_PARAMS, _TEXT = 100, 6_000

Listing = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class MlflowDeployer:
    """`connect` gives a client with the server's address and credentials, when it is needed.

    SpecError if the installation does not allow what is asked for.
    """

    Options: ClassVar[type[Strict]] = MlflowOptions

    experiment: str
    options: MlflowOptions
    connect: Callable[[], httpx.Client]
    rules: MlflowRules = field(default_factory=MlflowRules)

    def __post_init__(self) -> None:
        """Refuse models and aliases that this experiment may not take."""
        asked = ("model", self.name, self.rules.models), ("alias", self.alias, self.rules.aliases)
        for option, value, allowed in asked:
            if not any(fnmatchcase(value, one) for one in allowed):
                known = ", ".join(allowed) or "none"
                raise SpecError(
                    f"deploy.options.{option}: this installation allows {known}, got {shown(value)}"
                )

    @property
    def name(self) -> str:
        """The registered model's name."""
        return self.options.model or self.experiment

    @property
    def alias(self) -> str:
        """The alias that names the version that serves."""
        return self.options.alias

    @property
    def address(self) -> str:
        """What is loaded: the registered model under its alias."""
        return f"models:/{self.name}@{self.alias}"

    @cached_property
    def server(self) -> MlflowServer:
        """Connect, once."""
        return MlflowServer(self.connect())

    def stage(self, release: Release) -> None:
        """Upload the files to a run and, when all are there, make a version of them."""
        self.server.make(
            "registered-models/create", name=self.name, tags=_tags({OWNER: self.experiment})
        )
        self._registered()
        if self._version(release.version) is not None:
            return
        run = self._run(release.version) or self._begun(release)
        folder, listing = run["info"]["artifact_uri"], {}
        for name, content in _contents(release):
            digest = _Digest(content)
            self.server.upload(folder, name, digest)
            listing[name] = digest.entry
        listed = {"files": listing, "manifest": dict(release.manifest)}
        self.server.upload(folder, _LISTING, [json.dumps(listed, default=str).encode()])
        self._register(release, run)

    def try_out(self, release: Release) -> Check:
        """Compare MLflow's files with the model's own, and let them answer their sample."""
        version = self._version(release.version)
        if version is None:
            return Check(f"version {release.version} is not staged")
        folder = self._folder(version)
        kept = {name for name in self.server.sizes(folder) if name != _LISTING}
        wanted = {name: _Digest(content).drained() for name, content in _contents(release)}
        if not wanted:
            return Check("the model has no files")
        if odd := sorted(kept ^ set(wanted)):
            return Check(f"MLflow has not the model's files: {', '.join(odd[:5])}")
        for name, entry in wanted.items():
            if _Digest(self.server.download(folder, name)).drained() != entry:
                return Check(f"{name} is not what training has left")
        return self._well(version)

    def switch(self, version: int) -> None:
        """Move the alias; NotFound if the version is not staged."""
        self._registered()
        found = self._version(version)
        if found is None:
            raise NotFound(f"version {version} of {self.name} is not staged in MLflow")
        self.server.post(
            "registered-models/alias", name=self.name, alias=self.alias, version=found["version"]
        )

    def serving(self) -> int | None:
        """Read the alias; None also if it names a version that is not ours."""
        served = self._served()
        return None if served is None else _ours(served)

    def verify(self, version: int) -> Check:
        """Follow the alias as a user would, to a version that has all of its files."""
        served = self._served()
        if served is None or _ours(served) != version:
            named = "nothing" if served is None else f"MLflow's version {served['version']}"
            return Check(f"{self.name}@{self.alias} is {named}, not version {version}")
        folder = self._folder(served)
        listing = _listing(self._read(folder, _LISTING))
        if not listing:
            return Check(f"{_LISTING}, which lists the model's files, cannot be read")
        sizes = self.server.sizes(folder)
        for name, entry in listing.items():
            if sizes.get(name) != entry["bytes"]:
                return Check(f"{name} should have {entry['bytes']} bytes, got {sizes.get(name)}")
        return self._well(served)

    def drop(self, version: int) -> None:
        """Delete a version, its files and its run; SpecError if it is served."""
        if self.serving() == version:
            raise SpecError(f"version {version} of {self.name} is served")
        while (found := self._version(version)) is not None:
            self.server.remove("model-versions/delete", name=self.name, version=found["version"])
        while (run := self._run(version)) is not None:
            self.server.clear(run["info"]["artifact_uri"])
            self.server.post("runs/delete", run_id=run["info"]["run_id"])

    def withdraw(self) -> None:
        """Take the alias away, unless people have moved it to their own version; versions stay."""
        if self.serving() is not None:
            self.server.remove("registered-models/alias", name=self.name, alias=self.alias)

    def _registered(self) -> Json:
        """Read the registered model, empty if there is none; SpecError if it is somebody else's."""
        found: Json = self.server.find("registered-models/get", name=self.name)
        model: Json = found.get("registered_model", {})
        if model and _tag(model, OWNER) != self.experiment:
            raise SpecError(
                f"mlflow: the registered model {self.name} is not one of experiment "
                f"{self.experiment}; give it the tag {OWNER}={self.experiment} if it is to be, or "
                "name another one in deploy.options.model"
            )
        return model

    def _served(self) -> Json | None:
        named = {one["alias"]: one["version"] for one in self._registered().get("aliases", [])}
        if self.alias not in named:
            return None
        version = named[self.alias]
        found = self.server.find("model-versions/get", name=self.name, version=version)
        return found.get("model_version")

    def _version(self, version: int) -> Json | None:
        """Find MLflow's version for ours; the first, if two processes have made one each."""
        found = self.server.get(
            "model-versions/search",
            filter=f"name = '{self.name}' and tags.`{VERSION}` = '{version}'",
        )
        rows = found.get("model_versions", [])
        return min(rows, key=lambda one: int(one["version"]), default=None)

    def _run(self, version: int) -> Json | None:
        """Find the run with a version's files, which a crash may have left behind."""
        experiment = self.server.find("experiments/get-by-name", experiment_name=self.name)
        if not experiment:
            return None
        found = self.server.post(
            "runs/search",
            experiment_ids=[experiment["experiment"]["experiment_id"]],
            filter=f"tags.`{VERSION}` = '{version}'",
            max_results=1,
        )
        return next(iter(found.get("runs", [])), None)

    def _begun(self, release: Release) -> Json:
        """Make a run, with the parameters and metrics that the model was made with."""
        self.server.make("experiments/create", name=self.name)
        experiment = self.server.get("experiments/get-by-name", experiment_name=self.name)
        run: Json = self.server.post(
            "runs/create",
            experiment_id=experiment["experiment"]["experiment_id"],
            run_name=f"{self.name}-v{release.version}",
            start_time=_now_ms(),
            tags=_tags({VERSION: str(release.version), OWNER: self.experiment}),
        )["run"]
        params, metrics = _params(release.manifest), _metrics(release.manifest)
        self.server.post("runs/log-batch", run_id=_id(run), params=params, metrics=metrics)
        return run

    def _register(self, release: Release, run: Json) -> None:
        self.server.post("runs/update", run_id=_id(run), status="FINISHED", end_time=_now_ms())
        self.server.post(
            "model-versions/create",
            name=self.name,
            source=f"{run['info']['artifact_uri']}/{_MODEL}",
            run_id=_id(run),
            tags=_tags({VERSION: str(release.version), OWNER: self.experiment}),
        )

    def _folder(self, version: Json) -> str:
        return str(version["source"]).removesuffix(f"/{_MODEL}")

    def _read(self, folder: str, name: str) -> bytes | None:
        try:
            return b"".join(self.server.download(folder, name))
        except Refused as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _well(self, version: Json) -> Check:
        """Ask MLflow whether a version is ready, and a scoring server for its answers."""
        if version["status"] != "READY":
            return Check(f"MLflow says {version['status']}: {version.get('status_message', '')}")
        content = self._read(self._folder(version), f"{_MODEL}/{SAMPLE}")
        try:
            sample = read_sample(content)
        except ValueError as error:
            return Check(str(error))
        if self.rules.scoring is None:
            return Check()
        known = {"{model}": self.name, "{version}": version["version"]}
        return _scored(_filled(self.rules.scoring, known), sample)


def _contents(release: Release) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield what is kept of a release: its files and, for MLflow's own loader, what they are."""
    names = {str(place).removeprefix(f"{release.files}/"): place for place in whole(release.files)}
    for name, place in names.items():
        yield f"{_MODEL}/{name}", chunks(place)
    saved = next((name for name in names if _SAVED.fullmatch(name)), None)
    if saved is not None and _MLMODEL not in names:
        yield f"{_MODEL}/{_MLMODEL}", iter([_mlmodel(saved.rpartition("/")[0])])


def _mlmodel(folder: str) -> bytes:
    """Describe a SavedModel so that `mlflow.pyfunc.load_model` loads it; JSON is YAML."""
    saved = {
        "code": None,
        "model_type": "tf1-estimator",  # which means: loaded by its tags and signature
        "saved_model_dir": folder,
        "meta_graph_tags": ["serve"],
        "signature_def_key": "serving_default",
    }
    flavors = {"tensorflow": saved, "python_function": {"loader_module": "mlflow.tensorflow"}}
    return json.dumps({"flavors": flavors}, indent=2).encode()


def _listing(content: bytes | None) -> Listing:
    try:
        found: Listing = json.loads(content or b"{}")["files"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found


class _Digest:
    """Passes chunks on, and afterwards knows their `entry` in a listing."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content, self._sha256, self._bytes = content, hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._content:
            self._sha256.update(chunk)
            self._bytes += len(chunk)
            yield chunk

    def drained(self) -> dict[str, Any]:
        for _ in self:
            pass
        return self.entry

    @property
    def entry(self) -> dict[str, Any]:
        return {"sha256": self._sha256.hexdigest(), "bytes": self._bytes}


def _scored(url: str, sample: Sample) -> Check:
    """Check a scoring server's answers; TransientError if it cannot be reached or is in trouble."""
    import httpx

    headers = {"content-type": "application/json"}
    try:
        answer = httpx.post(url, content=sample.request, headers=headers, timeout=_SCORE_S)
    except httpx.HTTPError as error:
        raise TransientError(f"scoring: cannot be reached: {said(error)}") from None
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise TransientError(f"scoring: {answer.status_code} {answer.reason_phrase}")
    if not answer.is_success or len(answer.content) > _ANSWER_BYTES:
        return Check(f"scoring: {answer.status_code} {answer.reason_phrase}")
    return sample.check(answer.content)


def _filled(address: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        address = address.replace(name, value)
    return address


def _tags(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _tag(found: Json, key: str) -> str | None:
    return next((one["value"] for one in found.get("tags", []) if one["key"] == key), None)


def _ours(version: Json) -> int | None:
    text = _tag(version, VERSION) or ""
    return int(text) if text.isdecimal() else None


def _id(run: Json) -> str:
    return str(run["info"]["run_id"])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _params(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = list(manifest.get("params", {}).items())[:_PARAMS]
    return [{"key": name, "value": str(value)[:_TEXT]} for name, value in rows]


def _metrics(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    now, rows = _now_ms(), manifest.get("metrics", {}).items()
    keys = metric_keys(name for name, _ in rows)
    return [
        {"key": keys[name], "value": value, "timestamp": now, "step": 0}
        for name, value in rows
        if isinstance(value, int | float) and math.isfinite(value)
    ]
