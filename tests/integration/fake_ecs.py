"""A fake of ECS for what no endpoint on this machine says: a test double, not the real thing.

moto answers and remembers; patched here, it runs a task's command as a process of this machine,
writes what that prints to moto's CloudWatch, and ends tasks with the stop codes that a test wants.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from unittest.mock import patch

from moto.core.responses import ActionResult
from moto.ecs.models import EC2ContainerServiceBackend, ecs_backends
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.logs.models import logs_backends
from moto.server import ThreadedMotoServer

#: What is kept of every RunTask.
_ASKED = ("launchType", "capacityProviderStrategy")
_ACCOUNT, _REGION = "123456789012", "us-east-1"


@dataclass(frozen=True)
class Fate:
    """What befalls a task: it never begins, or is ended `after_s`, or its container says more."""

    stop_code: str = "EssentialContainerExited"
    reason: str = "Essential container in task exited"
    container: str = ""
    begins: bool = True
    after_s: float | None = None


@dataclass
class FakeEcs:
    """Its fates come over the tasks in the order in which they are started."""

    address: str
    fates: list[Fate] = field(default_factory=list)
    #: How often RunTask has no place for a task before it has one.
    crowded: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)

    def forget(self) -> None:
        """Know no task any more, as ECS does an hour after its end."""
        ecs_backends[_ACCOUNT][_REGION].tasks.clear()

    def begin(self, backend: Any, task: Any) -> None:
        """Run a task as its fate will have it."""
        fate = self.fates.pop(0) if self.fates else Fate()
        task.created_at = time.time()
        definition = backend.describe_task_definition(task.task_definition_arn)
        container = definition.container_definitions[0]
        if not fate.begins:
            del task.containers[0].exitCode
            return _stop(task, fate)
        task.started_at = time.time()
        words = [*container.get("entryPoint", []), *container.get("command", [])]
        env = {one["name"]: one["value"] for one in container["environment"]}
        task.process = subprocess.Popen(
            words, env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        Thread(target=_watch, args=(task, container, fate), daemon=True).start()
        return None


def _watch(task: Any, container: Any, fate: Fate) -> None:
    """Wait for a task's end, or bring it about, and write its log."""
    try:
        printed, _ = task.process.communicate(timeout=fate.after_s)
    except subprocess.TimeoutExpired:
        task.process.kill()
        printed, _ = task.process.communicate()
    options = container["logConfiguration"]["options"]
    group, logs = options["awslogs-group"], logs_backends[_ACCOUNT][_REGION]
    stream = f"{options['awslogs-stream-prefix']}/{container['name']}/{task.id}"
    now = int(time.time() * 1_000)
    events = [{"timestamp": now, "message": line} for line in printed.decode().splitlines()]
    logs.create_log_stream(group, stream)
    if events:
        logs.put_log_events(group, stream, events)
    code = task.process.returncode
    task.containers[0].exitCode = code if code >= 0 else 128 - code
    if task.last_status != "STOPPED":
        _stop(task, fate)


def _stop(task: Any, fate: Fate) -> None:
    task.stop_code, task.stopped_reason = fate.stop_code, fate.reason
    task.containers[0].reason = fate.container
    task.last_status = task.desired_status = "STOPPED"


@contextmanager
def fake_ecs() -> Iterator[FakeEcs]:
    """Run the fake until the end of the block."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    fake = FakeEcs(f"http://{host}:{port}")
    run, stop = EC2ContainerServiceBackend.run_task, EC2ContainerServiceBackend.stop_task
    answer = EC2ContainerServiceResponse.run_task

    def run_task(self: Any, *args: Any) -> list[Any]:
        tasks = run(self, *args)
        for task in tasks:
            task.advance = lambda: None
            fake.begin(self, task)
        return tasks

    def stop_task(self: Any, cluster: str, name: str, reason: str) -> Any:
        task = stop(self, cluster, name, reason)
        task.stop_code = "UserInitiated"
        task.process.kill()
        return task

    def answered(self: Any) -> Any:
        fake.asked.append({name: self._get_param(name) for name in _ASKED})
        fake.crowded -= 1
        if fake.crowded >= 0:
            return ActionResult({"tasks": [], "failures": [{"reason": "RESOURCE:GPU"}]})
        return answer(self)

    with (
        patch.object(EC2ContainerServiceBackend, "run_task", run_task),
        patch.object(EC2ContainerServiceBackend, "stop_task", stop_task),
        patch.object(EC2ContainerServiceResponse, "run_task", answered),
    ):
        yield fake
    server.stop()


_ASKED = (
    "launchType",
    "capacityProviderStrategy",
    "overrides",
    "startedBy",
    "networkConfiguration",
)
