"""Spec files, as commands are given them."""

from __future__ import annotations

from pathlib import Path

from hpo_lib import engine
from hpo_lib.errors import SpecError
from hpo_lib.registry import load
from hpo_lib.spec import MAX_BYTES, Spec, from_yaml
from hpo_lib.validation import parse


def read(path: str) -> Spec:
    """Read and check a spec file; SpecError has the path in front of every problem."""
    try:
        spec = parse_file(Path(path))
        engine.check(spec)
        parse(load("backend", spec.trial.backend).Options, spec.trial.options, at="trial.options")
    except SpecError as error:
        raise SpecError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None
    return spec


def parse_file(path: Path) -> Spec:
    """Read a spec file without the checks for which samplers and backends are imported."""
    return from_yaml(_text(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode()
    except UnicodeDecodeError as error:
        if error.start >= MAX_BYTES - 3:
            return "#" * (MAX_BYTES + 1)
        raise SpecError("spec: must be a text file in UTF-8") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"spec: must be a readable file: {_why(error)}") from None


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
