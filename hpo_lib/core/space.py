"""The search space: parameters, scales, conditions, canonical form, unit cube and grid.

A configuration maps the names of the *active* parameters to values. Its canonical form has each
value on its step, floats at 10 significant digits and inactive parameters dropped; two
configurations are the same trial exactly when their canonical forms are equal.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import Field, field_validator

from hpo_lib.core import plain
from hpo_lib.core.trial import Params, Value
from hpo_lib.errors import SpecError, joined
from hpo_lib.validation import MAX_WHOLE, Number, Scalar, Strict, parse, rule, shown

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
MAX_PARAMETERS = 200
_MAX_CHOICES = 10_000
#: A grid has so many branches at most, and so many conditions are looked at to find them.
_MAX_BRANCHES, _MAX_LOOKS = 50_000, 200_000
#: Beyond these a double cannot hold every value's place in the unit cube.
_MAX_WHOLE_VALUES = 2**50
_TOO_FINE = "must have at most 2**50 values"
_MAX_LOG_WHOLE = 10**12
#: Further problems are not reported.
_MOST_PROBLEMS = 100

_T = TypeVar("_T", bound=Value)
When = Mapping[str, list[Scalar]]


def rounded(value: float) -> float:
    """Give a float its canonical form: 10 significant digits, no negative zero."""
    return float(f"{value:.10g}") + 0.0


def same(left: Value, right: Value) -> bool:
    """Compare values as the user wrote them: 1 equals 1.0, but not true."""
    return told_apart(left) == told_apart(right)


def told_apart(value: Value) -> tuple[bool, Value]:
    """Give what is equal, and has the same hash, for values that are the same."""
    return isinstance(value, bool), value


class _Parameter(Strict):
    when: When | None = None

    @field_validator("when")
    @classmethod
    def _not_empty(cls, when: When | None) -> When | None:
        if when is None:
            return None
        if not when or not all(when.values()):
            raise rule(f"when must name a parameter and at least one value, got {shown(when)}")
        return when

    @cached_property
    def conditions(self) -> Mapping[str, frozenset[tuple[bool, Value]]]:
        """The values, told apart, of the parameters on which this one depends, by their names."""
        return {name: frozenset(map(told_apart, them)) for name, them in (self.when or {}).items()}


class _Range(_Parameter):
    """What float and int share; low and high belong to the range."""

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


class FloatParameter(_Range):
    """A real number in [low, high], on `low + k * step` if there is a step (linear scale only)."""

    type: Literal["float"] = "float"
    low: float
    high: float
    scale: Literal["linear", "log", "reverse_log"] = "linear"
    step: float | None = None

    def problems(self, broken: Collection[str]) -> Iterator[str]:
        """Yield also that a step needs a linear scale."""
        yield from super().problems(broken)
        if self.step is not None and self.scale != "linear":
            yield f"step needs scale linear, got scale={self.scale}; list the values as an ordinal"

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
        return rounded(self.low + index * (self.step or 0.0))

    def index(self, value: Value) -> int:
        """Give the index of the nearest value on the grid."""
        index = round((float(value) - self.low) / (self.step or 1.0))
        return min(max(index, 0), (self.size or 1) - 1)

    def canonical(self, value: Value) -> float:
        """Put a number into range and on its step; SpecError if it is not one or is outside."""
        number = _number(value)
        slack = 1e-9 * (self.high - self.low)
        if not self.low - slack <= number <= self.high + slack:
            raise SpecError(f"must be within [{self.low}, {self.high}], got {number}")
        return self._held(number) if self.step is None else self.at(self.index(number))

    def to_unit(self, value: Value) -> float:
        """Map a value into [0, 1]."""
        if self.size is not None:
            return (self.index(value) + 0.5) / self.size
        low, high = self._scaled(self.low), self._scaled(self.high)
        return min(max((self._scaled(float(value)) - low) / (high - low), 0.0), 1.0)

    def from_unit(self, unit: float) -> float:
        """Map [0, 1] onto the values."""
        if self.size is not None:
            return self.at(_bin(unit, self.size))
        low, high = self._scaled(self.low), self._scaled(self.high)
        return self._held(self._unscaled(low + unit * (high - low)))

    def _held(self, number: float) -> float:
        """Round to the digits that the unit cube keeps; below zero, cancellation leaves fewer."""
        if self.low < 0:
            number = round(number, 11 - math.ceil(math.log10(self.high - self.low)))
        return min(max(rounded(number), self.low), self.high)

    def _scaled(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        if self.scale == "reverse_log":
            return -math.log1p(-value)
        return value

    def _unscaled(self, scaled: float) -> float:
        if self.scale == "log":
            return math.exp(scaled)
        if self.scale == "reverse_log":
            return -math.expm1(-scaled)
        return scaled


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
        number = _number(value)
        if number != int(number):
            raise SpecError(f"must be a whole number, got {number}")
        if not self.low <= number <= self.high:
            raise SpecError(f"must be within [{self.low}, {self.high}], got {int(number)}")
        return self.at(self.index(number))

    def index(self, value: Value) -> int:
        """Give the index of the nearest value on the grid."""
        return min(max(round((float(value) - self.low) / self.step), 0), self.size - 1)

    def to_unit(self, value: Value) -> float:
        """Map a value into (0, 1): the middle of its share of the scale."""
        if self.scale == "linear":
            return (self.index(value) + 0.5) / self.size
        low, high = self._log_ends()
        return (math.log(float(value)) - low) / (high - low)

    def from_unit(self, unit: float) -> int:
        """Map [0, 1] onto the values."""
        if self.scale == "linear":
            return self.at(_bin(unit, self.size))
        low, high = self._log_ends()
        return self.at(self.index(math.exp(low + unit * (high - low))))

    def _log_ends(self) -> tuple[float, float]:
        half = self.step / 2
        last = self.at(self.size - 1)
        return math.log(max(self.low - half, self.low / 2)), math.log(last + half)


class _Choices(_Parameter):
    """What categorical and ordinal share: finitely many values, listed."""

    @property
    def size(self: Any) -> int:
        """Number of values."""
        return len(self.choices)

    def at(self: Any, index: int) -> Any:
        """Give the value at an index of the grid."""
        return self.choices[index]

    def index(self: Any, value: Value) -> int:
        """Give the index of a choice on the grid."""
        place: int = self._places[told_apart(value)]
        return place

    @cached_property
    def _places(self: Any) -> dict[tuple[bool, Value], int]:
        return {told_apart(choice): index for index, choice in enumerate(self.choices)}

    def canonical(self: Any, value: Value) -> Any:
        """Give the choice that equals the value; SpecError if there is none."""
        try:
            return self.choices[self.index(value)]
        except (KeyError, TypeError):  # a list has no hash
            listed = shown(list(self.choices))
            raise SpecError(f"must be one of {listed}, got {shown(value)}") from None

    def to_unit(self: Any, value: Value) -> float:
        """Map a choice to the middle of its share of [0, 1]."""
        return float((self.index(value) + 0.5) / len(self.choices))

    def from_unit(self: Any, unit: float) -> Any:
        """Map [0, 1] onto the choices, in equal shares."""
        return self.choices[_bin(unit, len(self.choices))]


class CategoricalParameter(_Choices):
    """One of several values without an order."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Scalar, ...] = Field(strict=False)

    @field_validator("choices")
    @classmethod
    def _check(cls, choices: tuple[Value, ...]) -> tuple[Value, ...]:
        return _distinct(choices)


