"""The paths of a spec file, relative to its folder, and the script that its trials run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo_lib.registry import BACKENDS
from hpo_lib.spec.model import Spec

_PLACES = ("dir", "python", "venv")
_PYTHON = re.compile(r"(.*/)?python(\d+(\.\d+)?)?")
_SHELL = re.compile(r"(.*/)?(ba|da|k|z)?sh")
#: Options of Python that stand alone, and those that take the next word.
_ALONE = re.compile(r"-[bBdEhiIOPqsSuvVx]+")
_WITH_VALUE = ("-W", "-X")


def placed(spec: Spec, folder: str, workdir: str) -> Spec:
    """Make a file's own paths absolute; its programs run in its `folder` where it names no other.

    In `workdir`, where they run anyhow, nothing has to be said.
    """
    own = _default(spec.trial.backend, folder) | _absolute(spec.trial.model_dump(), folder)
    if own.get("dir") == os.path.normpath(workdir):
        own["dir"] = None
    trial = spec.trial.model_copy(update=own)
    if spec.final is None:
        return spec.changed(trial=trial)
    named = dict(spec.final.trial)
    backend = str(named.get("backend", spec.trial.backend))
    moved = _default(backend, folder) if backend != spec.trial.backend else {}
    final = spec.final.model_copy(update={"trial": moved | named | _absolute(named, folder)})
    return spec.changed(trial=trial, final=final)


def _default(backend: str, folder: str) -> dict[str, str | None]:
    """Give where programs of a file run; nothing for images, which have their own places."""
    row = BACKENDS.get(backend)
    return {"dir": folder} if row is not None and row.on_workers else {}


def _absolute(trial: Mapping[str, Any], folder: str) -> dict[str, str | None]:
    """Give the places that a section names, but for the name of a program, as absolute paths."""
    own = {name: trial[name] for name in _PLACES if isinstance(trial.get(name), str)}
    if "/" not in own.get("python", "/"):
        del own["python"]
    return {name: _joined(folder, path) for name, path in own.items()}


def _joined(folder: str, path: str) -> str:
    own = Path.home() / path[2:] if path.startswith("~/") else Path(folder, path)
    return os.path.normpath(own)


def script(command: Sequence[str]) -> int | None:
    """Say which word of a command is a file that has to be there; None if that is not known."""
    if not command:
        return None
    runs_a_file = _PYTHON.fullmatch(command[0]) or _SHELL.fullmatch(command[0])
    at = _first_argument(command) if runs_a_file else 0
    if at is None or "${" in command[at]:
        return None
    return at if runs_a_file or "/" in command[at] else None


def _first_argument(command: Sequence[str]) -> int | None:
    """Find what a Python or a shell is to run; None for a module, a text, or standard input."""
    at = 1
    while at < len(command) and command[at].startswith("-"):
        if command[at] in _WITH_VALUE:
            at += 1
        elif not _ALONE.fullmatch(command[at]):
            return None
        at += 1
    return at if at < len(command) else None
