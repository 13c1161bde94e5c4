"""The process that stands between Airflow and one local attempt.

Run as `python -P local_guard.py FOLDER`: as a file, which starts sooner than a module. It outlives
the Airflow task that started it, so that a retried task finds the attempt again instead of training
a second time, and it makes sure that the attempt and all of its descendants end: on timeout, over
the memory limit, when asked to, and when no Airflow task has looked after it for `grace_s`.

It is two processes. The guard is the child of a keeper, which waits for the guard's end, and then
ends what is left: the kernel gives it all that the guard had below it. Where a cgroup can be made,
the attempt is in one of its own besides, which is killed as a whole.

FOLDER holds, written by the task: `request.json`, `heartbeat`, `released` (the task was asked to
end, and perhaps nobody takes over), `stop`; written here: `guard.lock` (locked while either
process lives), `started`, `log.txt`, and last, atomically, `exit.json`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

#: The name of a keeper among the processes of a machine.
KEEPER = "hpo-keeper"
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.1
_TERM_S = 5.0
#: How long the guard waits for what it has killed; a process may hang in the kernel.
_KILL_S = 30.0
_MAX_LOG_BYTES = 2**30
_VMSTAT = Path("/proc/vmstat")


def main(folder: Path) -> int:
    """Guard the attempt in `folder`; do nothing if another guard does or did."""
    lock = (folder / "guard.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    if (folder / "exit.json").exists() or (folder / "started").exists():
        return 0
    request = json.loads((folder / "request.json").read_text())
    group = _make_group(request["cgroup"])
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keeper, guard = os.getpid(), os.fork()
    if guard:
        return _keep(guard, group, request.get("become", ()))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    stop_asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop_asked.append(number))
    watch = _Watch(folder, request, stop_asked, keeper)
    write(folder / "exit.json", _guard(folder, request, group, watch))
    return 0


def _keep(guard: int, group: Path | None, become: Sequence[str]) -> int:
    """Wait for the guard's end, then end what it has left; pass on what asks it to stop."""
    _prctl(_PR_SET_NAME, KEEPER.encode())
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(guard, number))
    os.waitid(os.P_PID, guard, os.WEXITED | os.WNOWAIT)
    # Not before this is its number free for another process.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _kill_all(group, become, math.inf)
    return 0


def write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for its owner only; a reader sees all of it or nothing, also after a crash."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _guard(
    folder: Path, request: dict[str, Any], group: Path | None, watch: _Watch
) -> dict[str, Any]:
    write(folder / "started", {"pid": os.getpid()})
    kills, become = _kernel_kills(), request.get("become", ())
    try:
        child = _spawn(folder, request, group)
    except OSError as error:
        what = error.strerror or str(error)
        if error.errno in (errno.EAGAIN, errno.ENOMEM):
            detail = f"this machine has no room for another process: {what}"
            return {"ending": "lost", "code": None, "detail": detail}
        return {"ending": "exited", "code": 127, "detail": f"{error.filename}: {what}"}
    trouble = None
    try:
        while child.poll() is None and trouble is None:
            _wait(child)
            trouble = watch.trouble()
    finally:
        code = child.poll()
        _end_all(group, become)
        _share(folder, become)
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and _kernel_kills() > kills:
        detail = "killed by signal 9 while the kernel killed processes for want of memory"
        return {"ending": "out_of_memory", "code": code, "detail": detail}
    if code is not None or trouble is None:
        return {"ending": "exited", "code": code, "detail": ""}
    return {"ending": trouble[0], "code": None, "detail": trouble[1]}


