"""What tests of the stack need: Docker Compose, most of them a Docker engine, and a stack."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.errors import HpoError
from tests.command import printed

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 900.0


def _is_there() -> bool:
    if shutil.which("docker") is None:
        return False
    version = ["docker", "compose", "version"]
    return subprocess.run(version, capture_output=True, check=False).returncode == 0


#: For tests that start nothing: `docker compose config` asks no engine. The mark without names
#: has them run again where the engine's tests are, for there Compose may have come with it.
plugin = [
    pytest.mark.needs(),
    pytest.mark.skipif(not _is_there(), reason="there is no docker compose"),
]
needed = [pytest.mark.needs("DOCKER_HOST"), *plugin]


@dataclass(frozen=True)
class Stack:
    """A stack with a name, an `.env` and ports of its own."""

    settings: Path

    def __getitem__(self, name: str) -> str:
        return str(re.findall(rf"^{name}=(.*)$", self.settings.read_text(), re.MULTILINE)[-1])

    def set(self, name: str, value: str) -> None:
        """Change a setting, as with an editor."""
        text = self.settings.read_text()
        self.settings.write_text(re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.M))

    def do(self, *words: str | Path) -> str:
        """Run a command for this stack, which has to succeed; gives what it printed."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HPO_", "COMPOSE_"))}
        mine = {"COMPOSE_ENV_FILES": str(self.settings), "DOCKER_BUILDKIT": "1"}
        return printed(words, inherited | mine, timeout_s=PATIENCE_S)

    def compose(self, *words: str) -> str:
        return self.do("docker", "compose", *words)

    def start(self) -> None:
        """Start what does not run, as `make up-stack` does."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", str(int(PATIENCE_S)))

    def up(self) -> Airflow:
        """Start it and wait until the DAGs can be triggered."""
        self.start()
        client = self.client()
        self.poll(lambda: client.is_ready("hpo_local"), "the DAG hpo_local")
        return client

    def client(self) -> Airflow:
        url = f"http://127.0.0.1:{self['HPO_PORT']}"
        return Airflow(url, "admin", self["HPO_ADMIN_PASSWORD"])

    def ended(self, client: Airflow, run_id: str) -> str:
        """Wait for the end of a run and give its state."""
        return str(self.poll(lambda: _ended(client, run_id), f"the end of {run_id}"))

    def told(self, script: str, service: str = "scheduler") -> str:
        """Run Python in a service; give the line that it prints with TOLD before it."""
        printed = self.compose("exec", "-T", service, "python", "-c", script)
        lines = [line for line in printed.splitlines() if line.startswith("TOLD ")]
        return lines[-1].removeprefix("TOLD ")

    def s3(self, secret: str | None = None) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self['HPO_S3_PORT']}",
            region_name="us-east-1",
            aws_access_key_id=self["HPO_S3_ACCESS_KEY"],
            aws_secret_access_key=secret or self["HPO_S3_SECRET_KEY"],
        )

    def poll(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.2)
        logs = self.compose("logs", "--tail=20")
        raise AssertionError(f"waited in vain for {what}\n{logs}")


def _ended(client: Airflow, run_id: str) -> str | None:
    try:
        state = client.state("hpo_local", run_id)
    except HpoError:
        return None
    return state if state in DONE else None


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@contextmanager
def made(folder: Path, **settings: object) -> Iterator[Stack]:
    """Make a stack's settings and images; nothing is left of what was started with them."""
    airflow, s3 = os.environ.get("HPO_AIRFLOW_IMAGE"), os.environ.get("HPO_S3_IMAGE")
    given = {
        "COMPOSE_PROJECT_NAME": f"hpo-test-{uuid.uuid4().hex[:8]}",
        "HPO_AIRFLOW_IMAGE": airflow or "hpo-airflow:test",
        "HPO_S3_IMAGE": s3 or "hpo-s3:test",
        "HPO_PORT": free_port(),
        "HPO_S3_PORT": free_port(),
        "HPO_PARALLELISM": 4,
        **settings,
    }
    path = folder / "settings"
    path.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    words = [sys.executable, ROOT / "docker" / "stack" / "environment.py", path]
    subprocess.run([*words, str(os.cpu_count() or 1), str(4 << 30)], check=True)
    one = Stack(path)
    for there, name in ((airflow, "airflow"), (s3, "s3")):
        if not there:
            file, tag = f"--file=docker/{name}/Dockerfile", f"--tag=hpo-{name}:test"
            one.do("docker", "build", "--quiet", "--network=host", file, tag, ".")
    try:
        yield one
    finally:
        one.set("HPO_EXECUTOR", "CeleryExecutor")
        one.compose("down", "--volumes", "--timeout=10")
