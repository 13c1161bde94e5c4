"""The spec of an experiment: one frozen model for conf JSON and YAML file.

Whatever later versions will understand is refused here in so many words, never ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hpo_lib import placeholders, uris
from hpo_lib.constraint import Constraint
from hpo_lib.errors import SpecError
from hpo_lib.goal import Goal
from hpo_lib.registry import AUTO, COLLECTOR_SETTINGS, COLLECTORS, TAKE_EARLIER, check
from hpo_lib.reuse import Reuse
from hpo_lib.schedule import Schedule
from hpo_lib.space import Parameter, Space, check_names, key
from hpo_lib.trial import Direction, Params, Value
from hpo_lib.units import memory_bytes, seconds
from hpo_lib.validation import Scalar, Strict, parse, rule, shown

MAX_BYTES = 256 * 1024
_MAX_OBJECTIVES, _MAX_CONSTRAINTS, _MAX_FROM = 5, 10, 10
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,127}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET = re.compile(r"passw|secret|token(?!iz)|api_?key|access_?key|private_?key|credential", re.I)
_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@-]*")


def _later(value: Any) -> Any:
    if value is not None:
        raise rule(f"is not supported yet; leave it out (got {shown(value)})")
    return value


Later = Annotated[Any, BeforeValidator(_later)]


def looks_secret(name: str) -> bool:
    """Say whether a variable of this name would hold a secret."""
    return _SECRET.search(name) is not None


def _experiment(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise rule(
            "must be lower-case letters, digits and -, at most 63, not beginning or ending "
            f"with -, got {shown(name)}"
        )
    return name


def _metric(name: str) -> str:
    if not _METRIC.fullmatch(name):
        raise rule(
            "a metric must be a letter or _ and then letters, digits or _ . / - "
            f"(at most 128), got {shown(name)}"
        )
    return name


def _constraint(text: str) -> str:
    try:
        constraint = Constraint.parse(text)
    except SpecError as error:
        raise rule(str(error)) from None
    for name in constraint.metrics:
        _metric(name)
    return constraint.text


def _known(kind: str, name: str) -> str:
    try:
        return check(kind, name)
    except SpecError as error:
        raise rule(str(error)) from None


class Objective(Strict):
    """What is optimised; `reduce` says how a trial's series becomes its value."""

    metric: str
    direction: Direction = Field(strict=False)
    target: float | None = None
    reduce: Literal["last", "best"] = "last"

    _check_metric = field_validator("metric")(_metric)

    @field_validator("direction", mode="before")
    @classmethod
    def _check_direction(cls, value: Any) -> Any:
        if value not in ("minimize", "maximize"):
            raise rule(f"must be minimize or maximize, got {shown(value)}")
        return value


class SamplerSpec(Strict):
    """Which sampler, its seed, and its own settings (checked by the sampler itself)."""

    model_config = ConfigDict(extra="allow")

    name: str = "auto"
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return _known("sampler", name)

    @property
    def settings(self) -> dict[str, Any]:
        """The sampler's own settings."""
        return dict(self.model_extra or {})


class SchedulerSpec(Strict):
    """Which scheduler; only fifo (every trial at full resource) so far."""

    name: str = "fifo"

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return _known("scheduler", name)


