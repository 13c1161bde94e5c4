"""Installs a file of pins beside the Python that runs this, and shows on stderr how far it is.

    .venv/bin/python requirements/install.py requirements/core.txt

pip finds the packages, with its own settings, and checks their hashes; uv, itself a pin, unpacks
them in a small part of pip's time. What either says of what goes wrong is shown as it is. Where
PIP_NO_COMPILE is set, modules are compiled when they are first imported. Needs the standard library
only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import IO

from pins import entries, pin

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_CHECKED = ("--no-deps", "--require-hashes", "--progress-bar", "off", "--requirement")
_UV = Path(__file__).with_name("uv.txt")
#: How often a line moves on a terminal, and how often one is written elsewhere.
_MOVES_S, _WRITES_S = 1.0, 9.0


class Progress:
    """How far it is: all packages are found before the first is installed."""

    def __init__(self, wanted: int) -> None:
        """Begin with so many packages to find, and with what is there."""
        self.wanted, self.found = wanted, 0
        self._site, self._began = Path(sysconfig.get_paths()["purelib"]), time.monotonic()
        self._before = self._installed()

    def read(self, said: IO[str]) -> None:
        """Follow what pip says to its end."""
        for line in said:
            self.found += line.startswith(("Collecting ", "Processing "))

    def line(self) -> str:
        """Say how far it is."""
        seconds, done = time.monotonic() - self._began, self._installed() - self._before
        what = f"{done} installed" if done else f"{self.found} of {self.wanted} packages found"
        return f"  {seconds:.0f} s: {what}"

    def _installed(self) -> int:
        return sum(1 for _ in self._site.glob("*.dist-info"))


def install(pins: Path) -> int:
    """Install what is missing of the pins, and give the exit code of what failed, or 0."""
    there = present()
    asked_for = entries(pins.read_text(encoding="utf-8"))
    missing = [entry for entry in asked_for if not is_among(there, entry)]
    if not missing:
        return 0
    progress = Progress(len(missing))
    # Beside the packages, so that they need not be copied again.
    with TemporaryDirectory(dir=sys.prefix, prefix=".packages-") as folder:
        asked, tools, wheels = Path(folder, "pins.txt"), Path(folder, "uv"), Path(folder, "wheels")
        asked.write_text("\n".join(missing) + "\n", encoding="utf-8")
        code = (
            run([*_PIP, "wheel", "--wheel-dir", str(wheels), *_CHECKED, str(asked)], progress)
            or run([*_PIP, "install", "--target", str(tools), *_CHECKED, str(_UV)], progress)
            or run(unpacking(asked, tools, wheels), progress)
        )
    show("")
    return code


def unpacking(asked: Path, tools: Path, wheels: Path) -> list[str]:
    """Give uv's words to install what pip has found and checked, without a look anywhere else."""
    words = [str(tools / "bin" / "uv"), "pip", "install", "--quiet", "--no-config", "--offline"]
    words += ["--no-index", "--find-links", str(wheels), "--no-deps", "--no-verify-hashes"]
    words += ["--python", sys.executable, "--cache-dir", str(wheels.with_name("cache"))]
    words += [] if os.environ.get("PIP_NO_COMPILE") else ["--compile-bytecode"]
    return [*words, "--requirement", str(asked)]


def is_among(there: set[tuple[str, str]], entry: str) -> bool:
    """Say whether a pin is installed; what is no pin is not, and pip refuses it."""
    found = pin(entry)
    return found is not None and (plain(found["name"]), found["version"]) in there


def present() -> set[tuple[str, str]]:
    """Say what is installed."""
    return {(plain(one.metadata["Name"]), one.version) for one in distributions()}


def plain(name: str) -> str:
    """Write a package's name in the one way in which all of its spellings are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def run(words: Sequence[str], progress: Progress) -> int:
    """Run a command, show meanwhile how far it is, and give its exit code."""
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 - pip or uv
        words, stdout=subprocess.PIPE, text=True, env=unbuffered
    ) as process:
        reader = Thread(target=progress.read, args=(process.stdout,), daemon=True)
        reader.start()
        while True:
            try:
                code = process.wait(_MOVES_S if sys.stderr.isatty() else _WRITES_S)
            except subprocess.TimeoutExpired:
                show(progress.line())
            else:
                break
        reader.join()
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
