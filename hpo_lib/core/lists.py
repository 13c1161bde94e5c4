"""A list of blocks, each with its own parameters, as ordinary parameters and back.

    blocks: {type: list, length: {low: 1, high: 2}, of: {filters: …}}

makes the parameters `blocks.length`, `blocks.1.filters` and `blocks.2.filters`, of which the last
is active if the length is 2. Samplers, the store and reports know these; programs and people have
one list of mappings, `[{"filters": 8}, {"filters": 16}]`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from hpo_lib.core.choices import CategoricalParameter, OrdinalParameter
from hpo_lib.core.conditions import Conditional
from hpo_lib.core.ranges import FloatParameter, IntParameter
from hpo_lib.core.trial import Params, Value
from hpo_lib.validation import Strict, at_most, rule

MOST_BLOCKS, _MOST_OF_A_BLOCK = 50, 50

Element = Annotated[
    FloatParameter | IntParameter | CategoricalParameter | OrdinalParameter,
    Field(discriminator="type"),
]


class Length(Strict):
    """How many blocks there are."""

    low: int = Field(ge=0)
    high: int = Field(ge=1, le=MOST_BLOCKS)

    def problems(self, broken: Collection[str]) -> Iterator[str]:  # noqa: ARG002
        """Yield that the ends are in the wrong order."""
        if not self.low <= self.high:
            yield f"low must be <= high, got low={self.low}, high={self.high}"


class ListParameter(Conditional):
    """Blocks with the parameters `of` each; `when` there names parameters of the same block."""

    type: Literal["list"] = "list"
    length: Length
    of: Annotated[dict[str, Element], at_most(_MOST_OF_A_BLOCK)]

    @field_validator("of")
    @classmethod
    def _of_something(cls, of: dict[str, Any]) -> dict[str, Any]:
        if not of:
            raise rule("of must hold at least one parameter, got {}")
        return of

    def parts(self, name: str) -> Iterator[tuple[str, Any]]:
        """Yield the ordinary parameters of the list, by their names."""
        low, high = self.length.low, self.length.high
        counted: Any = CategoricalParameter(choices=(low,), when=self.when)
        if low < high:
            counted = IntParameter(low=low, high=high, when=self.when)
        yield length_of(name), counted
        for block in range(1, high + 1):
            there = {length_of(name): list(range(max(block, low), high + 1))}
            always = block <= low and self.when is None
            for own, parameter in self.of.items():
                inner = {
                    part_of(name, block, other): v for other, v in (parameter.when or {}).items()
                }
                when = inner if always else there | inner
                yield part_of(name, block, own), parameter.model_copy(update={"when": when or None})


def flattened(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give ordinary parameters in place of every list."""
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if isinstance(parameter, ListParameter):
            found.update(parameter.parts(name))
        else:
            found[name] = parameter
    return found


def flat(lists: Mapping[str, ListParameter], params: Params) -> dict[str, Value]:
    """Give the values of ordinary parameters, whichever way a list is written."""
    found: dict[str, Value] = {}
    for name, value in params.items():
        if name not in lists or not _is_blocks(value):
            found[name] = value
            continue
        blocks: Any = value
        found[length_of(name)] = len(blocks)
        for block, values in enumerate(blocks, 1):
            found |= {part_of(name, block, own): one for own, one in values.items()}
    return found


def nested(lists: Mapping[str, ListParameter], params: Params) -> dict[str, Value]:
    """Give the values as programs have them: each list in one piece."""
    lengths = {length_of(name): name for name in lists}
    inside = {
        part_of(name, block, own)
        for name, one in lists.items()
        for block in range(1, one.length.high + 1)
        for own in one.of
    }
    found: dict[str, Value] = {}
    for name, value in params.items():
        if name in lengths:
            found[lengths[name]] = _blocks(lists[lengths[name]], lengths[name], params)
        elif name not in inside:
            found[name] = value
    return found


def _blocks(parameter: ListParameter, name: str, params: Params) -> list[dict[str, Value]]:
    length: Any = params[length_of(name)]
    return [
        {own: params[at] for own in parameter.of if (at := part_of(name, block, own)) in params}
        for block in range(1, length + 1)
    ]


def _is_blocks(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)


def length_of(name: str) -> str:
    """Name the parameter that says how many blocks a list has."""
    return f"{name}.length"


def part_of(name: str, block: int, own: str) -> str:
    """Name a parameter of a block; the first is block 1."""
    return f"{name}.{block}.{own}"
