"""Where the values of a parameter lie: on its own scale, or among its choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hpo_lib.core.trial import Value
from hpo_lib.core.values import Told, is_number, told_apart
from hpo_lib.report.facts import Facts

_MAX_UNUSED = 30


@dataclass(frozen=True)
class Axis:
    """A parameter's axis; `place` puts a value on it."""

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


def _used(choices: Sequence[Value], values: Sequence[Value]) -> tuple[Value, ...]:
    """List the choices (only those that occur, if there are too many) and any other values."""
    seen = {told_apart(value): value for value in values}
    known = {told_apart(choice): choice for choice in choices}
    if len(known) > _MAX_UNUSED:
        known = {key: choice for key, choice in known.items() if key in seen}
    return tuple((known | {key: value for key, value in seen.items() if key not in known}).values())
