"""The process that stands between Airflow and one local attempt.

A process of its task forks it (see `local_starter`); `python -P local_guard.py FOLDER` does the
same. It outlives the Airflow task that started it, so that a retried task finds the attempt
again instead of training a second time, and it makes sure that the attempt and all of its
descendants end: on timeout, over the memory limit, when asked to, and when no Airflow task has
looked after it for `grace_s`.

It is two processes. The guard is the child of a keeper, which waits for the guard's end, and then
ends what is left: the kernel gives it all that the guard had below it. Where a cgroup can be made,
the attempt is in one of its own besides, which is killed as a whole.

Where a template (see `local_template`) has forked keeper, guard and trial, it is run by each of the
first two: as `--keep GUARD FOLDER` and `--guard KEEPER TRIAL SOCKET FOLDER`.

FOLDER holds, written by the task: `request.json`, `heartbeat`, `released` (the task was asked to
end, and perhaps nobody takes over), `stop`, and `printed`, a pipe; written here: `guard.lock`
(locked while either process lives), `started`, `log.txt`, and `exit.json`. The disk may fill up
while the attempt runs. So room for its end is taken before it begins: `exit.json` is blank as long
as it runs. What it prints comes by the pipe, for a log that cannot be written must not be its end.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

#: The names of the two among the processes of a machine.
GUARD, KEEPER = "hpo-guard", "hpo-keeper"
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.1
_TERM_S = 5.0
#: How long the guard waits for what it has killed; a process may hang in the kernel.
_KILL_S = 30.0
_MAX_LOG_BYTES = 2**30
_CHUNK = 1 << 16
#: Of the room for an attempt's end, and of what is told there.
_END_BYTES, _MOST_TOLD = 4096, 500
#: For how long the end is tried to be written where there is no room for it all the same.
_INSIST_S = 60.0
_VMSTAT = Path("/proc/vmstat")


def main(folder: Path) -> int:
    """Guard the attempt in `folder`; do nothing if another guard does or did.

    The exit code is 0, or the error number if the disk has no room for it to begin.
    """
    try:
        lock = (folder / "guard.lock").open("a")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (folder / "started").exists():
            return 0
        end, log = _End(folder / "exit.json"), _Log(folder)
    except BlockingIOError:
        return 0
    except OSError as error:
        return error.errno or 1
    request = _request(folder)
    group = _make_group(request["cgroup"])
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keeper, guard = os.getpid(), os.fork()
    if guard:
        return _keep(guard, group, request.get("become", ()))
    return _attend(folder, group, keeper, end, log)


def keep_forked(guard: int, folder: Path) -> int:
    """Keep a guard that a template has forked; its lock is this process's, too."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _keep(guard, _make_group(_request(folder)["cgroup"]), ())


def guard_forked(keeper: int, trial: int, telling: int, folder: Path) -> int:
    """Guard the attempt whose trial a template has forked; it waits for what is told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    forked = _Forked(trial, socket.socket(fileno=telling))
    try:
        end, log = _End(folder / "exit.json"), _Log(folder)
    except OSError as error:
        return error.errno or 1
    return _attend(folder, _make_group(_request(folder)["cgroup"]), keeper, end, log, forked)


def _request(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "request.json").read_text()))


def _attend(
    folder: Path,
    group: Path | None,
    keeper: int,
    end: _End,
    log: _Log,
    forked: _Forked | None = None,
) -> int:
    """See the attempt through to its end, as the guard, and write that down."""
    _prctl(_PR_SET_NAME, GUARD.encode())
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    stop_asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop_asked.append(number))
    try:
        write(folder / "started", {"pid": os.getpid(), "forked": forked is not None})
    except OSError as error:
        return error.errno or 1
    request = _request(folder)
    watch = _Watch(folder, request, stop_asked, keeper, log)
    found = _guard(folder, request, group, watch, log, forked)
    end.tell(found | {"remark": log.close()} | _used())
    return 0


def _used() -> dict[str, float]:
    """Give the CPU time of all that ran, and the memory of its largest process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_s": used.ru_utime + used.ru_stime, "largest_bytes": used.ru_maxrss * 1024}


