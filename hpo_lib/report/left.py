"""What more trials may bring: the improvement that a model of the trials expects of the next one.

A Gaussian process of the losses (n,) over the unit cube, as the `bayesian` sampler has it; the
expected improvement (Jones, Schonlau, Welch 1998) of the most promising of some thousand places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo_lib.core.space import Space
from hpo_lib.core.trial import Trial
from hpo_lib.report.facts import Facts
from hpo_lib.report.learnable import is_legal, tamed
from hpo_lib.words import number, percent

#: Trials that the model is told, the best of them all; places that it is asked about.
_NEEDED, _TOLD, _BEST, _ASKED, _NEAR = 12, 150, 50, 1_500, 40
_STEPS = 30
#: An improvement below this share of what was gained over the median is not worth a trial.
_WORTH = 0.01


@dataclass(frozen=True, slots=True)
class Left:
    """What the next trial is expected to bring, in the metric's unit, and what all have brought."""

    metric: str
    expected: float
    gained: float
    since: int

    @property
    def share(self) -> float:
        """The expected improvement as a share of the best trial's lead over the median."""
        return self.expected / self.gained if self.gained else 0.0

    @property
    def told(self) -> str:
        """Say it, and whether more trials are worth it."""
        worth = "More trials are worth it" if self.share >= _WORTH else "More trials hardly pay"
        return (
            f"{worth}: by a model of the trials the next one, well chosen, is expected to improve "
            f"{self.metric} by {number(self.expected, 2)}, which is {percent(self.share)} of the "
            f"best trial's lead over the median ({number(self.gained, 3)}). The last "
            f"{self.since:,} trials improved nothing."
        )


def left(facts: Facts) -> Left | None:
    """Reckon it; None for several objectives, few trials, or a spec that cannot be read."""
    direction = facts.objective.direction
    if facts.spec is None or facts.several or direction is None or not facts.front:
        return None
    space = facts.spec.search_space
    known = [
        view.trial
        for view in facts.ranked
        if view.trial.number not in facts.infeasible and is_legal(space, view.trial)
    ]
    if len(known) < _NEEDED or not len(space):
        return None
    rest = known[_BEST:]
    kept = known[:_BEST] + rest[:: -(-len(rest) // (_TOLD - _BEST)) or 1]
    losses = [direction.loss(trial.value or 0.0) for trial in kept]
    middle = direction.loss(known[len(known) // 2].value or 0.0)
    later = [view for view in facts.complete if view.trial.number > known[0].number]
    return Left(facts.metric, _expected(space, kept, losses), middle - losses[0], len(later))


def _expected(space: Space, trials: Sequence[Trial], losses: Sequence[float]) -> float:
    import numpy as np

    from hpo_lib.core.normal import improvement
    from hpo_lib.samplers.surrogate.cube import Cube
    from hpo_lib.samplers.surrogate.gaussian import Process
    from hpo_lib.samplers.surrogate.outputs import standard

    values = tamed(losses)
    rng, cube = np.random.default_rng(len(trials)), Cube(space)
    places = cube.places([trial.params for trial in trials])
    features = cube.features(places)
    process, view = Process(cube.layout, warp=False), standard(values)
    process.fit(features, view, (None, _STEPS))
    process.condition(features, view)
    near = cube.around(np.repeat(places[:5], _NEAR, axis=0), 0.05, rng)
    asked = np.vstack([cube.snap(rng.random((_ASKED, len(cube)))), near])
    mean, variance = process.predict(cube.features(asked))
    best = float(process.mean(features).min())
    found = improvement(mean, np.sqrt(np.maximum(variance, 1e-12)), best)
    return float(found.max() * values.std())
