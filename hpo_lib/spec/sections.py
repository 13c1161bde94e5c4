"""The sections of a spec: objective, sampler, limits, trial, metrics, deploy and so on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    Field,
    field_validator,
)

from hpo_lib.core.teams import own_name, owner_of, team_name
from hpo_lib.core.trial import Direction
from hpo_lib.errors import nearest
from hpo_lib.registry import COLLECTOR_SETTINGS, COLLECTORS, FORMATS
from hpo_lib.spec import uris
from hpo_lib.spec.trial_section import Later, registered
from hpo_lib.spec.units import seconds, with_unit
from hpo_lib.validation import Strict, at_most, each, refuse, rule, shown

_MAX_FROM, _MAX_GUARDS = 10, 20
#: As many as SageMaker takes.
_MAX_DEFINITIONS = 40
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_METRIC = 128
#: What may stand for a character that is none of Latin-1 in a regular expression.
_BEYOND, _MAX_WIDE = re.compile(r"[^\x00-\xff]|\\[uUN]"), 10
_WIDE_RULE = f"must have at most {_MAX_WIDE} classes such as [a-z] beside characters beyond Latin-1"


def experiment_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise rule(
            "must be lower-case letters, digits and -, at most 63, not beginning or ending "
            f"with -, got {shown(name)}"
        )
    return name


def _advising(name: str) -> str:
    """Let through an experiment's name, or that of another team's: `team.name`."""
    if owner_of(name):
        team_name(owner_of(name))
    experiment_name(own_name(name))
    return name


def metric_name(name: str) -> str:
    """Let through the names that programs give their metrics, such as `valid_1's auc`."""
    sound = name.isprintable() and name == name.strip() and not _is_number(name)
    if not (sound and 1 <= len(name) <= _MAX_METRIC):
        raise rule(
            f"a metric must be 1 to {_MAX_METRIC} printable characters, no number, and have no "
            f"blank at either end, got {shown(name)}"
        )
    return name


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Objective(Strict):
    """What is optimised; `reduce` says how a trial's series becomes its value."""

    metric: str
    direction: Direction = Field(strict=False)
    target: float | None = None
    reduce: Literal["last", "best"] = "last"

    _check_metric = field_validator("metric")(metric_name)

    @field_validator("direction", mode="before")
    @classmethod
    def _check_direction(cls, value: Any) -> Any:
        if value not in ("minimize", "maximize"):
            hint = nearest(str(value), list(Direction))
            raise rule(f"must be minimize or maximize, got {shown(value)}{hint}")
        return value


class SamplerSpec(Strict):
    """Which sampler, its seed, and its own settings (checked by the sampler itself)."""

    model_config = ConfigDict(extra="allow")

    name: str = "auto"
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return registered("sampler", name)

    @property
    def settings(self) -> dict[str, Any]:
        """The sampler's own settings."""
        return dict(self.model_extra or {})


class SchedulerSpec(Strict):
    """Which scheduler, and its own settings (checked by the scheduler itself)."""

    model_config = ConfigDict(extra="allow")

    name: str = "fifo"

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return registered("scheduler", name)

    @property
    def settings(self) -> dict[str, Any]:
        """The scheduler's own settings."""
        return dict(self.model_extra or {})


class Limits(Strict):
    """When a run ends; `max_failed_trials` failed trials are tolerated, one more ends it.

    Then no further trial begins, neither in later waves nor in the one that is under way.
    """

    max_trials: int = Field(default=20, ge=1, le=100_000)
    parallel_trials: int = Field(default=1, ge=1, le=1_000)
    max_failed_trials: int = Field(default=3, ge=0)
    max_duration: str | None = None
    patience: int | None = Field(default=None, ge=1)
    max_cost_usd: Later = None

    _with_unit = field_validator("max_duration", mode="before")(with_unit)

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


class MetricDefinition(Strict):
    """A metric's name, and a regular expression whose first group, or `value`, is its value."""

    name: str
    regex: str = Field(max_length=500)

    _check_name = field_validator("name")(metric_name)

    @field_validator("regex")
    @classmethod
    def _check_regex(cls, text: str) -> str:
        form = compiled(text)
        if form.groups <= ("step" in form.groupindex):
            raise rule(f"must have a group, whose text is the value, got {shown(text)}")
        return text


class Metrics(Strict):
    """How metrics are read.

    `format` is that of a library, by name, or a regular expression with the groups `name`, `value`
    and perhaps `step`. `metric_definitions` have an expression for each metric instead. `path` is
    relative to the attempt's output folder. Collectors take what the registry says.
    """

    collector: str = "stdout"
    format: str | None = Field(default=None, max_length=500)
    metric_definitions: Annotated[tuple[MetricDefinition, ...], at_most(_MAX_DEFINITIONS)] = Field(
        default=(), strict=False
    )
    path: str | None = Field(default=None, max_length=200)

    @field_validator("collector")
    @classmethod
    def _check_collector(cls, name: str) -> str:
        return registered("collector", name)

    @field_validator("format")
    @classmethod
    def _check_format(cls, text: str | None) -> str | None:
        if text is None or text in FORMATS:
            return text
        if not {"name", "value"} <= set(compiled(text).groupindex):
            raise rule(
                "must have the groups (?P<name>…) and (?P<value>…), or be one of "
                f"{', '.join(FORMATS)}, got {shown(text)}{nearest(text, FORMATS)}"
            )
        return text

    @field_validator("metric_definitions", mode="before")
    @classmethod
    def _as_sagemaker_writes_them(cls, value: Any) -> Any:
        """Take the keys `Name` and `Regex` too."""
        if not isinstance(value, list | tuple):
            return value
        forms = [one.get("regex") or one.get("Regex") for one in value if isinstance(one, Mapping)]
        wide = sum(_wide(form) for form in forms if isinstance(form, str))
        if wide > _MAX_WIDE:
            raise rule(f"{_WIDE_RULE}, got {wide} in all")
        lower = {"Name": "name", "Regex": "regex"}
        return [
            {lower.get(key, key): inner for key, inner in one.items()}
            if isinstance(one, Mapping)
            else one
            for one in value
        ]

    @field_validator("path")
    @classmethod
    def _check_path(cls, text: str | None) -> str | None:
        if text is None:
            return None
        if text.startswith("/") or ".." in text.split("/") or "\0" in text or not text.strip("./"):
            raise rule(f"must be a relative path without .., got {shown(text)}")
        return text

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield the settings that the collector does not take, or that exclude each other."""
        if self.format is not None and self.metric_definitions:
            yield "metric_definitions take the place of format: use one of them"
        if "collector" in broken:
            return
        for name in ("format", "metric_definitions", "path"):
            if getattr(self, name) and name not in _settings_of(self.collector):
                those = ", ".join(one for one in COLLECTORS if name in _settings_of(one))
                yield f"{name} belongs to {those}, got collector={self.collector}"


def compiled(text: str) -> re.Pattern[str]:
    """Compile a conf's regular expression."""
    if (wide := _wide(text)) > _MAX_WIDE:
        raise rule(f"{_WIDE_RULE}, got {wide} in {shown(text)}")
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise rule(f"must be a regular expression, got {shown(text)}: {error}") from None


