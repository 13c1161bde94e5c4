"""What pods print, from an API server that cuts it off, refuses it, or has forgotten it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from hpo_lib.backends.pod_logs import PodLogs
from hpo_lib.errors import TransientError

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def timed(log: bytes, first: int = 0) -> bytes:
    """Put before each line its time, as the API server does: a second more for each."""
    lines = log.splitlines(keepends=True)
    return b"".join(at(number) + b" " + line for number, line in enumerate(lines, start=first))


def at(second: int) -> bytes:
    """Write the time so many seconds after the container's start, with nine digits."""
    return f"{(BEGAN + timedelta(seconds=second)).isoformat()[:19]}.000000000Z".encode()


class FakeClient:
    """Gives, call by call, a log or raises; the times of a log's lines are always the same."""

    def __init__(self, *logs: bytes | Exception) -> None:
        self.logs = list(logs)

    def read_namespaced_pod_log(self, *_: Any, timestamps: bool, **__: Any) -> FakeClient:
        assert timestamps
        found = self.logs.pop(0)
        if isinstance(found, Exception):
            raise found
        self.log = timed(found)
        return self

    def stream(self, _: int) -> Iterator[bytes]:
        yield self.log


def pod(name: str, *, state: str = "running", restarts: int = 0, minute: int = 0) -> dict[str, Any]:
    began = {"startedAt": BEGAN.isoformat()}
    status = {"name": "main", "restartCount": restarts, "state": {state: began}}
    when = f"2026-01-01T00:{minute:02d}:00Z"
    return {
        "metadata": {"name": name, "namespace": "trials", "creationTimestamp": when},
        "status": {"containerStatuses": [status]},
    }


@pytest.fixture
def logs(tmp_path: Path) -> PodLogs:
    return PodLogs(tmp_path / "pods")


def watched(logs: PodLogs, client: Any, one: dict[str, Any]) -> list[str]:
    """Have a pod watched until that is over, and give the lines that are new."""
    logs.watch(client, one, "main")
    return list(logs.lines(10.0, last=False))


def test_lines_come_once_although_the_log_is_read_again_when_it_is_cut_off(logs: PodLogs) -> None:
    client = FakeClient(b"a\nb\n", b"a\nb\nc\nhalf")
    assert watched(logs, client, pod("p")) == ["a", "b"]
    assert watched(logs, client, pod("p")) == ["c"]
    assert list(logs.lines(0.0, last=True)) == ["half"]


def test_a_container_that_has_ended_is_not_watched_again(logs: PodLogs) -> None:
    client = FakeClient(b"a\n")
    assert watched(logs, client, pod("p")) == ["a"]
    assert watched(logs, client, pod("p", state="terminated")) == []


def test_trouble_while_following_is_no_error(logs: PodLogs) -> None:
    client = FakeClient(ApiException(500), b"a\n")
    assert watched(logs, client, pod("p")) == []
    assert watched(logs, client, pod("p")) == ["a"]


def test_nobody_waits_for_a_copy_that_does_not_end(logs: PodLogs) -> None:
    over = Event()

    class Hanging(FakeClient):
        def stream(self, _: int) -> Iterator[bytes]:
            yield b"a\n"
            over.wait()

    logs.watch(Hanging(b""), pod("p"), "main")
    list(logs.lines(0.1, last=True))
    (tail,) = logs.tails.values()
    assert tail.copying.is_alive()
    over.set()


def test_the_log_is_that_of_all_containers_in_the_order_of_their_pods(
    logs: PodLogs, tmp_path: Path
) -> None:
    log, ended = tmp_path / "log.txt", {"state": "terminated"}
    logs.fetch(FakeClient(b"2\n"), pod("a", minute=1, **ended), "main")
    logs.fetch(FakeClient(b"0\n"), pod("z", **ended), "main")
    logs.fetch(FakeClient(b"1\n"), pod("z", restarts=1, **ended), "main")
    logs.put_together(log)
    assert log.read_text() == "0\n1\n2\n"


def test_what_was_followed_counts_where_the_rest_is_gone(logs: PodLogs, tmp_path: Path) -> None:
    watched(logs, FakeClient(b"all of it\n"), pod("p"))
    logs.fetch(FakeClient(b"it\n"), pod("p"), "main")
    logs.fetch(FakeClient(ApiException(404)), pod("gone"), "main")
    logs.put_together(tmp_path / "log.txt")
    assert (tmp_path / "log.txt").read_text() == "all of it\n"


def test_without_any_copy_there_is_no_log(logs: PodLogs, tmp_path: Path) -> None:
    logs.put_together(tmp_path / "log.txt")
    assert not (tmp_path / "log.txt").exists()


def test_a_server_in_trouble_is_asked_later(logs: PodLogs) -> None:
    with pytest.raises(TransientError, match="kubernetes: 500"):
        logs.fetch(FakeClient(ApiException(500)), pod("p"), "main")
