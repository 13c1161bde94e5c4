"""The section `trial` of a spec: what runs one trial, with what, and for how long."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from hpo_lib.errors import SpecError
from hpo_lib.registry import check
from hpo_lib.spec import shell, variables
from hpo_lib.spec.flags import Spelling
from hpo_lib.spec.units import memory_bytes, seconds, with_unit
from hpo_lib.validation import Strict, refuse, rule, shown

#: The longest path.
_PATH = 1_000
#: A name of an image, whether or not there is one.
IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@-]*")
#: The longest time that a trial gets to end by itself.
MAX_GRACE_S = 60.0
_DURATIONS = ("timeout", "start_timeout", "stalled_after", "stop_grace")


def _later(value: Any) -> Any:
    if value is not None:
        raise rule(f"is not supported yet; leave it out (got {shown(value)})")
    return value


Later = Annotated[Any, BeforeValidator(_later)]


def registered(kind: str, name: str) -> str:
    try:
        return check(kind, name)
    except SpecError as error:
        raise rule(str(error)) from None


class Resources(Strict):
    """What one trial may use: `cpu` cores, `memory` (enforced), `gpu` devices.

    The local backend enforces no `cpu`: there it is a hint to numeric libraries.
    """

    cpu: float | None = Field(default=None, gt=0, le=10_000)
    memory: str | None = None
    gpu: int | None = Field(default=None, ge=1, le=1_000)

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, text: str | None) -> str | None:
        if text is not None:
            memory_bytes(text)
        return text

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes."""
        return None if self.memory is None else memory_bytes(self.memory)


class TrialSpec(Strict):
    """How one trial is run.

    Without `args`, and if the command names no `${params.…}`, every parameter is appended as
    `--name=value`. An argument that names an inactive parameter is left out. An image needs no
    `command`: its own then gets the arguments. `flags` says how booleans are told, all of them or
    each by its parameter's name. `options` are the backend's own. One that has begun and then shows
    nothing for `stalled_after` is ended. One that is stopped has `stop_grace` to end by itself.

    `dir` is where a program on a worker runs, `python` the interpreter that its `python` stands
    for, or `venv` the virtual environment that has it. They are relative to a file's own folder,
    in a conf to the folder of local trials.
    """

    backend: str = "local"
    image: str | None = Field(default=None, max_length=500)
    command: tuple[str, ...] | None = Field(default=None, strict=False)
    args: tuple[str, ...] | None = Field(default=None, strict=False)
    dir: str | None = Field(default=None, max_length=_PATH)
    python: str | None = Field(default=None, max_length=_PATH)
    venv: str | None = Field(default=None, max_length=_PATH)
    flags: str | dict[str, str] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    resources: Resources = Resources()
    timeout: str = "1h"
    start_timeout: str = "15m"
    stalled_after: str | None = None
    stop_grace: str | None = None
    spot: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    source: Later = None
    notebook: Later = None

    @field_validator("backend")
    @classmethod
    def _check_backend(cls, name: str) -> str:
        return registered("backend", name)

    @field_validator("image")
    @classmethod
    def _check_image(cls, name: str | None) -> str | None:
        if name is not None and not IMAGE.fullmatch(name):
            raise rule(f"must be an image such as registry/name:tag, got {shown(name)}")
        return name

    @field_validator("command", "args", mode="before")
    @classmethod
    def _not_one_text(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            value = variables.masked(value)
            hint = shell.instead(value, command=info.field_name == "command")
            raise rule(f"must be a list of words, {hint}, got {shown(value)}")
        return value

    @field_validator("command", "args")
    @classmethod
    def _no_nul(cls, words: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        found = [f"must hold no NUL character, got {shown(w)}" for w in words or () if "\0" in w]
        if words == () and info.field_name == "command":
            found.append("must not be empty, got []")
        if words is not None and words[:1] == ("",):
            found.append("must not begin with an empty word")
        refuse(found)
        return words

    @field_validator("dir", "python", "venv")
    @classmethod
    def _check_place(cls, path: str | None) -> str | None:
        if path is not None and (not path.strip() or not path.isprintable() or "${" in path):
            raise rule(f"must be a path without placeholders, got {shown(path)}")
        return path

    @field_validator("flags", mode="before")
    @classmethod
    def _check_flags(cls, said: Any) -> Any:
        if said is None or said in tuple(Spelling):
            return said
        known = ", ".join(Spelling)
        if not isinstance(said, dict):
            raise rule(f"must be one of {known}, or one for each parameter, got {shown(said)}")
        wrong = {name: one for name, one in said.items() if one not in tuple(Spelling)}
        named = ((shown(name).strip('"'), one) for name, one in wrong.items())
        refuse(f"{name} must be one of {known}, got {shown(one)}" for name, one in named)
        return said

    @field_validator("env")
    @classmethod
    def _check_env(cls, env: dict[str, str]) -> dict[str, str]:
        refuse(line for name, value in env.items() for line in variables.wrong(name, value))
        return env

    _with_unit = field_validator(*_DURATIONS, mode="before")(with_unit)

    @field_validator(*_DURATIONS)
    @classmethod
    def _check_duration(cls, text: str | None, info: ValidationInfo) -> str | None:
        lasts_s = 0.0 if text is None else seconds(text)
        if info.field_name == "stop_grace" and lasts_s > MAX_GRACE_S:
            raise rule(f"must be at most {MAX_GRACE_S:g}s, got {shown(text)}")
        return text

    @property
    def interpreter(self) -> str | None:
        """The Python that the spec names for its program; None for the installation's."""
        return f"{self.venv.rstrip('/')}/bin/python" if self.venv else self.python

    def spelling(self, name: str) -> Spelling:
        """How a parameter is told if it is true or false."""
        said = self.flags.get(name) if isinstance(self.flags, dict) else self.flags
        return Spelling(said or Spelling.TRUE_FALSE)

    @property
    def words(self) -> tuple[str, ...]:
        """The command and its arguments, with placeholders."""
        return (*(self.command or ()), *(self.args or ()))

    @property
    def appends(self) -> bool:
        """Whether every parameter is appended to the command."""
        return self.args is None and not any("${params." in word for word in self.words)

    def notes(self) -> list[str]:
        """Say, a line each, what of a command will not happen as it is written."""
        return list(shell.notes(self.command or (), appended=self.appends))

    @property
    def start_timeout_s(self) -> float:
        """How long one attempt may wait for a place and its image, in seconds."""
        return seconds(self.start_timeout)

    @property
    def stalled_after_s(self) -> float | None:
        """After how many seconds in which an attempt shows nothing it is ended; None for never."""
        return None if self.stalled_after is None else seconds(self.stalled_after)

    @property
    def stop_grace_s(self) -> float | None:
        """How many seconds a stopped trial gets to end by itself; None for its backend's."""
        return None if self.stop_grace is None else seconds(self.stop_grace)

    @property
    def timeout_s(self) -> float:
        """The time limit of one attempt in seconds."""
        return seconds(self.timeout)
