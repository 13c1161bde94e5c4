"""Attempts as processes of this machine, each under a guard of its own (see `local_guard`)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from hpo_lib.backends import (
    AttemptName,
    Found,
    Request,
    Site,
    cgroup,
    local_fork,
    local_guard,
    local_processes,
    local_starting,
    log_of,
)
from hpo_lib.backends.inherited import LocalRules, environment
from hpo_lib.backends.local_places import interpreter, strayed
from hpo_lib.backends.trial_user import TrialUser
from hpo_lib.backends.usage import Usage
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.files.lines import Growing
from hpo_lib.files.places import reaching
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict, as_error, parse, told

_POLL_S, _FIRST_POLL_S = 0.2, 0.02
_START_S = 60.0
_STOP_S = 30.0
_TAIL = 1 << 14
#: -P: modules beside that file must not shadow others of the same name.
_GUARD = (sys.executable, "-P", local_guard.__file__)


class LocalOptions(Strict):
    """`trial.options`: `fork` lets a process that has imported its libraries fork a program."""

    fork: bool = True


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """Keeps each attempt in a folder of its own below `home`, which hosts may share.

    An attempt on another host is followed and ended through its files; without them it is lost.

    `workdir` is where commands run, `path` is put before PATH (so that `python` is the trial's),
    `grace_s` is how long an attempt may run without an Airflow task looking after it, `release_s`
    how long after its task has let go of it. `rules` are the operator's for all local trials.
    Below `roots`, and `workdir`, a conf may have its programs run.
    """

    keeps_output: ClassVar[bool] = True
    Options: ClassVar[type[Strict]] = LocalOptions

    home: Path
    workdir: Path
    path: str = ""
    grace_s: float = 600.0
    release_s: float = 30.0
    rules: LocalRules = field(default_factory=LocalRules)
    roots: Sequence[Path] = ()

    @classmethod
    def at(cls, site: Site) -> Self:
        """Build it from the installation's folders, times and rules."""
        rules = site.rules("local", LocalRules)
        return cls(site.home, site.workdir, site.path, site.grace_s, rules=rules, roots=site.roots)

    @classmethod
    def unpinned(cls, trial: TrialSpec) -> None:
        """Give None: a trial has no image, and `reuse.code` names its program."""

    def permit(self, trial: TrialSpec) -> None:
        """Refuse what a process of this machine cannot have."""
        lines = [] if trial.command else ["trial.command: is required by backend local"]
        for name, value in (("image", trial.image), ("gpu", trial.resources.gpu)):
            if value:
                where = f"resources.{name}" if name == "gpu" else name
                lines.append(f"trial.{where}: backend local runs processes, it takes no {name}")
        if trial.spot:
            lines.append("trial.spot: backend local has none")
        lines += strayed(trial, self.workdir, self.roots)
        lines += told(lambda: parse(LocalOptions, trial.options, at="trial.options"))
        if lines:
            raise as_error(lines)

    def handle(self, name: AttemptName) -> dict[str, Any]:
        """Name the attempt's folder and this host, and where its programs are looked for first."""
        place = {"host": socket.gethostname(), "folder": str(name.folder(self.home))}
        return place | ({"path": self.path} if self.path else {})

    def output(self, handle: Mapping[str, Any]) -> Path:
        """Give the folder that the trial knows as HPO_OUTPUT."""
        return _folder(handle) / "output"

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the file with everything the attempt printed."""
        return log_of(handle)

    def wanted(self, handle: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """Say what the guard is told to run: command, environment, folder, limits and user."""
        folder, path, first = _folder(handle), self.path, request.command[0]
        if request.python is not None:
            python = interpreter(request.python, self.workdir)
            first = python if first == request.python else first
            path = os.pathsep.join(filter(None, [python.rpartition("/")[0], path]))
        env = environment(os.environ, path, self.rules.environment) | dict(request.env)
        env[local_processes.MARK] = str(folder)
        found = shutil.which(first, path=env["PATH"]) or first
        command = [found, *request.command[1:], *request.args]
        cwd = str(self.workdir / (request.dir or ""))
        program = {"command": command, "env": env, "cwd": cwd}
        if self._user is not None:
            program = self._as_user(self._user, folder, command, env, cwd)
        return program | {
            "cgroup": None if (group := cgroup.place(folder)) is None else str(group),
            "timeout_s": request.timeout_s,
            "stop_grace_s": request.stop_grace_s,
            "memory_bytes": request.memory_bytes,
            "grace_s": self.grace_s,
            "release_s": self.release_s,
        }

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Start a guard unless one was started before; TransientError if it does not come up.

        Only the host that named an attempt starts it; on any other it counts as lost. So does one
        that is taken over and whose folder is gone: it may have begun, and is not begun unseen.
        """
        folder = _folder(handle)
        if (folder / "started").exists() or handle["host"] != socket.gethostname():
            return
        with reaching(folder):
            if request.taken_over and not folder.exists():
                _try(folder)
                return
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / "output").mkdir(exist_ok=True)
            (folder / "heartbeat").touch()
            with suppress(FileExistsError):
                os.mkfifo(folder / "printed", 0o600)
            if self._user is not None:
                self._user.open(self.home, folder)
            program = self.wanted(handle, request)
            local_guard.write(folder / "request.json", program)
        env = environment(os.environ, self.path) | _marks(os.environ)
        if self._may_fork(request) and local_fork.begin(folder, program, _GUARD, env):
            local_starting.wait_while_locked(folder, time.monotonic() + _START_S)
        if not (folder / "started").exists():
            local_starting.start(folder, env)

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Yield the attempt's lines as they come, keep its heart beating, end with the Exit."""
        folder, guard = _folder(handle), _guard_of(handle)
        log, pause_s = _from_near_its_end(folder / "log.txt"), _FIRST_POLL_S
        while True:
            if _is_seen(handle):
                _beat(folder)
            found = self.poll(handle)
            yield from log.new(last=found is not None)
            if found is not None:
                yield found
                return
            if local_processes.wait(guard, pause_s):
                guard = None  # what it has left, or not told, is its keeper's business
            pause_s = min(pause_s * 1.1, _POLL_S)

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the attempt runs; one without a guard is ended as lost."""
        folder = _folder(handle)
        if not _is_seen(handle):
            return Exit(Ending.LOST, detail=f"its worker was {handle['host']}, this is another")
        alive = local_processes.is_locked(folder / "guard.lock")
        if (end := _end_of(folder)) is not None:
            return end
        if alive:
            return None
        self._end(folder)
        return Exit(Ending.LOST, detail=_lost(folder))

    def usage(self, handle: Mapping[str, Any]) -> Usage | None:
        """Say what an attempt uses now, and has used when it has ended; None if nobody knows."""
        found = _written_end(_folder(handle))
        if found is not None:
            return Usage(int(found.get("largest_bytes", 0)), float(found.get("cpu_s", 0.0)))
        return local_processes.usage(_folder(handle) / "started")

    def fetch(self, handle: Mapping[str, Any]) -> None:
        """Do nothing: the guard writes the log here."""

    def release(self, handle: Mapping[str, Any]) -> None:
        """Let go of the attempt: it ends after `release_s` unless someone follows it again."""
        _ask(handle, "released")

    def end(self, handle: Mapping[str, Any]) -> None:
        """Ask the guard to end the attempt."""
        _ask(handle, "stop")

    def stop(self, handle: Mapping[str, Any]) -> None:
        """Ask the guard to end the attempt; returns when it has, or after killing it."""
        folder = _folder(handle)
        if not folder.exists():
            return
        _ask(handle, "stop")
        end = time.monotonic() + _STOP_S + _grace_s(folder)
        while self.poll(handle) is None and time.monotonic() < end:
            time.sleep(_POLL_S / 4)
        self._end(folder)

    def found(self, store: str) -> Iterator[Found]:
        """Give the attempts of this home whose processes run on this host."""
        for folder in sorted({folder for folder, _ in local_processes.running(self.home)}):
            if folder.name.endswith(f"-{store[:6]}"):
                yield _found(folder)

    def discard(self, handle: Mapping[str, Any]) -> None:
        """Do nothing: an ended attempt leaves only files."""

    @property
    def _user(self) -> TrialUser | None:
        return self.rules.trial_user

    def _may_fork(self, request: Request) -> bool:
        """Say whether a template may begin an attempt: not as another user, nor if told not to."""
        allowed = self._user is None and self.rules.fork
        return allowed and parse(LocalOptions, request.options).fork

    def _as_user(
        self, user: TrialUser, folder: Path, command: list[str], env: Mapping[str, str], cwd: str
    ) -> dict[str, Any]:
        """Describe the same for a guard that first becomes another user."""
        return {
            "command": user.shell(),
            "stdin": user.script(command, env, cwd),
            "become": user.become,
            "env": {"PATH": os.environ.get("PATH", os.defpath), local_processes.MARK: str(folder)},
            "cwd": str(folder),
        }

    def _end(self, folder: Path) -> None:
        """End what is left of an attempt, also as another user."""
        local_processes.end(folder)
        if self._user is not None:
            self._user.kill(f"{local_processes.MARK}={folder}")
            self._user.share(folder / "output")


def _marks(inherited: Mapping[str, str]) -> dict[str, str]:
    """Keep the variable by which an embedded Airflow finds its guards."""
    return {name: inherited[name] for name in ("HPO_EMBEDDED",) if name in inherited}


def _from_near_its_end(log: Path) -> Growing:
    """Read a log from near its end, so that a second reader does not repeat all of it."""
    size = log.stat().st_size if log.exists() else 0
    return Growing(log, max(0, size - _TAIL))


def _found(folder: Path) -> Found:
    """Read the numbers from a folder such as 000012-digits/trial-0003/attempt-1-1a2b3c."""
    run, trial, attempt = folder.parts[-3:]
    handle = {"host": socket.gethostname(), "folder": str(folder)}
    return Found(int(run[:6]), int(trial[6:]), int(attempt.split("-")[1]), handle)


def _folder(handle: Mapping[str, Any]) -> Path:
    return Path(handle["folder"])


def _guard_of(handle: Mapping[str, Any]) -> int | None:
    """Number the guard of an attempt of this host; None if there is none."""
    if handle["host"] != socket.gethostname():
        return None
    with suppress(OSError, ValueError):
        return local_processes.guard_of(_folder(handle) / "started")
    return None


def _ask(handle: Mapping[str, Any], what: str) -> None:
    """Make the file that asks the guard for this; an attempt that never started has no guard.

    Where the disk has no room for it, the guard is told to stop by a signal.
    """
    folder = _folder(handle)
    try:
        if folder.exists():
            (folder / what).touch()
    except OSError:
        if what == "stop" and handle["host"] == socket.gethostname():
            _signal_guard(folder)


def _grace_s(folder: Path) -> float:
    """Read how long a spec lets its trial take to end by itself, 0 if it does not say."""
    try:
        return float(json.loads((folder / "request.json").read_text())["stop_grace_s"] or 0)
    except (OSError, ValueError, KeyError):
        return 0.0


def _signal_guard(folder: Path) -> None:
    """Tell the guard to stop; it is running, for it holds the lock of its folder."""
    if local_processes.is_locked(folder / "guard.lock"):
        os.kill(local_processes.guard_of(folder / "started"), signal.SIGTERM)


def _end_of(folder: Path) -> Exit | None:
    """Read how an attempt ended; None while its end is not written."""
    found = _written_end(folder)
    if found is None:
        return None
    gap = found.get("remark", "")
    told = "; ".join(filter(None, [found["detail"], gap]))
    return Exit(Ending(found["ending"]), found["code"], told, gap)


def _written_end(folder: Path) -> Any:
    try:
        return json.loads((folder / "exit.json").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _lost(folder: Path) -> str:
    """Say why nothing is known of an attempt's end: its disk may have kept it from being told."""
    if not folder.exists():
        return f"its folder is gone: there is no {folder}"
    try:
        _try(folder / ".probe")
    except OSError as error:
        return f"its guard process is gone, and its disk says: {error.strerror} ({folder})"
    return "its guard process is gone"


def _try(folder: Path) -> None:
    """Make a folder, and a file with something in it, to see whether that can be done."""
    folder.mkdir(parents=True, mode=0o700)
    try:
        (folder / "x").write_bytes(bytes(4096))
    finally:
        shutil.rmtree(folder)


def _is_seen(handle: Mapping[str, Any]) -> bool:
    """Say whether an attempt's files are here: it is this host's, or both hosts share the home."""
    return handle["host"] == socket.gethostname() or (_folder(handle) / "started").exists()


def _beat(folder: Path) -> None:
    """Show the guard that somebody looks after the attempt, where the disk can be written."""
    with suppress(OSError):
        os.utime(folder / "heartbeat")
