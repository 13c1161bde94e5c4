"""Checks the spec file that a command is given: by itself, or as the DAG that runs it would."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_lib.cli.console import installation, site
from hpo_lib.errors import SpecError
from hpo_lib.files import shipped

if TYPE_CHECKING:
    from hpo_lib.spec import Draft, Spec
    from hpo_lib.spec.trial_section import TrialSpec

_PATHS = ("trial.backend", "trial.dir", "trial.python", "trial.venv", "final.trial")


def read(path: Path) -> Spec:
    """Check a file by itself, whatever the installation allows.

    SpecError has the path in front of every problem, here and below.
    """
    with _naming(path):
        return _by_itself(_draft(path))


def read_elsewhere(path: Path) -> Spec:
    """Check a file by itself for another machine's Airflow, where its paths are those of a conf."""
    from hpo_lib.spec.yaml_file import draft_file

    with _naming(path):
        return _by_itself(draft_file(path))


def _by_itself(made: Draft) -> Spec:
    from hpo_lib.search import engine

    return made.found([*engine.problems(made), *_wrong_options(made)]).checked()


def read_file(path: Path) -> Spec:
    """Check a file for the DAG that runs it: one of its own if it has a schedule, else a conf's."""
    from hpo_lib.runs import scheduled_files

    with _naming(path):
        made = _draft(path)
        found = scheduled_files.problems(path, made)
        for_dag = _for_dag(made, by_file=scheduled_files.asks(made))
        return made.found([*found, *for_dag]).checked()


def read_conf(path: Path, team: str = "") -> Spec:
    """Check a file for the DAG that is triggered with it as its conf; its schedule is left out.

    The DAG is that of a `team`, if one is named.
    """
    with _naming(path):
        made = _draft(path)
        made = replace(made, spec=made.spec.unscheduled())
        return made.found(_for_dag(made, team, by_file=False)).checked()


def read_night(path: Path) -> Spec:
    """Check a file for a DAG of its own, with or without a schedule, whatever it is called."""
    with _naming(path):
        made = _draft(path)
        return made.found(_for_dag(made, by_file=True)).checked()


def read_text(text: str, path: Path) -> Spec:
    """Check a text as `read_file` would the file that is to hold it."""
    from hpo_lib.spec.yaml_file import draft_of

    with _naming(path):
        made = _placed(draft_of(text), path)
        return made.found(_for_dag(made, by_file=False)).checked()


def _draft(path: Path) -> Draft:
    from hpo_lib.spec.yaml_file import draft_file

    return _placed(draft_file(path), path)


def _placed(made: Draft, path: Path) -> Draft:
    """Give a file's own paths as they are to its trials."""
    from hpo_lib.spec.own_paths import placed

    if is_operators(path) or not made.sound(*_PATHS):
        return made
    folder, workdir = path.absolute().parent, site().workdir.absolute()
    return replace(made, spec=placed(made.spec, _real(folder), _real(workdir)))


def _real(folder: Path) -> str:
    return str(folder.resolve())


def is_operators(path: Path) -> bool:
    """Say whether a file is one of the installation's own: its paths are those of a conf."""
    own = [shipped.folder() / "config", site().experiments]
    return any(path.resolve().is_relative_to(one.resolve()) for one in own)


def team_of(path: Path) -> str:
    """Name the team in whose folder of the installation a file is; empty if it is in none."""
    folder = path.resolve().parent
    is_below = folder.parent == site().experiments.resolve()
    return folder.name if is_below and folder.name in site().teams else ""


def _lost_scripts(made: Draft) -> Iterator[str]:
    """Yield which script is not there, as far as this machine can know."""
    if not made.sound("trial", "final.trial"):
        return
    final = made.spec.final
    yield from _lost_script(made.spec.trial, "trial")
    if final is not None and {"command", "dir"} & final.trial.keys():
        yield from _lost_script(made.spec.for_final.trial, "final.trial")


def _lost_script(trial: TrialSpec, at: str) -> Iterator[str]:
    from hpo_lib.registry import BACKENDS
    from hpo_lib.spec.own_paths import script

    row, command = BACKENDS.get(trial.backend), trial.command or ()
    folder, word = site().workdir / (trial.dir or ""), script(command)
    if row is None or not row.on_workers or not os.access(folder, os.R_OK | os.X_OK):
        return
    python = trial.interpreter or ""
    if "/" in python and not os.path.lexists(site().workdir / python):
        name = "venv" if trial.venv else "python"
        yield f"{at}.{name}: must have a Python, there is no {site().workdir / python}"
    if word is not None and not os.path.lexists(folder / command[word]):
        yield (
            f"{at}.command.{word}: must be a file in {folder}, where its trials run "
            f"({at}.dir), got {command[word]}"
        )


def notes_on_flags(spec: Spec) -> list[str]:
    """Say which of a spec's flags its script does not take, as far as this machine can know."""
    from hpo_lib.registry import BACKENDS
    from hpo_lib.spec import script_flags, told_flags
    from hpo_lib.spec.own_paths import script

    row, command = BACKENDS.get(spec.trial.backend), spec.trial.command or ()
    word = script(command)
    if row is None or not row.on_workers or word is None or not command[word].endswith(".py"):
        return []
    path = site().workdir / (spec.trial.dir or "") / command[word]
    try:
        read = script_flags.read(path.read_text(encoding="utf-8"), command[word])
    except (OSError, ValueError):
        return []
    return list(told_flags.unfit(spec, read, command[word], word))


def notes_elsewhere(path: Path, spec: Spec) -> list[str]:
    """Say which script beside a file another machine's Airflow needs, which is not sent along."""
    from hpo_lib.registry import BACKENDS
    from hpo_lib.spec.own_paths import script

    row, command = BACKENDS.get(spec.trial.backend), spec.trial.command or ()
    word = script(command)
    if row is None or not row.on_workers or word is None:
        return []
    placed = Path(spec.trial.dir or "", command[word]).is_absolute()
    if placed or not (path.parent / command[word]).is_file():
        return []
    return [
        f"{command[word]} is not sent along: it has to be where trials of that Airflow run "
        "(trial.dir); see docs/spec.md#a-files-own-paths"
    ]


def _for_dag(made: Draft, team: str = "", *, by_file: bool) -> Iterable[str]:
    from hpo_lib.runs import admission

    backend, here = made.spec.trial.backend, installation().of(team)
    yield from admission.problems(made, here, backend=backend, by_file=by_file)
    yield from _lost_scripts(made)


def _wrong_options(made: Draft) -> list[str]:
    if not made.sound("trial.backend", "trial.options", "final.trial"):
        return []
    from hpo_lib.runs.admission import wrong_options

    own = wrong_options(made.spec.trial, "trial")
    return own + wrong_options(made.spec.for_final.trial, "final.trial")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's path in front of every problem."""
    from hpo_lib.validation import reading

    try:
        with reading():
            yield
    except SpecError as error:
        lines = str(error).split("\n")
        raise SpecError("\n".join(f"{path}: {line}" for line in lines)) from None
