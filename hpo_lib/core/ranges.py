"""Parameters with two ends: float and int."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator

from hpo_lib.core import distributions
from hpo_lib.core.conditions import Conditional
from hpo_lib.core.distributions import Distribution, Uniform
from hpo_lib.core.trial import Value
from hpo_lib.core.values import finite, rounded, share_of
from hpo_lib.errors import SpecError
from hpo_lib.validation import MAX_WHOLE, rule, shown

#: Beyond these a double cannot hold every value's place in the unit cube.
_MAX_WHOLE_VALUES = 2**50
_TOO_FINE = "must have at most 2**50 values"
_MAX_LOG_WHOLE = 10**12
#: So many digits of the width of a normal distribution come back from the unit cube.
_DIGITS = 9


class _Range(Conditional):
    """What float and int share; low and high belong to the range.

    A normal distribution has `mu` and `sigma` on the scale: those of the logarithm on a log scale.
    """

    distribution: Literal["normal"] | None = None
    mu: float | None = None
    sigma: float | None = None

    @field_validator("distribution", mode="before")
    @classmethod
    def _known(cls, name: Any) -> Any:
        if name not in (None, "normal"):
            raise rule(
                "must be uniform or normal, or lognormal, which has scale log, got " + shown(name)
            )
        return name

    @classmethod
    def spelled(cls, data: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """Write out the distribution and the ends that it implies."""
        return distributions.spelled(super().spelled(data))

    def problems(self: Any, broken: Collection[str]) -> Iterator[str]:
        """Yield what is wrong with the ends, with the scale there, and with the step between."""
        ends, width = f"got low={self.low}, high={self.high}", self.high - self.low
        if not width > 0:
            yield f"low must be < high, {ends}"
        elif not math.isfinite(width):
            yield f"high - low must be finite, {ends}"
        elif self.step is not None and not 0 < self.step <= width * (1 + 1e-9):
            yield f"step must be > 0 and <= high - low, got step={self.step}, {ends[4:]}"
        elif "step" not in broken:
            yield from self._uncountable()
        if self.scale == "log" and not self.low > 0:
            yield f"low must be > 0 on a log scale, {ends}"
        if self.scale == "reverse_log" and not (self.low >= 0 and self.high < 1):
            yield f"0 <= low and high < 1 must hold on a reverse_log scale, {ends}"
        if not {"distribution", "mu", "sigma", "scale"}.intersection(broken):
            yield from self._abnormal()

    def _abnormal(self: Any) -> Iterator[str]:
        """Yield what is wrong with a normal distribution, or with settings that only it has."""
        if self.distribution is None:
            given = [name for name in ("mu", "sigma") if getattr(self, name) is not None]
            if given:
                yield f"{' and '.join(given)} need distribution normal or lognormal, got none"
            return
        if self.scale == "reverse_log":
            yield "distribution normal needs scale linear or log, got scale=reverse_log"
        elif self.sigma is not None and not self.sigma > 0:
            yield f"sigma must be > 0, got sigma={self.sigma}"
        elif self.low < self.high and (self.scale == "linear" or self.low > 0):
            mu, sigma = self._normal
            ends = self._scaled(self.low), self._scaled(self.high)
            if not distributions.within_reach(*ends, mu, sigma):
                yield (
                    f"low and high must leave room within 5 sigma of mu, got low={self.low}, "
                    f"high={self.high}, mu={mu}, sigma={sigma}"
                )

    @property
    def unordered(self) -> bool:
        """Whether no value is between others."""
        return False

    @property
    def even(self: Any) -> bool:
        """Whether its values are countable and have equal shares of [0, 1]."""
        listed = self.size is not None and self.scale == "linear"
        return bool(listed and self.distribution is None)

    def index(self: Any, value: Any) -> int:
        """Give the index of the nearest value on the grid."""
        index = round((float(value) - self.low) / (self.step or 1))
        return int(min(max(index, 0), (self.size or 1) - 1))

    def to_unit(self: Any, value: Any) -> float:
        """Map a value into [0, 1]: one of evenly spaced values to the middle of its share."""
        if self.even:
            return float((self.index(value) + 0.5) / self.size)
        return float(self._spread.share(self._scaled(float(value))))

    def from_unit(self: Any, unit: float) -> Any:
        """Map [0, 1] onto the values."""
        if self.even:
            return self.at(share_of(unit, self.size))
        number = self._unscaled(self._spread.place(unit))
        return self._held(number) if self.size is None else self.at(self.index(number))

    @cached_property
    def _spread(self) -> Distribution:
        """How the values are distributed on the scale."""
        if self.distribution is None:
            return Uniform(*self._ends)
        return distributions.normal(*self._ends, *self._normal)

    @property
    def _normal(self: Any) -> tuple[float, float]:
        low, high = self._scaled(self.low), self._scaled(self.high)
        return distributions.implied(low, high, self.mu, self.sigma)

    @property
    def _ends(self: Any) -> tuple[float, float]:
        """The ends on the scale: of countable values half a step beyond the first and the last."""
        if self.size is None:
            return self._scaled(self.low), self._scaled(self.high)
        half, last = self.step / 2, self.at(self.size - 1)
        first = self.low - half
        first = max(first, self.low / 2) if self.scale == "log" else first
        return self._scaled(first), self._scaled(last + half)

    def _scaled(self: Any, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        if self.scale == "reverse_log":
            return -math.log1p(-value)
        return value

    def _unscaled(self: Any, scaled: float) -> float:
        if self.scale == "log":
            return math.exp(scaled)
        if self.scale == "reverse_log":
            return -math.expm1(-scaled)
        return scaled


class FloatParameter(_Range):
    """A real number in [low, high], on `low + k * step` if there is a step."""

    type: Literal["float"] = "float"
    low: float
    high: float
    scale: Literal["linear", "log", "reverse_log"] = "linear"
    step: float | None = None

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield also on which scales there is a step."""
        yield from super().problems(broken)
        if self.step is not None and self.scale == "reverse_log":
            yield "step needs scale linear or log, got scale=reverse_log; list them as an ordinal"

    def _uncountable(self) -> Iterator[str]:
        if self.step and not (self.high - self.low) / self.step < _MAX_WHOLE_VALUES:
            yield f"{_TOO_FINE}, got low={self.low}, high={self.high}, step={self.step}"
            return
        size = self.size
        if size and (self.at(0) == self.at(1) or self.at(size - 2) == self.at(size - 1)):
            yield (
                f"step must be at least a 10**9th of low and high, got step={self.step}, "
                f"low={self.low}, high={self.high}"
            )

    @property
    def size(self) -> int | None:
        """Number of values; None if they are not countable."""
        if self.step is None:
            return None
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def at(self, index: int) -> float:
        """Give the value at an index of the grid."""
        return self._within(self.low + index * (self.step or 0.0))

    def canonical(self, value: Value) -> float:
        """Put a number into range and on its step; SpecError if it is not one or is outside."""
        number = finite(value)
        slack = 1e-9 * (self.high - self.low)
        if not self.low - slack <= number <= self.high + slack:
            raise SpecError(f"must be within [{self.low}, {self.high}], got {number}")
        return self._held(number) if self.step is None else self.at(self.index(number))

    def _held(self, number: float) -> float:
        """Round to the digits that the unit cube keeps; below zero, cancellation leaves fewer."""
        if self.distribution is not None:
            number = self._held_normal(number)
        elif self.low < 0:
            number = round(number, 11 - math.ceil(math.log10(self.high - self.low)))
        return self._within(number)

    def _within(self, number: float) -> float:
        """Give the canonical form; an end that has more digits than that is given whole."""
        return min(max(rounded(number), self.low), self.high)

    def _held_normal(self, number: float) -> float:
        low, high = self._ends
        digits = _DIGITS - math.ceil(math.log10(high - low))
        return float(f"{number:.{digits}g}") if self.scale == "log" else round(number, digits)


class IntParameter(_Range):
    """A whole number in [low, high] on `low + k * step`."""

    type: Literal["int"] = "int"
    low: int = Field(ge=-MAX_WHOLE, le=MAX_WHOLE)
    high: int = Field(ge=-MAX_WHOLE, le=MAX_WHOLE)
    scale: Literal["linear", "log"] = "linear"
    step: int = 1

    def _uncountable(self) -> Iterator[str]:
        if self.size > _MAX_WHOLE_VALUES:
            yield f"{_TOO_FINE}, got low={self.low}, high={self.high}, step={self.step}"
        if self.scale == "log" and self.high > _MAX_LOG_WHOLE:
            yield f"high must be <= 10**12 on a log scale, got high={self.high}"

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.high - self.low) // self.step + 1

    def at(self, index: int) -> int:
        """Give the value at an index of the grid."""
        return self.low + index * self.step

    def canonical(self, value: Value) -> int:
        """Put a whole number on its step; SpecError if it is not one or is outside."""
        number = finite(value)
        if number != int(number):
            raise SpecError(f"must be a whole number, got {number}")
        if not self.low <= number <= self.high:
            raise SpecError(f"must be within [{self.low}, {self.high}], got {int(number)}")
        return self.at(self.index(number))