def _keep(guard: int, group: Path | None, become: Sequence[str]) -> int:
    """Wait for the guard's end, then end what it has left; pass on what asks it to stop.

    The exit code is the guard's.
    """
    _prctl(_PR_SET_NAME, KEEPER.encode())
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(guard, number))
    ended = os.waitid(os.P_PID, guard, os.WEXITED | os.WNOWAIT)
    # Not before this is its number free for another process.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _kill_all(group, become, math.inf)
    return ended.si_status if ended and ended.si_code == os.CLD_EXITED else 0


class _End:
    """The file for an attempt's end, with room that is taken beforehand: no block, no name."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._put(b"")

    def tell(self, content: dict[str, Any]) -> None:
        """Write the end; where even that fails (read-only, copy on write), try for a while."""
        text = json.dumps(content | {"detail": content["detail"][:_MOST_TOLD]}).encode()
        until = time.monotonic() + _INSIST_S
        while True:
            try:
                self._put(text)
            except OSError as error:
                if time.monotonic() > until:
                    raise SystemExit(error.errno or 1) from None
                time.sleep(_POLL_S)
            else:
                return

    def _put(self, text: bytes) -> None:
        if os.pwrite(self._file, text.ljust(_END_BYTES), 0) < _END_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file)


class _Log:
    """What an attempt prints, on its way to a file; what finds no room there is counted.

    No line is kept in part: half of a number would be another number. `_lines` is how far whole
    lines go; behind that are `_part` bytes of one, or `_gap` are missing, as the file has `_noted`.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe = folder / "printed"
        self._file = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._kept = self._lines = os.fstat(self._file).st_size
        self._part, self._gap, self._lost, self._why = 0, 0, 0, ""
        self._noted = self._torn = False  # torn: the next bytes are the rest of a lost line
        self._copying: threading.Thread | None = None
        self.printed = 0

    @contextmanager
    def open(self) -> Iterator[int]:
        """Give the end of the pipe to print to, and copy what comes until nobody holds it."""
        pipe = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        printed = os.open(self._pipe, os.O_WRONLY)
        os.set_blocking(pipe, True)
        try:
            yield printed
        finally:
            os.close(printed)
            # Not before: a child is not to be forked while threads run.
            self._copying = threading.Thread(target=self._copy, args=(pipe,), daemon=True)
            self._copying.start()

    def close(self) -> str:
        """Wait for the rest, and say what was lost."""
        with suppress(OSError):  # as on a disk that is read-only by now
            self._pipe.unlink()
        if self._copying is not None:
            self._copying.join(_TERM_S)
        note = b"" if self._noted else self._note()
        if self._write(note) < len(note):
            self._cut()
        if not self._lost:
            return ""
        full = self._why in map(os.strerror, (errno.ENOSPC, errno.EDQUOT))
        where = "the disk of its log was full" if full else f"its log, {self._why}"
        return f"{where}: {self._lost:,} bytes of it are missing"

    def _copy(self, pipe: int) -> None:
        while chunk := os.read(pipe, _CHUNK):
            self.printed += len(chunk)
            self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        """Write what has come, but the rest of a line whose beginning is lost."""
        if self._torn:
            rest = chunk.find(b"\n") + 1
            self._lose(rest or len(chunk), torn=not rest)
            chunk = chunk[rest or len(chunk) :]
        if chunk:
            self._put(chunk)

    def _put(self, chunk: bytes) -> None:
        """Write it, behind a note of the gap that ends here; it goes on where no line has room."""
        note = b"" if self._noted else self._note()
        found = note + chunk
        written = self._write(found)
        begun = max(found.rfind(b"\n", 0, written) + 1, len(note))
        if begun > len(note):
            self._lines, self._gap, self._part = self._kept + begun, 0, 0
        self._part += len(found) - begun
        if written == len(found):
            self._kept, self._noted = self._kept + written, self._gap > 0
            return
        self._lose(self._part, torn=not chunk.endswith(b"\n"))
        self._kept, self._noted, self._part = self._lines, False, 0
        self._cut()

    def _cut(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._file, self._lines)

    def _write(self, found: bytes) -> int:
        """Give how much of it could be written."""
        at = 0
        try:
            while at < len(found):
                at += os.write(self._file, found[at:])
        except OSError as error:
            self._why = error.strerror or str(error)
        return at

    def _lose(self, size: int, *, torn: bool) -> None:
        self._gap, self._lost, self._torn = self._gap + size, self._lost + size, torn

    def _note(self) -> bytes:
        """Say what is missing here, if something is."""
        said = f"[hpo] lines are missing here, {self._gap:,} bytes: {self._why}\n"
        return said.encode() if self._gap else b""


