"""Trials that hide their children: nothing of them is left, whoever of those who watch is killed.

Everything is done twice: with a cgroup, where this machine lets one be made, and without.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from hpo_lib.backends import AttemptName, Request, cgroup, local_guard
from hpo_lib.backends.local import LocalBackend
from hpo_lib.cli.embedded import Embedded
from hpo_lib.core.ending import Ending
from hpo_lib.errors import TransientError
from tests.leftovers import bearing, leftovers, none_left, until

STORE = "0123456789ab"

#: Leaves session, family, folder, environment and log, and does not listen to SIGTERM.
HIDES = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        for number in (0, 1, 2):
            os.dup2(os.open("/dev/null", os.O_RDWR), number)
        os.execve("/bin/sleep", [WORD, "600"], {})
    os._exit(0)
"""
#: Does so, but still prints where its trial does.
PRINTS = HIDES.replace("(0, 1, 2)", "(0,)")
#: A child in namespaces of its own: of users, of processes, of mounts.
SECLUDES = """
inner = ["setsid", "sh", "-c", "trap '' TERM; sleep 600; sleep 600", WORD]
if os.fork() == 0:
    os.execve("/usr/bin/unshare", ["unshare", "-Urpf", "--mount-proc", *inner], {})
"""
#: A dozen processes that fork and end, each in a session of its own, as fast as they can.
BOMBS = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(12):
    if os.fork() == 0:
        while True:
            if os.fork():
                os._exit(0)
            os.setsid()
"""
WAYS = {"hides": HIDES, "prints": PRINTS, "secludes": SECLUDES, "bombs": BOMBS}


class Hidden:
    """What a trial hides: it bears a word, and all of it holds one end of a pipe open."""

    def __init__(self, folder: Path) -> None:
        self.word, self.fifo = f"hidden-{uuid.uuid4().hex}", folder / "fifo"
        os.mkfifo(self.fifo)
        self._end = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)

    def gone(self) -> bool:
        """Say whether nobody holds the pipe any more: the kernel knows, however short they live."""
        try:
            return os.read(self._end, 1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        for one in bearing(self.word):
            one.kill()
        os.close(self._end)


@pytest.fixture(params=["cgroup", "keeper alone"])
def backend(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalBackend]:
    """A backend whose trials have a cgroup, or none."""
    made = LocalBackend(home=tmp_path, workdir=tmp_path, grace_s=60.0)
    if request.param == "keeper alone":
        monkeypatch.setattr(cgroup, "place", lambda _: None)
    elif cgroup.place(Path(handle_of(made)["folder"])) is None:
        pytest.skip("no cgroup of version 2 is delegated to this process")
    yield made
    for one in leftovers(tmp_path):
        with suppress(psutil.NoSuchProcess):
            one.kill()


@pytest.fixture
def hidden(tmp_path: Path) -> Iterator[Hidden]:
    """What the test's trial hides; it is ended afterwards."""
    made = Hidden(tmp_path)
    yield made
    made.close()


def handle_of(backend: LocalBackend) -> dict[str, Any]:
    return backend.handle(AttemptName(STORE, "000001-test", 1, 1))


def begin(backend: LocalBackend, hidden: Hidden, way: str, end: str = "time.sleep(600)") -> Any:
    """Start a trial; gives its handle when the child that it hides is there."""
    handle, seen = handle_of(backend), "True" if way == BOMBS else "os.path.exists(SEEN)"
    seen_file = hidden.fifo.with_name("seen")
    code = f"""
import os, signal, time
WORD, SEEN = {hidden.word!r}, {str(seen_file)!r}
os.set_inheritable(os.open({str(hidden.fifo)!r}, os.O_WRONLY), True)
{way}
print("begun", flush=True)
while not {seen}:
    time.sleep(0.01)
{end}
"""
    backend.submit(handle, Request([sys.executable, "-c", code], {}, 60.0))
    log = backend.log(handle)
    until(lambda: log.exists() and "begun" in log.read_text(), log.read_text)
    if way != BOMBS:
        until(lambda: bearing(hidden.word), log.read_text)
    seen_file.touch()
    return handle


def guard_of(handle: dict[str, Any]) -> int:
    return int(json.loads((Path(handle["folder"]) / "started").read_text())["pid"])


def all_gone(backend: LocalBackend, hidden: Hidden) -> None:
    until(hidden.gone, lambda: str(bearing(hidden.word)))
    none_left(backend.home)


def ended(backend: LocalBackend, handle: dict[str, Any]) -> Ending:
    until(lambda: backend.poll(handle) is not None)
    return backend.poll(handle).ending


@pytest.mark.parametrize("way", WAYS)
def test_kill_of_the_guard_leaves_nothing(backend: LocalBackend, hidden: Hidden, way: str) -> None:
    handle = begin(backend, hidden, WAYS[way])
    os.kill(guard_of(handle), signal.SIGKILL)
    all_gone(backend, hidden)
    assert ended(backend, handle) is Ending.LOST


@pytest.mark.parametrize("way", WAYS)
def test_kill_of_the_keeper_leaves_nothing(backend: LocalBackend, hidden: Hidden, way: str) -> None:
    handle = begin(backend, hidden, WAYS[way])
    psutil.Process(guard_of(handle)).parent().kill()
    all_gone(backend, hidden)
    assert ended(backend, handle) is Ending.LOST


@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_a_trial_leaves_nothing(backend: LocalBackend, hidden: Hidden, way: str) -> None:
    handle = begin(backend, hidden, WAYS[way], end="")
    assert ended(backend, handle) is Ending.EXITED
    all_gone(backend, hidden)


def test_a_stopped_child_is_ended_too(backend: LocalBackend, hidden: Hidden) -> None:
    handle = begin(backend, hidden, HIDES)
    for one in bearing(hidden.word):
        one.suspend()
    backend.stop(handle)
    all_gone(backend, hidden)


