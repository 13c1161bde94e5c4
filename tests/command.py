"""Commands that have to succeed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def printed(
    words: Sequence[str | Path],
    env: Mapping[str, str],
    *,
    timeout_s: float,
    folder: Path = Path(__file__).parents[1],
) -> str:
    """Run a command in a folder; gives what it printed, and shows it where it fails."""
    done = subprocess.run(
        [*map(str, words)],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout
