"""Models with different views of the losses, which choose in turn: three processes, one forest.

What one of them misjudges another does not; what they disagree on gets explored. Within a batch
the ways to choose take turns too: expected improvement, confidence bounds of random width, and a
wide bound that explores. Every choice is believed by all before the next one.

    n trials told, c candidates, d parameters, f features; see `evidence` and `cube`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hpo_lib.core.space import key
from hpo_lib.core.trial import Params
from hpo_lib.samplers.surrogate import outputs
from hpo_lib.samplers.surrogate.cube import Cube
from hpo_lib.samplers.surrogate.evidence import Alike, Evidence, subset
from hpo_lib.samplers.surrogate.forest import Forest
from hpo_lib.samplers.surrogate.gaussian import Process

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: The processes: how each one sees the losses, and whether it warps its inputs.
_VIEWS = (("power", False), ("ranks", True), ("tired", False))
_FIT_ROWS, _FIT_STEPS, _REFIT_STEPS, _RETRY_STEPS = 100, 25, 8, 15
_EXHAUSTIVE = 2_000
_POOL, _PARENTS, _NEAR = 1_000, 4, 0.15
_WIDTHS, _KEPT, _CHILDREN = (0.12, 0.05, 0.02, 0.008), 3, 40
_WAYS, _IN_A_ROW = ("improvement", "bound", "explore"), 3
_KAPPA, _KAPPA_SPREAD, _KAPPA_EXPLORE, _URGE = 1.2, 0.5, 3.0, 1e3
#: How many observations the belief that a source is alike counts as.
_TRUST = 3.0


class Ensemble:
    """The processes, fitted to the evidence; `choose` gives a batch."""

    def __init__(self, cube: Cube, evidence: Evidence, rng: np.random.Generator) -> None:
        self._cube, self._rng = cube, rng
        self._places = evidence.places
        features = cube.features(evidence.places)
        advisers = [_Adviser(cube, source) for source in evidence.sources]
        self._members = _members(cube, features, evidence.losses, advisers, rng)
        self._limits = [_Limit(cube, features, column) for column in evidence.excesses.T]
        kept = (evidence.excesses <= 0).all(axis=1)
        for member in self._members:
            member.aim(features, kept)
        self._tried = cube.chosen(features).any(axis=0)

    def choose(self, count: int, pending: Sequence[Params], used: set[str]) -> list[Params]:
        """Give up to `count` configurations whose keys are not in `used`, and add their keys."""

        for place in self._cube.places(pending):
            self._believe(place)
        every = self._cube.every(_EXHAUSTIVE)
        pool = self._pool() if every is None else every
        self._watch(pool)
        turns = self._rng.permutation(len(self._members))
        first = int(self._rng.integers(len(_WAYS)))
        chosen: list[Params] = []
        for turn in range(count):
            member = self._members[turns[turn % len(turns)]]
            way = (turn // _IN_A_ROW if count > 1 else first) % len(_WAYS)
            kappa = math.exp(self._rng.normal(math.log(_KAPPA), _KAPPA_SPREAD))
            score = _Score(member, self._limits, _WAYS[way], kappa, self._untried)
            ranked = self._ranked(pool, score, refine=every is None)
            fresh = self._fresh(ranked, used)
            if fresh is None:
                break
            used.add(key(fresh))
            chosen.append(fresh)
            self._believe(self._cube.places([fresh])[0])
        return chosen

    def _ranked(self, pool: Array, score: _Score, *, refine: bool) -> Array:
        """Give places, the best first: the pool's, or those found by moving its best around."""
        import numpy as np

        order = np.argsort(-score.watched(self._watched), kind="stable")
        if not refine:
            return pool[order]
        best = pool[order[:_KEPT]]
        for width in _WIDTHS:
            moved = self._cube.around(np.repeat(best, _CHILDREN, axis=0), width, self._rng)
            places = np.vstack([best, moved])
            places = places[np.argsort(-score(self._cube.features(places)), kind="stable")]
            best = places[:_KEPT]
        return np.vstack([places, pool[order]])

    def _fresh(self, places: Array, used: set[str]) -> Params | None:
        for place in places:
            params = self._cube.params(place)
            if key(params) not in used:
                return params
        return None

    def _pool(self) -> Array:
        """Give random places, and some around those that each member thinks best."""
        import numpy as np

        parts = [self._cube.snap(self._rng.random((_POOL, len(self._cube))))]
        share = _POOL // (_PARENTS * len(self._members))
        for member in self._members:
            best = self._places[np.argsort(member.told, kind="stable")[:_PARENTS]]
            parts.append(self._cube.around(np.repeat(best, share, axis=0), _NEAR, self._rng))
        return np.vstack(parts)

    def _watch(self, places: Array) -> None:
        self._watched = self._cube.features(places)
        for member in self._members:
            member.watch(self._watched)
        for limit in self._limits:
            limit.process.watch(self._watched)

    def _untried(self, features: Array) -> Any:
        """Say which rows make a choice that no trial has made, (c,)."""
        return (self._cube.chosen(features) & ~self._tried).any(axis=1)

    def _believe(self, place: Array) -> None:
        feature = self._cube.features(place[None])[0]
        self._tried |= self._cube.chosen(feature)
        for member in self._members:
            member.model.believe(feature)
        for limit in self._limits:
            limit.process.believe(feature)


