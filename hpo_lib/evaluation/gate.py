"""The gate: whether a challenger replaces the champion, by what both scored on one hold-out.

Pure, and without randomness: the same scores give the same verdict. docs/gate.md derives the rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpo_lib.core.trial import Direction
from hpo_lib.errors import SpecError
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.words import count, number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Nothing is promoted on fewer final trials than this, paired by seed.
MIN_SEEDS = 2
#: How far the mean of the per-example scores may be from the metric, as a share of it.
_AGREES = 0.01
#: Differences this small beside the scores themselves are rounding.
_ROUNDING = 1e-9
#: A score beyond this counts as not finite: its square would not be.
_LARGEST = 1e100
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Guard:
    """Bounds on another metric's mean over the seeds; to be at a bound is to keep it.

    `not_worse_than` is by how much the challenger may be worse than the champion. It needs the
    metric's `direction`, unless the metric is the rule's own.
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    not_worse_than: float | None = None
    direction: Direction | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a challenger has to do; `confidence` is one-sided. SpecError if it makes no sense.

    `attended`: people decide in the end, and are told what would otherwise prevent a promotion.
    """

    metric: str
    direction: Direction
    min_improvement: float = 0.0
    confidence: float = 0.95
    guards: Sequence[Guard] = ()
    attended: bool = False

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if not 0 <= self.min_improvement <= _LARGEST:
            raise SpecError(f"min_improvement: must be >= 0, got {self.min_improvement}")
        if not 0.5 <= self.confidence < 1:
            raise SpecError(f"confidence: must be >= 0.5 and < 1, got {self.confidence}")
        for guard in self.guards:
            if guard.not_worse_than is not None and self.direction_of(guard) is None:
                raise SpecError(
                    f"guards: not_worse_than of {guard.metric} needs a direction, minimize or "
                    "maximize"
                )

    def direction_of(self, guard: Guard) -> Direction | None:
        """Give which way a guard's metric improves, None if nobody has said."""
        own = self.direction if guard.metric == self.metric else None
        return guard.direction or own


@dataclass(frozen=True, slots=True)
class Scores:
    """What a configuration's final trials scored on the hold-out, one per seed.

    Positions pair with the other side's: the same seed. A trial that left nothing is `{}`; a score
    that was not finite is kept as it was. `examples` holds, by metric and seed, the scores of
    single examples, whose mean is the metric; every trial has the same examples in the same order.
    """

    metrics: Sequence[Mapping[str, float]]
    examples: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """What a champion scored when it was made, and in words how it was trained otherwise."""

    score: float
    otherwise: Sequence[str] = ()


def judge(
    rule: Rule, challenger: Scores, champion: Scores | None, made: Made | None = None
) -> Verdict:
    """Promote a challenger that is better by enough, beyond chance, and breaks no guard.

    The improvement has to exceed both `min_improvement` and its own one-sided uncertainty. Without
    a champion the guards alone decide. A challenger is not promoted if its score was not finite
    with some seed, or if fewer than `MIN_SEEDS` seeds can be compared; nor, unless people decide,
    if the champion was `made` by another training and has lost more than `min_improvement` since.
    """
    case = _Case(rule, challenger, champion)
    unfit = case.unfit() or case.mismatch()
    if unfit is not None:
        return Verdict(False, f"Not promoted: {unfit}.")
    broken = tuple(case.broken())
    return _first(case, broken) if champion is None else _compared(case, champion, made, broken)


