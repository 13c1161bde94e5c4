"""What a stored spec says as far as it can be read, also where today's model refuses it.

The one place that reads a stored spec by its keys: whatever needs all of it takes the `Spec`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.lists import MOST_BLOCKS, length_of, part_of
from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import Direction, Value


@dataclass(frozen=True)
class Measure:
    """One objective; `direction` is None if the spec does not say which way it improves."""

    metric: str
    direction: Direction | None = None
    target: float | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Measure:
        """Read what the spec says."""
        words = {direction.value: direction for direction in Direction}
        direction = words.get(str(said.get("direction")))
        return cls(str(said.get("metric") or "objective"), direction, _number(said.get("target")))


@dataclass(frozen=True, slots=True)
class Dimension:
    """One parameter of the space: its choices, or its ends as far as they are known."""

    choices: Sequence[Value] = ()
    ends: Sequence[float] = ()
    scale: str = "linear"
    distribution: str = ""
    conditional: bool = False

    @classmethod
    def of(cls, said: object) -> Dimension:
        """Read what the spec says."""
        plain = _mapping(said)
        ends = [_number(plain.get(end)) for end in ("low", "high")]
        return cls(
            choices=tuple(one for one in _list(plain.get("choices")) if _is_value(one)),
            ends=tuple(end for end in ends if end is not None),
            scale=_text(plain.get("scale")) or "linear",
            distribution=_text(plain.get("distribution")) or "",
            conditional=bool(plain.get("when")),
        )


@dataclass(frozen=True, slots=True)
class Outline:
    """What a stored spec says; empty or None where it says nothing that can be read.

    `backends` are those of the search and of final training. `deploy` is the text of that section:
    it is the same for models that are deployed in the same way.
    """

    goal: Goal | None = None
    objectives: Sequence[Measure] = (Measure("objective"),)
    description: str = ""
    space: Mapping[str, Dimension] = field(default_factory=dict)
    fixed: Mapping[str, Value] = field(default_factory=dict)
    extra_metrics: Sequence[str] = ()
    sampler: str | None = None
    seed: int | None = None
    max_trials: int | None = None
    parallel_trials: int | None = None
    artifacts_uri: str | None = None
    artifacts_keep: str | None = None
    backends: Sequence[str] = ()
    deploy: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Outline:
        """Read a stored spec; nothing of it is ever refused."""
        sampler, limits = _mapping(document.get("sampler")), _mapping(document.get("limits"))
        artifacts, deploy = _mapping(document.get("artifacts")), document.get("deploy")
        return cls(
            goal=_goal(document),
            objectives=_objectives(document.get("objective")),
            description=str(document.get("description") or ""),
            space=_dimensions(_mapping(document.get("space"))),
            fixed={str(name): one for name, one in _mapping(document.get("fixed")).items()},
            extra_metrics=tuple(str(name) for name in _list(document.get("extra_metrics"))),
            sampler=_text(sampler.get("name")),
            seed=_whole(sampler.get("seed")),
            max_trials=_whole(limits.get("max_trials")),
            parallel_trials=_whole(limits.get("parallel_trials")),
            artifacts_uri=_text(artifacts.get("uri")),
            artifacts_keep=_text(artifacts.get("keep")),
            backends=_backends(document),
            deploy=json.dumps(deploy, sort_keys=True) if deploy else "",
        )


def metrics_named(document: Mapping[str, Any]) -> frozenset[str]:
    """Give the metrics that a conf names outside of its constraints, as far as it can be read."""
    said, deploy = document.get("objective"), _mapping(document.get("deploy"))
    parts = [*(_list(said) or [said]), deploy, *_list(deploy.get("guards"))]
    names = [_mapping(part).get("metric") for part in parts]
    return frozenset(filter(None, map(_text, [*names, *_list(document.get("extra_metrics"))])))


def _dimensions(space: Mapping[Any, Any]) -> dict[str, Dimension]:
    """Read the parameters; of a list those that it stands for."""
    found: dict[str, Dimension] = {}
    for name, said in space.items():
        if _text(_mapping(said).get("type")) != "list":
            found[str(name)] = Dimension.of(said)
            continue
        length = _mapping(said.get("length"))
        found[length_of(str(name))] = Dimension.of(length)
        for block in range(1, min(_whole(length.get("high")) or 0, MOST_BLOCKS) + 1):
            for own, one in _mapping(said.get("of")).items():
                part = part_of(str(name), block, str(own))
                found[part] = replace(Dimension.of(one), conditional=True)
    return found


def _goal(document: Mapping[str, Any]) -> Goal | None:
    said: Any = document.get("objective")
    listed: Sequence[Any] = said if isinstance(said, list | tuple) else [said]
    try:
        objectives = tuple((str(one["metric"]), Direction(one["direction"])) for one in listed)
        constraints = tuple(Constraint.parse(text) for text in document.get("constraints", ()))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return Goal(objectives, constraints) if objectives else None


def _objectives(said: object) -> tuple[Measure, ...]:
    """Read the objectives: always at least one, empty if the spec names none."""
    listed = said if isinstance(said, list | tuple) else [said]
    found = tuple(Measure.of(one) for one in listed if isinstance(one, Mapping))
    return found or (Measure.of({}),)


def _backends(document: Mapping[str, Any]) -> tuple[str, ...]:
    parts = (document, _mapping(document.get("final")))
    names = (_text(_mapping(part.get("trial")).get("backend")) for part in parts)
    return tuple(dict.fromkeys(name for name in names if name))


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _is_value(value: object) -> bool:
    return isinstance(value, str | int | float | list | dict)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None
