"""The stack with Docker Compose: run, back up, destroy, restore as a stack with Celery, run again.

It takes three minutes. It needs a Docker engine with `postgres:16` and `redis:7`, and takes
HPO_AIRFLOW_IMAGE and HPO_S3_IMAGE, or builds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hpo_lib.cli.airflow_api import Airflow
from tests import compose
from tests.compose import Stack

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
    print("TOLD", store.id, [(run, store.view(run.id)) for run in store.runs()])
"""

pytestmark = [pytest.mark.airflow, *compose.needed]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with compose.made(tmp_path) as one:
        yield one


def test_a_team_can_run_back_up_and_restore(stack: Stack, tmp_path: Path) -> None:
    client = stack.up()
    assert _run(stack, client) == "success"
    _check_artifacts(stack)
    known, home = stack.told(DUMP), _home(stack)
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
    assert (stack.told(DUMP), _home(stack)) == (known, home)
    assert _run(stack, client) == "success"
    assert "celery@" in stack.compose("logs", "worker")
    assert _home(stack).count("/report.html") == 2
    _check_nothing_secret_is_told(stack)


def _check_artifacts(stack: Stack) -> None:
    listed = stack.s3().list_objects_v2(Bucket="hpo", Prefix="team/square/")["Contents"]
    names = [one["Key"].rpartition("/")[2] for one in listed]
    reports = ["report.html", "report.json", "trials.csv"]
    assert sorted(names) == sorted(["model", "result.json", "result.json", *reports])
    with pytest.raises(ClientError, match=r"Signature|Access"):
        stack.s3(secret="wrong").list_objects_v2(Bucket="hpo")


def _check_nothing_secret_is_told(stack: Stack) -> None:
    logs = stack.compose("logs", "--no-color")
    lines = [line.split("=", 1) for line in stack.settings.read_text().splitlines() if "=" in line]
    names = [name for name, value in lines if name.endswith(("PASSWORD", "SECRET", "KEY"))]
    assert len(names) == 10
    assert [name for name in names if stack[name] in logs] == []


def _run(stack: Stack, client: Airflow) -> str:
    """Trigger the experiment and give the state in which it ends."""
    return stack.ended(client, client.trigger("hpo_local", CONF))


def _home(stack: Stack) -> str:
    """Give the names and digests of all reports, logs and outputs."""
    find = "cd hpo && find . -type f | sort | xargs sha256sum"
    return stack.compose("exec", "-T", "scheduler", "sh", "-c", find)