def write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for its owner only; a reader sees all of it or nothing, also after a crash."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _guard(
    folder: Path,
    request: dict[str, Any],
    group: Path | None,
    watch: _Watch,
    log: _Log,
    forked: _Forked | None = None,
) -> dict[str, Any]:
    kills, become = _kernel_kills(), request.get("become", ())
    try:
        child = _spawn(request, group, log) if forked is None else forked.begin(request, group, log)
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
        if trouble is not None:
            ask_to_stop(folder)
        _end_all(group, become, _grace_s(request, trouble))
        _share(folder, become)
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and _kernel_kills() > kills:
        detail = "killed by signal 9 while the kernel killed processes for want of memory"
        return {"ending": "out_of_memory", "code": code, "detail": detail}
    if code is not None or trouble is None:
        return {"ending": "exited", "code": code, "detail": ""}
    return {"ending": trouble[0], "code": None, "detail": trouble[1]}


def _spawn(request: dict[str, Any], group: Path | None, log: _Log) -> subprocess.Popen[bytes]:
    """Start the trial; a shell that becomes another user is told by `stdin` what to run."""
    said = request.get("stdin", "").encode(errors="surrogateescape")
    with log.open() as printed:
        child = subprocess.Popen(  # noqa: S603 - running what the spec says is the purpose
            request["command"],
            env=request["env"],
            cwd=request["cwd"],
            stdin=subprocess.PIPE if said else subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _contain(group),
        )
    if child.stdin is not None:
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(said)
    return child


class _Forked:
    """The trial to be, if a template has forked it: this guard's child, which waits."""

    def __init__(self, pid: int, telling: socket.socket) -> None:
        self.pid, self._telling = pid, telling
        self._code: int | None = None

    def begin(self, request: dict[str, Any], group: Path | None, log: _Log) -> _Forked:
        """Tell it what to run; OSError if it cannot."""
        told = {name: request[name] for name in ("command", "env", "cwd")}
        told["cgroup"] = None if group is None else str(group)
        with log.open(), self._telling as telling:
            telling.sendall(json.dumps(told).encode() + b"\n")
            answer = b"".join(iter(lambda: telling.recv(_CHUNK), b""))
        trouble = json.loads(answer or b"null")
        if trouble is not None:
            raise OSError(trouble[0], os.strerror(trouble[0]), trouble[1])
        return self

    def poll(self) -> int | None:
        """Give its exit code, as `Popen` does; None while it runs."""
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code


def _contain(group: Path | None) -> None:
    """Bind this process, the trial to be, to its guard and to its cgroup."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if group is not None:
        with suppress(OSError):
            (group / "cgroup.procs").write_text("0")


def _wait(child: subprocess.Popen[bytes] | _Forked) -> None:
    """Wait for a child's end, but not for long."""
    try:
        ended = os.pidfd_open(child.pid)
    except OSError:  # a sandbox that does not know it, or a machine without room
        time.sleep(_POLL_S)
        return
    try:
        select.select([ended], [], [], _POLL_S)
    finally:
        os.close(ended)


