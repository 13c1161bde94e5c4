"""What is to go wrong, and when: the same seed and the same faults give the same schedule."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

#: Where a run is, in its order. Most of its time is the search.
STEPS = {"search": 4, "final": 2, "gate": 1, "approve": 1, "deploy": 1}
#: In a round, which is a night of every experiment.
PER_ROUND = 5
_LONGEST_PAUSE_S = 3.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come: in a round, once a run is at a step, and so many seconds later.

    `draw`, from 0 to 1, decides on whom it falls and how long it lasts.
    """

    place: str
    round: int
    step: str
    pause_s: float
    fault: str
    draw: float

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Planned:
        return cls(**{name: plain[name] for name in cls.__slots__})


def planned(seed: int, place: str, faults: Mapping[str, Sequence[str]]) -> Iterator[list[Planned]]:
    """Give the faults of each round, for ever, in the order of their steps.

    `faults` says at which steps each may happen. Every one of them has happened before one of them
    happens again.
    """
    chance = random.Random(f"{seed} {place}")
    bag = _in_turn(chance, sorted(faults))
    for number in count(1):
        names = [next(bag) for _ in range(PER_ROUND)]
        drawn = [_one(chance, place, number, name, faults[name]) for name in names]
        yield sorted(drawn, key=lambda one: list(STEPS).index(one.step))


def _in_turn(chance: random.Random, names: Sequence[str]) -> Iterator[str]:
    while True:
        yield from chance.sample(names, len(names))


def _one(
    chance: random.Random, place: str, number: int, name: str, steps: Sequence[str]
) -> Planned:
    (step,) = chance.choices(steps, [STEPS[one] for one in steps])
    pause_s = round(chance.uniform(0, _LONGEST_PAUSE_S), 2)
    return Planned(place, number, step, pause_s, name, round(chance.random(), 4))


def replayed(lines: Sequence[str], place: str) -> Iterator[list[Planned]]:
    """Give the rounds of a place as a log holds them, and then no more."""
    events = (json.loads(line) for line in lines)
    found = [Planned.read(event["planned"]) for event in events if "planned" in event]
    here = [one for one in found if one.place == place]
    for number in sorted({one.round for one in here}):
        yield [one for one in here if one.round == number]
