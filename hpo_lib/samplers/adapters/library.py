"""What the samplers share that are built on other people's libraries."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import History, Params, Suggestion, Trial, TrialState, Value
from hpo_lib.errors import SpecError, needs

_MOST_STEPS = 1_000
_ATTEMPTS = 5


class Scale(StrEnum):
    """How an axis is told: by the index of a value, or as a share of [0, 1].

    Shares are equally likely whatever the distribution, so that a normal one reaches every library.
    """

    CHOICES = "choices"
    STEPS = "steps"
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One parameter of several values, as other libraries know it."""

    name: str
    parameter: Any

    @property
    def scale(self) -> Scale:
        """Whether it is told by index: what has no order, and short evenly spaced ranges."""
        if self.parameter.unordered:
            return Scale.CHOICES
        return Scale.STEPS if self.short and self.parameter.even else Scale.SHARE

    @property
    def size(self) -> int | None:
        """Number of values; None if they are not countable."""
        size: int | None = self.parameter.size
        return size

    @property
    def short(self) -> bool:
        """Whether its values are few enough to be told apart."""
        return self.size is not None and self.size <= _MOST_STEPS

    @property
    def whole(self) -> bool:
        """Whether it is all whole numbers of a range on a log scale, which some libraries know."""
        parameter = self.parameter
        uneven = parameter.type == "int" and parameter.scale == "log" and not parameter.distribution
        return bool(uneven and parameter.step == 1)

    def told(self, value: Value) -> int | float:
        """Give the index or share that stands for a value."""
        if self.scale is Scale.SHARE:
            return float(self.parameter.to_unit(value))
        return int(self.parameter.index(value))

    def meant(self, told: float) -> Value:
        """Give the value that an index or share stands for; what is outside counts as the end."""
        value: Value
        if self.scale is Scale.SHARE:
            value = self.parameter.from_unit(min(max(float(told), 0.0), 1.0))
        else:
            value = self.parameter.at(min(max(round(float(told)), 0), self.parameter.size - 1))
        return value

    @property
    def middle(self) -> int | float:
        """What stands in for the value of a parameter that is inactive."""
        return 0.5 if self.scale is Scale.SHARE else self.parameter.size // 2


def axes(space: Space) -> list[Coordinate]:
    """List what there is to choose: the parameters with more than one value."""
    return [Coordinate(name, each) for name, each in space.parameters.items() if each.size != 1]


def configuration(space: Space, choose: Callable[[str], Value]) -> dict[str, Value]:
    """Put a configuration together, asking only for active parameters with several values."""
    params: dict[str, Value] = {}
    for name, parameter in space.parameters.items():
        if space.is_active(name, params):
            params[name] = parameter.at(0) if parameter.size == 1 else choose(name)
    return params


def sole(space: Space, count: int) -> list[Suggestion]:
    """Suggest the configuration of a space that leaves nothing to choose."""
    return [Suggestion(space.grid[0])] * count


def distinct(draw: Callable[[int, int], Params], history: History, count: int) -> list[Suggestion]:
    """Draw the trials that follow by number and attempt: again while one repeats another.

    After the last attempt a repetition is left to the engine.
    """
    used = {key(trial.params) for trial in history.trials}
    drawn: list[Suggestion] = []
    for number in range(len(history.trials) + 1, len(history.trials) + count + 1):
        for attempt in range(1, _ATTEMPTS + 1):
            params = draw(number, attempt)
            if key(params) not in used:
                break
        used.add(key(params))
        drawn.append(Suggestion(params))
    return drawn


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a finished trial teaches: losses by objective and excesses by constraint, in [-1, 1]."""

    losses: tuple[float, ...]
    excesses: tuple[float, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether it keeps every constraint."""
        return all(excess <= 0 for excess in self.excesses)


def finished(history: History) -> list[Trial]:
    """List the trials that are over, by number."""
    done = (trial for trial in history.trials if trial.state is not TrialState.RUNNING)
    return sorted(done, key=_number)


def running(history: History) -> list[Trial]:
    """List the trials under way, by number."""
    return sorted(history.of(TrialState.RUNNING), key=_number)


