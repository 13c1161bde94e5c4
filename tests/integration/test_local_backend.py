"""Attempts as real processes: launched once, taken over, limited, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo_lib.backends import AttemptName, Request, local_guard
from hpo_lib.backends.inherited import LocalRules
from hpo_lib.backends.local import LocalBackend
from hpo_lib.core.ending import Ending, Exit
from tests import clocks
from tests.integration.backend_contract import LABELS, BackendContract, LocalVanishing

PATIENCE_S, STORE = 60.0, "0123456789ab"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """A backend whose attempts are all ended afterwards."""
    made = LocalBackend(home=tmp_path, workdir=tmp_path, grace_s=60.0)
    yield made
    for folder in tmp_path.glob("runs/*/*/*"):
        made.stop(
            {"host": made.handle(AttemptName(STORE, "x", 1, 1))["host"], "folder": str(folder)}
        )


@pytest.fixture
def handle(backend: LocalBackend) -> dict:
    """The place of a first attempt."""
    return backend.handle(AttemptName(STORE, "000001-test", 1, 1))


def python(code: str, *, timeout_s: float = 60.0, memory_bytes: int | None = None) -> Request:
    """Ask for a piece of Python."""
    command = [sys.executable, "-c", code]
    return Request(command, {"HPO_TRIAL": "1"}, timeout_s, memory_bytes)


class TestLocalBackend(LocalVanishing, BackendContract):
    """What it has in common with all others."""

    no_program = Ending.EXITED

    def request(self, script: str, **changes: Any) -> Request:
        known = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 60.0, "labels": LABELS}
        return Request(**({"command": ["sh", "-c", script]} | known | changes))

    @pytest.fixture
    def backend(self, tmp_path: Path) -> LocalBackend:
        return LocalBackend(home=tmp_path, workdir=tmp_path, grace_s=60.0)


def end(backend: LocalBackend, handle: dict) -> tuple[list[str], Exit]:
    """Follow an attempt to its end."""
    *lines, last = backend.follow(handle)
    return lines, last


def until(condition: Callable[[], object]) -> None:
    """Wait for a state, not for a time."""
    stop = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < stop, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Say whether a process runs (zombies do not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def guard_of(handle: dict) -> int:
    """Give the guard's process id."""
    return int(json.loads((Path(handle["folder"]) / "started").read_text())["pid"])


FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("orphan", os.getpid(), flush=True); time.sleep(600)
    os._exit(0)