class Limits(Strict):
    """When a run ends; `max_failed_trials` failed trials are tolerated, one more ends it."""

    max_trials: int = Field(default=20, ge=1, le=10_000)
    parallel_trials: int = Field(default=1, ge=1, le=1_000)
    max_failed_trials: int = Field(default=3, ge=0)
    max_duration: str | None = None
    patience: int | None = Field(default=None, ge=1)
    max_cost_usd: Later = None

    @field_validator("max_duration")
    @classmethod
    def _check_duration(cls, text: str | None) -> str | None:
        if text is not None:
            seconds(text)
        return text

    @property
    def max_duration_s(self) -> float | None:
        """The time limit in seconds."""
        return None if self.max_duration is None else seconds(self.max_duration)


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
    `command`: its own then gets the arguments. `options` are the backend's own.
    """

    backend: str = "local"
    image: str | None = Field(default=None, max_length=500)
    command: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1)
    args: tuple[str, ...] | None = Field(default=None, strict=False)
    env: dict[str, str] = Field(default_factory=dict)
    resources: Resources = Resources()
    timeout: str = "1h"
    start_timeout: str = "15m"
    spot: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    source: Later = None
    notebook: Later = None

    @field_validator("backend")
    @classmethod
    def _check_backend(cls, name: str) -> str:
        return _known("backend", name)

    @field_validator("image")
    @classmethod
    def _check_image(cls, name: str | None) -> str | None:
        if name is not None and not _IMAGE.fullmatch(name):
            raise rule(f"must be an image such as registry/name:tag, got {shown(name)}")
        return name

    @field_validator("command", "args")
    @classmethod
    def _no_nul(cls, words: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for word in words or ():
            if "\0" in word:
                raise rule(f"must hold no NUL character, got {shown(word)}")
        if words is not None and words[:1] == ("",):
            raise rule("must not begin with an empty word")
        return words

    @field_validator("env")
    @classmethod
    def _check_env(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if not _ENV.fullmatch(name) or "\0" in value:
                raise rule(f"a name must be letters, digits and _, got {shown(name)}")
            if name.startswith(("HPO_", "AIRFLOW", "LD_")):
                raise rule(f"names with HPO_, AIRFLOW or LD_ in front are taken, got {name}")
            if looks_secret(name):
                raise rule(
                    f"{name} looks like a secret, which a spec must not hold; let the trial "
                    "read it from a file or from the worker's own credentials"
                )
        return env

    @field_validator("timeout", "start_timeout")
    @classmethod
    def _check_timeout(cls, text: str) -> str:
        seconds(text)
        return text

    @property
    def start_timeout_s(self) -> float:
        """How long one attempt may wait for a place and its image, in seconds."""
        return seconds(self.start_timeout)

    @property
    def timeout_s(self) -> float:
        """The time limit of one attempt in seconds."""
        return seconds(self.timeout)


class Metrics(Strict):
    """How metrics are read. `format` is a regular expression with the groups `name` and `value`.

    `path` is relative to the attempt's output folder. Collectors take what the registry says.
    """

    collector: str = "stdout"
    format: str | None = Field(default=None, max_length=500)
    path: str | None = Field(default=None, max_length=200)

    @field_validator("collector")
    @classmethod
    def _check_collector(cls, name: str) -> str:
        return _known("collector", name)

    @field_validator("format")
    @classmethod
    def _check_format(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            groups = re.compile(text).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            raise rule(f"must be a regular expression, got {shown(text)}: {error}") from None
        if not {"name", "value"} <= set(groups):
            raise rule(f"must have the groups (?P<name>…) and (?P<value>…), got {shown(text)}")
        return text

    @field_validator("path")
    @classmethod
    def _check_path(cls, text: str | None) -> str | None:
        if text is None:
            return None
        if text.startswith("/") or ".." in text.split("/") or "\0" in text or not text.strip("./"):
            raise rule(f"must be a relative path without .., got {shown(text)}")
        return text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("format", "path"):
            if getattr(self, name) is not None and name not in _settings_of(self.collector):
                those = ", ".join(one for one in COLLECTORS if name in _settings_of(one))
                raise rule(f"{name} belongs to {those}, got collector={self.collector}")
        return self


def _settings_of(collector: str) -> set[str]:
    return COLLECTOR_SETTINGS.get(collector, {"format", "path"})


class Artifacts(Strict):
    """Where attempts leave models, checkpoints and records, and whose are kept in the end.

    `uri` is one that fsspec understands; whether a deployment lets it be used, and with which
    credentials, is the deployment's own affair.
    """

    uri: str = Field(max_length=500)
    keep: Literal["best", "all", "none"] = "best"

    _check_uri = field_validator("uri")(uris.checked)


class WarmStart(Strict):
    """Which earlier runs advise: the newest complete ones `from` experiments, `top` trials of each.

    Without `from` it is the experiment's own runs. `weight` is that of a run that has only just
    ended; it halves with every `half_life`.
    """

    from_: tuple[str, ...] | None = Field(default=None, alias="from", strict=False, min_length=1)
    top: int = Field(default=10, ge=1, le=200)
    weight: float = Field(default=1.0, gt=0, le=1)
    half_life: str = "7d"
    runs: int = Field(default=5, ge=1, le=20)

    @field_validator("from_")
    @classmethod
    def _check_from(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            _experiment(name)
        if names is not None and len(set(names)) < len(names):
            raise rule(f"must not name an experiment twice, got {shown(list(names))}")
        if names is not None and len(names) > _MAX_FROM:
            raise rule(f"must name at most {_MAX_FROM} experiments, got {len(names)}")
        return names

    @field_validator("half_life")
    @classmethod
    def _check_half_life(cls, text: str) -> str:
        seconds(text)
        return text

    @property
    def half_life_s(self) -> float:
        """After how many seconds a run's weight is half of what it was."""
        return seconds(self.half_life)