@dataclass(frozen=True, slots=True)
class _Case:
    """What is to be judged: the sides are paired by position."""

    rule: Rule
    challenger: Scores
    champion: Scores | None

    @property
    def sides(self) -> list[tuple[str, Scores]]:
        """Both sides, or the only one, with their names."""
        named = [("challenger", self.challenger), ("champion", self.champion)]
        return [(name, side) for name, side in named if side is not None]

    @property
    def asked(self) -> int:
        """How many final trials there should have been on each side."""
        return max(len(side.metrics) for _, side in self.sides)

    @property
    def seeds(self) -> list[int]:
        """The positions at which every side has a score."""
        own = [set(_scored(self.rule.metric, side)) for _, side in self.sides]
        return sorted(set.intersection(*own))

    def values(self, side: Scores) -> list[float]:
        """Give a side's scores by seed."""
        known = _scored(self.rule.metric, side)
        return [known[at] for at in self.seeds]

    def examples(self) -> list[list[Sequence[float]]]:
        """Give the example scores by side and seed; nothing unless all final trials left some."""
        listed = [side.examples.get(self.rule.metric, ()) for _, side in self.sides]
        if any(len(one) <= self.seeds[-1] for one in listed):
            return []
        found = [[one[at] for at in self.seeds] for one in listed]
        return found if all(len(scores) for one in found for scores in one) else []

    def unfit(self) -> str | None:
        """Say why there is nothing to compare."""
        metric = self.rule.metric
        for at, one in enumerate(self.challenger.metrics, start=1):
            if not _is_score(one.get(metric, 0.0)):
                value = number(float(one[metric]))
                return f"the challenger's {metric} was {value} in final trial {at} of {self.asked}"
        if len(self.seeds) >= MIN_SEEDS:
            return None
        left = (f"{len(_scored(metric, side))} of the {name}'s" for name, side in self.sides)
        return (
            f"at least {MIN_SEEDS} seeds are needed to judge {metric}, and there are "
            f"{len(self.seeds)}; of {count(self.asked, 'final trial')} that were asked for, "
            f"{' and '.join(left)} left it"
        )

    def mismatch(self) -> str | None:
        """Say what shows that example scores are of different hold-outs, or not of the metric."""
        metric, found = self.rule.metric, self.examples()
        sizes = sorted({len(scores) for one in found for scores in one})
        if sizes[1:]:
            shown = f"{sizes[0]:,} and {sizes[-1]:,}"
            return f"{metric} was scored on {shown} examples, so the hold-out was not the same"
        if sizes == [1]:
            return f"{metric} was scored on a hold-out of one example"
        for (name, side), one in zip(self.sides, found, strict=bool(found)):
            for at, value, scores in zip(self.seeds, self.values(side), one, strict=True):
                if not _agree(value, scores):
                    return (
                        f"the {name}'s {metric} is {number(value, _DIGITS)} in final trial "
                        f"{at + 1} of {self.asked}, which is not the mean of its example scores"
                    )
        return None

    def broken(self) -> Iterator[str]:
        """Say why each broken guard is broken; a metric that was not measured breaks its own."""
        for guard in self.rule.guards:
            known = [(name, _scored(guard.metric, side)) for name, side in self.sides]
            needed = known if guard.not_worse_than is not None else known[:1]
            unknown = [name for name, scores in needed if not scores.keys() >= set(self.seeds)]
            if unknown:
                yield f"The {unknown[0]}'s {guard.metric} is not known for every seed."
                continue
            means = [_mean([scores[at] for at in self.seeds]) for _, scores in needed]
            yield from _out_of_bounds(guard, means[0])
            if means[1:]:
                yield from _worse(guard, self.rule.direction_of(guard), *means)

    def notes(self) -> Iterator[str]:
        """Say which final trials took no part."""
        missing = [str(at + 1) for at in range(self.asked) if at not in self.seeds]
        if missing:
            which = f"{'trials' if missing[1:] else 'trial'} {', '.join(missing)} of {self.asked}"
            whose = "" if self.champion is None else " on at least one side"
            yield f"Final {which} took no part, for want of {self.rule.metric}{whose}."


def _scored(metric: str, side: Scores) -> dict[int, float]:
    """Give a side's scores by position."""
    pairs = enumerate(one.get(metric, math.nan) for one in side.metrics)
    return {at: float(value) for at, value in pairs if _is_score(value)}