print("child", child.pid, flush=True)
print("self", os.getpid(), flush=True)
time.sleep(600)
"""


def _lines(log: Path) -> list[str]:
    """Give the lines of a log that several processes may still write."""
    return log.read_text().splitlines()


def family(backend: LocalBackend, handle: dict, **limits: float) -> list[int]:
    """Start a trial with a child and a daemonised orphan; give all process ids, its own first."""
    backend.submit(handle, python(FAMILY, **limits))
    log = backend.log(handle)
    until(lambda: log.exists() and [len(line.split()) for line in _lines(log)] == [2, 2, 2])
    pids = dict(line.split() for line in _lines(log))
    return [int(pids[name]) for name in ("self", "child", "orphan")]


def test_lines_and_exit_code_come_out(backend: LocalBackend, handle: dict) -> None:
    backend.submit(handle, python("print('hello'); print('loss=1', end=''); exit(3)"))
    assert end(backend, handle) == (["hello", "loss=1"], Exit(Ending.EXITED, 3))


def test_submitting_twice_runs_once(backend: LocalBackend, handle: dict, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'count')!r}, 'a').write('x'); import time; time.sleep(0.5)"
    backend.submit(handle, python(code))
    backend.submit(handle, python(code))
    assert end(backend, handle)[1].code == 0
    backend.submit(handle, python(code))
    assert (tmp_path / "count").read_text() == "x"


def test_concurrent_guards_run_once(backend: LocalBackend, handle: dict, tmp_path: Path) -> None:
    count = tmp_path / "count"
    code = f"open({str(count)!r}, 'a').write('x'); import time; time.sleep(600)"
    backend.submit(handle, python(code))
    until(count.exists)
    command = [sys.executable, "-P", local_guard.__file__, handle["folder"]]
    rivals = [subprocess.Popen(command) for _ in range(4)]
    assert [rival.wait(PATIENCE_S) for rival in rivals] == [0] * 4
    assert count.read_text() == "x"


def test_a_program_that_does_not_exist_says_so(backend: LocalBackend, handle: dict) -> None:
    backend.submit(handle, Request(["no-such-program"], {}, 60.0))
    found = end(backend, handle)[1]
    assert found.code == 127
    assert "no-such-program" in found.detail


def test_timeout_ends_the_whole_family(backend: LocalBackend, handle: dict) -> None:
    pids = family(backend, handle, timeout_s=3.0)
    found = end(backend, handle)[1]
    assert found.ending is Ending.TIMEOUT
    assert "3 s" in found.detail
    assert not any(alive(pid) for pid in pids)


def test_memory_limit_counts_children(backend: LocalBackend, handle: dict) -> None:
    eat = "b = bytearray(300 * 2**20); import time; time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {eat!r}])"
    backend.submit(handle, python(code, memory_bytes=150 * 2**20))
    found = end(backend, handle)[1]
    assert found.ending is Ending.OUT_OF_MEMORY
    assert "of 150 MiB" in found.detail


def test_an_allowed_amount_of_memory_is_left_alone(backend: LocalBackend, handle: dict) -> None:
    backend.submit(handle, python("b = bytearray(50 * 2**20)", memory_bytes=200 * 2**20))
    assert end(backend, handle)[1] == Exit(Ending.EXITED, 0)


def test_stop_ends_the_whole_family_and_may_be_repeated(
    backend: LocalBackend, handle: dict
) -> None:
    pids = family(backend, handle)
    backend.stop(handle)
    backend.stop(handle)
    assert not any(alive(pid) for pid in pids)
    assert backend.poll(handle).ending is Ending.STOPPED


def test_a_trial_that_ignores_sigterm_is_killed(backend: LocalBackend, handle: dict) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    backend.submit(handle, python(f"{code}; time.sleep(600)"))
    until(lambda: backend.log(handle).exists() and backend.log(handle).read_text())
    backend.stop(handle)
    assert backend.poll(handle).ending is Ending.STOPPED


def test_children_left_by_a_finished_trial_are_ended(backend: LocalBackend, handle: dict) -> None:
    code = "import subprocess as s; print(s.Popen(['sleep', '600']).pid)"
    backend.submit(handle, python(code))
    lines, found = end(backend, handle)
    assert found == Exit(Ending.EXITED, 0)
    assert not alive(int(lines[0]))


def test_sigkill_of_the_trial_is_seen(backend: LocalBackend, handle: dict) -> None:
    pids = family(backend, handle)
    os.kill(pids[0], signal.SIGKILL)
    assert end(backend, handle)[1] == Exit(Ending.EXITED, -9)
    assert not any(alive(pid) for pid in pids)


def test_sigkill_of_the_guard_leaves_nothing(backend: LocalBackend, handle: dict) -> None:
    pids = family(backend, handle)
    os.kill(guard_of(handle), signal.SIGKILL)
    until(lambda: backend.poll(handle) is not None)
    assert backend.poll(handle).ending is Ending.LOST
    assert not any(alive(pid) for pid in pids)


def test_an_abandoned_attempt_ends_itself(tmp_path: Path) -> None:
    backend = LocalBackend(home=tmp_path, workdir=tmp_path, grace_s=1.0)
    handle = backend.handle(AttemptName(STORE, "000001-test", 1, 1))
    pids = family(backend, handle)
    until(lambda: backend.poll(handle) is not None)
    assert backend.poll(handle).ending is Ending.ABANDONED
    assert not any(alive(pid) for pid in pids)


def test_a_released_attempt_ends_soon(tmp_path: Path) -> None:
    backend = LocalBackend(home=tmp_path, workdir=tmp_path, release_s=1.0)
    handle = backend.handle(AttemptName(STORE, "000001-test", 1, 1))
    pids = family(backend, handle)
    backend.release(handle)
    until(lambda: backend.poll(handle) is not None)
    assert backend.poll(handle).ending is Ending.STOPPED
    assert not any(alive(pid) for pid in pids)


def test_a_released_attempt_goes_on_if_it_is_taken_over(tmp_path: Path) -> None:
    backend = LocalBackend(home=tmp_path, workdir=tmp_path, release_s=1.0)
    handle = backend.handle(AttemptName(STORE, "000001-test", 1, 1))
    backend.submit(handle, python("import time; time.sleep(4); print('loss=1')"))
    backend.release(handle)
    assert end(backend, handle) == (["loss=1"], Exit(Ending.EXITED, 0))


def test_who_takes_over_after_the_clock_was_stepped_back_has_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeats are older, by their times, than the letting go before them."""
    now = [100.0]
    clocks.give(monkeypatch, local_guard, monotonic=lambda: now[0])
    limits = {"release_s": 30.0, "grace_s": 600.0}
    watch = local_guard._Watch(tmp_path, limits, [], 0, None)  # type: ignore[arg-type]

    def changed(name: str, at: float) -> None:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
        assert watch._neglect() is None
        now[0] += 1

    changed("heartbeat", 1_000)
    changed("released", 1_001)
    changed("heartbeat", 700)
    now[0] += 60
    assert watch._neglect() is None, "that task died, and its retry has ten minutes"
    changed("heartbeat", 761)
    changed("released", 762)
    now[0] += 30
    assert watch._neglect() == ("stopped", "its Airflow task was ended and none has taken over")


