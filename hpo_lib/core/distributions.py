"""How likely the values of a range are: each value's share of [0, 1], and the value of a share.

A range is uniform on its scale, or normal there: on a log scale a normal distribution is what
others call log-normal. A normal distribution is cut at both ends of its range, which reaches at
most 5 standard deviations from the mean: all but a millionth, and no farther than a double can
tell shares apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, Protocol

from hpo_lib.core import plain
from hpo_lib.core.values import rounded

_REACH = 5.0
#: In so many standard deviations the likelihood differs by less than a thousandth.
_NARROW = 1e-5
_STANDARD = NormalDist()
#: What a spec may say of a distribution, in small letters without marks, and what it stands for:
#: a distribution, on a scale.
_NAMES: Mapping[str, tuple[str | None, str | None]] = {
    "uniform": (None, None),
    "loguniform": (None, "log"),
    "normal": ("normal", None),
    "lognormal": ("normal", "log"),
}


class Distribution(Protocol):
    """The distribution of a range on its scale, between its two ends."""

    def share(self, place: float) -> float:
        """Give the probability of all that lies below a place on the scale."""
        ...

    def place(self, share: float) -> float:
        """Give the place below which a share of all probability lies."""
        ...


@dataclass(frozen=True, slots=True)
class Uniform:
    """All places between two ends are equally likely."""

    low: float
    high: float

    def share(self, place: float) -> float:
        """Give how much of the range lies below a place."""
        return min(max((place - self.low) / (self.high - self.low), 0.0), 1.0)

    def place(self, share: float) -> float:
        """Give the place below which a share of the range lies."""
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True)
class Normal:
    """A normal distribution between two ends."""

    low: float
    high: float
    mu: float
    sigma: float

    def share(self, place: float) -> float:
        """Give the probability of what lies between the lower end and a place."""
        first, last = self._below
        share = (_below(self._turned(place)) - first) / (last - first)
        return min(max(1.0 - share if self._mirrored else share, 0.0), 1.0)

    def place(self, share: float) -> float:
        """Give the place whose share this is."""
        first, last = self._below
        inside = first + (1.0 - share if self._mirrored else share) * (last - first)
        at = _STANDARD.inv_cdf(inside) * (-1 if self._mirrored else 1)
        return min(max(self.mu + self.sigma * at, self.low), self.high)

    @cached_property
    def _mirrored(self) -> bool:
        """Whether all of the range is above the mean: doubles are finer for what is below it."""
        return self.low > self.mu

    @cached_property
    def _below(self) -> tuple[float, float]:
        ends = sorted((self._turned(self.low), self._turned(self.high)))
        return _below(ends[0]), _below(ends[1])

    def _turned(self, place: float) -> float:
        return (place - self.mu) / self.sigma * (-1 if self._mirrored else 1)


def _below(deviations: float) -> float:
    return 0.5 * math.erfc(-deviations / math.sqrt(2))


def implied(low: float, high: float, mu: float | None, sigma: float | None) -> tuple[float, float]:
    """Give mean and standard deviation; those of a range alone are its middle and a sixth of it.

    That is what Katib makes of such a range.
    """
    return (
        (low + high) / 2 if mu is None else mu,
        (high - low) / 6 if sigma is None else sigma,
    )


def normal(low: float, high: float, mu: float, sigma: float) -> Distribution:
    """Make a normal distribution, or a uniform one where the range is too narrow to tell."""
    if high - low < _NARROW * sigma:
        return Uniform(low, high)
    return Normal(low, high, mu, sigma)


def within_reach(low: float, high: float, mu: float, sigma: float) -> bool:
    """Say whether a range has room within 5 standard deviations of the mean."""
    return max(low, mu - _REACH * sigma) < min(high, mu + _REACH * sigma)


def spelled(data: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Write out what a range says in other words, or does not say: its distribution and its ends.

    `lognormal` is normal on a log scale. The ends of a normal distribution are 5 standard
    deviations from the mean, if there are none or they are farther. What is no number is left to
    the model.
    """
    word = str(data.get("distribution")).lower().replace("_", "").replace("-", "")
    distribution, scale = _NAMES.get(word, (None, None))
    scale = scale or data.get("scale", "linear")
    if word not in _NAMES or data.get("scale", scale) != scale:
        return data
    made = {**data, "distribution": distribution, "scale": scale}
    try:
        mu, sigma = _stated(made) if distribution else (None, None)
        if not (plain.is_finite(mu) and plain.is_finite(sigma) and sigma > 0):
            return made
        return made | {"mu": mu, "sigma": sigma} | _ends(made, _reach(mu, sigma, scale))
    except (ArithmeticError, KeyError, TypeError, ValueError):  # the model says what is wrong
        return made


def _stated(data: Mapping[Any, Any]) -> tuple[Any, Any]:
    """Give mean and standard deviation, of which the ends tell what is not said."""
    mu, sigma = data.get("mu"), data.get("sigma")
    if mu is not None and sigma is not None:
        return mu, sigma
    low, high = data["low"], data["high"]
    if data["scale"] == "log":
        low, high = math.log(low), math.log(high)
    return implied(low, high, mu, sigma)


def _reach(mu: float, sigma: float, scale: str) -> tuple[float, float]:
    """Give how far a normal distribution reaches."""
    first, last = mu - _REACH * sigma, mu + _REACH * sigma
    return (math.exp(first), math.exp(last)) if scale == "log" else (first, last)


def _ends(data: Mapping[Any, Any], reach: tuple[float, float]) -> dict[str, Any]:
    """Give the ends of a range within reach; without one below, steps are multiples of `step`."""
    low, high, step = (data.get(name) for name in ("low", "high", "step"))
    whole = data.get("type") == "int"
    first, last = map(rounded, reach)
    if step or whole:
        first = _on_step(first, low, step or 1)
        first = max(first, step or 1) if low is None and data["scale"] == "log" else first
    last = math.floor(last) if whole else last
    low, high = first if low is None else max(low, first), last if high is None else min(high, last)
    return {"low": low, "high": high} if low < high else {}


def _on_step(first: float, low: float | None, step: float) -> float:
    """Give the first step that is not below, counted from `low`, or else from 0."""
    begin = low or 0
    steps = math.ceil((first - begin) / step - 1e-9)
    return begin + steps * step if isinstance(step, int) else rounded(begin + steps * step)
