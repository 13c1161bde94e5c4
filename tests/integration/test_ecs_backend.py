"""Attempts as ECS tasks that really run: MiniStack starts them as containers.

What it cannot show (an image's entry point replaced, memory limits, spot interruptions, a task's
own account of why it did not start) is in test_ecs_operator.py, with a fake that says such things.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends import AttemptName, Request
from hpo_lib.backends.ecs import EcsBackend
from hpo_lib.backends.ecs_request import EcsRules
from hpo_lib.core.ending import Ending
from hpo_lib.errors import TransientError
from tests.integration.backend_contract import LABELS, STORE, WAIT, BackendContract
from tests.ministack import CLUSTER, GROUP, client, needs_ecs

IMAGE = os.environ.get("HPO_TEST_IMAGE", "debian:bookworm-slim")
_runs = itertools.count(1)


def connect(endpoint: str) -> Any:
    """Give what connects a backend to an endpoint."""
    return partial(_client, endpoint)


def _client(endpoint: str, service: str) -> Any:
    return client(service, endpoint)


class TestEcsBackend(BackendContract):
    """The contract, and what only ECS does."""

    pytestmark = needs_ecs

    @pytest.fixture
    def backend(self, tmp_path: Path, endpoint: str) -> EcsBackend:
        return EcsBackend(tmp_path, connect(endpoint), EcsRules(default="EC2"))

    def request(self, script: str, **changes: Any) -> Request:
        known = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 120.0, "image": IMAGE}
        known |= {"labels": LABELS, "command": (), "args": ["sh", "-c", script]}
        return Request(**(known | changes))

    @pytest.fixture
    def handle(self, backend: EcsBackend) -> Iterator[Any]:
        """The place of an attempt of a run of its own: stopped tasks cannot be deleted."""
        made = backend.handle(AttemptName(STORE, f"{next(_runs):06d}-contract", 1, 1, {}))
        yield made
        backend.stop(made)
        backend.discard(made)

    @pytest.mark.skip(reason="MiniStack gives a container all the memory there is")
    def test_the_memory_limit_ends_it(self, backend: EcsBackend, handle: Any) -> None:
        """See test_ecs_operator.py."""

    def test_a_program_that_does_not_exist_says_so(self, backend: EcsBackend, handle: Any) -> None:
        """As the contract has it, but for the entry point, which MiniStack ignores."""
        backend.submit(handle, self.request("", args=["no-such-program"]))
        found = self.end(backend, handle)
        assert found.ending is Ending.UNSTARTABLE
        assert "no-such-program" in found.detail

    def test_a_task_stopped_from_outside_is_lost(self, backend: EcsBackend, handle: Any) -> None:
        backend.submit(handle, self.request(WAIT))
        backend.ecs.stop_task(cluster=CLUSTER, task=backend.task(handle)["taskArn"], reason="x")
        found = self.end(backend, handle)
        assert (found.ending, found.detail) == (Ending.LOST, "x")

    def test_another_worker_finds_it_running_and_ended(
        self, backend: EcsBackend, handle: Any
    ) -> None:
        backend.submit(handle, self.request("sleep 2; exit 3"))
        note = Path(handle["folder"]) / "task.txt"
        note.unlink()
        backend.submit(handle, self.request("exit 4"))
        assert backend.poll(handle) is None
        assert self.end(backend, handle).code == 3
        assert not note.exists(), "nothing was started again"

    def test_a_definition_lives_as_long_as_its_attempt(
        self, backend: EcsBackend, handle: Any
    ) -> None:
        backend.submit(handle, self.request("true"))
        family = backend.ecs.describe_task_definition(taskDefinition=handle["task"])
        assert family["taskDefinition"]["status"] == "ACTIVE"
        self.end(backend, handle)
        backend.discard(handle)
        family = backend.ecs.describe_task_definition(taskDefinition=handle["task"])
        assert family["taskDefinition"]["status"] == "INACTIVE"
        backend.fetch(handle)

    def test_a_named_definition_gets_command_and_environment(self, backend: EcsBackend) -> None:
        logs = {"awslogs-group": GROUP, "awslogs-region": "us-east-1"}
        logs |= {"awslogs-stream-prefix": "theirs"}
        container = {"name": "main", "image": IMAGE, "memory": 128, "command": ["false"]}
        container["environment"] = [{"name": "KEPT", "value": "kept"}]
        container["logConfiguration"] = {"logDriver": "awslogs", "options": logs}
        backend.ecs.register_task_definition(family="train", containerDefinitions=[container])
        options = {"task_definition": "train", "container": "main"}
        handle = backend.handle(AttemptName(STORE, f"{next(_runs):06d}-named", 1, 1, options))
        backend.submit(handle, self.request("echo $KEPT $HPO_TRIAL", image=None, options=options))
        assert self.end(backend, handle).code == 0
        assert backend.log(handle).read_text() == "kept 1\n"
        backend.discard(handle)
        found = backend.ecs.describe_task_definition(taskDefinition="train")
        assert found["taskDefinition"]["status"] == "ACTIVE"

    def test_a_task_of_another_store_is_left_alone(self, backend: EcsBackend, handle: Any) -> None:
        backend.submit(handle, self.request(WAIT))
        with pytest.raises(TransientError, match="is not of store ffff"):
            backend.stop(handle | {"store": "ffff"})
        assert backend.poll(handle) is None


def test_no_service_is_the_worlds_fault(tmp_path: Path) -> None:
    backend = EcsBackend(tmp_path, connect("http://127.0.0.1:9"))
    with pytest.raises(TransientError, match="ecs: "):
        backend.poll(backend.handle(AttemptName(STORE, "000001-x", 1, 1)))
