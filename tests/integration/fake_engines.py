"""Fakes of a Docker engine and of a cluster's API server: test doubles that only keep what is made.

Nothing runs in them. They answer as their originals do to what the backends ask, count what is
made, and have trouble when a test says so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

from docker.errors import NotFound
from kubernetes.client.exceptions import ApiException

_BEGAN = "2021-05-06T07:08:09.000000+00:00"


class Keeps:
    """Things by name; `made` counts them, `trouble` is raised in turn when one is to be made."""

    def __init__(self) -> None:
        self.things: dict[str, Any] = {}
        self.made = 0
        self.trouble: list[Exception] = []

    def make(self, name: str, thing: Any) -> Any:
        """Keep a new thing."""
        if self.trouble:
            raise self.trouble.pop(0)
        self.made += 1
        self.things[name] = thing
        return thing


class FakeDocker(Keeps):
    """A client of Docker, as `docker.from_env` gives it, whose containers run until stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.containers = SimpleNamespace(get=self._get, create=self._create)
        self.images = SimpleNamespace(get=lambda _: None)
        self.began = self.now = datetime.now(UTC)
        self.stubborn = False

    def info(self) -> dict[str, str]:
        return {"SystemTime": self.now.isoformat()}

    def _get(self, name: str) -> Any:
        if name not in self.things:
            raise NotFound(name)
        return self.things[name]

    def _create(self, *, name: str, labels: Any, **_: Any) -> Any:
        return self.make(name, _Container(self, name, labels))


class _Container:
    def __init__(self, engine: FakeDocker, name: str, labels: Any) -> None:
        self.engine, self.name, self.labels, self.status = engine, name, labels, "created"
        self.signals: list[str] = []

    @property
    def attrs(self) -> dict[str, Any]:
        began, never = self.engine.began.isoformat(), "0001-01-01T00:00:00Z"
        ended = never if self.status == "running" else self.engine.now.isoformat()
        state = {"Status": self.status, "StartedAt": began, "FinishedAt": ended, "Error": ""}
        return {"State": state | {"ExitCode": 143, "OOMKilled": False}}

    def start(self) -> None:
        self.status = "running"

    def kill(self, signal: str = "SIGKILL") -> None:
        self.signals.append(signal)
        if signal == "SIGKILL" or not self.engine.stubborn:
            self.status = "exited"

    def stop(self, timeout: int) -> None:
        self.status = "exited"

    def remove(self, *, force: bool) -> None:
        self.engine.things.pop(self.name, None)

    def logs(self, **_: Any) -> list[bytes]:
        return []


class FakeCluster(Keeps):
    """Clients of a cluster (CoreV1Api, CustomObjectsApi) with the kind Job and no controller."""

    def __init__(self) -> None:
        super().__init__()
        self.api_client = SimpleNamespace(sanitize_for_serialization=lambda thing: thing)
        self.answered_at(10)

    def wait(self) -> None:
        """Have all pods wait for a place."""
        for pod in self.things.values():
            pod["status"] = {"phase": "Pending"}

    def answered_at(self, age_s: float) -> None:
        """Answer at a time when what is made has this age."""
        now = datetime.fromisoformat(_BEGAN) + timedelta(seconds=age_s)
        answer = SimpleNamespace(headers={"Date": format_datetime(now, usegmt=True)})
        self.api_client.last_response = SimpleNamespace(urllib3_response=answer)

    def read_namespaced_pod(self, name: str, _: str) -> Any:
        if name not in self.things:
            raise ApiException(404)
        return self.things[name]

    def create_namespaced_pod(self, namespace: str, body: Any) -> Any:
        born = body["metadata"] | {"creationTimestamp": _BEGAN}
        status = {"phase": "Running", "containerStatuses": []}
        return self.make(born["name"], body | {"metadata": born, "status": status})

    def delete_namespaced_pod(self, name: str, _: str, **__: Any) -> None:
        self.things.pop(name, None)

    def list_namespaced_pod(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(items=[])

    def delete_collection_namespaced_pod(self, *_: Any, **__: Any) -> None:
        """A Job here has no pods."""

    def get_api_resources(self, *_: str) -> Any:
        return SimpleNamespace(resources=[SimpleNamespace(name="jobs", kind="Job")])

    def get_namespaced_custom_object(self, *place: str) -> Any:
        return self.read_namespaced_pod(place[-1], "")

    def create_namespaced_custom_object(self, *place: Any) -> Any:
        return self.create_namespaced_pod("", place[-1])

    def delete_namespaced_custom_object(self, *place: str, **_: Any) -> None:
        self.things.pop(place[-1], None)
