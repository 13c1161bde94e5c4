"""Where values lie on an axis: parameters on their own scale, the objective in a useful frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpo_lib.core.trial import Direction, Value
from hpo_lib.core.values import Told, is_number, told_apart
from hpo_lib.report.charts import axis
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import label
from hpo_lib.spec.outline import Measure
from hpo_lib.words import number

_MAX_TICKS = 12
_TICK = 14
_MAX_UNUSED = 30


@dataclass(frozen=True)
class Axis:
    """A parameter's axis: `place` puts a value on it, `ticks` are places and their labels."""

    name: str
    scale: str
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, facts: Facts, name: str) -> Axis:
        """Read the axis from the spec, or guess it from the values where the spec says nothing."""
        values = [v.trial.params[name] for v in facts.trials if name in v.trial.params]
        said = facts.dimension(name)
        numeric = all(is_number(value) for value in values)
        if said.choices:
            return cls(name, "choice", _used(said.choices, values))
        if not numeric:
            return cls(name, "choice", _used((), values))
        seen = [float(value) for value in values if is_number(value)]
        known = [*said.ends, *(value for value in seen if math.isfinite(value))]
        axis_ = cls(name, "linear", (), min(known, default=0.0), max(known, default=1.0))
        if said.scale not in ("log", "reverse_log") or not axis_._fits(said.scale):
            return axis_
        return cls(name, said.scale, (), axis_.low, axis_.high)

    def place(self, value: Value) -> float | None:
        """Give the place of a value in units of the axis; None if it has none."""
        if self.scale == "choice":
            return self._places.get(told_apart(value))
        if not is_number(value):
            return None
        return self._scaled(float(value))

    def unit(self, value: Value) -> float | None:
        """Give the place of a value between 0 and 1."""
        place = self.place(value)
        if place is None:
            return None
        if self.scale == "choice":
            return (place + 0.5) / len(self.choices)
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (place - low) / (high - low) if high > low else 0.5

    def ticks(self) -> tuple[list[float], list[str]] | None:
        """Give places and labels of ticks; None where plotly finds good ones by itself."""
        if self.scale == "linear":
            return None
        if self.scale == "choice":
            every = math.ceil(len(self.choices) / _MAX_TICKS)
            kept = list(range(0, len(self.choices), every))
            return [float(i) for i in kept], [choice_label(self.choices[i]) for i in kept]
        values = _decades(self.low, self.high)
        if self.scale == "reverse_log":
            values = [1 - value for value in _decades(1 - self.high, 1 - self.low)]
        return [self._scaled(value) for value in values], [number(value) for value in values]

    def layout(self, **more: Any) -> dict[str, Any]:
        """Give plotly's settings of this axis."""
        found = axis(**more)
        ticks = self.ticks()
        if ticks is not None:
            found |= {"tickmode": "array", "tickvals": ticks[0], "ticktext": ticks[1]}
        if self.scale == "choice":
            return found | {"range": [-0.6, len(self.choices) - 0.4], "showgrid": False}
        low, high = self._scaled(self.low), self._scaled(self.high)
        margin = 0.04 * (high - low) or 0.5
        return found | {"range": [low - margin, high + margin]}

    @cached_property
    def _places(self) -> dict[Told, float]:
        return {told_apart(choice): float(index) for index, choice in enumerate(self.choices)}

    def _fits(self, scale: str) -> bool:
        return self.low > 0 if scale == "log" else self.high < 1

    def _scaled(self, value: float) -> float:
        if self.scale == "log":
            return math.log10(max(value, 1e-300))
        if self.scale == "reverse_log":
            return -math.log10(max(1 - value, 1e-16))
        return value


@dataclass(frozen=True)
class Frame:
    """How an objective is drawn: perhaps on a log scale, and only up to `worst`.

    So a few bad values do not squeeze the rest; they sit on the edge with their own symbol.
    """

    log: bool
    direction: Direction | None
    worst: float | None

    @classmethod
    def of(cls, facts: Facts, objective: Measure) -> Frame:
        """Frame the values of complete trials."""
        found = (facts.value(view, objective) for view in facts.trials)
        return cls.around([value for value in found if value is not None], objective.direction)

    @classmethod
    def around(cls, values: list[float], direction: Direction | None) -> Frame:
        """Choose log if the values span two orders of magnitude, and cut off far outliers."""
        log = spans_decades(values)
        return cls(log, direction, _worst(values, direction, log))

    def beyond(self, value: float) -> bool:
        """Say whether a value is outside of the frame."""
        if self.worst is None or self.direction is None:
            return False
        return self.direction.better(self.worst, value)

    def y(self, value: float) -> float:
        """Give where a value is drawn."""
        return self.worst if self.worst is not None and self.beyond(value) else value

    def symbol(self, value: float) -> str:
        """Give the symbol that a value is drawn with."""
        if not self.beyond(value):
            return "circle"
        return "triangle-up" if self.direction is Direction.MINIMIZE else "triangle-down"

    def layout(self, **more: Any) -> dict[str, Any]:
        """Give plotly's settings of the objective's axis."""
        return axis(type="log" if self.log else "linear", **more)


def spans_decades(values: Sequence[float]) -> bool:
    """Say whether values ask for a log scale."""
    return bool(values) and min(values) > 0 and max(values) / min(values) >= 100


def choice_label(value: Value) -> str:
    """Write a choice for an axis."""
    return label(number(value), _TICK)


def _worst(values: list[float], direction: Direction | None, log: bool) -> float | None:
    if direction is None or len(values) < 8:
        return None
    losses = sorted(direction.loss(math.log10(v) if log else v) for v in values)
    upper = losses[(3 * len(losses)) // 4]
    limit = upper + 3 * (upper - losses[0])
    if losses[-1] <= limit or limit == losses[0]:
        return None
    shown = direction.loss(max(loss for loss in losses if loss <= limit))
    return 10**shown if log else shown


def _decades(low: float, high: float) -> list[float]:
    """List round values in [low, high]: powers of ten, with 2 and 5 times them if those are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / 8))
    tens = [10.0**e for e in range(first, last + 1, every) if low <= 10.0**e * 1.001 <= high * 1.01]
    if len(tens) > 2:
        return tens
    fine = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
    return [value for value in fine if low * 0.999 <= value <= high * 1.001] or [low, high]


def _used(choices: Sequence[Value], values: Sequence[Value]) -> tuple[Value, ...]:
    """List the choices (only those that occur, if there are too many) and any other values."""
    seen = {told_apart(value): value for value in values}
    known = {told_apart(choice): choice for choice in choices}
    if len(known) > _MAX_UNUSED:
        known = {key: choice for key, choice in known.items() if key in seen}
    return tuple((known | {key: value for key, value in seen.items() if key not in known}).values())