def test_a_guard_that_is_stopped_is_ended_with_its_trial(
    backend: LocalBackend, hidden: Hidden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_lib.backends.local._STOP_S", 1.0)
    handle = begin(backend, hidden, HIDES)
    os.kill(guard_of(handle), signal.SIGSTOP)
    backend.stop(handle)
    all_gone(backend, hidden)
    assert ended(backend, handle) is Ending.LOST


def test_a_guard_and_a_keeper_that_are_stopped_are_ended_with_their_trial(
    backend: LocalBackend, hidden: Hidden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_lib.backends.local._STOP_S", 1.0)
    handle = begin(backend, hidden, HIDES)
    guard = psutil.Process(guard_of(handle))
    for one in (guard.parent(), guard):
        one.suspend()
    backend.stop(handle)
    all_gone(backend, hidden)


def kill_both(handle: dict[str, Any]) -> None:
    """Kill guard and keeper so that neither sees the other's end."""
    guard = psutil.Process(guard_of(handle))
    both = [guard.parent(), guard]
    for one in both:
        one.suspend()
    for one in both:
        one.kill()


def test_kill_of_guard_and_keeper_leaves_nothing_where_there_is_a_cgroup(
    backend: LocalBackend, hidden: Hidden
) -> None:
    handle = begin(backend, hidden, HIDES)
    if cgroup.place(Path(handle["folder"])) is None:
        pytest.skip("without a cgroup nothing tells whose it is: docs/operating.md says so")
    kill_both(handle)
    assert [found.handle for found in backend.found(STORE)] == [handle]
    assert ended(backend, handle) is Ending.LOST
    all_gone(backend, hidden)


def test_kill_of_guard_and_keeper_leaves_no_child_that_still_prints(
    backend: LocalBackend, hidden: Hidden
) -> None:
    handle = begin(backend, hidden, PRINTS)
    kill_both(handle)
    assert ended(backend, handle) is Ending.LOST
    all_gone(backend, hidden)


def test_a_trial_names_no_other_attempt(backend: LocalBackend, hidden: Hidden) -> None:
    """What calls itself by a wrong name does not keep housekeeping from its work."""
    wrong = {"HPO_ATTEMPT_DIR": f"{backend.home}/runs/nothing-{STORE[:6]}"}
    with subprocess.Popen(["sleep", "600"], env=wrong) as other:
        handle = begin(backend, hidden, HIDES)
        assert [found.handle for found in backend.found(STORE)] == [handle]
        backend.stop(handle)
        other.kill()


def test_a_machine_without_room_for_a_process_loses_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    request = {"command": ["true"], "env": {}, "cwd": str(tmp_path)}
    os.mkfifo(tmp_path / "printed")
    log = local_guard._Log(tmp_path)
    watch = local_guard._Watch(tmp_path, request, [], os.getppid(), log)
    found = local_guard._guard(tmp_path, request, None, watch, log)
    assert found["ending"] == "lost"
    backend = LocalBackend(home=tmp_path, workdir=tmp_path, path=str(tmp_path))
    with pytest.raises(TransientError, match="could not be started"):
        backend.submit(handle_of(backend), Request(["true"], {}, 60.0))


def test_down_ends_a_trial_whose_guard_is_stopped(
    hidden: Hidden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper is spared: without a cgroup nothing else finds what the trial hides."""
    monkeypatch.setattr("hpo_lib.cli.embedded._STOP_S", 1.0)
    monkeypatch.setattr(cgroup, "place", lambda _: None)
    airflow = Embedded(tmp_path, tmp_path / "home", {})
    monkeypatch.setenv("HPO_EMBEDDED", str(airflow.home))
    backend = LocalBackend(home=airflow.results, workdir=tmp_path)
    handle = begin(backend, hidden, HIDES)
    os.kill(guard_of(handle), signal.SIGSTOP)
    airflow.down()
    all_gone(backend, hidden)


def asking(hidden: Hidden, timeout_s: float) -> str:
    """Write a program that has a check run, which never ends, nor does its child."""
    command = ["sh", "-c", 'exec 3>"$1"; sleep 600 & sleep 600', hidden.word, str(hidden.fifo)]
    return f"""
from pathlib import Path
from hpo_lib.deployers import checking
checking.run({command!r}, Path("/"), {timeout_s})
"""


def test_a_check_that_is_late_is_ended_with_its_children(hidden: Hidden) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        exec(asking(hidden, 1.0))
    until(hidden.gone, lambda: str(bearing(hidden.word)))


def test_a_check_does_not_outlive_whoever_asks(hidden: Hidden) -> None:
    with subprocess.Popen([sys.executable, "-c", asking(hidden, 600.0)]) as task:
        until(lambda: any(one.ppid() == task.pid for one in bearing(hidden.word)))
        check = next(one for one in bearing(hidden.word) if one.ppid() == task.pid)
        task.kill()
    until(lambda: not check.is_running())


@pytest.mark.parametrize("line", ["a" * 40 + "b", "loss=1"])
def test_matching_does_not_outlive_whoever_asks(line: str) -> None:
    """Neither while it matches, with an expression that finds no end, nor while it waits."""
    code = f"""
import time
from hpo_lib.collectors.own_format import Expression, readings
from hpo_lib.files.lines import Line
def lines():
    yield from [Line(1, {line!r})] * 64
    time.sleep(600)
list(readings([Expression("loss", "((a+)+)$")], lines(), print))
"""
    with subprocess.Popen([sys.executable, "-c", code]) as task:
        until(psutil.Process(task.pid).children)
        (matching,) = psutil.Process(task.pid).children()
        task.kill()
    until(lambda: not matching.is_running())