def _is_score(value: float) -> bool:
    return abs(value) <= _LARGEST


def _agree(value: float, scores: Sequence[float]) -> bool:
    """Say whether a metric is the mean of its example scores, which are all finite."""
    import numpy as np

    row = np.asarray(scores, dtype=float)
    if not (np.abs(row) <= _LARGEST).all():
        return False
    return abs(value - float(row.mean())) <= _AGREES * max(abs(value), float(np.abs(row).mean()))


def _out_of_bounds(guard: Guard, value: float) -> Iterator[str]:
    shown = f"The challenger's {guard.metric} is {number(value, _DIGITS)}"
    if guard.at_most is not None and _exceeds(value, guard.at_most, value):
        yield f"{shown}, more than {number(guard.at_most)} (at_most)."
    if guard.at_least is not None and _exceeds(guard.at_least, value, value):
        yield f"{shown}, less than {number(guard.at_least)} (at_least)."


def _worse(guard: Guard, direction: Direction | None, value: float, than: float) -> Iterator[str]:
    if guard.not_worse_than is None or direction is None:
        return
    worse = direction.loss(value) - direction.loss(than)
    if _exceeds(worse, guard.not_worse_than, value, than):
        yield (
            f"The challenger's {guard.metric} is {number(value, _DIGITS)}, worse than the "
            f"champion's {number(than, _DIGITS)} by {number(worse, _DIGITS)}, more than "
            f"{number(guard.not_worse_than)} (not_worse_than)."
        )


def _exceeds(value: float, bound: float, *scores: float) -> bool:
    """Say whether a value computed from `scores` exceeds a bound by more than their rounding."""
    return value - bound > _ROUNDING * max(map(abs, scores))


def _first(case: _Case, broken: Sequence[str]) -> Verdict:
    mean = number(_mean(case.values(case.challenger)), _DIGITS)
    said = [
        f"{_outcome(not broken)}: the challenger's {case.rule.metric} is {mean} over "
        f"{count(len(case.seeds), 'seed')}, and there is no champion to compare it with.",
        *_of_guards(case.rule, broken),
        *case.notes(),
    ]
    return Verdict(not broken, " ".join(said), broken=broken)


def _compared(case: _Case, champion: Scores, made: Made | None, broken: Sequence[str]) -> Verdict:
    import numpy as np

    rule, examples = case.rule, np.asarray(case.examples(), dtype=float)
    by_seed = [case.values(case.challenger), case.values(champion)]
    by_example = None
    if examples.size:
        by_seed = examples.mean(axis=2).tolist()
        by_example = examples[0] - examples[1]
    mine, theirs = map(_mean, by_seed)
    improvement = rule.direction.loss(theirs) - rule.direction.loss(mine)
    differences = [one - other for one, other in zip(*by_seed, strict=True)]
    error, uncertainty = _uncertainty(differences, by_example, rule.confidence)
    bounds = {
        f"min_improvement ({number(rule.min_improvement)})": rule.min_improvement,
        f"the uncertainty at {rule.confidence * 100:g} % confidence "
        f"({number(uncertainty, _DIGITS)})": uncertainty,
    }
    missed = [name for name, at in bounds.items() if not _exceeds(improvement, at, mine, theirs)]
    doubts = list(_doubts(rule, theirs, made))
    promote = not missed and not broken and (rule.attended or not doubts)
    said = [
        f"{_outcome(promote)}: {rule.metric} is {number(mine, _DIGITS)} for the challenger and "
        f"{number(theirs, _DIGITS)} for the champion, over {count(len(case.seeds), 'seed')} "
        f"({rule.direction}).",
        _of_improvement(improvement, error, list(bounds), missed),
        _of_error(len(case.seeds), by_example),
        *_of_guards(rule, broken),
        *case.notes(),
        *doubts,
    ]
    return Verdict(promote, " ".join(said), improvement, error, broken)


