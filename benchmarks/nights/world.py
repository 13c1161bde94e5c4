"""Worlds whose truth is known: what configurations are worth, and what final trials see of it.

A score is an accuracy on a hold-out. Whether a model gets an example right hangs on how difficult
the example is (shared by all), on the configuration and on the seed, so that the accuracy of a
configuration on fresh data is exactly its quality, and two models err on much the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from hpo_lib.evaluation.gate import Scores

METRIC = "accuracy"
#: The rule's min_improvement; gains and losses of worlds are multiples of it.
THRESHOLD = 0.01
NIGHTS = 30
_LEVEL = 0.85
_NEW, _REMEMBERED = 8, 4
#: Standard deviations: of a search's scores, of a model's quality by seed, of every night's data.
_SEARCH_NOISE, _SEED_NOISE, _COMMON = 0.008, 0.003, 0.01
#: Shares of the variance of what decides about an example; the rest is the seed's.
_DIFFICULTY, _CONFIGURATION = 0.75, 0.10
_ADVANCE, _SEARCH, _EXAMPLES, _MODEL = range(4)


@dataclass(frozen=True)
class World:
    """What happens in 30 nights; sizes are in thresholds.

    `head_start`: how far the first champion is below what a search can find. `jump`: the chance
    that what is known loses 1.5 to 5 in one night. `drift`: the standard deviation of what each
    configuration gains or loses for itself in a night.
    """

    name: str
    what: str
    head_start: float = 0.0
    jump: float = 0.0
    drift: float = 0.0
    keeps_holdout: bool = False


WORLDS = [
    World("nothing better", "the first champion is the best there is"),
    World("a little better", "there are improvements below the threshold", head_start=0.8),
    World("jumps", "at times all that is known loses 1.5 to 5 thresholds", jump=0.15),
    World("drift", "each configuration's worth walks, and sometimes jumps", jump=0.05, drift=0.3),
    World(
        "one hold-out", "as jumps, on the same hold-out every night", jump=0.15, keeps_holdout=True
    ),
]


@dataclass(frozen=True)
class Final:
    """How final trials are done: seeds, examples in the hold-out, whether their scores are left."""

    seeds: int = 5
    examples: int = 5_000
    detailed: bool = True


@dataclass
class Truth:
    """What is true in one world, night by night; the same seed gives the same nights."""

    world: World
    seed: int
    night: int = 0
    shift: float = 0.0
    qualities: dict[int, float] = field(default_factory=dict)
    found: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with a champion, configuration 0."""
        self.qualities[0] = _LEVEL - self.world.head_start * THRESHOLD

    def quality(self, configuration: int) -> float:
        """Give the accuracy on fresh data that a configuration would have tonight."""
        return float(np.clip(self.qualities[configuration] + self.shift, 0.55, 0.97))

    def advance(self) -> None:
        """Let a night come."""
        self.night += 1
        draw = self._draw(_ADVANCE)
        self.shift = draw.normal(0, _COMMON)
        jumps = draw.random() < self.world.jump
        lost = draw.uniform(1.5, 5) * THRESHOLD if jumps else 0.0
        for configuration in self.qualities:
            own = draw.normal(0, self.world.drift * THRESHOLD) if self.world.drift else 0.0
            self.qualities[configuration] += own - lost

    def search(self, champion: int) -> int:
        """Give the winner of a noisy search, which starts with the winners of the last nights."""
        draw = self._draw(_SEARCH)
        remembered = [one for one in self.found[-_REMEMBERED:] if one != champion]
        new = [len(self.qualities) + n for n in range(_NEW)]
        for one in new:
            self.qualities[one] = _LEVEL - abs(draw.normal(0, THRESHOLD))
        tried = [*remembered, *new]
        seen = [self.qualities[one] + draw.normal(0, _SEARCH_NOISE) for one in tried]
        winner = tried[int(np.argmax(seen))]
        self.found = [one for one in self.found if one != winner] + [winner]
        return winner

    def shows(self, configuration: int, final: Final) -> Shown:
        """Give what tonight's final trials of a configuration make and score."""
        key = Key(self.seed, self.night, 0 if self.world.keeps_holdout else self.night)
        return shown(key, configuration, self.quality(configuration), final)

    def _draw(self, *purpose: int) -> Any:
        return np.random.default_rng([self.seed, self.night, *purpose])


class Key(NamedTuple):
    """What chance is drawn from: the world's seed, the night, the night that made the hold-out."""

    seed: int
    night: int
    holdout: int


@dataclass(frozen=True)
class Shown:
    """The models that final trials make, by their accuracy on fresh data, and what they score."""

    models: Sequence[float]
    scores: Scores


def shown(key: Key, configuration: int, quality: float, final: Final) -> Shown:
    """Train a configuration with every seed and score it on the hold-out."""
    size = final.examples
    draw = np.random.default_rng([key.seed, key.night, _MODEL, configuration])
    models = quality + draw.normal(0, _SEED_NOISE, final.seeds)
    holdout = [key.seed, key.holdout, _EXAMPLES]
    ease = np.sqrt(_DIFFICULTY) * np.random.default_rng(holdout).normal(size=size)
    own = np.random.default_rng([*holdout, configuration + 1])
    ease += np.sqrt(_CONFIGURATION) * own.normal(size=size)
    noise = np.sqrt(1 - _DIFFICULTY - _CONFIGURATION) * draw.normal(size=(final.seeds, size))
    right = (ease + noise < ndtri(models)[:, None]).astype(float)
    metrics = [{METRIC: float(row.mean())} for row in right]
    examples: Any = {METRIC: list(right)} if final.detailed else {}
    return Shown(models.tolist(), Scores(metrics, examples))
