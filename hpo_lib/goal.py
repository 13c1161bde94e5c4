"""What a run is after: objectives, constraints, and what they make of its trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo_lib.constraint import Constraint
from hpo_lib.trial import Direction, Trial

_ONLY = "objective"


@dataclass(frozen=True, slots=True)
class Goal:
    """Metrics to improve, each with its direction, while the constraints hold.

    A trial's `value` is its value of the first objective; the others are in its `metrics`.
    """

    objectives: Sequence[tuple[str, Direction]]
    constraints: Sequence[Constraint] = ()

    @classmethod
    def of(cls, direction: Direction) -> Goal:
        """Make the goal of one objective and no constraint."""
        return cls(((_ONLY, direction),))

    @property
    def direction(self) -> Direction:
        """The direction of the first objective."""
        return self.objectives[0][1]

    @property
    def several(self) -> bool:
        """Whether there is more than one objective, so that a front stands for the best."""
        return len(self.objectives) > 1

    def losses(self, trial: Trial) -> tuple[float, ...] | None:
        """Give what to minimise, by objective; None for a trial that is not complete."""
        if trial.value is None:
            return None
        values = [trial.value, *(trial.metrics.get(name) for name, _ in self.objectives[1:])]
        directions = [direction for _, direction in self.objectives]
        known = [d.loss(v) for d, v in zip(directions, values, strict=True) if v is not None]
        return tuple(known) if len(known) == len(values) else None

    def excesses(self, trial: Trial) -> tuple[float, ...]:
        """Give by constraint how far a trial exceeds it: at most 0 where it is kept."""
        return tuple(constraint.excess(trial.metrics) for constraint in self.constraints)

    def feasible(self, trial: Trial) -> bool:
        """Say whether a trial keeps every constraint."""
        return all(excess <= 0 for excess in self.excesses(trial))

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """Give the feasible trial with the best first objective, the earliest of equals."""
        ranked = [(losses, trial) for losses, trial in self._ranked(trials)]
        return min(ranked, key=lambda pair: (pair[0][0], pair[1].number))[1] if ranked else None

    def front(self, trials: Iterable[Trial]) -> list[Trial]:
        """Give the feasible trials that none other dominates, by number.

        One dominates another if it is no worse in any objective and better in one; of equals the
        earliest stays.
        """
        ranked = sorted(self._ranked(trials), key=lambda pair: (pair[0], pair[1].number))
        kept: list[tuple[tuple[float, ...], Trial]] = []
        for losses, trial in ranked:
            if not any(all(a <= b for a, b in zip(best, losses, strict=True)) for best, _ in kept):
                kept.append((losses, trial))
        return sorted((trial for _, trial in kept), key=lambda trial: trial.number)

    def _ranked(self, trials: Iterable[Trial]) -> list[tuple[tuple[float, ...], Trial]]:
        pairs = [(self.losses(trial), trial) for trial in trials]
        return [(losses, t) for losses, t in pairs if losses is not None and self.feasible(t)]