class Final(Strict):
    """The last training of a run's winner, once per seed.

    `trial` replaces keys of the spec's own `trial`: other resources, a longer timeout, an image.
    With another backend, `image`, `options` and `spot` of the spec's own mean nothing.
    """

    seeds: int = Field(default=5, ge=1, le=100)
    trial: dict[str, Any] = Field(default_factory=dict)


class GuardSpec(Strict):
    """What a challenger must not break; `not_worse_than` is how far it may fall behind."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    not_worse_than: float | None = Field(default=None, ge=0)
    direction: Direction | None = Field(default=None, strict=False)

    _check_metric = field_validator("metric")(_metric)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.at_most, self.at_least, self.not_worse_than) == (None, None, None):
            raise rule("needs at_most, at_least or not_worse_than")
        return self


class Deploy(Strict):
    """Where a champion serves, and what a challenger must show to become it.

    `metric` is measured by final trials on data that no search has seen; without it, it is the
    first objective. `options` are the deployer's own.
    """

    to: str
    options: dict[str, Any] = Field(default_factory=dict)
    metric: str | None = None
    direction: Direction | None = Field(default=None, strict=False)
    min_improvement: float = Field(default=0.0, ge=0)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    guards: tuple[GuardSpec, ...] = Field(default=(), strict=False, max_length=20)
    approval: Literal["none", "manual"] = "none"
    approval_timeout: str = "24h"

    @field_validator("to")
    @classmethod
    def _check_to(cls, name: str) -> str:
        return _known("deployer", name)

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, name: str | None) -> str | None:
        return None if name is None else _metric(name)

    @field_validator("approval_timeout")
    @classmethod
    def _check_timeout(cls, text: str) -> str:
        seconds(text)
        return text

    @property
    def approval_timeout_s(self) -> float:
        """How long an approval is waited for, in seconds; then it is refused."""
        return seconds(self.approval_timeout)


class Spec(Strict):
    """An experiment: everything that decides what its runs do, and when a file's are due."""

    name: str
    description: str = Field(default="", max_length=2_000)
    objectives: tuple[Objective, ...] = Field(alias="objective", strict=False)
    constraints: tuple[Annotated[str, AfterValidator(_constraint)], ...] = Field(
        default=(), strict=False
    )
    extra_metrics: tuple[str, ...] = Field(default=(), strict=False)
    space: dict[str, Parameter]
    fixed: dict[str, Scalar] = Field(default_factory=dict)
    initial_points: tuple[dict[str, Scalar], ...] = Field(default=(), strict=False)
    sampler: SamplerSpec = SamplerSpec()
    scheduler: SchedulerSpec = SchedulerSpec()
    limits: Limits = Limits()
    mode: Literal["waves"] = "waves"
    trial: TrialSpec
    metrics: Metrics = Metrics()
    artifacts: Artifacts | None = None
    warm_start: WarmStart | None = None
    reuse: Reuse | None = None
    final: Final | None = None
    deploy: Deploy | None = None
    schedule: Schedule | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return _experiment(name)

    @field_validator("objectives", mode="before")
    @classmethod
    def _check_objectives(cls, value: Any) -> Any:
        """Take a mapping as a list of one, with no number in the paths of its errors."""
        if isinstance(value, Mapping):
            return (Objective.model_validate(value),)
        if not isinstance(value, list | tuple):
            raise rule(f"must be a mapping or a list of them, got {shown(value)}")
        if not 1 <= len(value) <= _MAX_OBJECTIVES:
            raise rule(f"must be 1 to {_MAX_OBJECTIVES} objectives, got {len(value)}")
        return value

    @field_serializer("objectives")
    def _one_without_list(self, objectives: tuple[Objective, ...]) -> Any:
        return objectives[0] if len(objectives) == 1 else objectives

    @field_validator("constraints", mode="before")
    @classmethod
    def _check_constraints(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) > _MAX_CONSTRAINTS:
            raise rule(f"must be at most {_MAX_CONSTRAINTS}, got {len(value)}")
        return value

    @field_validator("mode", mode="before")
    @classmethod
    def _waves_only(cls, value: Any) -> Any:
        if value == "async":
            raise rule("async is not supported yet; known: waves")
        if value != "waves":
            raise rule(f"must be waves, got {shown(value)}")
        return value

    @field_validator("extra_metrics")
    @classmethod
    def _check_metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_metric(name) for name in names)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            space = self.search_space
            check_names("fixed", self.fixed)
        except SpecError as error:
            raise PydanticCustomError("rule", "{message}", {"message": str(error)}) from None
        for name in self.fixed:
            if name in self.space:
                raise rule(f"fixed.{name}: must not also be in the space")
        _check_distinct([objective.metric for objective in self.objectives])
        _check_initial_points(space, self.initial_points)
        _check_placeholders(self)
        _check_startable(self.trial, "trial")
        if self.warm_start and self.sampler.name not in (AUTO, *TAKE_EARLIER):
            able = " or ".join([AUTO, *TAKE_EARLIER])
            raise rule(f"warm_start: sampler {self.sampler.name} takes no earlier runs; use {able}")
        if self.reuse is not None:
            self.reuse.check(self.trial.backend)
        _check_final(self)
        _check_deploy(self)
        return self

    @property
    def advised_by(self) -> tuple[str, ...]:
        """The experiments whose earlier runs advise this one's."""
        if self.warm_start is None:
            return ()
        return self.warm_start.from_ or (self.name,)

    @cached_property
    def search_space(self) -> Space:
        """The space, ready to be used."""
        return Space(self.space)

    @cached_property
    def for_final(self) -> Spec:
        """The spec as final trials have it: with `final.trial` on top of `trial`."""
        if self.final is None or not self.final.trial:
            return self
        return self.model_copy(update={"trial": _final_trial(self.trial, self.final)})

    @property
    def objective(self) -> Objective:
        """The first objective, whose value is a trial's `value`."""
        return self.objectives[0]

    @cached_property
    def goal(self) -> Goal:
        """What the run is after."""
        return Goal(
            tuple((objective.metric, objective.direction) for objective in self.objectives),
            tuple(Constraint.parse(text) for text in self.constraints),
        )

    def dump(self) -> dict[str, Any]:
        """Give the canonical plain form: every default written out, nothing that is unset.

        What came later is left out where it is at its default: the digest of a spec that does
        without it stays the same.
        """
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        trial = plain["trial"] = dict(plain["trial"])
        for part, name, default in _LATER_DEFAULTS:
            where = trial if part == "trial" else plain
            if where.get(name) == default:
                del where[name]
        return plain

    @property
    def digest(self) -> str:
        """Hash the canonical form; when a run is due changes nothing about it."""
        plain = self.unscheduled().dump()
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]

    def unscheduled(self) -> Self:
        """Give the same without its schedule: what a run is."""
        return self.model_copy(update={"schedule": None})

    def arguments(self, params: Params, facts: Mapping[str, object]) -> list[str]:
        """Give the command line of a trial from its parameters (`fixed` included).

        `facts` holds the values of the placeholders other than `${params.…}`.
        """
        words = [*(self.trial.command or ()), *(self.trial.args or ())]
        line = placeholders.words(words, params, facts)
        if self.trial.args is None and not any("${params." in word for word in words):
            line += [f"--{name}={placeholders.text(value)}" for name, value in params.items()]
        return line

    def options(self, params: Params, facts: Mapping[str, object]) -> dict[str, Any]:
        """Give the backend's options of a trial, their placeholders filled."""
        return placeholders.filled(self.trial.options, params, facts)


