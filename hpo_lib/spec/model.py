"""The spec of an experiment: one frozen model for conf JSON and YAML file.

Whatever later versions will understand is refused here in so many words, never ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Parameter, Space, check_names, key
from hpo_lib.core.trial import Params, Value
from hpo_lib.errors import SpecError
from hpo_lib.registry import AUTO, TAKE_EARLIER
from hpo_lib.spec import placeholders
from hpo_lib.spec.reuse import Reuse
from hpo_lib.spec.schedule import Schedule
from hpo_lib.spec.sections import (
    Artifacts,
    Deploy,
    FinalTraining,
    Limits,
    Metrics,
    Objective,
    SamplerSpec,
    SchedulerSpec,
    WarmStart,
    constraint_text,
    experiment_name,
    metric_name,
)
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Scalar, Strict, parse, rule, shown

MAX_BYTES = 256 * 1024
_MAX_OBJECTIVES, _MAX_CONSTRAINTS = 5, 10


class Spec(Strict):
    """An experiment: everything that decides what its runs do, and when a file's are due."""

    name: str
    description: str = Field(default="", max_length=2_000)
    objectives: tuple[Objective, ...] = Field(alias="objective", strict=False)
    constraints: tuple[Annotated[str, AfterValidator(constraint_text)], ...] = Field(
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
    final: FinalTraining | None = None
    deploy: Deploy | None = None
    schedule: Schedule | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return experiment_name(name)

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
        return tuple(metric_name(name) for name in names)

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


def _final_trial(trial: TrialSpec, final: FinalTraining) -> TrialSpec:
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
