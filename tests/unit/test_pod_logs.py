"""What pods print, from an API server that cuts it off, refuses it, or has forgotten it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

import hpo_lib.backends
from hpo_lib.backends import INCOMPLETE, incomplete, pod_logs
from hpo_lib.backends.kept_log import MISSING
from hpo_lib.backends.pod_logs import PodLogs, followed, joined
from hpo_lib.collectors import Source
from hpo_lib.core.ending import CAUSES, Ending, Exit
from hpo_lib.core.trial import Cause
from hpo_lib.errors import TransientError
from hpo_lib.records import Outcome
from hpo_lib.spec import load
from hpo_lib.trials import outcome

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def timed(log: bytes, first: int = 0) -> bytes:
    """Put before each line its time, as the API server does: a second more for each."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", log)
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


class FakeNode(FakeClient):
    """Has a log that grows, of which it gives the newest part, and breaks off at its end."""

    def __init__(self) -> None:
        self.printed: list[bytes] = []
        self.first = 0

    def prints(self, *texts: str) -> None:
        self.printed += [f"{text}\n".encode() for text in texts]

    def turns_over(self) -> None:
        self.first = len(self.printed)

    def read_namespaced_pod_log(self, *_: Any, timestamps: bool, **__: Any) -> FakeNode:
        assert timestamps
        self.log = timed(b"".join(self.printed[self.first :]), self.first)
        return self


BEST = "\n".join([INCOMPLETE, MISSING.decode()])
CONF: dict[str, Any] = {
    "name": "iris",
    "objective": {"metric": "loss", "direction": "minimize", "reduce": "best"},
    "space": {"lr": {"type": "float", "low": 0.001, "high": 1.0}},
    "trial": {"command": ["python", "train.py"]},
}


def judged(log: Path, **changes: Any) -> Outcome:
    """Say what becomes of a trial with this log that ended well."""
    end = Exit(Ending.EXITED, 0)
    return outcome.outcome(load(CONF | changes), end, Source(log, log.with_name("output")))


def test_what_is_followed_outlives_the_node_that_turns_it_over(
    logs: PodLogs, tmp_path: Path
) -> None:
    node, log = FakeNode(), tmp_path / "log.txt"
    node.prints("loss=0.1", "loss=0.7")
    assert watched(logs, node, pod("p")) == ["loss=0.1", "loss=0.7"]
    node.prints("loss=0.8")
    assert watched(logs, node, pod("p")) == ["loss=0.8"]
    again = PodLogs(logs.folder)  # in the task's retry, which finds the newest file alone
    node.first = 1
    node.prints("loss=0.9")
    again.fetch(node, pod("p", state="terminated"), "main")
    again.fetch(node, pod("p", state="terminated"), "main")
    again.put_together(log)
    assert log.read_text() == "loss=0.1\nloss=0.7\nloss=0.8\nloss=0.9\n"
    assert judged(log).reason == "loss = 0.1"


def test_what_nobody_read_in_time_is_said_to_be_missing(logs: PodLogs, tmp_path: Path) -> None:
    """The best loss is gone; today nobody would know."""
    node, log = FakeNode(), tmp_path / "log.txt"
    node.prints("loss=0.1", *(["noise"] * 60))
    node.turns_over()
    node.prints("loss=0.9")
    logs.fetch(node, pod("p", state="terminated"), "main")
    logs.put_together(log)
    assert log.read_text() == f"{BEST}loss=0.9\n"
    found = judged(log)
    assert found.reason == f"loss = 0.9; {incomplete(log)}"
    assert "may be incomplete" in found.reason


def test_a_gap_is_marked_where_it_is(logs: PodLogs, tmp_path: Path) -> None:
    node, log = FakeNode(), tmp_path / "log.txt"
    node.prints("a")
    assert watched(logs, node, pod("p")) == ["a"]
    node.prints("loss=0.1")
    node.turns_over()
    node.prints("b")
    assert watched(logs, node, pod("p")) == [MISSING.decode().strip(), "b"]
    logs.put_together(log)
    assert log.read_text() == f"{INCOMPLETE}\na\n{MISSING.decode()}b\n"
    found = judged(log)
    assert found.cause is Cause.OBJECTIVE_MISSING
    assert found.reason.endswith(str(incomplete(log)))


def test_only_a_trial_whose_log_is_read_says_that_it_is_incomplete(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(f"{BEST}loss=0.9\n")
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "metrics.jsonl").write_text('{"loss": 0.1}\n')
    found = judged(tmp_path / "log.txt", metrics={"collector": "jsonl"})
    assert found.reason == "loss = 0.1"
    assert incomplete(tmp_path / "none.txt") is None


def test_a_container_that_was_begun_again_unseen_has_lost_what_it_printed_before(
    logs: PodLogs, tmp_path: Path
) -> None:
    logs.fetch(FakeClient(b"second\n"), pod("p", restarts=1, state="terminated"), "main")
    logs.put_together(tmp_path / "log.txt")
    assert (tmp_path / "log.txt").read_text() == f"{INCOMPLETE}\nsecond\n"


def test_a_pod_that_prints_too_much_is_ended(
    logs: PodLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hpo_lib.backends, pod_logs):
        monkeypatch.setattr(module, "MAX_LOG_BYTES", 100)
    assert logs.end is None
    node = FakeNode()
    node.prints(*(["noise"] * 10))
    steps = iter([(None, [(pod("p"), "main")])] * 3)
    *_, last = followed(logs, node, lambda: next(steps))
    assert last == Exit(Ending.LOG_TOO_LARGE, detail="printed more than 0 MiB")
    logs.fetch(node, pod("p"), "main")
    assert CAUSES[last.ending] is Cause.USER_ERROR


def test_who_shows_the_lines_gets_them_short_and_each_with_its_time(logs: PodLogs) -> None:
    node = FakeNode()
    node.prints("a" * 9_000, "20%\r40%\r60%", "b")
    long, *bars, last = logs.printed(node, pod("p"), "main")
    assert long == f"{at(0).decode()} {'a' * 2_000}"
    assert bars == [f"{at(1).decode()} {share}%" for share in (20, 40, 60)]
    assert last == f"{at(2).decode()} b"
    assert list(logs.printed(node, pod("p"), "main")) == []


def test_what_has_come_of_a_running_pod_is_put_together_unless_the_cluster_is_out_of_reach(
    logs: PodLogs, tmp_path: Path
) -> None:
    asked: list[Exception] = []

    def ask() -> None:
        if asked:
            raise asked.pop()

    log = tmp_path / "log.txt"
    steps = joined(logs, log, ask)
    next(steps)
    assert not log.exists(), "nothing has begun"
    kept = logs.folder / "20210506-a-0.log"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(timed(b"step=1 loss=0.5\n"))
    next(steps)
    assert log.read_text() == "step=1 loss=0.5\n"
    asked.append(ApiException(status=500))
    with pytest.raises(TransientError):
        next(steps)