class OrdinalParameter(_Choices):
    """One of several numbers, in ascending order, about equally far apart for the sampler."""

    type: Literal["ordinal"] = "ordinal"
    choices: tuple[Number, ...] = Field(strict=False)

    @field_validator("choices")
    @classmethod
    def _check(cls, choices: tuple[float, ...]) -> tuple[float, ...]:
        if any(left >= right for left, right in itertools.pairwise(choices)):
            raise rule(f"choices of an ordinal must ascend, got {shown(list(choices))}")
        _distinct(choices)
        return choices


Parameter = Annotated[
    FloatParameter | IntParameter | CategoricalParameter | OrdinalParameter,
    Field(discriminator="type"),
]


class SpaceModel(Strict):
    """The `space` of a spec as pydantic sees it; Space is what the rest of the code uses."""

    space: dict[str, Parameter]


class Grid(Protocol):
    """The finite space as `size` canonical configurations by index, without holding them."""

    @property
    def size(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Value]: ...
    def index(self, params: Params) -> int: ...


class Space:
    """A validated search space; parameters are ordered so that conditions look backwards."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Take parameter models by name; SpecError names all that does not fit together."""
        wrong = itertools.chain(_miscounted(parameters), _bad_conditions(parameters))
        if found := list(itertools.islice(wrong, _MOST_PROBLEMS)):
            raise SpecError(joined(found))
        self.parameters: dict[str, Any] = _in_order_of_conditions(parameters)

    @classmethod
    def parse(cls, space: Mapping[str, Any]) -> Space:
        """Validate the `space` part of a spec (plain dicts); SpecError lists every problem."""
        return cls(parse(SpaceModel, {"space": plain.read(space)}).space)

    def __len__(self) -> int:
        """Count the parameters: the dimensions of the unit cube."""
        return len(self.parameters)

    def is_active(self, name: str, params: Params) -> bool:
        """Say whether a parameter counts, given the values of those it depends on."""
        for parent, values in self.parameters[name].conditions.items():
            if parent not in params or told_apart(params[parent]) not in values:
                return False
        return True

    def canonical(self, params: Params) -> dict[str, Value]:
        """Give the canonical form; SpecError names a missing, unknown or illegal value."""
        result: dict[str, Value] = {}
        for problem in self.problems(params, result):
            raise SpecError(problem)
        return result

    def problems(self, params: Params, result: dict[str, Value]) -> Iterator[str]:
        """Yield what is missing, unknown or illegal; legal values go into `result`."""
        for name in params:
            if name not in self.parameters:
                known = ", ".join(self.parameters)
                yield f"{shown(name)} is not a parameter of the space; known: {known}"
        for name, parameter in self.parameters.items():
            if not self.is_active(name, result):
                continue
            if name not in params:
                yield f"{name}: is required"
                continue
            try:
                result[name] = parameter.canonical(params[name])
            except SpecError as error:
                yield f"{name}: {error}"

    def from_unit(self, point: Sequence[float]) -> dict[str, Value]:
        """Map a point of the unit cube, shape (len(self),), to a canonical configuration."""
        result: dict[str, Value] = {}
        for unit, (name, parameter) in zip(point, self.parameters.items(), strict=True):
            if self.is_active(name, result):
                result[name] = parameter.from_unit(min(max(float(unit), 0.0), 1.0))
        return result

    def to_unit(self, params: Params) -> list[float]:
        """Map a canonical configuration to the unit cube; an inactive parameter is at 0.5."""
        return [
            parameter.to_unit(params[name]) if name in params else 0.5
            for name, parameter in self.parameters.items()
        ]

    @cached_property
    def size(self) -> int | None:
        """Number of distinct configurations; None if continuous or too many to count."""
        if self.continuous:
            return None
        try:
            return self.grid.size
        except SpecError:
            return None

    @property
    def continuous(self) -> list[str]:
        """The names of the parameters whose values are not countable."""
        return [name for name, parameter in self.parameters.items() if parameter.size is None]

    @cached_property
    def grid(self) -> Grid:
        """Every configuration by index; SpecError names the parameters that are continuous."""
        if self.continuous:
            raise SpecError(
                f"space: a grid needs finitely many values, got {', '.join(self.continuous)} "
                "without end; give a step, or list the values as an ordinal"
            )
        return _Grid(self)


