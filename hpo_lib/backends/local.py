"""Attempts as processes of this machine, each under a guard of its own (see `local_guard`)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from hpo_lib.backends import (
    AttemptName,
    Found,
    NoOptions,
    Request,
    Site,
    cgroup,
    local_guard,
    local_processes,
    log_of,
)
from hpo_lib.backends.inherited import LocalRules, environment
from hpo_lib.backends.trial_user import TrialUser
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.files.lines import Growing
from hpo_lib.files.places import reaching
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict, parse, told

_POLL_S, _FIRST_POLL_S = 0.2, 0.02
_START_S = 60.0
_STOP_S = 30.0
_TAIL = 1 << 14


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """Keeps each attempt in a folder of its own below `home`, which hosts may share.

    An attempt on another host is followed and ended through its files; without them it is lost.

    `workdir` is where commands run, `path` is put before PATH (so that `python` is the trial's),
    `grace_s` is how long an attempt may run without an Airflow task looking after it, `release_s`
    how long after its task has let go of it. `rules` are the operator's for all local trials.
    """

    keeps_output: ClassVar[bool] = True
    Options: ClassVar[type[Strict]] = NoOptions

    home: Path
    workdir: Path
    path: str = ""
    grace_s: float = 600.0
    release_s: float = 30.0
    rules: LocalRules = field(default_factory=LocalRules)

    @classmethod
    def at(cls, site: Site) -> Self:
        """Build it from the installation's folders, times and rules."""
        rules = site.rules("local", LocalRules)
        return cls(site.home, site.workdir, site.path, site.grace_s, rules=rules)

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
        lines += told(lambda: parse(NoOptions, trial.options, at="trial.options"))
        if lines:
            raise SpecError("\n".join(lines))

    def handle(self, name: AttemptName) -> dict[str, Any]:
        """Name the attempt's folder and this host."""
        return {"host": socket.gethostname(), "folder": str(name.folder(self.home))}

    def output(self, handle: Mapping[str, Any]) -> Path:
        """Give the folder that the trial knows as HPO_OUTPUT."""
        return _folder(handle) / "output"

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the file with everything the attempt printed."""
        return log_of(handle)

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
            local_guard.write(folder / "request.json", self._guarded(folder, request))
            guard = _start_guard(folder, environment(os.environ, self.path) | _marks(os.environ))
        _wait_for_start(folder, guard)

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Yield the attempt's lines as they come, keep its heart beating, end with the Exit."""
        folder = _folder(handle)
        log, pause_s = _from_near_its_end(folder / "log.txt"), _FIRST_POLL_S
        while True:
            if _is_seen(handle):
                _beat(folder)
            found = self.poll(handle)
            yield from log.new(last=found is not None)
            if found is not None:
                yield found
                return
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.1, _POLL_S)

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the attempt runs; one without a guard is ended as lost."""
        folder = _folder(handle)
        if not _is_seen(handle):
            return Exit(Ending.LOST, detail=f"its worker was {handle['host']}, this is another")
        alive = _is_locked(folder / "guard.lock")
        if (end := _end_of(folder)) is not None:
            return end
        if alive:
            return None
        self._end(folder)
        return Exit(Ending.LOST, detail=_lost(folder))

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
        end = time.monotonic() + _STOP_S
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

    def _guarded(self, folder: Path, request: Request) -> dict[str, Any]:
        inherited = environment(os.environ, self.path, self.rules.environment)
        env = inherited | dict(request.env)
        env[local_processes.MARK] = str(folder)
        command = [_which(request.command[0], env["PATH"]), *request.command[1:], *request.args]
        program = {"command": command, "env": env, "cwd": str(self.workdir)}
        if self._user is not None:
            program = self._as_user(self._user, folder, command, env)
        return program | {
            "cgroup": None if (group := cgroup.place(folder)) is None else str(group),
            "timeout_s": request.timeout_s,
            "memory_bytes": request.memory_bytes,
            "grace_s": self.grace_s,
            "release_s": self.release_s,
        }

    @property
    def _user(self) -> TrialUser | None:
        return self.rules.trial_user

    def _as_user(
        self, user: TrialUser, folder: Path, command: list[str], env: Mapping[str, str]
    ) -> dict[str, Any]:
        """Describe the same for a guard that first becomes another user."""
        return {
            "command": user.shell(),
            "stdin": user.script(command, env, str(self.workdir)),
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


def _signal_guard(folder: Path) -> None:
    """Tell the guard to stop; it is running, for it holds the lock of its folder."""
    if _is_locked(folder / "guard.lock"):
        os.kill(int(json.loads((folder / "started").read_text())["pid"]), signal.SIGTERM)


def _end_of(folder: Path) -> Exit | None:
    """Read how an attempt ended; None while its end is not written."""
    try:
        found = json.loads((folder / "exit.json").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    told = "; ".join(filter(None, [found["detail"], found.get("remark", "")]))
    return Exit(Ending(found["ending"]), found["code"], told)


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


def _start_guard(folder: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        with (folder / "guard.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own module
                # -P: modules beside that file must not shadow others of the same name.
                [sys.executable, "-P", local_guard.__file__, str(folder)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise TransientError(f"the guard of {folder} could not be started: {error}") from error


def _wait_for_start(folder: Path, guard: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while not (folder / "started").exists():
        if guard.poll() is not None and not _is_locked(folder / "guard.lock"):
            if (folder / "started").exists():
                return
            why = os.strerror(guard.returncode) if guard.returncode > 1 else "see guard.log"
            raise TransientError(f"the guard of {folder} ended at once: {why}")
        if time.monotonic() > end:
            guard.kill()
            raise TransientError(f"the guard of {folder} did not start within {_START_S:.0f} s")
        time.sleep(_POLL_S / 10)


def _which(program: str, path: str) -> str:
    return shutil.which(program, path=path) or program


def _is_locked(path: Path) -> bool:
    """Say whether a guard holds its lock, which it does exactly while it lives."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
