"""What the history says, as arrays for a model; the order of its trials does not matter.

n trials told, d parameters, k objectives, c constraints
places     (n, d) in [0, 1]
losses     (n, k) lower is better; a failed trial has the worst of each
excesses   (n, c) at most 0 where a constraint is kept; finite
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import key
from hpo_lib.core.trial import Earlier, History, Trial, TrialState
from hpo_lib.samplers.surrogate.cube import Cube

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: A model is exact up to so many trials; of more it is told the best and a fair share of the rest.
MOST = 500
_MOST_ADVICE, _MOST_EXCESS = 150, 1e150


@dataclass(frozen=True)
class Alike:
    """Losses that are not this run's at full resource but may be alike: places, losses (m,)."""

    places: Array
    losses: Array
    weight: float


@dataclass(frozen=True)
class Evidence:
    """What is known; `sources` are lower rungs and earlier runs."""

    places: Array
    losses: Array
    excesses: Array
    sources: Sequence[Alike]


def known(history: History, goal: Goal) -> bool:
    """Say whether two different values are known: the least that a model needs."""
    return len(set(_told(history, goal).values())) > 1


def gather(history: History, goal: Goal, cube: Cube) -> Evidence:
    """Collect what a model is told."""
    import numpy as np

    losses_of = _told(history, goal)
    trials = {t.number: t for t in history.trials if t.state is not TrialState.RUNNING}
    trials |= {t.number: t for t in history.trials if t.number in losses_of}
    told = sorted(trials.values(), key=_own_place)
    n_losses = len(next(iter(losses_of.values())))
    losses = np.full((len(told), n_losses), np.nan)
    for row, trial in enumerate(told):
        losses[row] = losses_of.get(trial.number, np.nan)
    losses = np.where(np.isnan(losses), np.nanmax(losses, axis=0), losses)
    excesses = np.array([goal.excesses(trial) for trial in told], dtype=float)
    excesses = excesses.reshape(len(told), len(goal.constraints))
    kept = subset(_badness(losses), MOST)
    return Evidence(
        cube.places([told[row].params for row in kept]),
        losses[kept],
        _finite(excesses[kept]),
        [*_rungs(history, goal, cube, losses_of), *_earlier(history.earlier, goal, cube)],
    )


def subset(losses: Array, most: int) -> Any:
    """Choose rows: the best half and, evenly from the rest, another; all if they are few."""
    import numpy as np

    if len(losses) <= most:
        return np.arange(len(losses))
    order = np.argsort(losses, kind="stable")
    best, rest = order[: most // 2], np.sort(order[most // 2 :])
    spread = np.linspace(0, len(rest) - 1, most - len(best)).astype(int)
    return np.sort(np.concatenate([best, rest[spread]]))


def _told(history: History, goal: Goal) -> Mapping[int, tuple[float, ...]]:
    """Give losses by trial number: at full resource or, until two differ there, at a lower rung.

    The highest rung with two different values is taken (the rule of Falkner et al. 2018, BOHB).
    """
    full = {t.number: losses for t in history.trials if (losses := goal.losses(t)) is not None}
    if len(set(full.values())) > 1 or goal.several:
        return full
    for resource in sorted(_resources(history), reverse=True):
        found = _at(history.trials, resource, goal)
        if len(set(found.values())) > 1:
            return found
    return full


def _resources(history: History) -> set[float]:
    return {resource for trial in history.trials for resource in trial.rungs}


def _at(trials: Iterable[Trial], resource: float, goal: Goal) -> dict[int, tuple[float, ...]]:
    reached = (trial for trial in trials if resource in trial.rungs)
    return {trial.number: (goal.direction.loss(trial.rungs[resource]),) for trial in reached}


def _rungs(
    history: History, goal: Goal, cube: Cube, told: Mapping[int, tuple[float, ...]]
) -> Iterable[Alike]:
    """Give the rungs below the one that is told."""
    if goal.several:
        return
    for resource in sorted(_resources(history)):
        found = _at(history.trials, resource, goal)
        if found == told:
            return
        if len(set(found.values())) > 1:
            pairs = [(t, found[t.number][0]) for t in history.trials if t.number in found]
            yield _source(pairs, 1.0, cube)


def _earlier(runs: Sequence[Earlier], goal: Goal, cube: Cube) -> Iterable[Alike]:
    if goal.several:
        return
    for run in runs:
        pairs = [(trial, losses[0]) for trial in run.trials if (losses := goal.losses(trial))]
        if len({loss for _, loss in pairs}) > 1:
            yield _source(pairs, run.weight, cube)


def _source(pairs: Iterable[tuple[Trial, float]], weight: float, cube: Cube) -> Alike:
    import numpy as np

    pairs = sorted(pairs, key=lambda pair: _own_place(pair[0]))
    losses = np.array([loss for _, loss in pairs])
    kept = subset(losses, _MOST_ADVICE)
    return Alike(cube.places([pairs[row][0].params for row in kept]), losses[kept], weight)


def _own_place(trial: Trial) -> tuple[str, int]:
    """Sort trials by what they are, not when they came: an order as good as random."""
    return key(trial.params), trial.number


def _badness(losses: Array) -> Array:
    """Give one number per trial to choose by: the sum of its ranks."""
    import numpy as np

    ranks = [np.unique(column, return_inverse=True)[1] for column in losses.T]
    total: Array = np.sum(ranks, axis=0).astype(float)
    return total


def _finite(excesses: Array) -> Array:
    """Put the worst known excess of a constraint where it is not known; bound all of them."""
    import numpy as np

    held = np.clip(excesses, -_MOST_EXCESS, _MOST_EXCESS)
    worst = np.where(np.isfinite(excesses), held, -np.inf).max(axis=0, initial=0.0)
    return np.where(np.isposinf(excesses), np.where(worst > 0, worst, 1.0), held)