def _wide(text: str) -> int:
    """Count the character classes whose compiling may take 10 ms each."""
    return text.count("[") if _BEYOND.search(text) else 0


def _settings_of(collector: str) -> set[str]:
    return COLLECTOR_SETTINGS.get(collector, {"format", "metric_definitions", "path"})


class Artifacts(Strict):
    """Where attempts leave models, checkpoints and records, and whose are kept in the end.

    `uri` is one that fsspec understands; the installation decides whether it may be used, and
    with which credentials.
    """

    uri: str = Field(max_length=500)
    keep: Literal["best", "all", "none"] = "best"

    _check_uri = field_validator("uri")(uris.checked)


class WarmStart(Strict):
    """Which earlier runs advise: the newest complete ones `from` experiments, `top` trials of each.

    Without `from`, the experiment's own runs advise. `team.name` is another team's. A run that has
    only just ended has the `weight`; it halves with every `half_life`.
    """

    from_: tuple[str, ...] | None = Field(default=None, alias="from", strict=False, min_length=1)
    top: int = Field(default=10, ge=1, le=200)
    weight: float = Field(default=1.0, gt=0, le=1)
    half_life: str = "7d"
    runs: int = Field(default=5, ge=1, le=20)

    @field_validator("from_")
    @classmethod
    def _check_from(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is None:
            return None
        found = each(_advising, names)
        if len(set(names)) < len(names):
            found.append(f"must not name an experiment twice, got {shown(list(names))}")
        if len(names) > _MAX_FROM:
            found.append(f"must name at most {_MAX_FROM} experiments, got {len(names)}")
        refuse(found)
        return names

    _with_unit = field_validator("half_life", mode="before")(with_unit)

    @field_validator("half_life")
    @classmethod
    def _check_half_life(cls, text: str) -> str:
        seconds(text)
        return text

    @property
    def half_life_s(self) -> float:
        """After how many seconds a run's weight is half of what it was."""
        return seconds(self.half_life)


class FinalTraining(Strict):
    """The last training of a run's winner, once per seed.

    `trial` replaces keys of the spec's own `trial`: other resources, a longer timeout, an image.
    With another backend, the `image`, `options`, `spot`, `dir`, `python` and `venv` of the spec's
    own do not apply.
    """

    seeds: int = Field(default=5, ge=1, le=100)
    trial: dict[str, Any] = Field(default_factory=dict)


class GuardSpec(Strict):
    """What a challenger must not break; `not_worse_than` is how far it may fall behind."""

    STAND_INS: ClassVar[Mapping[str, Any]] = {"metric": "metric"}

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    not_worse_than: float | None = Field(default=None, ge=0)
    direction: Direction | None = Field(default=None, strict=False)

    _check_metric = field_validator("metric")(metric_name)

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield that a bound is missing, if there is none."""
        bounds = ("at_most", "at_least", "not_worse_than")
        if not any(name in broken or getattr(self, name) is not None for name in bounds):
            yield "needs at_most, at_least or not_worse_than"


class Deploy(Strict):
    """Where a champion serves, and what a challenger must show to become it.

    `metric` is measured by final trials on data that no search has seen; without it, it is the
    first objective. `options` are the deployer's own. With `approval: unsure` people are asked
    where evidence is missing, or nothing is known of single examples.
    """

    to: str
    options: dict[str, Any] = Field(default_factory=dict)
    metric: str | None = None
    direction: Direction | None = Field(default=None, strict=False)
    min_improvement: float = Field(default=0.0, ge=0)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    guards: Annotated[tuple[GuardSpec, ...], at_most(_MAX_GUARDS)] = Field(default=(), strict=False)
    approval: Literal["unsure", "none", "manual"] = "unsure"
    approval_timeout: str = "24h"

    @field_validator("to")
    @classmethod
    def _check_to(cls, name: str) -> str:
        return registered("deployer", name)

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, name: str | None) -> str | None:
        return None if name is None else metric_name(name)

    _with_unit = field_validator("approval_timeout", mode="before")(with_unit)

    @field_validator("approval_timeout")
    @classmethod
    def _check_timeout(cls, text: str) -> str:
        seconds(text)
        return text

    @property
    def approval_timeout_s(self) -> float:
        """How long an approval is waited for, in seconds; then it is refused."""
        return seconds(self.approval_timeout)
