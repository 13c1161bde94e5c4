"""The process that forks guards: whatever becomes of it, attempts begin, go on and end."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hpo_lib.backends import AttemptName, Request, local_guard, local_starting
from hpo_lib.backends.local import LocalBackend
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import TransientError

PATIENCE_S = 60.0
GOES_ON = Request(["sleep", "600"], {}, 600.0)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """A backend with a starter of its own, as no other has its variables."""
    made = LocalBackend(home=tmp_path, workdir=tmp_path, path=str(tmp_path))
    yield made
    for number in (1, 2):
        made.stop(place(made, number))


def place(backend: LocalBackend, number: int = 1) -> dict:
    return backend.handle(AttemptName("0123456789ab", "000001-test", number, 1))


def started(backend: LocalBackend, number: int = 1) -> tuple[dict, psutil.Process]:
    """Start an attempt; give where it is, and its guard."""
    handle = place(backend, number)
    backend.submit(handle, GOES_ON)
    pid = json.loads((Path(handle["folder"]) / "started").read_text())["pid"]
    return handle, psutil.Process(pid)


def starter_of(guard: psutil.Process) -> psutil.Process:
    """Give what has forked a guard's keeper."""
    return guard.parent().parent()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_task_has_one_starter_and_each_attempt_its_own_guard(backend: LocalBackend) -> None:
    guards = [started(backend, number)[1] for number in (1, 2)]
    assert [one.name() for one in guards] == [local_guard.GUARD] * 2
    assert [one.parent().name() for one in guards] == [local_guard.KEEPER] * 2
    assert len({starter_of(one).pid for one in guards}) == 1
    assert guards[0].parent().pid != guards[1].parent().pid


def test_attempts_outlive_their_starter_and_the_next_one_has_another(backend: LocalBackend) -> None:
    handle, guard = started(backend)
    before = starter_of(guard)
    before.kill()
    until(lambda: not before.is_running() or before.status() == psutil.STATUS_ZOMBIE)
    assert backend.poll(handle) is None
    _, other = started(backend, 2)
    assert starter_of(other).pid != before.pid
    backend.stop(handle)
    assert backend.poll(handle) == Exit(Ending.STOPPED, None, "asked to stop")


def test_a_starter_that_hangs_is_ended_and_begins_nothing_later(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, guard = started(backend)
    hanging = starter_of(guard)
    hanging.suspend()
    monkeypatch.setattr(local_starting, "_START_S", 0.2)
    with pytest.raises(TransientError, match="did not start within"):
        backend.submit(place(backend, 2), GOES_ON)
    monkeypatch.undo()
    assert not hanging.is_running()
    assert not (Path(place(backend, 2)["folder"]) / "started").exists()
    _, another = started(backend, 2)
    assert starter_of(another).pid != hanging.pid


def test_a_task_may_have_many_files_open(backend: LocalBackend) -> None:
    """More than `select` can name."""
    lowest, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(lowest, min(most, 2048)), most))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        backend.submit(place(backend), Request(["true"], {}, 60.0))
        assert list(backend.follow(place(backend)))[-1] == Exit(Ending.EXITED, 0)
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, most))


def test_a_guard_needs_no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some sandboxes refuse it, and a machine may have no room for it."""

    def refused(_: int) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "pidfd_open", refused)
    with subprocess.Popen(["true"]) as child:
        until(lambda: local_guard._wait(child) or child.poll() is not None)


def test_what_has_other_variables_has_another_starter(backend: LocalBackend) -> None:
    other = LocalBackend(home=backend.home, workdir=backend.workdir, path="/nowhere")
    guards = [started(backend)[1], started(other, 2)[1]]
    assert starter_of(guards[0]).pid != starter_of(guards[1]).pid
    assert {one.environ()["PATH"].split(":")[0] for one in guards} == {backend.path, "/nowhere"}


def test_a_starter_ends_with_its_task_and_its_guards_go_on(backend: LocalBackend) -> None:
    code = (
        "import sys, psutil\n"
        "from pathlib import Path\n"
        "from tests.integration.test_local_starter import *\n"
        "home = Path(sys.argv[1])\n"
        "handle, guard = started(LocalBackend(home=home, workdir=home))\n"
        "print(starter_of(guard).pid, guard.pid)\n"
    )
    command = [sys.executable, "-c", code, str(backend.home)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    starter, guard = map(int, told.stdout.split())
    until(lambda: not psutil.pid_exists(starter))
    assert psutil.pid_exists(guard)
    assert backend.poll(place(backend)) is None


def test_a_guard_holds_nothing_of_its_starter_or_task_open(backend: LocalBackend) -> None:
    handle, guard = started(backend)
    own = {"guard.lock", "guard.log", "exit.json", "log.txt", "printed", "null"}
    for process in (guard, guard.parent()):
        until(lambda one=process: held(one) <= own)  # while it starts a trial it has a pipe to it
    assert Path(f"/proc/{guard.pid}/fd/1").readlink().parent == Path(handle["folder"])


def held(process: psutil.Process) -> set[str]:
    """Name the files that a process holds open."""
    found = set()
    for one in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(one.readlink().name)
    return found


def test_why_no_guard_came_up_is_said(backend: LocalBackend, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"ended at once: No such file or directory"):
        local_starting.start(tmp_path / "not-there", {"PATH": "/usr/bin"})


def test_a_starter_that_cannot_begin_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_starting.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(TransientError, match=r"could not be started: .*No such file"):
        local_starting.start(tmp_path, {"PATH": "/nowhere/at/all"})
    monkeypatch.setattr(local_starting.sys, "executable", "/bin/false")
    with pytest.raises(TransientError, match="what starts it was killed"):
        local_starting.start(tmp_path, {"PATH": "/nowhere/at/all"})


FULL = """
import errno, os
from hpo_lib.backends import local_starter

def full():
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

os.fork = full
local_starter.main()
"""


def test_a_starter_that_may_not_fork_says_so_and_goes_on(tmp_path: Path) -> None:
    asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with asking, subprocess.Popen([sys.executable, "-c", FULL], stdin=asked) as process:
        asked.close()
        starter = local_starting._Starter(process, asking)
        for _ in range(2):
            with starter.ask(tmp_path) as answering:
                assert answering.recv(16) == b"%d\n" % errno.EAGAIN
        asking.close()
