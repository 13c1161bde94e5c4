"""Checks the spec file that a command is given: by itself, or as the DAG that runs it would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_lib.cli.console import installation
from hpo_lib.errors import SpecError

if TYPE_CHECKING:
    from hpo_lib.spec import Draft, Spec


def read(path: Path) -> Spec:
    """Check a file by itself, whatever the installation allows.

    SpecError has the path in front of every problem, here and below.
    """
    from hpo_lib.search import engine

    with _naming(path):
        made = _draft(path)
        return made.found([*engine.problems(made), *_wrong_options(made)]).checked()


def read_file(path: Path) -> Spec:
    """Check a file for the DAG that runs it: one of its own if it has a schedule, else a conf's."""
    from hpo_lib.runs import scheduled_files

    with _naming(path):
        made = _draft(path)
        found = scheduled_files.problems(path, made)
        for_dag = _for_dag(made, by_file=scheduled_files.asks(made))
        return made.found([*found, *for_dag]).checked()


def read_conf(path: Path) -> Spec:
    """Check a file for the DAG that is triggered with it as its conf; its schedule is left out."""
    with _naming(path):
        made = _draft(path)
        made = replace(made, spec=made.spec.unscheduled())
        return made.found(_for_dag(made, by_file=False)).checked()


def read_night(path: Path) -> Spec:
    """Check a file for a DAG of its own, with or without a schedule, whatever it is called."""
    with _naming(path):
        made = _draft(path)
        return made.found(_for_dag(made, by_file=True)).checked()


def _draft(path: Path) -> Draft:
    from hpo_lib.spec.yaml_file import draft_file

    return draft_file(path)


def _for_dag(made: Draft, *, by_file: bool) -> Iterable[str]:
    from hpo_lib.runs import admission

    backend = made.spec.trial.backend
    return admission.problems(made, installation(), backend=backend, by_file=by_file)


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