class _Member:
    """One model of what its advisers leave unexplained, `rest`, of one view of the losses, (n,)."""

    model: Process | Forest

    def __init__(self, features: Array, view: Array, advisers: Sequence[_Adviser]) -> None:
        self._advisers: list[tuple[float, _Adviser]] = []
        for adviser in advisers:
            said = adviser(features)
            agreed = float(said @ view) + _TRUST * adviser.weight
            share = max(agreed / (float(said @ said) + _TRUST), 0.0)
            self._advisers.append((share, adviser))
            view = view - share * said
        self.rest = view

    def aim(self, features: Array, kept: Any) -> None:
        """Take what there is to improve on: the best expectation among the `kept` told trials."""
        import numpy as np

        self.told = np.where(kept, 0.0, np.inf if kept.any() else 0.0) + self._mean(features)
        self.best = float(self.told.min()) if kept.any() else None

    def watch(self, features: Array) -> None:
        self._said = self._advice(features)
        self.model.watch(features)

    @property
    def watched(self) -> tuple[Array, Array]:
        mean, variance = self.model.watched
        return mean + self._said, variance

    def predict(self, features: Array) -> tuple[Array, Array]:
        mean, variance = self.model.predict(features)
        return mean + self._advice(features), variance

    def _mean(self, features: Array) -> Array:
        return self.model.mean(features) + self._advice(features)

    def _advice(self, features: Array) -> Array:
        import numpy as np

        return sum((share * a(features) for share, a in self._advisers), np.zeros(len(features)))


class _Adviser:
    """The mean of a process over other losses: standardised, so only their shape counts."""

    def __init__(self, cube: Cube, source: Alike) -> None:
        features = cube.features(source.places)
        losses = outputs.both(source.losses)
        self._process = Process(cube.layout, warp=False)
        self._process.fit(features, losses, (None, _FIT_STEPS))
        self._process.condition(features, losses)
        self.weight = source.weight

    def __call__(self, features: Array) -> Array:
        return self._process.mean(features)


class _Limit:
    """A process over how far a constraint is exceeded; gives the chance that it is kept."""

    def __init__(self, cube: Cube, features: Array, excesses: Array) -> None:
        import numpy as np

        sizes = np.abs(excesses)
        unit = np.median(sizes[sizes > 0]) if sizes.any() else 1.0
        scaled = np.arcsinh(excesses / max(unit, 1e-150))
        rows = subset(scaled, _FIT_ROWS)
        self.process = Process(cube.layout, warp=False)
        self.process.fit(features[rows], scaled[rows], (None, _FIT_STEPS))
        self.process.condition(features, scaled)

    def watched(self) -> Array:
        """Give the logarithm of the chance at what is watched."""
        return _log_chance(*self.process.watched)

    def __call__(self, features: Array) -> Array:
        return _log_chance(*self.process.predict(features))