class _Watch:
    """What may go wrong with an attempt, by a clock that stands still while the machine sleeps."""

    def __init__(
        self,
        folder: Path,
        request: dict[str, Any],
        stop_asked: list[int],
        keeper: int,
        log: _Log,
    ) -> None:
        self._folder, self._request, self._stop_asked = folder, request, stop_asked
        self._keeper, self._log = keeper, log
        self._began = self._beaten = self._let_go = time.monotonic()
        self._beat = self._released = 0.0

    def trouble(self) -> tuple[str, str] | None:
        """Give the reason to end the attempt now, or None."""
        if self._stop_asked or _changed(self._folder / "stop"):
            return "stopped", "asked to stop"
        if os.getppid() != self._keeper:
            return "lost", "its guard's keeper is gone"
        timeout_s = self._request["timeout_s"]
        if time.monotonic() - self._began > timeout_s:
            return "timeout", f"still running after {timeout_s:g} s"
        limit, used = self._request["memory_bytes"], 0
        if limit is not None and (used := _memory(limit)) > limit:
            return "out_of_memory", f"used {used / 2**20:.0f} MiB of {limit / 2**20:.0f} MiB"
        if self._log.printed > _MAX_LOG_BYTES:
            return "log_too_large", f"printed more than {_MAX_LOG_BYTES / 2**20:.0f} MiB"
        return self._neglect()

    def _neglect(self) -> tuple[str, str] | None:
        """Look for changes, whatever their times: the clock may have been stepped in between."""
        beat, released = _changed(self._folder / "heartbeat"), _changed(self._folder / "released")
        now = time.monotonic()
        if beat != self._beat:
            self._beat, self._beaten = beat, now
        if released != self._released:
            self._released, self._let_go = released, now
        age_s = now - self._beaten
        if age_s > self._request["release_s"] and _is_read_only(self._folder):
            return None  # where no heart can beat
        if released and self._let_go >= self._beaten and age_s > self._request["release_s"]:
            return "stopped", "its Airflow task was ended and none has taken over"
        if age_s > self._request["grace_s"]:
            return "abandoned", f"no Airflow task has looked after it for {age_s:.0f} s"
        return None


def _changed(path: Path) -> float:
    """Give when a file was changed, 0 while it is not there, or its disk does not say."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_read_only(folder: Path) -> bool:
    try:
        os.utime(folder / "guard.lock")
    except OSError as error:
        return error.errno == errno.EROFS
    return False


def _kernel_kills() -> int:
    """Count the processes that the kernel has killed for want of memory since it was started."""
    lines = _VMSTAT.read_text().splitlines() if _VMSTAT.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _memory(limit: int) -> int:
    """Sum the memory of all descendants; if that exceeds the limit, count shared pages once."""
    processes = _descendants()
    resident = sum(_bytes_of(process, shared=True) for process in processes)
    if resident <= limit:
        return resident
    return sum(_bytes_of(process, shared=False) for process in processes)


def _descendants(*, all_of_them: bool = True) -> list[psutil.Process]:
    import psutil

    return list(psutil.Process().children(recursive=all_of_them))


def _bytes_of(process: psutil.Process, *, shared: bool) -> int:
    import psutil

    try:
        resident = int(process.memory_info().rss)
        return resident if shared else int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        return resident
    except psutil.Error:
        return 0


def ask_to_stop(folder: Path) -> None:
    """Make the file `stop` in an attempt's output, for which `hpo_lib.runtime.should_stop` looks.

    No link that the trial may have left there is followed.
    """
    with suppress(OSError):
        output = os.open(folder / "output", os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.close(os.open("stop", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=output))
        finally:
            os.close(output)


def _grace_s(request: dict[str, Any], trouble: tuple[str, str] | None) -> float:
    """Give how long a trial may take to end by itself; not for long what takes up more and more."""
    grows = trouble is not None and trouble[0] in ("out_of_memory", "log_too_large")
    return float((not grows and request.get("stop_grace_s")) or _TERM_S)


def _end_all(group: Path | None, become: Sequence[str], grace_s: float) -> None:
    """SIGTERM, a moment, SIGKILL: until no descendant is left, orphans of orphans included.

    What cannot be killed for _KILL_S is left to the keeper.
    """
    end = time.monotonic() + grace_s
    for number in (signal.SIGTERM, signal.SIGCONT) if _any_left(group) else ():
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
        return [child.pid for child in _descendants(all_of_them=False)]


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
    import psutil

    others = []
    for process in _descendants():
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
    *numbers, place = sys.argv[1:]
    if numbers[:1] == ["--keep"]:
        sys.exit(keep_forked(int(numbers[1]), Path(place)))
    if numbers[:1] == ["--guard"]:
        keeper, trial, telling = map(int, numbers[1:])
        sys.exit(guard_forked(keeper, trial, telling, Path(place)))
    sys.exit(main(Path(place)))
