"""Cgroups of local attempts: where the kernel lets one be made (version 2), and whose one is."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

#: An attempt's folder, as `AttemptName` writes it: its home, run, trial and number.
_FOLDER = re.compile(r"(.+)/runs/(\d{6}-[^/:]+)/(trial-\d{4,})/(attempt-\d+-[0-9a-f]+)", re.DOTALL)


def place(folder: Path) -> Path | None:
    """Say where an attempt's cgroup would be; None where this process may make none.

    It may where its own cgroup is delegated to it: to root, to what systemd starts with
    `Delegate=yes`, and to what the systemd of a user starts.
    """
    name, own = name_of(folder), _own()
    if name is None or own is None:
        return None
    allowed = all(os.access(path, os.W_OK) for path in (own, own / "cgroup.procs"))
    return own / name if allowed else None


def name_of(folder: Path) -> str | None:
    """Name an attempt's cgroup as no other of this machine; None if it is no attempt's folder."""
    found = _FOLDER.fullmatch(str(folder))
    return None if found is None else ":".join((_tag(Path(found[1])), *found.groups()[1:]))


def attempt_of(pid: int, home: Path) -> Path | None:
    """Give the folder of the attempt whose cgroup a process is in; OSError if it has ended."""
    tag = _tag(home)
    for word in _path_of(Path(f"/proc/{pid}/cgroup")).split("/"):
        if word.startswith(f"{tag}:"):
            return home.joinpath("runs", *word.split(":")[1:])
    return None


def _tag(home: Path) -> str:
    return f"hpo-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"


def _own() -> Path | None:
    """Find this process's cgroup among the mounts; None without version 2."""
    try:
        own = _path_of(Path("/proc/self/cgroup"))
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    for line in mounts:
        facts, _, kind = line.partition(" - ")
        root, at = facts.split()[3:5]
        if kind.startswith("cgroup2 ") and own.startswith(root):
            return Path(at) / own.removeprefix(root).lstrip("/")
    return None


def _path_of(said: Path) -> str:
    """Read a process's place in the hierarchy of version 2; empty if it has none."""
    lines = said.read_text().splitlines()
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")