def test_an_attempt_that_was_ended_has_no_exit_code(backend: LocalBackend, handle: dict) -> None:
    backend.submit(handle, python("import time; time.sleep(600)"))
    backend.stop(handle)
    assert backend.poll(handle).code is None


def test_the_guard_holds_no_secret_of_airflow(
    backend: LocalBackend, handle: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "hush")
    backend.submit(handle, python("import os; print(open(f'/proc/{os.getppid()}/environ').read())"))
    lines, _ = end(backend, handle)
    assert "hush" not in "".join(lines)


def test_a_killed_task_leaves_the_trial_running_for_the_next(
    backend: LocalBackend, handle: dict, tmp_path: Path
) -> None:
    code = f"""
import pathlib
from hpo_lib.backends.local import LocalBackend
from hpo_lib.backends import Request
backend = LocalBackend(home=pathlib.Path({str(tmp_path)!r}), workdir=pathlib.Path.cwd())
trial = "import time; print('begun', flush=True); time.sleep(2); print('loss=1')"
backend.submit({handle!r}, Request([{sys.executable!r}, "-c", trial], {{}}, 60.0))
print("submitted", flush=True)
for _ in backend.follow({handle!r}): pass
"""
    task = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert task.stdout.readline() == b"submitted\n"
    task.kill()
    task.wait()
    task.stdout.close()
    assert end(backend, handle) == (["begun", "loss=1"], Exit(Ending.EXITED, 0))


def test_a_host_that_cannot_see_the_attempt_takes_it_for_lost(
    backend: LocalBackend, handle: dict
) -> None:
    elsewhere = handle | {"host": "elsewhere"}
    backend.submit(elsewhere, python("print('never')"))
    lines, found = end(backend, elsewhere)
    assert lines == []
    assert found.ending is Ending.LOST
    assert "elsewhere" in found.detail
    backend.stop(elsewhere)
    assert not Path(handle["folder"]).exists()


def test_a_host_that_shares_the_home_takes_the_attempt_over(
    backend: LocalBackend, handle: dict
) -> None:
    backend.submit(handle, python("import time; print('begun'); time.sleep(1); print('loss=1')"))
    elsewhere = handle | {"host": "elsewhere"}
    backend.submit(elsewhere, python("print('never')"))
    assert backend.poll(elsewhere) is None
    assert end(backend, elsewhere) == (["begun", "loss=1"], Exit(Ending.EXITED, 0))
    assert backend.poll(elsewhere) == Exit(Ending.EXITED, 0)


def test_a_host_that_shares_the_home_can_end_the_attempt(
    backend: LocalBackend, handle: dict
) -> None:
    pids = family(backend, handle)
    elsewhere = handle | {"host": "elsewhere"}
    backend.stop(elsewhere)
    assert backend.poll(elsewhere).ending is Ending.STOPPED
    assert not any(alive(pid) for pid in pids)


def test_a_host_that_shares_the_home_sees_that_the_guard_is_gone(
    backend: LocalBackend, handle: dict
) -> None:
    family(backend, handle)
    os.kill(guard_of(handle), signal.SIGKILL)
    assert end(backend, handle | {"host": "elsewhere"})[1].ending is Ending.LOST


