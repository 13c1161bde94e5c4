"""Waiting at a named step, to be killed there: an instrument of the tests, and a deployer with it.

Whoever tests makes a file of the step's name in a folder. The first process that comes to the step
takes the file away, leaves its number, and waits for as long as that is there; later ones go on.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

from hpo_lib.deployers import Check, Release
from hpo_lib.deployers.package import PackageDeployer
from hpo_lib.validation import Strict

#: The same as `wait_at`, for trials that are shell scripts: `wait_at FOLDER STEP`.
WAIT = """
wait_at() {
  mv "$1/$2" "$1/$2.waits" 2> /dev/null || return 0
  echo $$ > "$1/$2.waits"
  while test -e "$1/$2.waits"; do sleep 0.1; done
}
"""


def hold(folder: Path, step: str) -> None:
    """Have the first process that comes to a step wait there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / step).touch()


def held(folder: Path, step: str) -> int | None:
    """Give the process that waits at a step, None if there is none."""
    file = folder / f"{step}.waits"
    text = file.read_text().strip() if file.exists() else ""
    return int(text) if text else None


def let_go(folder: Path, step: str) -> None:
    """Let whoever waits at a step go on."""
    (folder / f"{step}.waits").unlink()


def wait_at(folder: Path, step: str) -> None:
    """Wait here, if that is wanted and nobody else has done so."""
    file = folder / f"{step}.waits"
    try:
        (folder / step).rename(file)
    except FileNotFoundError:
        return
    file.write_text(str(os.getpid()))
    while file.exists():
        time.sleep(0.05)


class HeldOptions(Strict):
    """Where packages lie, and the folder that says at what steps to wait."""

    root: str
    steps: str


class HeldPackages:
    """The deployer `package`, which waits before each of its steps, and after a switch."""

    Options: ClassVar[type[Strict]] = HeldOptions

    def __init__(self, experiment: str, options: HeldOptions) -> None:
        """Take what `hpo_airflow.deployers` makes a deployer of one's own with."""
        self.packages = PackageDeployer(experiment, Path(options.root))
        self.steps = Path(options.steps)

    def stage(self, release: Release) -> None:
        """Write the package."""
        wait_at(self.steps, "stage")
        self.packages.stage(release)

    def try_out(self, release: Release) -> Check:
        """Compare the package with its manifest."""
        wait_at(self.steps, "try out")
        return self.packages.try_out(release)

    def switch(self, version: int) -> None:
        """Point the alias to a version."""
        wait_at(self.steps, "switch")
        self.packages.switch(version)
        wait_at(self.steps, "switched")

    def serving(self) -> int | None:
        """Read the alias."""
        return self.packages.serving()

    def verify(self, version: int) -> Check:
        """Follow the alias."""
        return self.packages.verify(version)

    @property
    def address(self) -> str:
        """The alias."""
        return self.packages.address

    def withdraw(self) -> None:
        """Delete the alias."""
        self.packages.withdraw()

    def drop(self, version: int) -> None:
        """Delete a package."""
        wait_at(self.steps, "drop")
        self.packages.drop(version)
