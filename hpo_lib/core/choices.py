"""Parameters whose values are listed: categorical and ordinal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from hpo_lib.core.conditions import Conditional
from hpo_lib.core.trial import Value
from hpo_lib.core.values import Told, is_number, own, share_of, told_apart
from hpo_lib.errors import SpecError
from hpo_lib.validation import Choice, Number, rule, shown

_MAX_CHOICES = 10_000
#: Of so many numbers one is between others.
_FEWEST = 3
_T = TypeVar("_T", bound=Value)


class Choices(Conditional):
    """What categorical and ordinal share: finitely many values, listed."""

    #: Each value has an equal share of [0, 1].
    even: ClassVar[bool] = True

    @property
    def unordered(self) -> bool:
        """Whether no value is between others."""
        return False

    @property
    def size(self: Any) -> int:
        """Number of values."""
        return len(self.choices)

    def at(self: Any, index: int) -> Any:
        """Give the value at an index of the grid."""
        return own(self._ordered[index])

    def index(self: Any, value: Value) -> int:
        """Give the index of a choice on the grid."""
        place: int = self._places[told_apart(value)]
        return place

    @cached_property
    def _places(self: Any) -> dict[Told, int]:
        return {told_apart(choice): index for index, choice in enumerate(self._ordered)}

    @property
    def _ordered(self: Any) -> Sequence[Any]:
        choices: Sequence[Any] = self.choices
        return choices

    def canonical(self: Any, value: Value) -> Any:
        """Give the choice that equals the value; SpecError if there is none."""
        try:
            return self.at(self.index(value))
        except (KeyError, TypeError, ValueError):  # what is no JSON
            listed = shown(list(self.choices))
            raise SpecError(f"must be one of {listed}, got {shown(value)}") from None

    def to_unit(self: Any, value: Value) -> float:
        """Map a choice to the middle of its share of [0, 1]."""
        return float((self.index(value) + 0.5) / len(self.choices))

    def from_unit(self: Any, unit: float) -> Any:
        """Map [0, 1] onto the choices, in equal shares."""
        return self.at(share_of(unit, len(self.choices)))


class CategoricalParameter(Choices):
    """One of several values: text, numbers, booleans, and lists and mappings of these.

    Three or more numbers, and nothing else, are in order whatever the order in which they are
    listed: samplers see them as they see an ordinal.
    """

    type: Literal["categorical"] = "categorical"
    choices: tuple[Choice, ...] = Field(strict=False)

    @cached_property
    def unordered(self) -> bool:
        """Whether no value is between others."""
        return len(self.choices) < _FEWEST or not all(map(is_number, self.choices))

    @cached_property
    def _ordered(self) -> Sequence[Any]:
        return self.choices if self.unordered else sorted(self.choices)

    @field_validator("choices")
    @classmethod
    def _check(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        return _distinct(choices)


class OrdinalParameter(Choices):
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


def _distinct(choices: tuple[_T, ...]) -> tuple[_T, ...]:
    if not choices:
        raise rule("choices must hold at least one value, got []")
    if len(choices) > _MAX_CHOICES:
        raise rule(f"choices must hold at most {_MAX_CHOICES} values, got {len(choices)}")
    first: dict[Told, Value] = {}
    for choice in choices:
        if (one := told_apart(choice)) in first:
            raise rule(f"choices must differ, got {shown([first[one], choice])}")
        first[one] = choice
    return choices
