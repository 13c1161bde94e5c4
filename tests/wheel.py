"""The project as its users install it: a wheel in an environment from which no checkout is seen.

The environment borrows Airflow and all other packages from the tests' own, by links to all in their
folder but this project: a `.pth` file adds the folder of links, and runs none in it.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.command import printed

ROOT = Path(__file__).resolve().parents[1]
#: What a wheel is built of, as in .dockerignore.
SOURCES = ("LICENSE", "README.md", "config", "dags", "hpo_lib", "plugins", "pyproject.toml")
_BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
_PATIENCE_S = 600


def sources(folder: Path) -> Path:
    """Copy the sources, so that a build leaves nothing in the checkout."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def built(kind: str, source: Path, out: Path) -> Path:
    """Build a `wheel` or an `sdist` of sources."""
    said = called([sys.executable, "-c", _BUILD, f"build_{kind}", out], source, os.environ)
    return out / said.splitlines()[-1]


def installed(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a new environment, and give its Python."""
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    called([*pip, "--no-deps", "--no-index", "--no-compile", wheel], folder, os.environ)
    site = called([python, "-c", "import sysconfig as s; print(s.get_path('purelib'))"], folder, {})
    Path(site.strip(), "borrowed.pth").write_text(str(borrowed(folder / "borrowed")))
    return python


def borrowed(folder: Path) -> Path:
    """Link to every package of the tests' own environment, but to none of this project."""
    folder.mkdir()
    for one in Path(sysconfig.get_path("purelib")).iterdir():
        if not one.name.startswith(("hpo_", "__editable__")) and one.suffix != ".pth":
            (folder / one.name).symlink_to(one)
    return folder


def called(words: Sequence[str | Path], folder: Path, env: Mapping[str, str]) -> str:
    """Run a command in a folder to a good end, and give what it printed."""
    return printed(words, env, timeout_s=_PATIENCE_S, folder=folder)


def surroundings(**said: str | Path) -> dict[str, str]:
    """Give an environment with nothing of ours or of Airflow's in it but what is said."""
    foreign = ("AIRFLOW", "HPO_", "PYTHON", "VIRTUAL_ENV")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return inherited | {name: str(value) for name, value in said.items()}
