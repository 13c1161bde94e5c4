"""The spec of an experiment: one frozen model for conf JSON and YAML file.

What only later versions will understand is refused by name, never ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    field_serializer,
    field_validator,
)

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.space import MAX_PARAMETERS, Parameter, Space
from hpo_lib.core.trial import Direction
from hpo_lib.errors import meant
from hpo_lib.spec.airflow_section import AirflowSection
from hpo_lib.spec.foreign import EXAMPLE
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
    experiment_name,
    metric_name,
)
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Choice, Strict, at_most, each, parse, refuse, rule, shown

MAX_BYTES = 256 * 1024
_MAX_OBJECTIVES, MAX_CONSTRAINTS = 5, 10
_MAX_METRICS, _MAX_FIXED, _MAX_POINTS = 1_000, 1_000, 1_000


class Spec(Strict):
    """An experiment: everything that decides what its runs do, and when those of a file are due.

    The model looks at each section by itself; `load` also checks that they fit together.
    """

    name: str
    description: str = Field(default="", max_length=2_000)
    objectives: tuple[Objective, ...] = Field(alias="objective", strict=False)
    constraints: tuple[str, ...] = Field(default=(), strict=False)
    extra_metrics: Annotated[tuple[str, ...], at_most(_MAX_METRICS)] = Field(
        default=(), strict=False
    )
    space: Annotated[dict[str, Parameter], at_most(MAX_PARAMETERS)]
    fixed: Annotated[dict[str, Choice], at_most(_MAX_FIXED)] = Field(default_factory=dict)
    initial_points: Annotated[tuple[dict[str, Choice], ...], at_most(_MAX_POINTS)] = Field(
        default=(), strict=False
    )
    sampler: SamplerSpec = SamplerSpec()
    scheduler: SchedulerSpec = SchedulerSpec()
    limits: Limits = Limits()
    mode: Literal["waves", "async", "auto"] = "waves"
    trial: TrialSpec
    metrics: Metrics = Metrics()
    artifacts: Artifacts | None = None
    warm_start: WarmStart | None = None
    reuse: Reuse | None = None
    final: FinalTraining | None = None
    deploy: Deploy | None = None
    schedule: Schedule | None = None
    airflow: AirflowSection | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return experiment_name(name)

    @field_validator("space", mode="before")
    @classmethod
    def _check_space(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            raise rule(
                f"must be a mapping of parameters by their names, such as x: {EXAMPLE}, got "
                f"{shown(value)}"
            )
        return value

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
        if isinstance(value, list | tuple) and len(value) > MAX_CONSTRAINTS:
            raise rule(f"must be at most {MAX_CONSTRAINTS}, got {len(value)}")
        return value

    @field_validator("mode", mode="before")
    @classmethod
    def _check_mode(cls, value: Any) -> Any:
        if value not in ("waves", "async", "auto"):
            way = meant(str(value), list(Direction))
            hint = f"; which way is better says objective.direction: {way[0]}" if way else ""
            raise rule(f"must be waves, async or auto, got {shown(value)}{hint}")
        return value

    @field_validator("extra_metrics")
    @classmethod
    def _check_metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        refuse(each(metric_name, names))
        return names

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
        return self.model_copy(update={"trial": final_trial(self.trial, self.final)})

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

        Keys that were added later are left out at their defaults, so that the digest of a spec
        without them stays the same.
        """
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        for part, name, default in _LATER_DEFAULTS:
            where = plain[part] if part else plain
            if where.get(name) == default:
                del where[name]
        return plain

    @property
    def digest(self) -> str:
        """Hash the canonical form without its schedule, which changes nothing about a run."""
        plain = self.unscheduled().dump()
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]

    def notes(self) -> list[str]:
        """Say, a line each, what is allowed and yet may not be what was meant."""
        return [*self._notes_of_trials(), *(self.schedule.notes() if self.schedule else ())]

    def _notes_of_trials(self) -> Iterator[str]:
        told = self.trial.notes()
        yield from (f"trial.command: {line}" for line in told)
        final = self.for_final.trial.notes()
        yield from (f"final.trial.command: {line}" for line in final if line not in told)

    def changed(self, **sections: Any) -> Self:
        """Give the spec with other sections, which are not checked again."""
        made = self.model_copy(update=sections)
        for derived in ("search_space", "for_final", "goal"):  # a copy has what was made of before
            made.__dict__.pop(derived, None)
        return made

    def unscheduled(self) -> Self:
        """Give the spec without what only its file's DAG needs, as a run keeps it."""
        return self.model_copy(update={"schedule": None, "airflow": None})


#: Keys that the first specs did not have: section, key, default.
_LATER_DEFAULTS: tuple[tuple[str, str, Any], ...] = (
    ("", "constraints", []),
    ("metrics", "metric_definitions", []),
    ("trial", "options", {}),
    ("trial", "spot", False),
    ("trial", "start_timeout", TrialSpec.model_fields["start_timeout"].default),
)


#: Keys of `trial` that mean nothing to another backend.
_BACKENDS_OWN = {"image", "options", "spot", "dir", "python", "venv"}


def final_trial(trial: TrialSpec, final: FinalTraining) -> TrialSpec:
    """Give the spec's `trial` with the changes of final training; SpecError."""
    mine = trial.model_dump(mode="json", exclude_none=True)
    if final.trial.get("backend", trial.backend) != trial.backend:
        mine = {name: mine[name] for name in mine.keys() - _BACKENDS_OWN}
    if {"python", "venv"} & final.trial.keys():
        mine = {name: mine[name] for name in mine.keys() - {"python", "venv"}}
    return parse(TrialSpec, mine | dict(final.trial), at="final.trial")
