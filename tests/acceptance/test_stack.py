"""The stack with Docker Compose: run, back up, destroy, restore as a stack with Celery, run again.

It takes ten minutes and is run where HPO_TEST_STACK is set. It needs a Docker engine with
`postgres:16` and `redis:7`, and takes HPO_AIRFLOW_IMAGE and HPO_S3_IMAGE, or builds them.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from hpo_lib.errors import HpoError
from hpo_lib.remote import DONE, Airflow
from tests import compose

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 900.0
CONF: dict[str, Any] = {
    "name": "square",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": -1, "high": 1}},
    "limits": {"max_trials": 2, "parallel_trials": 2},
    "trial": {
        "command": [
            *("sh", "-c"),
            'echo "model of $HPO_TRIAL" > "$HPO_OUTPUT/model"; echo "loss=0.$HPO_TRIAL"',
        ]
    },
    "artifacts": {"uri": "s3://hpo/team", "keep": "best"},
}
#: Prints all that the store knows, the same each time.
DUMP = """
import os
from hpo_lib.store import Store
with Store.open(os.environ["HPO_STORE"]) as store:
    print("STORE", store.id, [(run, store.view(run.id)) for run in store.runs()])
"""

pytestmark = [pytest.mark.airflow, pytest.mark.needs("HPO_TEST_STACK"), *compose.needed]


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
        done = subprocess.run(
            [*map(str, words)],
            cwd=ROOT,
            env=inherited | {"COMPOSE_ENV_FILES": str(self.settings), "DOCKER_BUILDKIT": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def compose(self, *words: str) -> str:
        return self.do("docker", "compose", *words)

    def up(self) -> Airflow:
        """Start it and wait until the DAGs can be triggered."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", str(int(PATIENCE_S)))
        url = f"http://127.0.0.1:{self['HPO_PORT']}"
        client = Airflow(url, "admin", self["HPO_ADMIN_PASSWORD"])
        self._poll(lambda: client.is_ready("hpo_local"), "the DAG hpo_local")
        return client

    def run(self, client: Airflow) -> str:
        """Trigger the experiment and give the state in which it ends."""
        run_id = client.trigger("hpo_local", CONF)
        ended = self._poll(lambda: _ended(client, run_id), f"the end of {run_id}")
        return str(ended)

    def store(self) -> str:
        """Give all that the store knows."""
        printed = self.compose("exec", "-T", "scheduler", "python", "-c", DUMP)
        return next(line for line in printed.splitlines() if line.startswith("STORE"))

    def home(self) -> str:
        """Give the names and digests of all reports, logs and outputs."""
        find = "cd hpo && find . -type f | sort | xargs sha256sum"
        return self.compose("exec", "-T", "scheduler", "sh", "-c", find)

    def s3(self, secret: str | None = None) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self['HPO_S3_PORT']}",
            region_name="us-east-1",
            aws_access_key_id=self["HPO_S3_ACCESS_KEY"],
            aws_secret_access_key=secret or self["HPO_S3_SECRET_KEY"],
        )

    def _poll(self, condition: Any, what: str) -> Any:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.5)
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


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    airflow, s3 = os.environ.get("HPO_AIRFLOW_IMAGE"), os.environ.get("HPO_S3_IMAGE")
    settings = tmp_path / "settings"
    settings.write_text(
        f"COMPOSE_PROJECT_NAME=hpo-test-{uuid.uuid4().hex[:8]}\n"
        f"HPO_AIRFLOW_IMAGE={airflow or 'hpo-airflow:test'}\nHPO_S3_IMAGE={s3 or 'hpo-s3:test'}\n"
        f"HPO_PORT={free_port()}\nHPO_S3_PORT={free_port()}\nHPO_PARALLELISM=4\n"
    )
    words = [sys.executable, ROOT / "docker" / "stack" / "environment.py", settings]
    subprocess.run([*words, str(os.cpu_count() or 1), str(4 << 30)], check=True)
    one = Stack(settings)
    for given, folder in ((airflow, "airflow"), (s3, "s3")):
        if not given:
            file, tag = f"--file=docker/{folder}/Dockerfile", f"--tag=hpo-{folder}:test"
            one.do("docker", "build", "--quiet", "--network=host", file, tag, ".")
    try:
        yield one
    finally:
        one.set("HPO_EXECUTOR", "CeleryExecutor")
        one.compose("down", "--volumes", "--timeout=10")


def test_a_team_can_run_back_up_and_restore(stack: Stack, tmp_path: Path) -> None:
    client = stack.up()
    assert stack.run(client) == "success"
    _check_artifacts(stack)
    known, home = stack.store(), stack.home()
    assert known.count("loss") >= 2
    assert "/report.html" in home
    _check_nothing_secret_is_told(stack)

    backup = tmp_path / "backup.tar"
    stack.do("docker/stack/backup", backup)
    assert backup.stat().st_mode & 0o077 == 0
    stack.compose("down", "--volumes", "--timeout=10")
    stack.do("docker/stack/restore", backup)
    with pytest.raises(AssertionError, match="is not empty"):
        stack.do("docker/stack/restore", backup)

    stack.set("HPO_EXECUTOR", "CeleryExecutor")
    client = stack.up()
    assert (stack.store(), stack.home()) == (known, home)
    assert stack.run(client) == "success"
    assert "celery@" in stack.compose("logs", "worker")
    assert stack.home().count("/report.html") == 2
    _check_nothing_secret_is_told(stack)


def _check_artifacts(stack: Stack) -> None:
    listed = stack.s3().list_objects_v2(Bucket="hpo", Prefix="team/square/")["Contents"]
    names = [one["Key"].rpartition("/")[2] for one in listed]
    assert sorted(names) == ["model", "result.json", "result.json"]
    with pytest.raises(ClientError, match=r"Signature|Access"):
        stack.s3(secret="wrong").list_objects_v2(Bucket="hpo")


def _check_nothing_secret_is_told(stack: Stack) -> None:
    logs = stack.compose("logs", "--no-color")
    lines = [line.split("=", 1) for line in stack.settings.read_text().splitlines() if "=" in line]
    names = [name for name, value in lines if name.endswith(("PASSWORD", "SECRET", "KEY"))]
    assert len(names) == 10
    assert [name for name in names if stack[name] in logs] == []
