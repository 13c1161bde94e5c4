"""MiniStack: an endpoint that runs ECS tasks as containers of a real Docker engine.

It ignores `entryPoint`, `memory` and volumes of a container, and is never short of spot capacity:
tests with it hand their program over as arguments to an image without an entry point.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

_OWN = Path(__file__).resolve().parents[1] / ".venv-ministack" / "bin"
PROGRAM = shutil.which("ministack", path=f"{_OWN}{os.pathsep}{os.environ['PATH']}")
needs_ecs = pytest.mark.needs("DOCKER_HOST")
#: The account of its own; it takes any keys.
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
GROUP, CLUSTER = "/hpo/trials", "default"
_START_S = 60.0


def client(service: str, endpoint: str) -> Any:
    """Connect to a service."""
    return boto3.client(service, endpoint_url=endpoint, **KEYS)


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """Run MiniStack, with a cluster and a log group, and end it with all of its containers."""
    if PROGRAM is None:
        pytest.skip("no ministack: make setup")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0"}
    with (folder / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM], cwd=folder, env=os.environ | own, stdout=log, stderr=log
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _wait(port, process)
        client("ecs", endpoint).create_cluster(clusterName=CLUSTER)
        client("logs", endpoint).create_log_group(logGroupName=GROUP)
        yield endpoint
        for arn in client("ecs", endpoint).list_tasks(cluster=CLUSTER)["taskArns"]:
            client("ecs", endpoint).stop_task(cluster=CLUSTER, task=arn, reason="the end")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_START_S)


def containers() -> list[Any]:
    """List the containers of ECS tasks on the engine."""
    import docker

    label = {"label": "com.amazonaws.ecs.task-arn"}
    return list(docker.from_env().containers.list(filters=label))


def running(ecs: Any, trial: int | None = None) -> list[dict[str, Any]]:
    """List the tasks whose container runs, of one trial or of all."""
    arns = ecs.list_tasks(cluster=CLUSTER)["taskArns"]
    if not arns:
        return []
    found = ecs.describe_tasks(cluster=CLUSTER, tasks=arns, include=["TAGS"])["tasks"]
    wanted = {"key": "hpo:trial", "value": str(trial)}
    going = [task for task in found if task["lastStatus"] == "RUNNING"]
    return [task for task in going if trial is None or wanted in task["tags"]]


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("MiniStack does not answer")
