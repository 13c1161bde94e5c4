"""What Airflow's own operator shows of a pod's log, which is kept on its way: Airflow's real code.

The API server is a fake that breaks off in the middle of a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.utils import pod_manager
from airflow.sdk.exceptions import AirflowException
from kubernetes import client
from urllib3.exceptions import ProtocolError

from hpo_airflow.operators.kubernetes import _Watcher
from hpo_lib.backends import pod_logs
from hpo_lib.backends.pod_logs import PodLogs
from tests import clocks

BEGAN = datetime.now(UTC).replace(microsecond=0)
LINES = [
    f"{(BEGAN + timedelta(seconds=1)).isoformat()[:19]}.{number:09d}Z loss={number}\n".encode()
    for number in range(6)
]


class FakeServer:
    """Breaks off twice, in a line and after one; at the third reading the container has ended."""

    def __init__(self) -> None:
        self.api_client = client.ApiClient()
        self.logs = [b"".join(LINES)[:-200], b"".join(LINES[:5]), b"".join(LINES)]
        self.asked = 0

    def read_namespaced_pod_log(self, *_: Any, **how: Any) -> FakeServer:
        assert (how["timestamps"], how["follow"]) == (True, True)
        self.asked += 1
        return self

    def stream(self, _: int) -> Iterator[bytes]:
        yield self.logs[self.asked - 1]
        if self.asked < len(self.logs):
            raise ProtocolError("connection broken")

    def read_namespaced_pod(self, *_: Any) -> client.V1Pod:
        return pod(running=self.asked < len(self.logs))


def pod(*, running: bool) -> client.V1Pod:
    """Describe the pod of an attempt."""
    now = client.V1ContainerStateRunning(started_at=BEGAN)
    over = client.V1ContainerStateTerminated(started_at=BEGAN, finished_at=BEGAN, exit_code=0)
    state = client.V1ContainerState(running=now if running else None, terminated=over)
    status = client.V1ContainerStatus(
        name="trial", image="i", image_id="i", ready=True, restart_count=0, state=state
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="p", namespace="n", creation_timestamp=BEGAN),
        spec=client.V1PodSpec(containers=[client.V1Container(name="trial")]),
        status=client.V1PodStatus(
            phase="Running" if running else "Succeeded", container_statuses=[status]
        ),
    )


@pytest.fixture
def logs(tmp_path: Path) -> PodLogs:
    return PodLogs(tmp_path / "pods")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Airflow writes to the task's log."""
    lines: list[str] = []
    monkeypatch.setattr(_Watcher, "_log_message", lambda _, message, *__: lines.append(message))
    clocks.give(monkeypatch, pod_manager, sleep=lambda _: None)
    return lines


def follow(server: FakeServer, logs: PodLogs) -> None:
    """Have Airflow follow the log until the container has ended."""
    _Watcher(server, [], logs).fetch_container_logs(pod(running=True), "trial", follow=True)


def test_no_line_is_lost_or_repeated_though_the_log_is_cut_off(
    logs: PodLogs, tmp_path: Path, said: list[str]
) -> None:
    server = FakeServer()
    follow(server, logs)
    assert said == [f"loss={number}" for number in range(6)]
    assert server.asked == 3, "as often as it broke off, and no more"
    logs.put_together(tmp_path / "log.txt")
    assert (tmp_path / "log.txt").read_text() == "".join(f"loss={n}\n" for n in range(6))


def test_a_log_that_is_too_large_is_followed_no_further(
    logs: PodLogs, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(pod_logs, "MAX_LOG_BYTES", 10)
    monkeypatch.setattr("hpo_lib.backends.MAX_LOG_BYTES", 10)
    with pytest.raises(AirflowException, match="printed more than"):
        follow(FakeServer(), logs)
    assert said != []