def _doubts(rule: Rule, champion: float, made: Made | None) -> Iterator[str]:
    """Say why the winner may be worse than what serves: the champion was trained otherwise."""
    if made is None or not made.otherwise:
        return
    lost = rule.direction.loss(champion) - rule.direction.loss(made.score)
    if not _exceeds(lost, rule.min_improvement, champion, made.score):
        return
    yield (
        f"The champion was trained otherwise when it was made: {'; '.join(made.otherwise)}. Its "
        f"{rule.metric} was {number(made.score, _DIGITS)} then and is {number(champion, _DIGITS)} "
        f"as trained now, worse by {number(lost, _DIGITS)}, which exceeds min_improvement "
        f"({number(rule.min_improvement)}): the better of the two may be worse than what serves."
    )
    yield (
        "Approve it only if the change is meant."
        if rule.attended
        else "Train as before, or let people decide (deploy.approval: manual)."
    )


def _uncertainty(
    by_seed: Sequence[float], by_example: NDArray[np.float64] | None, confidence: float
) -> tuple[float, float]:
    """Give the standard error of a mean difference, and its one-sided uncertainty.

    Differences by seed, and by seed and example where there are such. See docs/gate.md.
    """
    from scipy.special import stdtrit

    n_seeds = len(by_seed)
    of_seeds, of_examples, t_examples = _variance(by_seed) / n_seeds, 0.0, 0.0
    if by_example is not None:
        n_examples = by_example.shape[1]
        mean = by_example.mean(axis=0)
        rest = by_example - mean
        rest -= rest.mean(axis=1, keepdims=True)
        both = float((rest * rest).mean()) / ((n_seeds - 1) * (n_examples - 1))
        furthest = float(abs(mean - mean.mean()).max()) / n_examples
        of_seeds = max(of_seeds, both)
        of_examples = max(float(mean.var()) / (n_examples - 1) - both, 0.0) + furthest * furthest
        t_examples = float(stdtrit(n_examples - 1, confidence))
    t_seeds = float(stdtrit(n_seeds - 1, confidence))
    uncertainty = math.hypot(t_seeds * math.sqrt(of_seeds), t_examples * math.sqrt(of_examples))
    return math.sqrt(of_seeds + of_examples), uncertainty


def _mean(values: Sequence[float]) -> float:
    """Give the mean, the same in whatever order."""
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    middle = _mean(values)
    return math.fsum((x - middle) * (x - middle) for x in values) / (len(values) - 1)


def _outcome(promote: bool) -> str:
    return "Promoted" if promote else "Not promoted"


def _of_improvement(
    improvement: float, error: float, bounds: Sequence[str], missed: Sequence[str]
) -> str:
    size = f"{number(abs(improvement), _DIGITS)} ± {number(error, _DIGITS)}"
    if improvement <= 0:
        return (
            f"It is worse by {size}."
            if improvement < 0
            else f"They are equal (± {number(error, _DIGITS)})."
        )
    if missed:
        return f"It is better by {size}, which does not exceed {' nor '.join(missed)}."
    return f"It is better by {size}, which exceeds {' and '.join(bounds)}."


def _of_error(n_seeds: int, by_example: NDArray[np.float64] | None) -> str:
    if by_example is not None:
        n_examples = count(by_example.shape[1], "hold-out example")
        return f"The standard error (±) is that of {count(n_seeds, 'seed')} and {n_examples}."
    return (
        f"The standard error (±) is that of {count(n_seeds, 'seed')} alone: without scores of "
        "single examples nothing is known of the hold-out's own."
    )


def _of_guards(rule: Rule, broken: Sequence[str]) -> Sequence[str]:
    if broken or not rule.guards:
        return broken
    return ["The guard holds." if len(rule.guards) == 1 else f"All {len(rule.guards)} guards hold."]
