"""Samplers: what to try next. One file each, registered in `hpo_lib.registry`.

A sampler is one file, one row and one class of tests that inherits `SamplerContract`. One that
steps away from the best trial so far:

    class StepSettings(Strict):
        width: float = 0.1

    class StepSampler(Sampler):
        Settings = StepSettings

        def suggest(self, history, count):
            best = self.goal.best(history.trials)
            if best is None:
                first = len(history.trials)
                drawn = (random_params(self.space, self.seed, first + n) for n in range(count))
                return [Suggestion(params) for params in drawn]
            centre = self.space.to_unit(best.params)
            draw, width = draws(self.seed, len(history.trials)), self.settings.width
            return [
                Suggestion(self.space.from_unit([
                    min(max(x + draw.uniform(-width, width), 0.0), 1.0) for x in centre
                ]))
                for _ in range(count)
            ]
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar, Literal, Protocol

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import History, Params, Suggestion, Value
from hpo_lib.validation import Strict


class NoSettings(Strict):
    """The settings of a sampler that has none."""


class Sampler(Protocol):
    """Built anew for every call from what the spec says; all state is in the history.

    `Settings` is the model of the sampler's own keys in `sampler:`; __init__ raises SpecError for
    a space that the sampler cannot search or a goal that it cannot pursue.

    `reads` says what of a history it makes use of: `values` of complete trials, besides these
    `rungs` of others, or nothing but the `number` of trials and their parameters.
    """

    Settings: ClassVar[type[Strict]]
    reads: ClassVar[Literal["values", "rungs", "number"]] = "values"
    space: Space
    goal: Goal
    seed: int
    settings: Strict

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        self.space = space
        self.goal = goal
        self.seed = seed
        self.settings = settings

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Propose up to `count` canonical configurations; same history, same answer.

        Fewer mean that the sampler has no more. What repeats the history is replaced by the engine.
        """
        ...

    @property
    def blind(self) -> int | None:
        """How many of a run's first trials depend on no result; None if no trial does."""
        return None

    def configurations(self, initial: Sequence[Params]) -> int | None:  # noqa: ARG002
        """How many distinct configurations a run has that begins with `initial`; None: no end."""
        return self.space.size


def random_params(space: Space, *key: int) -> dict[str, Value]:
    """Draw one configuration, each parameter uniform on its scale, from a seed sequence."""
    import numpy as np

    return space.from_unit(np.random.default_rng(key).random(len(space)).tolist())


def sobol_params(space: Space, seed: int, first: int, count: int) -> list[dict[str, Value]]:
    """Give points `first` to `first + count - 1` (from 1) of a scrambled Sobol sequence."""
    from scipy.stats import qmc

    engine = qmc.Sobol(len(space), scramble=True, rng=seed)
    engine.fast_forward(first)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
        points = engine.random(count)
    return [space.from_unit(point) for point in points.tolist()]


def draws(*key: int) -> Random:
    """Make random numbers of several numbers; unlike numpy's, they may be of any size."""
    return Random(":".join(map(str, key)))  # noqa: S311 - nothing here is a secret


def shuffled(size: int, *key: int) -> Iterator[int]:
    """Give 0 .. size-1 in random order, lazily: a Fisher-Yates shuffle that holds only its swaps.

    Time and memory grow with what is taken, not with `size`.
    """
    draw = draws(*key)
    moved: dict[int, int] = {}
    for here in range(size):
        there = draw.randrange(here, size)
        yield moved.get(there, there)
        moved[there] = moved.pop(here, here)
