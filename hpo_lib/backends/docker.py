"""Attempts as containers of a Docker engine (DOCKER_HOST): the laptop's stand-in for a cluster.

A container runs as this worker's user, without capabilities, and with a read-only root; its output
folder is mounted at the path that it has here, so the engine has to see this worker's files.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from hpo_lib.backends import (
    MAX_LOG_BYTES,
    RETURNED,
    AttemptName,
    Found,
    NoOptions,
    Request,
    Site,
    keep_unstarted,
    log_of,
    log_too_large,
    unstarted,
)
from hpo_lib.backends.beginning import Vanished, begin, prepare
from hpo_lib.backends.images import IMAGES, check_image, unpinned_image
from hpo_lib.backends.local_guard import ask_to_stop
from hpo_lib.backends.usage import Usage
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import TransientError
from hpo_lib.files.lines import Growing
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict, as_error, parse, told

if TYPE_CHECKING:
    from docker.errors import APIError
    from docker.models.containers import Container

    from docker import DockerClient

_LABEL = "hpo."
_OWNER, _TIMEOUT, _GRACE = f"{_LABEL}store", f"{_LABEL}timeout-s", f"{_LABEL}stop-grace-s"
_POLL_S, _STOP_S = 0.5, 10
_TAIL = 1 << 14
#: The engine keeps all that a container prints until it is removed, whatever its own default is.
_LOG = {"max-size": "1000g", "max-file": "1", "compress": "false"}
_PROCESSES, _NOBODY = 4_096, 65_534
_HOME = "/tmp"  # noqa: S108 - inside the container, a file system of its own
_SIGNALLED = (137, 143)  # 128 + SIGKILL, SIGTERM
#: The output once more, so that what a container returns lands there.
_XCOM = RETURNED.rpartition("/")[0]


class DockerRules(Strict):
    """What `config/deployment.yaml` lets a conf ask of Docker, images by patterns."""

    images: tuple[str, ...] = Field(default=IMAGES, strict=False)
    network: str = "bridge"
    tmp: str = "1g"


@dataclass(frozen=True)
class DockerBackend:
    """Keeps logs and outputs below `home`."""

    keeps_output: ClassVar[bool] = True
    Options: ClassVar[type[Strict]] = NoOptions

    home: Path
    rules: DockerRules = field(default_factory=DockerRules)

    @classmethod
    def at(cls, site: Site) -> Self:
        """Build it for this worker's engine, which DOCKER_HOST names."""
        return cls(site.home, site.rules("docker", DockerRules))

    @classmethod
    def unpinned(cls, trial: TrialSpec) -> str | None:
        """Say which image is not named by its digest."""
        return unpinned_image(trial)

    def permit(self, trial: TrialSpec) -> None:
        """Refuse images that the installation does not allow."""
        lines = told(lambda: parse(NoOptions, trial.options, at="trial.options"))
        lines += told(check_image, trial, self.rules.images)
        if trial.spot:
            lines.append("trial.spot: backend docker has none")
        if lines:
            raise as_error(lines)

    def handle(self, name: AttemptName) -> dict[str, Any]:
        """Name the container and the attempt's folder."""
        place = {"container": name.text(), "store": name.store}
        return place | {"folder": str(name.folder(self.home))}

    def output(self, handle: Mapping[str, Any]) -> Path:
        """Give the folder that the trial knows as HPO_OUTPUT."""
        return Path(handle["folder"]) / "output"

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the file with everything the attempt printed."""
        return log_of(handle)

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Create and start the container unless it exists, or did; pull its image if need be."""
        from docker.errors import APIError

        if unstarted(handle) is not None:
            return
        prepare(handle, request)
        output = self.output(handle)
        if not output.exists():
            output.mkdir(parents=True, mode=0o700)
            os.chown(output, *_user(), follow_symlinks=False)
        with _engine():
            container = self._container(handle)
            try:
                container = self._begun(handle, request) if container is None else container
                if container is not None and container.status == "created":
                    container.start()
            except APIError as error:
                if error.is_server_error() or error.status_code == HTTPStatus.CONFLICT:
                    raise
                _keep(handle, Ending.UNSTARTABLE, error)

    def _begun(self, handle: Mapping[str, Any], request: Request) -> Container | None:
        """Create the container; None, with the end on record, if it cannot be, or was before."""
        if not self._pulled(handle, str(request.image)):
            return None
        create = partial(self._client.containers.create, **self.wanted(handle, request))
        with suppress(Vanished):
            return begin(handle, "container", create, _is_refusal)
        return None

    def wanted(self, handle: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """Describe the container, as `docker.containers.create` takes it."""
        from docker.types import DeviceRequest, LogConfig, Mount

        output = str(self.output(handle))
        gpus = [DeviceRequest(count=request.gpu, capabilities=[["gpu"]])] if request.gpu else []
        user, group = _user()
        return {
            "name": handle["container"],
            "image": request.image,
            "command": list(request.args) or None,
            "environment": dict(request.env) | {"HOME": _HOME},
            "labels": {f"{_LABEL}{name}": value for name, value in request.labels.items()}
            | {_OWNER: handle["store"], _TIMEOUT: str(request.timeout_s)}
            | {_GRACE: str(request.stop_grace_s or _STOP_S)},
            "volumes": _volumes(output, request.resume_from),
            "mounts": [Mount(_XCOM, output, type="bind")] if request.returns else [],
            "log_config": LogConfig(type=LogConfig.types.JSON, config=_LOG),
            "network": self.rules.network,
            "user": f"{user}:{group}",
            "mem_limit": request.memory_bytes,
            "memswap_limit": request.memory_bytes,
            "nano_cpus": int(request.cpu * 1e9) if request.cpu else None,
            "device_requests": gpus,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "pids_limit": _PROCESSES,
            "read_only": True,
            "tmpfs": {_HOME: f"size={self.rules.tmp},exec"},
            "init": True,
        } | ({"entrypoint": list(request.command)} if request.command else {})

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Yield the attempt's lines as they come, and last the Exit."""
        said = max(0, self.log(handle).stat().st_size - _TAIL) if self.log(handle).exists() else 0
        copying = Thread(target=self.fetch, args=(handle,), kwargs={"follow": True}, daemon=True)
        copying.start()
        lines = Growing(self.log(handle), said)
        while (found := self.poll(handle)) is None:
            yield from lines.new(last=False)
            time.sleep(_POLL_S)
        copying.join()
        yield from lines.new(last=True)
        yield self._too_large(handle) or found

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while it runs; one that is late is asked to end, then killed."""
        kept = unstarted(handle)
        if kept is not None:
            return kept
        with _engine():
            container = self._container(handle)
            if container is None:
                return Exit(Ending.LOST, detail="its container is gone")
            state, timeout_s = container.attrs["State"], float(container.labels[_TIMEOUT])
            asked = _asked(handle).exists()
            end, large = exit_of(state, timeout_s, asked=asked), self._too_large(handle)
            if state["Status"] == "running" and (large or self._is_late(state, timeout_s)):
                if not large and self._asked_now(handle):
                    container.kill("SIGTERM")
                elif large or self._is_late(state, timeout_s + _grace_s(container)):
                    container.kill()
        return end and (large or end)

    def fetch(self, handle: Mapping[str, Any], *, follow: bool = False) -> None:
        """Write all that the container has printed, or prints, to the log file."""
        with _engine():
            container = self._container(handle)
            if container is None:
                return
            size = 0
            with self.log(handle).open("wb") as file:
                for chunk in container.logs(stream=True, follow=follow):
                    file.write(chunk)
                    file.flush()
                    size += len(chunk)
                    if size > MAX_LOG_BYTES:
                        return

    def usage(self, handle: Mapping[str, Any]) -> Usage | None:
        """Say what a running container uses; None if none runs."""
        with _engine():
            container = self._container(handle)
            if container is None or container.status != "running":
                return None
            return usage_of(container.stats(stream=False, one_shot=True))

    def release(self, handle: Mapping[str, Any]) -> None:
        """Do nothing: the container goes on until its retry, its end, or its timeout."""

    def end(self, handle: Mapping[str, Any]) -> None:
        """Kill the container."""
        with _engine():
            container = self._container(handle)
            if container is not None and container.status == "running":
                container.kill()

    def stop(self, handle: Mapping[str, Any]) -> None:
        """Stop the container: SIGTERM, a moment, SIGKILL."""
        with _engine():
            container = self._container(handle)
            if container is not None:
                self._asked_now(handle)
                container.stop(timeout=math.ceil(_grace_s(container)))

    def found(self, store: str) -> Iterator[Found]:
        """Give the attempts that have a container."""
        with _engine():
            listed = self._client.containers.list(
                all=True, filters={"label": f"{_OWNER}={store}"}, ignore_removed=True
            )
        for container in listed:
            handle = {"container": container.name, "store": store, "folder": ""}
            yield Found.labelled(container.labels, _LABEL, handle)

    def discard(self, handle: Mapping[str, Any]) -> None:
        """Remove the container."""
        from docker.errors import NotFound

        with _engine(), suppress(NotFound):
            container = self._container(handle)
            if container is not None:
                container.remove(force=True)

    def _asked_now(self, handle: Mapping[str, Any]) -> bool:
        """Ask a trial to stop, by the file in its output; say whether nobody has before."""
        if not handle["folder"] or _asked(handle).exists():
            return False
        ask_to_stop(Path(handle["folder"]))
        with suppress(OSError):
            _asked(handle).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _asked(handle).touch()
        return True

    def _too_large(self, handle: Mapping[str, Any]) -> Exit | None:
        log = self.log(handle)
        return log_too_large(log.stat().st_size) if log.exists() else None

    def _is_late(self, state: Mapping[str, Any], timeout_s: float) -> bool:
        """Say whether a container runs for too long; the engine's clock has told when it began.

        It is asked only when ours says so, which may be wrong or have been stepped.
        """
        if _age_s(state) <= timeout_s:
            return False
        return _age_s(state, datetime.fromisoformat(self._client.info()["SystemTime"])) > timeout_s

    @cached_property
    def _client(self) -> DockerClient:
        import docker

        return docker.from_env()

    def _container(self, handle: Mapping[str, Any]) -> Container | None:
        """Give the attempt's container; TransientError if that name is somebody else's."""
        from docker.errors import NotFound

        try:
            container = self._client.containers.get(handle["container"])
        except NotFound:
            return None
        if container.labels.get(_OWNER) != handle["store"]:
            raise TransientError(
                f"container {handle['container']} is not of store {handle['store']}"
            )
        return container

    def _pulled(self, handle: Mapping[str, Any], image: str) -> bool:
        """See to it that the engine has an image; if it cannot, keep what it said."""
        from docker.errors import APIError, ImageNotFound

        try:
            self._client.images.get(image)
        except ImageNotFound:
            try:
                self._client.images.pull(image)
            except APIError as error:
                _keep(handle, Ending.IMAGE_NOT_PULLABLE, error)
                return False
        return True


def usage_of(stats: Mapping[str, Any]) -> Usage:
    """Read the engine's figures of a container, without files that it keeps in memory only."""
    memory = stats.get("memory_stats") or {}
    kept = (memory.get("stats") or {}).get("inactive_file", 0)
    cpu_ns = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0)
    return Usage(max(0, memory.get("usage", 0) - kept), cpu_ns / 1e9)


