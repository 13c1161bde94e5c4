"""How a trial is invoked: command line, environment and options, by every backend and by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_lib.core.space import key
from hpo_lib.core.trial import Origin, Params, Trial
from hpo_lib.spec import placeholders
from hpo_lib.spec.flags import argument
from hpo_lib.spec.model import Spec

#: Final trials' seeds begin here: above the number of any trial of a search.
_FINAL_SEEDS = 500_000
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command without a shell, and the variables that it needs beside its backend's own.

    Without a command in the spec, `args` go to the command of the image. `options` are the
    backend's own, with the trial's values in them.
    """

    command: Sequence[str]
    args: Sequence[str]
    env: Mapping[str, str]
    options: Mapping[str, Any]


def invocation(
    spec: Spec,
    trial: Trial,
    *,
    run: int,
    attempt: int,
    output: str,
    resource: float | None = None,
    resume_from: str | None = None,
) -> Invocation:
    """Build what runs an attempt; `output` is the place that it knows as HPO_OUTPUT.

    `resume_from` is the output of the attempt whose checkpoint it goes on from, `resource` how far
    it goes; the program is not told of one that is None.
    """
    return _built(
        spec,
        trial,
        run=run,
        attempt=attempt,
        seed=seed(spec, trial),
        output=output,
        resource=resource,
        resume_from=resume_from,
    )


def preview(spec: Spec, trial: Trial, *, resource: float | None = None) -> Invocation:
    """Build the same before there is a run: RUN, SEED and OUTPUT stand for what it will give."""
    return _built(
        spec, trial, run="RUN", attempt=1, seed="SEED", output="OUTPUT", resource=resource
    )


def _built(
    spec: Spec,
    trial: Trial,
    *,
    run: int | str,
    attempt: int,
    seed: int | str,
    output: str,
    resource: float | None = None,
    resume_from: str | None = None,
) -> Invocation:
    params = spec.search_space.nested({**spec.fixed, **trial.params})
    facts = {
        "experiment": spec.name,
        "run": run,
        "trial.number": trial.number,
        "attempt": attempt,
        "seed": seed,
        "phase": "final" if trial.origin is Origin.FINAL else "search",
        "output": output,
        "resource": None if resource is None else _plain(resource),
        "resume_from": resume_from,
    }
    given = {name: value for name, value in facts.items() if value is not None}
    told = {f"HPO_{name.split('.')[0].upper()}": str(value) for name, value in given.items()}
    told["HPO_PARAMS"] = json.dumps(params)
    line, env = arguments(spec, params, facts), _threads(spec) | dict(spec.trial.env) | told
    options = placeholders.filled(spec.trial.options, params, facts, spec.trial.spelling)
    command, args = (
        (with_python(line, spec.trial.interpreter), ()) if spec.trial.command else ((), line)
    )
    return Invocation(command, args, env, options)


def with_python(line: Sequence[str], interpreter: str | None) -> list[str]:
    """Put an interpreter in the place of a command that is `python`."""
    if interpreter is None or not line or line[0] not in ("python", "python3"):
        return list(line)
    return [interpreter, *line[1:]]


def arguments(spec: Spec, params: Params, facts: Mapping[str, object]) -> list[str]:
    """Give a trial's command line from its parameters, `fixed` included.

    `facts` holds the values of the placeholders other than `${params.…}`.
    """
    spelled = spec.trial.spelling
    line = placeholders.words(spec.trial.words, params, facts, spelled)
    if not spec.trial.appends:
        return line
    told = (argument(f"--{name}", value, spelled(name)) for name, value in params.items())
    return [*line, *(word for word in told if word is not None)]


def _plain(resource: float) -> int | float:
    """Write whole amounts, of epochs say, as programs expect them."""
    return int(resource) if resource == int(resource) else resource


def seed(spec: Spec, trial: Trial) -> int:
    """Give a trial a seed of its own, below 2**31, the same for each of its attempts.

    Final trials of the same repeat share a seed, whatever they train: they are compared in pairs.
    If the spec has `reuse`, a configuration has the same seed whatever its trial's number.
    """
    own = trial.number
    if trial.origin is Origin.FINAL:
        own = _FINAL_SEEDS + trial.repeat
    elif spec.reuse is not None:
        own = int(key(trial.params)[:8], 16)
    return (spec.sampler.seed * 1_000_003 + own) % 2**31


def _threads(spec: Spec) -> dict[str, str]:
    """Hint the number of CPUs to numeric libraries, which would take every core they see."""
    cpu = spec.trial.resources.cpu
    return dict.fromkeys(_THREADS, str(math.ceil(cpu))) if cpu else {}
