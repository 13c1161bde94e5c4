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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Protocol

from pydantic import Field

from hpo_lib.core import lists, plain
from hpo_lib.core.choices import CategoricalParameter, OrdinalParameter
from hpo_lib.core.lists import ListParameter
from hpo_lib.core.ranges import FloatParameter, IntParameter
from hpo_lib.core.trial import Params, Value
from hpo_lib.core.values import same, told_apart
from hpo_lib.errors import SpecError, joined
from hpo_lib.validation import Strict, parse, shown

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
MAX_PARAMETERS = 200
#: A grid has so many branches at most, and so many conditions are looked at to find them.
_MAX_BRANCHES, _MAX_LOOKS = 50_000, 200_000
#: Further problems are not reported.
_MOST_PROBLEMS = 100

Parameter = Annotated[
    FloatParameter | IntParameter | CategoricalParameter | OrdinalParameter | ListParameter,
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
    """A validated search space; parameters are ordered so that conditions look backwards.

    A list of blocks has become ordinary parameters, `blocks.length` and `blocks.1.filters`.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Take parameter models by name; SpecError names all that does not fit together."""
        ordinary = lists.flattened(parameters)
        wrong = itertools.chain(
            bad_names("space", parameters), _miscounted(ordinary), _bad_conditions(ordinary)
        )
        if found := list(itertools.islice(wrong, _MOST_PROBLEMS)):
            raise SpecError(joined(found))
        self.parameters: dict[str, Any] = _in_order_of_conditions(ordinary)
        self.lists = {n: p for n, p in parameters.items() if isinstance(p, ListParameter)}

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

    def flat(self, params: Params) -> dict[str, Value]:
        """Write each list of blocks as the values of ordinary parameters."""
        return lists.flat(self.lists, params)

    def nested(self, params: Params) -> dict[str, Value]:
        """Write each list of blocks in one piece, as programs have it."""
        return lists.nested(self.lists, params) if self.lists else dict(params)

    def problems(self, params: Params, result: dict[str, Value]) -> Iterator[str]:
        """Yield what is missing, unknown or illegal; legal values go into `result`."""
        params = self.flat(params)
        for name in params:
            if name in self.lists:
                yield f"{name}: must be a list of mappings, got {shown(params[name])}"
            elif name not in self.parameters:
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


def _miscounted(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield that there are too few or too many parameters, and each name that is not allowed."""
    if not parameters:
        yield "space: must hold at least one parameter, got none"
    if len(parameters) > MAX_PARAMETERS:
        yield f"space: must hold at most {MAX_PARAMETERS} parameters, got {len(parameters)}"


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
