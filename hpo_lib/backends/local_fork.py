"""Asking a template (see `local_template`) to begin an attempt; starting one where there is none.

A template serves the attempts of one run, on one host, of one program with one set of variables,
and only in the surroundings that it has itself: user, groups, limits, namespaces, cgroup. It is
found by a name that is made of all this, as a socket that leaves no file behind.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo_lib.backends import local_template
from hpo_lib.backends.local_imports import Plan, plan

log = logging.getLogger(__name__)
#: How long a template waits for its next attempt, and one that asks for its imports.
_IDLE_S, _IMPORT_S = 60.0, 300.0
_POLL_S = 0.02
#: So many templates of one home may there be.
_MOST = 4
_MARK = "HPO_EMBEDDED"
_ENDED = "its template has ended"
#: What a process has of who started it, by which two programs may differ.
_SURROUNDINGS = re.compile(
    r"^(Uid|Gid|Groups|Umask|Sig(?:Blk|Ign)|Cap\w+|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed):.*",
    re.MULTILINE,
)


def begin(
    folder: Path, program: Mapping[str, Any], guard: Sequence[str], env: Mapping[str, str]
) -> bool:
    """Have a template begin an attempt; False if it is to begin without one.

    `program` has `command`, `env` and `cwd`, `guard` is what starts a guard, with the variables
    `env`. Why a program that would gain by a template has none is said in the task's log.
    """
    found = plan(program["command"], Path(program["cwd"]))
    if found is None:
        return False
    try:
        why = found.refused or _Template(folder, program, found, env).begin(guard)
    except OSError as error:
        why = f"its template does not answer: {error}"
    if why:
        log.info("this trial's process imports its libraries itself: %s", why)
    return not why


class _Template:
    """The template for an attempt, whether or not it runs.

    `refused` is the file that says why the attempts of this template are to begin without it.
    """

    def __init__(
        self, folder: Path, program: Mapping[str, Any], found: Plan, env: Mapping[str, str]
    ) -> None:
        self._folder, self._program, self._plan, self._env = folder, program, found, dict(env)
        self._name = _name(folder, program, found)
        self._refused = folder.parents[1] / f"no-template-{self._name[-12:]}.txt"

    def begin(self, guard: Sequence[str]) -> str:
        """Ask it to begin the attempt; say why it has not, if it has not.

        One that ends before it answers is asked once more, for it may have waited long enough.
        """
        why = _ENDED
        for _ in range(2):
            if why == _ENDED and not self._refused.exists():
                why = self._ask(guard)
        if why == _ENDED and not self._refused.exists():
            self._refused.write_text(f"{_ENDED}\n")
        return self._refused.read_text().strip() if self._refused.exists() else why

    def _ask(self, guard: Sequence[str]) -> str:
        wanted = {"folder": str(self._folder), "guard": [*guard], "env": self._env}
        with closing(socket.socket(socket.AF_UNIX)) as asking:
            why = self._connect(asking)
            if why:
                return why
            asking.settimeout(_IMPORT_S)
            with suppress(ConnectionError):
                asking.sendall(json.dumps(wanted).encode() + b"\n")
                if asking.recv(16):
                    return ""
        return _ENDED

    def _connect(self, asking: socket.socket) -> str:
        """Connect to the template, which is started if it does not run."""
        started, ended, end = None, False, time.monotonic() + _IMPORT_S
        while not self._is_connected(asking):
            if ended or time.monotonic() > end:
                return _ENDED if ended else "its template did not start in time"
            if started is None:
                if (others := self._others()) >= _MOST:
                    return f"{others} templates run already"
                started = self._start()
            ended = started.poll() is not None  # perhaps because another one has the name by now
            time.sleep(_POLL_S)
        told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, user, _ = struct.unpack("3i", told)
        return "" if user == os.getuid() else "another user has its template's name"

    def _is_connected(self, asking: socket.socket) -> bool:
        with suppress(ConnectionRefusedError):
            asking.connect(b"\0" + self._name.encode())
            return True
        return False

    def _others(self) -> int:
        """Count the templates of the same home."""
        ours = re.escape(self._name.rpartition("-")[0])
        named = re.compile(rf"@({ours}-[0-9a-f]+)$", re.MULTILINE)
        return len(set(named.findall(_read("/proc/net/unix"))))

    def _start(self) -> subprocess.Popen[bytes]:
        """Start it with the variables of its trials, but for those that tell them apart."""
        told = asdict(self._plan) | {"name": self._name, "refused": str(self._refused)}
        marks = {_MARK: self._env[_MARK]} if _MARK in self._env else {}
        template = subprocess.Popen(  # noqa: S603 - the trial's interpreter, and our own file
            [self._program["command"][0], local_template.__file__],
            env=_shared(self._program["env"]) | marks,
            cwd=self._program["cwd"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if template.stdin is not None:
            with suppress(BrokenPipeError), template.stdin:
                template.stdin.write(json.dumps(told | {"idle_s": _IDLE_S}).encode() + b"\n")
        return template


def _shared(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not local_template.is_ours(name)}


def _name(folder: Path, program: Mapping[str, Any], found: Plan) -> str:
    """Name the template for an attempt: by its home, and by all in which two may differ."""
    home, run = folder.parents[3], folder.parents[1]
    facts = (
        [str(run), folder.name.rpartition("-")[2], program["command"][0], program["cwd"]],
        sorted(_shared(program["env"]).items()),
        asdict(found),
        _surroundings(),
    )
    return f"hpo-fork-{_digest(str(home), 12)}-{_digest(json.dumps(facts), 24)}"


def _surroundings() -> list[str]:
    """Say what this process has, and hands on to what it starts, besides its variables."""
    spaces = sorted(str(one.readlink()) for one in Path("/proc/self/ns").iterdir())
    told = [found[0] for found in _SURROUNDINGS.finditer(_read("/proc/self/status"))]
    files = [_read(f"/proc/self/{name}") for name in ("cgroup", "limits", "oom_score_adj")]
    order = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)]
    return [*spaces, *told, *files, *map(str, order), local_template.__file__]


def _read(path: str) -> str:
    return Path(path).read_text()


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:length]
