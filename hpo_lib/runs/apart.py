"""A module of this package, run by a process of its own: what it needs is gone from memory with it.

Slots go on for days and API servers for weeks; both are to keep neither pandas nor the records of
ten thousand trials.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hpo_lib.errors import TransientError

#: The folder from which this package is imported.
ROOT = Path(__file__).parents[2]


def answer(module: str, asked: bytes, what: str, patience_s: float) -> bytes:
    """Give what a module's program answers; `what` it makes is named where it cannot be made.

    TransientError, also where it takes too long.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a module of ours
            words(module),
            input=asked,
            capture_output=True,
            check=False,
            timeout=patience_s,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        raise TransientError(f"{what} takes more than {patience_s:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise TransientError(f"{what} cannot be made now: {''.join(said)}")
    return done.stdout


def words(module: str) -> list[str]:
    """Give the command line of a module."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """Give the environment in which it is found."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