def _spawn(folder: Path, request: dict[str, Any], group: Path | None) -> subprocess.Popen[bytes]:
    """Start the trial; a shell that becomes another user is told by `stdin` what to run."""
    said = request.get("stdin", "").encode(errors="surrogateescape")
    with (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(  # noqa: S603 - running what the spec says is the purpose
            request["command"],
            env=request["env"],
            cwd=request["cwd"],
            stdin=subprocess.PIPE if said else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _contain(group),
        )
    if child.stdin is not None:
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(said)
    return child


def _contain(group: Path | None) -> None:
    """Bind this process, the trial to be, to its guard and to its cgroup."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if group is not None:
        with suppress(OSError):
            (group / "cgroup.procs").write_text("0")


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return


class _Watch:
    """What may go wrong with an attempt, by a clock that stands still while the machine sleeps."""

    def __init__(
        self, folder: Path, request: dict[str, Any], stop_asked: list[int], keeper: int
    ) -> None:
        self._folder, self._request, self._stop_asked = folder, request, stop_asked
        self._keeper = keeper
        self._began = self._beaten = time.monotonic()
        self._beat = 0.0

    def trouble(self) -> tuple[str, str] | None:
        """Give the reason to end the attempt now, or None."""
        if self._stop_asked or (self._folder / "stop").exists():
            return "stopped", "asked to stop"
        if os.getppid() != self._keeper:
            return "lost", "its guard's keeper is gone"
        timeout_s = self._request["timeout_s"]
        if time.monotonic() - self._began > timeout_s:
            return "timeout", f"still running after {timeout_s:g} s"
        limit, used = self._request["memory_bytes"], 0
        if limit is not None and (used := _memory(limit)) > limit:
            return "out_of_memory", f"used {used / 2**20:.0f} MiB of {limit / 2**20:.0f} MiB"
        if (self._folder / "log.txt").stat().st_size > _MAX_LOG_BYTES:
            return "log_too_large", f"printed more than {_MAX_LOG_BYTES / 2**20:.0f} MiB"
        return self._neglect()

    def _neglect(self) -> tuple[str, str] | None:
        beat = (self._folder / "heartbeat").stat().st_mtime
        if beat != self._beat:
            self._beat, self._beaten = beat, time.monotonic()
        age_s = time.monotonic() - self._beaten
        released = self._folder / "released"
        if (
            released.exists()
            and released.stat().st_mtime >= beat
            and age_s > self._request["release_s"]
        ):
            return "stopped", "its Airflow task was ended and none has taken over"
        if age_s > self._request["grace_s"]:
            return "abandoned", f"no Airflow task has looked after it for {age_s:.0f} s"
        return None


def _kernel_kills() -> int:
    """Count the processes that the kernel has killed for want of memory since it was started."""
    lines = _VMSTAT.read_text().splitlines() if _VMSTAT.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _memory(limit: int) -> int:
    """Sum the memory of all descendants; if that exceeds the limit, count shared pages once."""
    processes = psutil.Process().children(recursive=True)
    resident = sum(_bytes_of(process, shared=True) for process in processes)
    if resident <= limit:
        return resident
    return sum(_bytes_of(process, shared=False) for process in processes)


def _bytes_of(process: psutil.Process, *, shared: bool) -> int:
    try:
        resident = int(process.memory_info().rss)
        return resident if shared else int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        return resident
    except psutil.Error:
        return 0


def _end_all(group: Path | None, become: Sequence[str]) -> None:
    """SIGTERM, a moment, SIGKILL: until no descendant is left, orphans of orphans included.

    What cannot be killed for _KILL_S is left to the keeper.
    """
    end = time.monotonic() + _TERM_S
    for number in (signal.SIGTERM, signal.SIGCONT):
        _signal_all(number, become)
    while _any_left(group) and time.monotonic() < end:
        time.sleep(_POLL_S / 2)
    _kill_all(group, become, _KILL_S)


def _kill_all(group: Path | None, become: Sequence[str], patience_s: float) -> None:
    """Kill all that is below this process, and in the cgroup, until nothing is left.

    The children alone are killed, for theirs are then children of this process. Their numbers are
    no other processes' before they are collected. While new ones come it does not rest, so that a
    fork bomb loses the race. Those of another user are killed by `become`.
    """
    end, pause_s, before = time.monotonic() + patience_s, _POLL_S / 100, [0]
    while _any_left(group) and time.monotonic() < end:
        if group is not None:
            kill_group(group)
        children = _children()
        for child in children:
            with suppress(PermissionError):
                os.kill(child, signal.SIGKILL)
        if become:
            _signal_all(signal.SIGKILL, become)
        if children == before:
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 1.0)
        before = children
    if group is not None:
        remove_group(group)


def _children() -> list[int]:
    try:
        return [int(word) for word in Path("/proc/thread-self/children").read_text().split()]
    except FileNotFoundError:  # a kernel that was built without it
        return [child.pid for child in psutil.Process().children()]


def _any_left(group: Path | None) -> bool:
    """Collect ended orphans; say whether anything lives below this process, or in the cgroup.

    All that lives below a process that collects orphans has a living ancestor among its children.
    """
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return group is not None and _is_populated(group)
    return True


def _signal_all(number: int, become: Sequence[str]) -> None:
    """Send a signal to every descendant; to those of another user by `become`."""
    others = []
    for process in psutil.Process().children(recursive=True):
        try:
            process.send_signal(number)
        except psutil.AccessDenied:
            others.append(str(process.pid))
        except psutil.Error:
            continue
    if others:
        _as_other([*become, "/bin/sh", "-c", 'kill "$@"', "sh", f"-{number}", *others])


def _share(folder: Path, become: Sequence[str]) -> None:
    """Let the worker read and remove what a trial of another user has left, whatever its modes."""
    if become:
        _as_other([*become, "chmod", "-R", "g+rwX", str(folder / "output")])


def _as_other(command: Sequence[str]) -> None:
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 - words of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TERM_S,
            check=False,
        )


def _make_group(named: str | None) -> Path | None:
    """Make an attempt's cgroup; None if the kernel has none that can be killed as a whole."""
    if named is None:
        return None
    group = Path(named)
    with suppress(OSError):
        group.mkdir(exist_ok=True)
        if (group / "cgroup.kill").exists():
            return group
        group.rmdir()
    return None


def kill_group(group: Path) -> None:
    """Kill all that is in a cgroup or below, at once; nothing if it is not there."""
    with suppress(OSError), (group / "cgroup.kill").open("r+") as file:
        file.write("1")


def remove_group(group: Path) -> None:
    """Remove a cgroup, with those below it, unless something is in it."""
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()


def _is_populated(group: Path) -> bool:
    try:
        return "populated 1" in (group / "cgroup.events").read_text()
    except OSError:
        return False


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
