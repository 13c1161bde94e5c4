"""How much each parameter mattered, by several methods, each with how much it can be trusted.

fANOVA (Hutter, Hoos, Leyton-Brown 2014): the share of a forest's variance over the whole space that
a parameter explains by itself. PED-ANOVA (Watanabe, Bansal, Hutter 2023): how far the best trials'
values lie from all trials' values. Both are Optuna's, and left out without it. Mean decrease in
impurity: how much of the variance of the trials themselves a forest's splits on it take away.
They ask different questions and seldom agree, so none is shown alone.

n trials, d parameters: places (n, d) in the unit cube, losses (n,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hpo_lib.core.space import Space
from hpo_lib.core.trial import Direction, Trial
from hpo_lib.records import RunView
from hpo_lib.report.at_rungs import ENOUGH, telling
from hpo_lib.report.facts import Facts
from hpo_lib.report.learnable import is_legal, tamed
from hpo_lib.report.markup import clean
from hpo_lib.samplers.adapters.library import silent_optuna
from hpo_lib.samplers.surrogate.cube import Cube
from hpo_lib.words import percent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Trials that are looked at, evenly over the run; parameters; objectives.
MOST, _MAX_PARAMETERS, _MAX_OBJECTIVES = 120, 40, 3
#: How often trials are drawn again, with replacement, and trees of a forest.
ROUNDS, _TREES = 8, 8
#: Of so many of the best trials PED-ANOVA has enough.
_BEST, _BEST_SHARE = 8, 0.1


@dataclass(frozen=True, slots=True)
class Method:
    """What a method has found: shares of 1 by parameter, their least and greatest on resampling.

    `first` says in how many of the `ROUNDS` resamplings its first parameter came first, too.
    """

    name: str
    share: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    first: int


@dataclass(frozen=True, slots=True)
class Importance:
    """What the methods have found for an objective; `parameters` by the mean of their shares."""

    metric: str
    trials: int
    parameters: Sequence[str]
    methods: Sequence[Method]
    conditional: frozenset[str] = frozenset()

    @property
    def agreed(self) -> bool:
        """Whether all methods name the same parameter first."""
        return len({self.first_of(method) for method in self.methods}) == 1

    def first_of(self, method: Method) -> str:
        """Name the parameter that a method puts first."""
        return self.parameters[max(range(len(method.share)), key=lambda at: method.share[at])]

    @property
    def said(self) -> str:
        """Say which parameter mattered most, how sure that is, and where the methods differ."""
        firsts = [self.first_of(method) for method in self.methods]
        stable = " and ".join(f"{m.first} ({m.name})" for m in self.methods)
        sure = f"On trials drawn again it came first in {stable} of {ROUNDS} cases."
        if self.agreed:
            shares = ", ".join(f"{percent(max(m.share))} by {m.name}" for m in self.methods)
            return f"{firsts[0]} mattered most for {self.metric}: {shares}. {sure}"
        named = "; ".join(f"{m.name} {one}" for m, one in zip(self.methods, firsts, strict=True))
        return (
            f"The methods differ on what mattered most for {self.metric}: {named}. {_WHY}"
            f"{self._branches(firsts)} {sure.replace('it came', 'their firsts came')}"
        )

    def _branches(self, firsts: Sequence[str]) -> str:
        found = sorted(set(firsts) & self.conditional)
        if not found:
            return ""
        return (
            f" {found[0]} counts on one branch of the space only, which they average differently."
        )

    def dump(self, parameters: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
        """Give it for the document of charts, by the places of its lists."""
        kept = [at for at, name in enumerate(self.parameters) if name in parameters]

        def columns(method: Method) -> dict[str, Any]:
            found = asdict(method)
            for name in ("share", "low", "high"):
                found[name] = [round(float(found[name][at]), 3) for at in kept]
            return found

        return {
            "metric": metrics.index(self.metric),
            "trials": self.trials,
            "parameters": [parameters.index(self.parameters[at]) for at in kept],
            "methods": [columns(method) for method in self.methods],
            "said": clean(self.said),
        }


_WHY = (
    "fANOVA asks what explains the spread over the whole space, PED-ANOVA what sets the best "
    "trials apart, mean decrease in impurity what explains the trials as they were chosen."
)


def importance_of(view: RunView) -> list[Importance]:
    """Reckon it for the first objectives; nothing of fewer than ten complete trials.

    Where fewer are complete and a scheduler has stopped others, it is about the value at the
    highest rung that ten have reached. It takes seconds of CPU, whatever the number of trials.
    """
    facts = Facts.of(view)
    space = facts.spec.search_space if facts.spec else None
    if space is None or not 0 < len(space) <= _MAX_PARAMETERS:
        return []
    found = []
    for name, direction, known in _judgeable(facts):
        if len(known) < ENOUGH or direction is None or _flat(known):
            continue
        kept = [one for one in known[:: -(-len(known) // MOST)] if is_legal(space, one[0])]
        if len(kept) < ENOUGH:
            continue
        losses = [direction.loss(value) for _, value in kept]
        if one := _judged(name, space, [trial for trial, _ in kept], losses, len(known)):
            found.append(one)
    return found


_Known = list[tuple[Trial, float]]


def _judgeable(facts: Facts) -> Iterator[tuple[str, Direction | None, _Known]]:
    """Yield metrics with the trials that have one: objectives, or the first one at a rung."""
    if rung := telling(facts):
        trials = [view.trial for view in facts.trials if view.trial.number in rung.values]
        known = [(trial, rung.values[trial.number]) for trial in trials]
        yield rung.name, facts.objective.direction, known
        return
    for objective in facts.objectives[:_MAX_OBJECTIVES]:
        pairs = [(view.trial, facts.value(view, objective)) for view in facts.complete]
        whole = [(trial, value) for trial, value in pairs if value is not None]
        yield objective.metric, objective.direction, whole


def _flat(known: Sequence[tuple[Trial, float]]) -> bool:
    return len({value for _, value in known}) == 1


def _judged(
    metric: str, space: Space, trials: Sequence[Trial], losses: Sequence[float], of: int
) -> Importance | None:
    """Ask each method, of all trials and of trials drawn again; leave out what finds nothing."""
    import numpy as np

    cube, values = Cube(space), tamed(losses)
    places = cube.places([trial.params for trial in trials])
    names = list(space.parameters)
    active = np.array([[name in trial.params for name in names] for trial in trials])
    rng = np.random.default_rng([len(trials), len(names)])
    drawn = [rng.integers(0, len(trials), len(trials)) for _ in range(ROUNDS)]
    methods = []
    for name, method in _methods(space):
        if not (whole := method(places, active, values)).any():
            continue
        again = np.array([method(places[at], active[at], values[at]) for at in drawn])
        methods.append((name, whole, again))
    if not methods:
        return None
    mean = np.mean([whole for _, whole, _ in methods], axis=0)
    order = np.argsort(-mean, kind="stable")
    return Importance(
        metric,
        of,
        [names[at] for at in order],
        [_summed(name, whole[order], again[:, order]) for name, whole, again in methods],
        frozenset(name for name in names if space.parameters[name].when),
    )


def _summed(name: str, whole: Array, again: Array) -> Method:
    low, high = again.min(axis=0), again.max(axis=0)
    first = int((again.any(axis=1) & (again.argmax(axis=1) == whole.argmax())).sum())
    return Method(
        name,
        whole.tolist(),
        [min(one, at) for one, at in zip(low.tolist(), whole.tolist(), strict=True)],
        [max(one, at) for one, at in zip(high.tolist(), whole.tolist(), strict=True)],
        first,
    )


#: Shares of 1 by parameter, of places, of which of them count, and losses; zeros where the losses
#: tell nothing, as those of trials drawn again may all be equal.
_Reckon = Callable[["Array", "Array", "Array"], "Array"]


def _methods(space: Space) -> list[tuple[str, _Reckon]]:
    own: list[tuple[str, _Reckon]] = [("mean decrease in impurity", _impurity)]
    if find_spec("optuna") is None:
        return own
    sizes = [p.size if p.unordered else None for p in space.parameters.values()]

    def best(places: Array, active: Array, losses: Array) -> Array:
        return _best_apart(sizes, places, active, losses)

    return [("fANOVA", _variance), ("PED-ANOVA", best), *own]


def _impurity(places: Array, _active: Array, losses: Array) -> Array:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(_TREES * 4, random_state=0).fit(places, losses)
    return _shares(forest.feature_importances_)


def _variance(places: Array, _active: Array, losses: Array) -> Array:
    from optuna.distributions import FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator

    unit = FloatDistribution(0.0, 1.0)
    rows = [{str(at): float(v) for at, v in enumerate(row)} for row in places]
    evaluator = FanovaImportanceEvaluator(n_trees=_TREES, seed=0)
    return _asked(evaluator, rows, dict.fromkeys(map(str, range(places.shape[1])), unit), losses)


def _best_apart(sizes: Sequence[int | None], places: Array, active: Array, losses: Array) -> Array:
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.importance import PedAnovaImportanceEvaluator

    kinds: dict[str, Any] = {
        str(at): FloatDistribution(0.0, 1.0)
        if size is None
        else CategoricalDistribution(range(size))
        for at, size in enumerate(sizes)
    }

    def value(at: int, place: float) -> float | int:
        size = sizes[at]
        return float(place) if size is None else min(int(place * size), size - 1)

    rows = [
        {str(at): value(at, place) for at, place in enumerate(row) if here[at]}
        for row, here in zip(places, active, strict=True)
    ]
    share = min(max(_BEST_SHARE, _BEST / len(losses)), 0.5)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
    return _asked(evaluator, rows, kinds, losses)


def _asked(
    evaluator: Any, rows: Sequence[dict[str, Any]], kinds: dict[str, Any], losses: Array
) -> Array:
    """Have one of Optuna's evaluators judge trials that it takes for its own.

    It raises RuntimeError where no tree of its forest tells two trials apart (5.0.0).
    """
    import numpy as np

    with silent_optuna() as optuna:
        study = optuna.create_study()
        study.add_trials(
            optuna.create_trial(
                params=row, distributions={name: kinds[name] for name in row}, value=float(loss)
            )
            for row, loss in zip(rows, losses, strict=True)
        )
        try:
            found = evaluator.evaluate(study)
        except RuntimeError:
            found = {}
    return _shares(np.array([found.get(name, 0.0) for name in kinds]))


def _shares(values: Array) -> Array:
    import numpy as np

    known = np.nan_to_num(np.maximum(values, 0.0))
    total = known.sum()
    return known / total if total > 0 else known