class _Score:
    """How much a place is wanted, higher is better; while nothing keeps the limits, they alone.

    Exploring begins with choices that no trial has made: after a few that made no difference, a
    process takes it that none does.
    """

    def __init__(
        self,
        member: _Member,
        limits: Sequence[_Limit],
        way: str,
        kappa: float,
        untried: Callable[[Array], Any],
    ) -> None:
        self._member, self._limits = member, limits
        self._way, self._kappa = way, _KAPPA_EXPLORE if way == "explore" else kappa
        self._untried = untried

    def watched(self, features: Array) -> Any:
        """Score what is watched, which has these features."""
        chances = sum(limit.watched() for limit in self._limits)
        return self._wanted(*self._member.watched) + chances + self._urge(features)

    def __call__(self, features: Array) -> Any:
        chances = sum(limit(features) for limit in self._limits)
        return self._wanted(*self._member.predict(features)) + chances + self._urge(features)

    def _wanted(self, mean: Array, variance: Array) -> Array:
        import numpy as np

        best = self._member.best
        if best is None:
            return np.zeros(len(mean))
        if self._way == "improvement":
            return _log_improvement(mean, variance, best)
        return self._kappa * np.sqrt(variance) - mean

    def _urge(self, features: Array) -> Any:
        return _URGE * self._untried(features) if self._way == "explore" else 0.0


def _members(
    cube: Cube,
    features: Array,
    losses: Array,
    advisers: Sequence[_Adviser],
    rng: np.random.Generator,
) -> list[_Member]:
    members: list[_Member] = []
    first: tuple[Array | None, int] = (None, _FIT_STEPS)
    for kind, warp in _VIEWS:
        process = Process(cube.layout, warp=warp)
        member = _Member(features, _view(kind, losses, rng), advisers)
        rows = subset(member.rest, _FIT_ROWS)
        retry = (process.drawn(rng), _RETRY_STEPS)
        process.fit(features[rows], member.rest[rows], first, retry)
        process.condition(features, member.rest)
        if not members:
            first = (process.theta[: len(cube) + 2], _REFIT_STEPS)
        member.model = process
        members.append(member)
    member = _Member(features, _view("tired", losses, rng), advisers)
    member.model = Forest(features, member.rest, int(rng.integers(2**31)))
    return [*members, member]


def _view(kind: str, losses: Array, rng: np.random.Generator) -> Array:
    """Give one number per trial: of several losses a Chebyshev mix with random weights.

    After ParEGO (Knowles 2006), over ranks rather than values.
    """
    import numpy as np

    one = losses[:, 0]
    if losses.shape[1] > 1:
        quantiles = [np.unique(c, return_inverse=True)[1] / max(len(c) - 1, 1) for c in losses.T]
        mixed = np.array(quantiles).T * rng.dirichlet(np.ones(losses.shape[1]))
        one = mixed.max(axis=1) + 0.05 * mixed.sum(axis=1)
    if kind == "power":
        return outputs.power(one)
    if kind == "ranks":
        return outputs.ranks(one)
    return outputs.tired(one)


def _log_improvement(mean: Array, variance: Array, best: float) -> Array:
    """Give the logarithm of the expected improvement, also where that is no longer a number."""
    import numpy as np
    from scipy.special import log_ndtr, ndtr

    deviation = np.sqrt(variance)
    z = (best - mean) / deviation
    bell = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    near = np.log(np.maximum(bell + z * ndtr(z), 1e-300))
    far: Array = log_ndtr(np.minimum(z, -1.0)) - np.log(np.maximum(-z, 1.0))
    improvement: Array = np.where(z > -6, near, far) + np.log(deviation)
    return improvement


def _log_chance(mean: Array, variance: Array) -> Array:
    import numpy as np
    from scipy.special import log_ndtr

    chance: Array = log_ndtr(-mean / np.sqrt(variance))
    return chance
