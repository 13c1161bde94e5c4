"""How a trial is trained again by hand: a line for a shell that leaves the model in a folder.

What a trial writes goes to the same place as on its backend: to HPO_OUTPUT, which exists and may
be written to. For an image it is a folder of the user's, mounted.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_lib.backends.pods import OUTPUT, Json
from hpo_lib.backends.resource import as_text, templates
from hpo_lib.records import TrialView
from hpo_lib.registry import BACKENDS
from hpo_lib.report.facts import Facts
from hpo_lib.spec import Spec
from hpo_lib.spec.command_line import Invocation, invocation
from hpo_lib.spec.trial_section import TrialSpec

_LINE = 96
#: Stands for the folder where the line is typed: no word of a trial can have it.
_HERE = "\0"
#: For a user that the image does not know; the backends give it a home there, too.
_HOME = {"HOME": "/tmp"}  # noqa: S108 - inside the container


@dataclass(frozen=True, slots=True)
class Program:
    """What a trial runs: an image, if there is one, with its command or without."""

    command: Sequence[str]
    args: Sequence[str]
    env: Mapping[str, str]
    image: str | None


def folder(facts: Facts, view: TrialView) -> str:
    """Name the folder that the line makes and fills, below the one where it is typed."""
    return f"{facts.run.experiment or 'model'}-trial-{view.trial.number}"


def command(facts: Facts, view: TrialView) -> str | None:
    """Write the line; None if the spec cannot be read, or says not all of what it ran."""
    spec = facts.spec
    if spec is None:
        return None
    name = folder(facts, view)
    program = _program(spec, _made(facts, spec, view, OUTPUT))
    if program is None:
        return None
    if program.image is not None:
        return _in_container(program, name, spec.trial.resources.gpu)
    here = _program(spec, _made(facts, spec, view, f"{_HERE}/{name}"))
    return None if here is None else _on_this_machine(here, name, _path(spec, view))


def _made(facts: Facts, spec: Spec, view: TrialView, output: str) -> Invocation:
    resource = max(view.trial.rungs, default=None)
    return invocation(
        spec, view.trial, run=facts.run.id, attempt=1, output=output, resource=resource
    )


def _path(spec: Spec, view: TrialView) -> str | None:
    """Say where the trial's programs were looked for before PATH; None if nobody knows.

    A spec that names its Python has that one in the line.
    """
    told = view.attempts[-1].handle.get("path") if view.attempts else None
    return None if spec.trial.interpreter is not None or told is None else str(told)


def _program(spec: Spec, made: Invocation) -> Program | None:
    """Find what runs; None if only a cluster or an account knows it."""
    resource = made.options.get("resource")
    if isinstance(resource, Mapping):
        return _of_resource(spec, made, resource)
    row = BACKENDS.get(spec.trial.backend)  # one of the operator's own runs what it is told
    in_an_image = row is not None and not row.on_workers
    if spec.trial.image is None and (in_an_image or not made.command):
        return None
    return Program(made.command, made.args, made.env, spec.trial.image)


def _of_resource(spec: Spec, made: Invocation, resource: Json) -> Program | None:
    """Find the container that trains; None if pods of several kinds do it together."""
    found = [pod for _, pod in templates(resource)]
    listed = found[0]["spec"]["containers"] if len(found) == 1 else []
    wanted = (made.options.get("primary") or {}).get("container")
    container = next((one for one in listed if wanted in (None, one.get("name"))), None)
    image = None if container is None else container.get("image") or spec.trial.image
    if container is None or image is None:
        return None
    own = as_text({key: container.get(key) or [] for key in ("command", "args")})
    if not {"command", "args"} & container.keys():
        own = {"command": made.command, "args": made.args}
    return Program(own["command"], own["args"], _env_of(container) | dict(made.env), image)


def _env_of(container: Mapping[str, Any]) -> dict[str, str]:
    listed = container.get("env") or []
    return {str(one["name"]): str(one["value"]) for one in listed if "value" in one}


def _on_this_machine(program: Program, name: str, path: str | None) -> str:
    assigned = [] if path is None else [f'PATH={shlex.quote(path)}:"$PATH"']
    assigned += [f"{key}={_quoted(value)}" for key, value in program.env.items()]
    words = [_quoted(word) for word in (*program.command, *program.args)]
    return " \\\n".join([f"mkdir -p {name} &&", *assigned, *_wrapped(words)])


def _in_container(program: Program, name: str, gpus: int | None) -> str:
    """Run it as the user who types the line, in whose folder it writes."""
    words = [_quoted(word) for word in program.command]
    entry = ["--entrypoint", words.pop(0)] if words else []
    asked = [
        '--user "$(id -u):$(id -g)"',
        f'-v "$PWD/{name}:{OUTPUT}"',
        *([f"--gpus {gpus}"] if gpus else []),
        *(f"-e {key}={_quoted(value)}" for key, value in (dict(program.env) | _HOME).items()),
    ]
    args = [_quoted(word) for word in program.args]
    last = _wrapped([" ", *entry, _quoted(str(program.image)), *words, *args])
    begin = [f"mkdir -p {name} &&", "docker run --rm", *(f"  {one}" for one in asked)]
    return " \\\n".join([*begin, *last])


def _quoted(word: str) -> str:
    """Quote a word for a shell, apart from the folder where the line is typed."""
    parts = [shlex.quote(part) if part else "" for part in word.split(_HERE)]
    return '"$PWD"'.join(parts) or "''"


def _wrapped(words: list[str]) -> list[str]:
    """Put words on lines of a readable length, but for longer words."""
    lines = words[:1]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= _LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}")
    return lines


def note(facts: Facts, view: TrialView) -> str:
    """Say what the line needs, and where it leaves the model."""
    trial = facts.spec.trial if facts.spec else None
    image = trial is not None and (trial.image is not None or bool(trial.options))
    needs = "with Docker" if image else f"in {_where(trial)}{_programs(trial, view)}"
    lacks = " Volumes, secrets and other options of the backend are not in it."
    return (
        f"The trial's own command, parameters and seed, for a POSIX shell {needs}. It makes the "
        f"folder {folder(facts, view)} for all that the trial writes to HPO_OUTPUT: its model, if "
        f"the program saves one there.{lacks if trial and trial.options else ''}"
    )


def _programs(trial: TrialSpec | None, view: TrialView) -> str:
    """Say which programs the line takes."""
    if trial is not None and trial.interpreter is not None:
        return ""
    known = any("path" in one.handle for one in view.attempts[-1:])
    return ", with the trial's own programs" if known else ", with their programs on PATH"


def _where(trial: TrialSpec | None) -> str:
    if trial is not None and trial.dir is not None:
        return f"the folder {trial.dir}"
    return "the folder where local trials run (HPO_TRIAL_DIR)"


#: What is told where there is no line.
WITHOUT = (
    "Its spec does not say all of what ran, so there is no line for a shell. Run the spec again "
    "with these parameters as its only initial_points and limits.max_trials: 1; the model is then "
    "kept below artifacts.uri."
)
