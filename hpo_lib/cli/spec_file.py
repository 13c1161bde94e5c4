"""A spec file that a command is given, checked."""

from __future__ import annotations

from pathlib import Path

from hpo_lib import registry
from hpo_lib.errors import SpecError
from hpo_lib.search import engine
from hpo_lib.spec import Spec
from hpo_lib.spec.yaml_file import parse_file
from hpo_lib.validation import parse


def read(path: Path) -> Spec:
    """Read and check a spec file; SpecError has the path in front of every problem."""
    try:
        spec = parse_file(path)
        engine.check(spec)
        for trial, at in ((spec.trial, "trial"), (spec.for_final.trial, "final.trial")):
            backend = registry.load("backend", trial.backend)
            parse(backend.Options, trial.options, at=f"{at}.options")
    except SpecError as error:
        raise SpecError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None
    return spec
