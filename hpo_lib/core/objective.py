"""What a run is after, and so which trial is best: objectives, and constraints on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.trial import Direction, Trial

_UNNAMED = "objective"


@dataclass(frozen=True, slots=True)
class Goal:
    """Metrics to improve, each with its direction, while the constraints hold.

    A trial's `value` is its value of the first objective; the others are in its `metrics`.
    """

    objectives: Sequence[tuple[str, Direction]]
    constraints: Sequence[Constraint] = ()

    @classmethod
    def of(cls, *directions: Direction, constraints: Sequence[Constraint] = ()) -> Goal:
        """Make the goal of objectives without names: `objective`, `objective_2` and so on."""
        names = [_UNNAMED, *(f"{_UNNAMED}_{n}" for n in range(2, len(directions) + 1))]
        return cls(tuple(zip(names, directions, strict=True)), tuple(constraints))

    @property
    def direction(self) -> Direction:
        """The direction of the first objective."""
        return self.objectives[0][1]

    @property
    def several(self) -> bool:
        """Whether there is more than one objective, so that a front stands for the best."""
        return len(self.objectives) > 1

    @property
    def metrics(self) -> list[str]:
        """The metrics that every complete trial has: the objectives', then the constraints'."""
        named = [name for constraint in self.constraints for name in sorted(constraint.metrics)]
        return list(dict.fromkeys([*(name for name, _ in self.objectives), *named]))

    def values(self, trial: Trial) -> tuple[float, ...] | None:
        """Give a complete trial's values, by objective; None if one is absent or not finite."""
        others = (trial.metrics.get(name) for name, _ in self.objectives[1:])
        found = [value for value in (trial.value, *others) if value is not None]
        whole = len(found) == len(self.objectives) and all(map(math.isfinite, found))
        return tuple(found) if whole else None

    def losses(self, trial: Trial) -> tuple[float, ...] | None:
        """Give what to minimise, by objective; None for a trial that is not complete."""
        values = self.values(trial)
        if values is None:
            return None
        return tuple(d.loss(v) for (_, d), v in zip(self.objectives, values, strict=True))

    def excesses(self, trial: Trial) -> tuple[float, ...]:
        """Give by constraint how far a trial exceeds it: at most 0 where it is kept."""
        return tuple(constraint.excess(trial.metrics) for constraint in self.constraints)

    def feasible(self, trial: Trial) -> bool:
        """Say whether a trial keeps every constraint."""
        return all(excess <= 0 for excess in self.excesses(trial))

    def broken(self, metrics: Mapping[str, float]) -> list[str]:
        """Say for each constraint that is not kept by how much."""
        said = (constraint.broken(metrics) for constraint in self.constraints)
        return [sentence for sentence in said if sentence is not None]

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """Give the feasible trial with the best first objective, the earliest of equals."""
        found = self._feasible(trials)
        return min(found, key=lambda pair: (pair[0][0], pair[1].number))[1] if found else None

    def front(self, trials: Iterable[Trial]) -> list[Trial]:
        """Give the feasible trials that no other dominates (the Pareto front), by number.

        A trial dominates another if it is no worse in any objective and better in one; of equals
        the earliest stays.
        """
        ranked = sorted(self._feasible(trials), key=lambda pair: (pair[0], pair[1].number))
        kept: list[Trial] = []
        edge: list[tuple[float, ...]] = []
        for (_, *others), trial in ranked:  # In this order the first loss never gets better.
            rest = tuple(others)
            if not any(_no_worse(best, rest) for best in edge):
                edge = [best for best in edge if not _no_worse(rest, best)] + [rest]
                kept.append(trial)
        return sorted(kept, key=lambda trial: trial.number)

    def ranked(self, trials: Iterable[Trial]) -> list[Trial]:
        """List the complete trials: the feasible by the first objective, then the others.

        The others go by the sum of their excesses, each as a share of the largest one among the
        trials, so that the nearest to being feasible comes first whatever the units are; a
        constraint that has no finite value is further away than any other.
        """
        complete = [(losses[0], t) for t in trials if (losses := self.losses(t)) is not None]
        away = _distances([self.excesses(trial) for _, trial in complete])
        rows = zip(away, complete, strict=True)
        order = sorted(rows, key=lambda row: (row[0], row[1][0], row[1][1].number))
        return [trial for _, (_, trial) in order]

    def _feasible(self, trials: Iterable[Trial]) -> list[tuple[tuple[float, ...], Trial]]:
        pairs = [(self.losses(trial), trial) for trial in trials]
        return [(losses, t) for losses, t in pairs if losses is not None and self.feasible(t)]


def _no_worse(losses: Sequence[float], than: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(losses, than, strict=True))


def _distances(rows: Sequence[Sequence[float]]) -> list[tuple[int, float]]:
    """Per row, count what is not finite and sum the rest as shares of their columns' most."""
    over = [[max(excess, 0.0) for excess in row] for row in rows]
    columns = zip(*over, strict=True)
    units = [max(filter(math.isfinite, column), default=0.0) or 1.0 for column in columns]
    return [_distance(row, units) for row in over]


def _distance(row: Sequence[float], units: Sequence[float]) -> tuple[int, float]:
    known = [x / unit for x, unit in zip(row, units, strict=True) if math.isfinite(x)]
    return len(row) - len(known), math.fsum(known)