#: Keys that the first specs did not have.
_LATER_DEFAULTS: tuple[tuple[str, str, Any], ...] = (
    ("", "constraints", []),
    ("trial", "options", {}),
    ("trial", "spot", False),
    ("trial", "start_timeout", TrialSpec.model_fields["start_timeout"].default),
)


def load(data: Any) -> Spec:
    """Validate a conf; SpecError holds a line per problem: path, rule, value."""
    if not isinstance(data, Mapping):
        raise SpecError(f"spec: must be a mapping, got {shown(data)}")
    try:
        size = len(json.dumps(data, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"spec: must be plain JSON: {error}") from None
    if size > MAX_BYTES:
        raise SpecError(f"spec: must be at most {MAX_BYTES:,} bytes of JSON, got {size:,}")
    return parse(Spec, data)


def _check_initial_points(space: Space, points: tuple[Mapping[str, Value], ...]) -> None:
    seen: dict[str, int] = {}
    for index, point in enumerate(points):
        try:
            digest = key(space.canonical(point))
        except SpecError as error:
            raise rule(f"initial_points.{index}: {error}") from None
        if digest in seen:
            raise rule(f"initial_points.{index}: is the same as initial_points.{seen[digest]}")
        seen[digest] = index


def _final_trial(trial: TrialSpec, final: Final) -> TrialSpec:
    mine = trial.model_dump(mode="json", exclude_none=True)
    if final.trial.get("backend", trial.backend) != trial.backend:
        mine = {name: mine[name] for name in mine.keys() - {"image", "options", "spot"}}
    return parse(TrialSpec, mine | dict(final.trial), at="final.trial")


def _check_startable(trial: TrialSpec, at: str) -> None:
    if trial.command is None and trial.image is None and not trial.options:
        raise rule(f"{at}.command: is required where there is no image")


def _check_final(spec: Spec) -> None:
    """Check the trial that final training makes of the spec's own."""
    if spec.final is None:
        return
    try:
        trial = _final_trial(spec.trial, spec.final)
    except SpecError as error:
        raise rule(str(error)) from None
    _check_startable(trial, "final.trial")
    _check_placeholders(spec.model_copy(update={"trial": trial}))


def _check_deploy(spec: Spec) -> None:
    """Check that champion and challenger can be compared."""
    if spec.deploy is None:
        return
    if spec.final is None or spec.final.seeds < 2:
        got = "no final" if spec.final is None else f"{spec.final.seeds}"
        raise rule(f"final.seeds: must be >= 2 with deploy, to know how sure scores are, got {got}")
    known = {objective.metric for objective in spec.objectives}
    if spec.deploy.metric not in (None, *known) and spec.deploy.direction is None:
        raise rule(f"deploy.direction: is required, as {spec.deploy.metric} is no objective")
    for index, guard in enumerate(spec.deploy.guards):
        compared = guard.not_worse_than is not None and guard.direction is None
        if compared and guard.metric not in (*known, spec.deploy.metric):
            raise rule(
                f"deploy.guards.{index}.direction: is required, as {guard.metric} is no objective"
            )


def _check_distinct(metrics: Sequence[str]) -> None:
    for index, metric in enumerate(metrics):
        first = metrics.index(metric)
        if first != index:
            raise rule(f"objective.{index}.metric: is the same as objective.{first}: {metric}")


def _check_placeholders(spec: Spec) -> None:
    words = {"command": spec.trial.command, "args": spec.trial.args}
    known = [*spec.space, *spec.fixed]
    for part, value in {**words, "options": spec.trial.options}.items():
        placeholders.check(value, known, at=f"trial.{part}")
