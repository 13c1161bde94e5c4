"""Installs a file of pins beside the Python that runs this, and shows on stderr how far it is.

    .venv/bin/python requirements/install.py requirements/core.txt

What pip says of what goes wrong is shown as it is. Needs the standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from threading import Thread
from typing import IO

_PIP = ("-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--progress-bar", "off")
#: How often a line moves on a terminal, and how often one is written elsewhere.
_MOVES_S, _WRITES_S = 1.0, 9.0


class Progress:
    """How far pip is: it finds all packages before it installs the first."""

    def __init__(self, pins: Path) -> None:
        """Count what there is to install, and what is there."""
        self.wanted = sum("==" in line for line in pins.read_text(encoding="utf-8").splitlines())
        self._site, self.found = Path(sysconfig.get_paths()["purelib"]), 0
        self._before, self._began = self._installed(), time.monotonic()

    def read(self, said: IO[str]) -> None:
        """Follow what pip says to its end."""
        for line in said:
            self.found += line.startswith(("Collecting ", "Requirement already satisfied"))

    def line(self) -> str:
        """Say how far it is."""
        seconds, done = time.monotonic() - self._began, self._installed() - self._before
        what = f"{done} installed" if done else f"{self.found} of {self.wanted} packages found"
        return f"  {seconds:.0f} s: {what}"

    def _installed(self) -> int:
        return sum(1 for _ in self._site.glob("*.dist-info"))


def install(pins: Path) -> int:
    """Have pip install the pins, and give its exit code."""
    progress = Progress(pins)
    words = [sys.executable, *_PIP, "--require-hashes", "--requirement", str(pins)]
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 - pip itself
        words, stdout=subprocess.PIPE, text=True, env=unbuffered
    ) as pip:
        reader = Thread(target=progress.read, args=(pip.stdout,), daemon=True)
        reader.start()
        while True:
            try:
                code = pip.wait(_MOVES_S if sys.stderr.isatty() else _WRITES_S)
            except subprocess.TimeoutExpired:
                show(progress.line())
            else:
                break
        reader.join()
    show("")
    return code


def show(line: str) -> None:
    """Draw a line in the place of the one before, or write it where that cannot be."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
    elif line:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(install(Path(sys.argv[1])))