def exit_of(state: Mapping[str, Any], timeout_s: float, *, asked: bool = False) -> Exit | None:
    """Read the `State` of an inspected container, perhaps `asked` to end; None while it runs."""
    if state["Status"] not in ("exited", "dead"):
        return None
    code = state["ExitCode"]
    if state["OOMKilled"] and code:
        return Exit(Ending.OUT_OF_MEMORY, code, "over its memory limit")
    if (asked or code in _SIGNALLED) and _age_s(state) >= timeout_s:
        return Exit(Ending.TIMEOUT, code, f"still running after {timeout_s:g} s")
    return Exit(Ending.EXITED, code, state.get("Error", ""))


def _age_s(state: Mapping[str, Any], now: datetime | None = None) -> float:
    """Give how long a container has run, or ran."""
    began = datetime.fromisoformat(state["StartedAt"])
    ended = datetime.fromisoformat(state["FinishedAt"])
    return ((ended if ended > began else now or datetime.now(UTC)) - began).total_seconds()


def _asked(handle: Mapping[str, Any]) -> Path:
    """Give the file that is there once a trial has been asked to end."""
    return Path(handle["folder"]) / "stopping"


def _grace_s(container: Container) -> float:
    """Give how long a container has to end by itself."""
    return float(container.labels.get(_GRACE, _STOP_S))


def _is_refusal(error: Exception) -> bool:
    """Say whether an engine answers that it has not made a container."""
    from docker.errors import APIError

    return isinstance(error, APIError) and error.status_code != HTTPStatus.CONFLICT


def _keep(handle: Mapping[str, Any], ending: Ending, error: APIError) -> None:
    keep_unstarted(handle, Exit(ending, detail=str(error.explanation or error)))


def _volumes(output: str, resume_from: str | None) -> dict[str, dict[str, str]]:
    """Mount the attempt's own output to write, and the output that it resumes from to read."""
    volumes = {output: {"bind": output, "mode": "rw"}}
    if resume_from is not None and resume_from != output:
        volumes[resume_from] = {"bind": resume_from, "mode": "ro"}
    return volumes


def _user() -> tuple[int, int]:
    """Give the user and group of containers: this worker's, unless it is root."""
    return (os.getuid(), os.getgid()) if os.getuid() else (_NOBODY, _NOBODY)


@contextmanager
def _engine() -> Iterator[None]:
    """Raise TransientError for trouble with the engine: it is not the trial's fault."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise TransientError(f"docker: {error}") from error
