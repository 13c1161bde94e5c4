"""Runs a program, such as a package's own check, that does not outlive whoever asks."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def run(
    words: Sequence[str],
    folder: Path,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    told: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, `told` on its input, and give what it said.

    OSError, TimeoutExpired.

    The kernel kills it when this process is killed; what is late is killed with its session.
    """
    prctl = ctypes.CDLL(None).prctl
    with subprocess.Popen(  # noqa: S603 - a program of ours, without a shell
        words,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL if told is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
    ) as child:
        try:
            said, complained = child.communicate(told, timeout=timeout_s)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, child.returncode, said, complained)