#: Of a worker: what Airflow, clouds and tools keep there, also under names like those of libraries.
SECRETS = (
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW_CONN_DB",
    "AWS_SECRET_ACCESS_KEY",
    "HPO_STORE",
    "NVIDIA_API_KEY",
    "TF_TOKEN_app_terraform_io",
    "TF_VAR_db_password",
)


def test_no_secret_of_the_workers_environment_reaches_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "hush")
    rules = LocalRules(environment=("WANDB_MODE",))
    backend = LocalBackend(home=tmp_path, workdir=tmp_path, path="/trial/bin", rules=rules)
    handle = backend.handle(AttemptName(STORE, "000001-test", 1, 1))
    backend.submit(handle, python("import json, os; print(json.dumps(dict(os.environ)))"))
    (line,), _ = end(backend, handle)
    seen = json.loads(line)
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["WANDB_MODE"]) == ("0", "offline")
    assert seen["PATH"] == f"/trial/bin:{os.environ['PATH']}"
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert b"hush" not in file.read_bytes(), file


@pytest.mark.parametrize("absolute", [False, True])
def test_a_trial_has_its_own_folder_and_python(
    backend: LocalBackend, handle: dict, tmp_path: Path, absolute: bool
) -> None:
    venv.create(tmp_path / "e", with_pip=False)
    (tmp_path / "mine").mkdir()
    told = "import os, sys; print(sys.prefix, os.getcwd())"
    (tmp_path / "mine" / "train.py").write_text(told)
    at = f"{tmp_path}/" if absolute else ""
    request = Request(
        [f"{at}e/bin/python", "train.py"], {}, 60.0, dir=f"{at}mine", python=f"{at}e/bin/python"
    )
    backend.submit(handle, request)
    assert end(backend, handle)[0] == [f"{tmp_path}/e {tmp_path}/mine"]
    again = backend.handle(AttemptName(STORE, "000001-test", 2, 1))
    backend.submit(again, replace(request, command=["sh", "-c", "python train.py"]))
    assert end(backend, again)[0] == [f"{tmp_path}/e {tmp_path}/mine"], "a shell finds it too"


def test_a_folder_that_is_not_there_is_said(backend: LocalBackend, handle: dict) -> None:
    backend.submit(handle, replace(python("pass"), dir="nowhere"))
    _, found = end(backend, handle)
    assert (found.ending, found.code) == (Ending.EXITED, 127)
    assert "nowhere: No such file or directory" in found.detail


def test_what_an_attempt_has_used_is_known_meanwhile_and_afterwards(
    backend: LocalBackend, handle: dict
) -> None:
    assert backend.usage(handle) is None, "nothing was started"
    code = "kept = b'x' * (90 << 20); print('up', flush=True); import time; time.sleep(600)"
    backend.submit(handle, python(code))
    until(lambda: (used := backend.usage(handle)) and used.memory_bytes > 90 << 20)
    backend.stop(handle)
    used = backend.usage(handle)
    assert used is not None
    assert used.memory_bytes > 90 << 20
    assert used.cpu_s > 0


STOPS = """
import sys, time
from hpo_lib import runtime
runtime.should_stop()
print("begun", flush=True)
while not runtime.should_stop():
    time.sleep(0.01)
while not (runtime._local_output() / "stop").exists():
    time.sleep(0.01)
print("saved", flush=True)
sys.exit(3)
"""


def test_a_trial_that_is_to_stop_is_asked_first_and_has_time_to_save(
    backend: LocalBackend, handle: dict
) -> None:
    env = {"HPO_OUTPUT": str(backend.output(handle)), "PYTHONPATH": str(Path(__file__).parents[2])}
    asked = replace(python(STOPS), env=env, stop_grace_s=60.0)
    backend.submit(handle, asked)
    until(lambda: "begun" in backend.log(handle).read_text())
    backend.stop(handle)
    assert end(backend, handle)[1].ending is Ending.STOPPED
    assert backend.log(handle).read_text() == "begun\nsaved\n"


def test_no_link_in_an_output_is_followed_to_ask_for_a_stop(tmp_path: Path) -> None:
    for name in ("elsewhere", "first/output", "second"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "first/output/stop").symlink_to(tmp_path / "elsewhere/made")
    (tmp_path / "second/output").symlink_to(tmp_path / "elsewhere")
    for name in ("first", "second", "none"):
        local_guard.ask_to_stop(tmp_path / name)
    assert not list((tmp_path / "elsewhere").iterdir())