class _Grid:
    """Blocks of equal structure (one per assignment of the parents), each a mixed-radix counter."""

    def __init__(self, space: Space) -> None:
        self._space = space
        parents = {p for q in space.parameters.values() for p in q.conditions}
        self._parents = parents
        self._others = [name for name in space.parameters if name not in parents]
        at_times = [name for name in self._others if space.parameters[name].conditions]
        always = self._product(name for name in self._others if name not in at_times)
        self._blocks: list[tuple[dict[str, Value], set[str]]] = []
        self._ends: list[int] = []
        total = 0
        looks = len(parents) + len(at_times)
        most = min(_MAX_BRANCHES, _MAX_LOOKS // looks) if looks else 1
        for fixed in _assignments(space, [n for n in space.parameters if n in parents], most):
            inactive = {name for name in at_times if not space.is_active(name, fixed)}
            total += always * self._product(name for name in at_times if name not in inactive)
            self._blocks.append((fixed, inactive))
            self._ends.append(total)

    def _product(self, names: Iterable[str]) -> int:
        return math.prod(self._space.parameters[name].size for name in names)

    def _free(self, block: int) -> list[str]:
        """Name what a block counts through."""
        inactive = self._blocks[block][1]
        return [name for name in self._others if name not in inactive]

    @property
    def size(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Value]:
        if not 0 <= index < self.size:
            raise IndexError(index)
        block = bisect_right(self._ends, index)
        rest = index - (self._ends[block - 1] if block else 0)
        values = dict(self._blocks[block][0])
        for name in reversed(self._free(block)):
            parameter = self._space.parameters[name]
            rest, digit = divmod(rest, parameter.size)
            values[name] = parameter.at(digit)
        return {name: values[name] for name in self._space.parameters if name in values}

    def index(self, params: Params) -> int:
        """Give the index of a canonical configuration."""
        block = self._block_of[key({n: v for n, v in params.items() if n in self._parents})]
        rest = 0
        for name in self._free(block):
            parameter = self._space.parameters[name]
            rest = rest * parameter.size + parameter.index(params[name])
        return rest + (self._ends[block - 1] if block else 0)

    @cached_property
    def _block_of(self) -> dict[str, int]:
        return {key(fixed): block for block, (fixed, _) in enumerate(self._blocks)}


def _assignments(space: Space, parents: list[str], most: int) -> Iterator[dict[str, Value]]:
    """Enumerate the values of the parameters that conditions look at; SpecError if too many."""
    found: list[dict[str, Value]] = [{}]
    for name in parents:
        parameter = space.parameters[name]
        grown: list[dict[str, Value]] = []
        for partial in found:
            if not space.is_active(name, partial):
                grown.append(partial)
                continue
            if len(grown) + parameter.size > most:
                raise SpecError(
                    f"space: conditions make more than {most} branches; "
                    "let them depend on parameters with fewer values"
                )
            grown.extend({**partial, name: parameter.at(i)} for i in range(parameter.size))
        found = grown
    yield from found


def key(params: Params) -> str:
    """Hash a canonical configuration: equal exactly for equal configurations, on any machine."""
    text = json.dumps(dict(params), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _bin(unit: float, size: int) -> int:
    return min(int(unit * size), size - 1)


def _number(value: Value) -> float:
    if not plain.is_finite(value):
        raise SpecError(f"must be a finite number, got {shown(value)}")
    return float(value)


def _distinct(choices: tuple[_T, ...]) -> tuple[_T, ...]:
    if not choices:
        raise rule("choices must hold at least one value, got []")
    if len(choices) > _MAX_CHOICES:
        raise rule(f"choices must hold at most {_MAX_CHOICES} values, got {len(choices)}")
    first: dict[tuple[bool, Value], Value] = {}
    for choice in choices:
        if (one := told_apart(choice)) in first:
            raise rule(f"choices must differ, got {shown([first[one], choice])}")
        first[one] = choice
    return choices


def _miscounted(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield that there are too few or too many parameters, and each name that is not allowed."""
    if not parameters:
        yield "space: must hold at least one parameter, got none"
    if len(parameters) > MAX_PARAMETERS:
        yield f"space: must hold at most {MAX_PARAMETERS} parameters, got {len(parameters)}"
    yield from bad_names("space", parameters)


def bad_names(path: str, names: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each name that could not be a command-line flag."""
    for name in names:
        if not _NAME.fullmatch(name):
            yield (
                f"{path}: a name must be a letter and then letters, digits, _ or - "
                f"(at most 64), got {shown(name)}"
            )


def _bad_conditions(parameters: Mapping[str, Any]) -> Iterator[str]:
    for name, parameter in parameters.items():
        for parent, values in (parameter.when or {}).items():
            yield from _bad_condition(f"space.{name}.when", parent, values, parameters)


def _in_order_of_conditions(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Sort parents before children, else as written; SpecError on cycles."""
    ordered: dict[str, Any] = {}
    waiting = dict(parameters)
    while waiting:
        ready = [n for n, p in waiting.items() if all(q in ordered for q in (p.when or {}))]
        if not ready:
            raise SpecError(f"space: conditions must not form a cycle, got {', '.join(waiting)}")
        ordered[ready[0]] = waiting.pop(ready[0])
    return ordered


def _bad_condition(
    path: str, parent: str, values: Sequence[Value], parameters: Mapping[str, Any]
) -> Iterator[str]:
    if parent not in parameters:
        known = ", ".join(parameters)
        yield f"{path}: unknown parameter {shown(parent)}; known: {known}"
        return
    if parameters[parent].size is None:
        yield f"{path}: {parent} must have finitely many values, but it is continuous"
        return
    for value in values:
        try:
            canonical = parameters[parent].canonical(value)
        except SpecError as error:
            yield f"{path}.{parent}: {error}"
            continue
        if not same(canonical, value):
            yield (
                f"{path}.{parent}: must be a value that {parent} can take, got {shown(value)}; "
                f"nearest: {shown(canonical)}"
            )
