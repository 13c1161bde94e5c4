"""Where a conf may have local trials run, and by which Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpo_lib.spec.trial_section import TrialSpec


def strayed(trial: TrialSpec, workdir: Path, roots: Sequence[Path]) -> Iterator[str]:
    """Yield which of a trial's own places lies neither below `workdir` nor below one of `roots`."""
    allowed = (workdir, *roots)
    for name, path in (("dir", trial.dir), ("python", trial.python), ("venv", trial.venv)):
        if path is None or (name == "python" and "/" not in path):
            continue
        # The `python` of an environment is a link that leads out; its folder is put into PATH.
        folders = {"dir": Path(path), "python": Path(path).parent, "venv": Path(path, "bin")}
        place = os.path.realpath(workdir / folders[name])
        if not any(_is_below(place, os.path.realpath(one)) for one in allowed):
            yield (
                f"trial.{name}: must lie below {', '.join(map(str, allowed))} in this "
                f"installation, got {path}; its operator can name other folders in HPO_TRIAL_ROOTS"
            )


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath([path, root]) == root


def interpreter(named: str, workdir: Path) -> str:
    """Find an interpreter; a name without a folder is looked for in PATH later."""
    return str(workdir / named) if "/" in named else named