def lessons(history: History, goal: Goal) -> dict[int, Lesson]:
    """Give what each finished trial teaches, by its number; nothing if none is complete.

    A trial that failed has the worst loss of every objective and the worst excess. All are in
    units of the largest, so that no value is too large or too small for anyone's arithmetic.
    """
    losses: dict[int, Sequence[float]] = {}
    excesses: dict[int, Sequence[float]] = {}
    for trial in finished(history):
        if values := goal.losses(trial):
            losses[trial.number] = values
            excesses[trial.number] = goal.excesses(trial)
    if not losses:
        return {}
    losses, excesses = _in_units(losses), _in_units(excesses)
    worst = Lesson(
        tuple(max(column) for column in zip(*losses.values(), strict=True)),
        (1.0,) * len(goal.constraints),
    )
    return {
        trial.number: Lesson(tuple(losses[trial.number]), tuple(excesses[trial.number]))
        if trial.number in losses
        else worst
        for trial in finished(history)
    }


def without_constraints(taught: Mapping[int, Lesson]) -> dict[int, Lesson]:
    """Give what exceeds a constraint the worst losses, as if it had failed."""
    if not taught:
        return {}
    columns = zip(*(lesson.losses for lesson in taught.values()), strict=True)
    worst = Lesson(tuple(max(column) for column in columns))
    return {n: Lesson(each.losses) if each.feasible else worst for n, each in taught.items()}


def bent(losses: Mapping[int, float]) -> dict[int, float]:
    """Let no loss be more than five times as far above the median as the best is below it."""
    ordered = sorted(losses.values())
    low, middle, most = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    if middle > low:
        most = middle + 5 * (middle - low)
    return {number: min(loss, most) for number, loss in losses.items()}


def merit(trial: Trial, goal: Goal) -> tuple[int, float]:
    """Give what sorts finished trials, the best first; those that failed come last."""
    losses = goal.losses(trial)
    if losses is None:
        return (2, 0.0)
    if goal.feasible(trial):
        return (0, losses[0])
    return (1, math.fsum(min(excess, 1e300) for excess in goal.excesses(trial) if excess > 0))


def ranks(trials: Sequence[Trial], goal: Goal) -> dict[int, float]:
    """Give by number how many of these finished trials are better; equals share a rank."""
    merits = {trial.number: merit(trial, goal) for trial in trials}
    ordered = sorted(merits.values())
    places = {each: float(place) for place, each in reversed(list(enumerate(ordered)))}
    return {number: places[each] for number, each in merits.items()}


def one_objective(name: str, goal: Goal) -> None:
    """Refuse several objectives; SpecError names them."""
    if goal.several:
        metrics = ", ".join(metric for metric, _ in goal.objectives)
        count = len(goal.objectives)
        raise SpecError(f"sampler {name} takes one objective, got {count}: {metrics}")


def installed(name: str, *packages: str, extra: str) -> None:
    """Make sure that a sampler's packages are there; SpecError says how to get them."""
    for package in packages:
        if find_spec(package) is None:
            raise SpecError(f"sampler {name} {needs(package, extra)}")


def draw_seed(*key: int) -> int:
    """Make one seed below 2**32 of several numbers."""
    import numpy as np

    return int(np.random.SeedSequence(key).generate_state(1)[0])


@contextmanager
def quiet() -> Iterator[None]:
    """Let a library neither warn nor take more than one thread: faster here, and repeatable."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def silent_optuna() -> Iterator[Any]:
    """Let Optuna neither warn nor log, and give it; its verbosity is put back afterwards."""
    with quiet():
        import optuna

        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        try:
            yield optuna
        finally:
            optuna.logging.set_verbosity(before)


def _number(trial: Trial) -> int:
    return trial.number


def _in_units(rows: Mapping[int, Sequence[float]]) -> dict[int, Sequence[float]]:
    """Divide every column by its largest finite value; an infinite excess counts as that."""
    columns = list(zip(*rows.values(), strict=True))
    units = [max((abs(v) for v in c if math.isfinite(v)), default=0.0) or 1.0 for c in columns]
    return {
        number: [min(max(value / unit, -1.0), 1.0) for value, unit in zip(row, units, strict=True)]
        for number, row in rows.items()
    }
