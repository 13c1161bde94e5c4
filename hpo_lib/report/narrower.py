"""A narrower search space for a run that follows: what the best trials used, with some room.

A range becomes the one that the best tenth of the trials spans on its own scale, a sixth wider on
each side; a choice goes that was tried and that none of them used. What would not load is left as
it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hpo_lib.core.trial import Params, Value
from hpo_lib.core.values import is_number, told_apart
from hpo_lib.errors import SpecError
from hpo_lib.report.facts import Facts
from hpo_lib.spec import load
from hpo_lib.spec.yaml_core import dumped
from hpo_lib.words import number

#: The best tenth, but not fewer; with fewer trials in all than the last there is no telling.
_SHARE, _FEWEST, _NEEDED = 0.1, 5, 12
#: Room on each side, as a share of what the best span; a range shrinks by a fifth or not at all.
_ROOM, _WORTH = 1 / 6, 0.8
#: So many of the best have to have a parameter; a choice goes if it was tried so often.
_ENOUGH, _TRIED = 4, 3
#: A value so near to the end of its range, as a share of it, lies at its edge.
_EDGE = 0.02


@dataclass(frozen=True, slots=True)
class Range:
    """A parameter's range on its own scale, where places lie between 0 and 1."""

    name: str
    low: float
    high: float
    scale: str = "linear"

    @classmethod
    def of(cls, facts: Facts, name: str) -> Range | None:
        """Read it from the spec; None for choices, and where the ends are not known."""
        said = facts.dimension(name)
        if len(said.ends) != 2 or not said.ends[0] < said.ends[1] or said.choices:
            return None
        return cls(name, said.ends[0], said.ends[1], said.scale)

    def place(self, value: float) -> float:
        """Give where a value lies, 0 at the lower end and 1 at the upper one."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low)

    def value(self, place: float) -> float:
        """Give the value at a place."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        at = low + place * (high - low)
        if self.scale == "log":
            return math.exp(at)
        return 1 - math.exp(-at) if self.scale == "reverse_log" else at

    def _scaled(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        return -math.log(1 - value) if self.scale == "reverse_log" else value


def good(facts: Facts) -> Sequence[Params]:
    """Give the configurations of the best tenth that keep the constraints; none of too few."""
    if len(facts.complete) < _NEEDED:
        return []
    feasible = [v for v in facts.ranked if v.trial.number not in facts.infeasible]
    most = max(_FEWEST, round(_SHARE * len(facts.complete)))
    return [view.trial.params for view in feasible[:most]]


def at_an_edge(facts: Facts) -> Iterator[tuple[Range, str, float]]:
    """Give the ranges at whose `lower` or `upper` end the best trial lies, and its value there."""
    if not facts.front:
        return
    for name, value in facts.front[0].trial.params.items():
        found = Range.of(facts, name)
        if found is None or not is_number(value):
            continue
        place = found.place(float(value))
        if place <= _EDGE or place >= 1 - _EDGE:
            yield found, "lower" if place <= _EDGE else "upper", float(value)


@dataclass(frozen=True, slots=True)
class Narrower:
    """A space as a spec has it, and what was changed, in words by parameter."""

    space: Mapping[str, Any]
    changes: Mapping[str, str]

    @property
    def yaml(self) -> str:
        """Write the section of a spec."""
        return dumped({"space": dict(self.space)}, width=100)


def narrower(facts: Facts) -> Narrower | None:
    """Propose a space; None if there is nothing to narrow, or the spec cannot be read."""
    best = good(facts)
    if facts.spec is None or len(best) < 2:
        return None
    document = deepcopy(dict(facts.run.document))
    changes: dict[str, str] = {}
    for name, said in document["space"].items():
        before = dict(said)
        values = [params[name] for params in best if name in params]
        told = _narrowed(facts, name, said, values)
        if told is None:
            continue
        if _loads(document):
            changes[name] = told
        else:
            document["space"][name] = before
    return Narrower(document["space"], changes) if changes else None


def _loads(document: Mapping[str, Any]) -> bool:
    try:
        load(document)
    except SpecError:
        return False
    return True


def _narrowed(facts: Facts, name: str, said: Any, values: Sequence[Value]) -> str | None:
    """Change what a spec says of a parameter, and say how; None if it stays."""
    if len(values) < _ENOUGH:
        return None
    if said.get("choices"):
        return _fewer_choices(facts, name, said, values)
    found = Range.of(facts, name)
    numbers = [float(value) for value in values if is_number(value)]
    if found is None or said.get("distribution") not in (None, "uniform") or not numbers:
        return None
    places = [found.place(value) for value in numbers]
    room = _ROOM * (max(places) - min(places)) + _EDGE
    low, high = max(min(places) - room, 0.0), min(max(places) + room, 1.0)
    if high - low > _WORTH:
        return None
    ends = _rounded(found, said, found.value(low), found.value(high))
    if not found.low <= ends[0] < ends[1] <= found.high or ends == (found.low, found.high):
        return None
    said["low"], said["high"] = ends
    return f"{number(ends[0])} to {number(ends[1])}"


def _rounded(
    found: Range, said: Mapping[str, Any], low: float, high: float
) -> tuple[float, float] | tuple[int, int]:
    """Write ends short, on the parameter's grid, and not narrower than asked for."""
    whole, step = said.get("type") == "int", said.get("step")
    if whole or step:
        every = step or 1
        first = said["low"] + every * math.floor((low - found.low) / every + 1e-9)
        last = said["low"] + every * math.ceil((high - found.low) / every - 1e-9)
        last = min(last, said["high"])
        return (int(first), int(last)) if whole else (round(first, 12), round(last, 12))
    digits = max(2, 3 - math.floor(math.log10(max(high - low, 1e-300) / max(abs(high), 1e-300))))
    ends = float(f"{low:.{digits}g}"), float(f"{high:.{digits}g}")
    return max(ends[0], found.low), min(ends[1], found.high)


def _fewer_choices(
    facts: Facts, name: str, said: dict[str, Any], values: Sequence[Value]
) -> str | None:
    tried = [v.trial.params[name] for v in facts.complete if name in v.trial.params]
    often = [told_apart(value) for value in tried]
    used = {told_apart(value) for value in values}
    kept = [
        choice
        for choice in said["choices"]
        if told_apart(choice) in used or often.count(told_apart(choice)) < _TRIED
    ]
    if len(kept) == len(said["choices"]) or not kept:
        return None
    said["choices"] = kept
    return "only " + ", ".join(number(choice) for choice in kept)
