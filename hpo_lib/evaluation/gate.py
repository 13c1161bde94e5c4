"""The gate: whether a challenger replaces the champion, by what both scored on one hold-out.

Pure, and without randomness: the same scores give the same verdict. docs/gate.md derives the rule.
What is missing of the evidence never makes it easier: a challenger is promoted unasked only on all
of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpo_lib.core.trial import Direction
from hpo_lib.errors import SpecError
from hpo_lib.evaluation.evidence import DIGITS, LARGEST, Evidence, scored
from hpo_lib.evaluation.evidence import Scores as Scores
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.words import count, number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Differences this small beside the scores themselves are rounding.
_ROUNDING = 1e-9
#: Whom a challenger that is better is shown to: nobody, people if the verdict is unsure, people.
Approval = Literal["none", "unsure", "manual"]


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

    `approval` says who decides in the end. With `manual` people do, and are told what would
    otherwise prevent a promotion; with `unsure` they do where evidence is missing, or where it does
    not show what another hold-out would; with `none` missing evidence prevents a promotion. So many
    final trials as `seeds` were asked for on each side, if that is known.
    """

    metric: str
    direction: Direction
    min_improvement: float = 0.0
    confidence: float = 0.95
    guards: Sequence[Guard] = ()
    approval: Approval = "unsure"
    seeds: int = 0

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if not 0 <= self.min_improvement <= LARGEST:
            raise SpecError(f"min_improvement: must be >= 0, got {self.min_improvement}")
        if not 0.5 <= self.confidence < 1:
            raise SpecError(f"confidence: must be >= 0.5 and < 1, got {self.confidence}")
        for guard in self.guards:
            if guard.not_worse_than is not None and self.direction_of(guard) is None:
                raise SpecError(
                    f"guards: not_worse_than of {guard.metric} needs a direction, minimize or "
                    "maximize"
                )

    @property
    def attended(self) -> bool:
        """Say whether people decide in any case."""
        return self.approval == "manual"

    def direction_of(self, guard: Guard) -> Direction | None:
        """Give which way a guard's metric improves, None if nobody has said."""
        own = self.direction if guard.metric == self.metric else None
        return guard.direction or own


@dataclass(frozen=True, slots=True)
class Made:
    """What a champion scored when it was made, if that is known, and how it was trained otherwise.

    The latter in words; what is not known any more of how it is trained counts as another way.
    """

    score: float | None
    otherwise: Sequence[str] = ()


def judge(
    rule: Rule, challenger: Scores, champion: Scores | None, made: Made | None = None
) -> Verdict:
    """Promote a challenger that is better by enough, beyond chance, and breaks no guard.

    The improvement has to exceed both `min_improvement` and its own one-sided uncertainty. Without
    a champion the guards alone decide. A challenger is not promoted if its score was not finite
    with some seed, or if fewer than two seeds can be compared; nor, unless people decide,
    if the champion was `made` by another training and has lost more than `min_improvement` since.
    One that is better by what is left of the evidence is promoted unasked only if nothing is
    missing, and only if there is a score per example where there is a champion (`rule.approval`).
    """
    case = Evidence(rule.metric, challenger, champion, rule.seeds)
    unfit = case.unfit() or case.mismatch()
    if unfit is not None:
        return Verdict(False, " ".join([f"Not promoted: {unfit}.", *case.without_examples()]))
    broken = tuple(_broken(rule, case))
    if champion is None:
        return _first(rule, case, broken)
    return _compared(rule, case, champion, made, broken)


def _broken(rule: Rule, case: Evidence) -> Iterator[str]:
    """Say why each broken guard is broken; a metric that was not measured breaks its own."""
    for guard in rule.guards:
        known = [(name, scored(guard.metric, side)) for name, side in case.sides]
        needed = known if guard.not_worse_than is not None else known[:1]
        gaps = [(name, sorted({*case.seeds} - scores.keys())) for name, scores in needed]
        unknown = [f"the {name}'s {case.trials(at)}" for name, at in gaps if at]
        if unknown:
            whose = next(name for name, at in gaps if at)
            said = f"The {whose}'s {guard.metric} is not known for every seed"
            yield f"{said}: it is missing in {' and '.join(unknown)}."
            continue
        means = [_mean([scores[at] for at in case.seeds]) for _, scores in needed]
        yield from _out_of_bounds(guard, means[0])
        if means[1:]:
            yield from _worse(guard, rule.direction_of(guard), *means)


def _out_of_bounds(guard: Guard, value: float) -> Iterator[str]:
    shown = f"The challenger's {guard.metric} is {number(value, DIGITS)}"
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
            f"The challenger's {guard.metric} is {number(value, DIGITS)}, worse than the "
            f"champion's {number(than, DIGITS)} by {number(worse, DIGITS)}, more than "
            f"{number(guard.not_worse_than)} (not_worse_than)."
        )


def _exceeds(value: float, bound: float, *scores: float) -> bool:
    """Say whether a value computed from `scores` exceeds a bound by more than their rounding."""
    return value - bound > _ROUNDING * max(map(abs, scores))


def _first(rule: Rule, case: Evidence, broken: Sequence[str]) -> Verdict:
    mean, gaps = number(_mean(case.values(case.challenger)), DIGITS), case.gaps()
    promote, asks = _outcome(rule, not broken, bool(gaps), bool(gaps))
    said = [
        f"{_OUTCOME[promote, asks]}: the challenger's {rule.metric} is {mean} over "
        f"{count(len(case.seeds), 'seed')}, and there is no champion to compare it with.",
        *_of_guards(rule, broken),
        *gaps,
        *_of_gaps(rule, not broken, gaps),
    ]
    return Verdict(promote, " ".join(said), broken=broken, asks=asks)


def _compared(
    rule: Rule, case: Evidence, champion: Scores, made: Made | None, broken: Sequence[str]
) -> Verdict:
    found = _difference(rule, case, champion)
    missed = [name for name, at in found.bounds(rule).items() if not found.exceeds(at)]
    doubts, gaps = list(_doubts(rule, found.theirs, made)), [*case.gaps(), *_forgotten(rule, made)]
    good = not missed and not broken and (rule.attended or not doubts)
    promote, asks = _outcome(rule, good, bool(gaps), bool(gaps) or not found.examples)
    said = [
        f"{_OUTCOME[promote, asks]}: {rule.metric} is {number(found.mine, DIGITS)} for the "
        f"challenger and {number(found.theirs, DIGITS)} for the champion, over "
        f"{count(len(case.seeds), 'seed')} ({rule.direction}).",
        _of_improvement(found.improvement, found.error, list(found.bounds(rule)), missed),
        _of_error(len(case.seeds), found.examples),
        *_of_guards(rule, broken),
        *gaps,
        *_of_gaps(rule, good, gaps),
        *([_BLIND] if asks and not found.examples else []),
        *doubts,
    ]
    return Verdict(promote, " ".join(said), found.improvement, found.error, broken, asks)


@dataclass(frozen=True, slots=True)
class _Difference:
    """By how much the challenger's mean is better, and how sure; `examples`: how many there are."""

    mine: float
    theirs: float
    improvement: float
    error: float
    uncertainty: float
    examples: int

    def bounds(self, rule: Rule) -> dict[str, float]:
        """Give what the improvement has to exceed, by name."""
        sure = f"the uncertainty at {rule.confidence * 100:g} % confidence"
        return {
            f"min_improvement ({number(rule.min_improvement)})": rule.min_improvement,
            f"{sure} ({number(self.uncertainty, DIGITS)})": self.uncertainty,
        }

    def exceeds(self, bound: float) -> bool:
        """Say whether the improvement exceeds a bound by more than rounding."""
        return _exceeds(self.improvement, bound, self.mine, self.theirs)


def _difference(rule: Rule, case: Evidence, champion: Scores) -> _Difference:
    """Compare the means over the seeds, by example scores where there are any."""
    import numpy as np

    examples = np.asarray(case.examples(), dtype=float)
    by_seed = [case.values(case.challenger), case.values(champion)]
    by_example = None
    if examples.size:
        by_seed = examples.mean(axis=2).tolist()
        by_example = examples[0] - examples[1]
    mine, theirs = map(_mean, by_seed)
    differences = [one - other for one, other in zip(*by_seed, strict=True)]
    error, uncertainty = _uncertainty(differences, by_example, rule.confidence)
    improvement = rule.direction.loss(theirs) - rule.direction.loss(mine)
    size = 0 if by_example is None else by_example.shape[1]
    return _Difference(mine, theirs, improvement, error, uncertainty, size)


#: By `promote` and `asks`.
_OUTCOME = {
    (True, False): "Promoted",
    (False, True): "Not promoted unless people approve",
    (False, False): "Not promoted",
}
_BLIND = "What the seeds agree on may be the luck of this one hold-out, so people are asked."


def _outcome(rule: Rule, good: bool, incomplete: bool, unsure: bool) -> tuple[bool, bool]:
    """Say whether to promote a challenger, and whether to ask people first.

    `good`: it has shown what it should by what is left of the evidence, of which some is missing if
    that is `incomplete`, and which may be `unsure` although it is whole.
    """
    if not good or rule.attended:
        return good, False
    if rule.approval == "unsure":
        return not unsure, unsure
    return not incomplete, False


def _of_gaps(rule: Rule, good: bool, gaps: Sequence[str]) -> Iterator[str]:
    """Say what follows from missing evidence; nothing if it makes no difference."""
    if not gaps or not good:
        return
    what = "What is missing might speak against it"
    if rule.approval == "none":
        yield f"{what}, and nobody is to be asked (deploy.approval: none)."
    else:
        yield f"{what}, so people are asked."


def _forgotten(rule: Rule, made: Made | None) -> Iterator[str]:
    """Say what is not known of a champion that was trained otherwise: whether it has lost by it."""
    if made is not None and made.otherwise and made.score is None:
        yield (
            f"The champion was trained otherwise when it was made: {'; '.join(made.otherwise)}. "
            f"What its {rule.metric} was then is not known."
        )


def _doubts(rule: Rule, champion: float, made: Made | None) -> Iterator[str]:
    """Say why the winner may be worse than what serves: the champion was trained otherwise."""
    if made is None or not made.otherwise or made.score is None:
        return
    lost = rule.direction.loss(champion) - rule.direction.loss(made.score)
    if not _exceeds(lost, rule.min_improvement, champion, made.score):
        return
    yield (
        f"The champion was trained otherwise when it was made: {'; '.join(made.otherwise)}. Its "
        f"{rule.metric} was {number(made.score, DIGITS)} then and is {number(champion, DIGITS)} "
        f"as trained now, worse by {number(lost, DIGITS)}, which exceeds min_improvement "
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


def _of_improvement(
    improvement: float, error: float, bounds: Sequence[str], missed: Sequence[str]
) -> str:
    size = f"{number(abs(improvement), DIGITS)} ± {number(error, DIGITS)}"
    if improvement <= 0:
        return (
            f"It is worse by {size}."
            if improvement < 0
            else f"They are equal (± {number(error, DIGITS)})."
        )
    if missed:
        return f"It is better by {size}, which does not exceed {' nor '.join(missed)}."
    return f"It is better by {size}, which exceeds {' and '.join(bounds)}."


def _of_error(n_seeds: int, n_examples: int) -> str:
    seeds = count(n_seeds, "seed")
    if n_examples:
        examples = count(n_examples, "hold-out example")
        return f"The standard error (±) is that of {seeds} and {examples}."
    return (
        f"The standard error (±) is that of {seeds} alone: without scores of single examples "
        "nothing is known of the hold-out's own."
    )


def _of_guards(rule: Rule, broken: Sequence[str]) -> Sequence[str]:
    if broken or not rule.guards:
        return broken
    return ["The guard holds." if len(rule.guards) == 1 else f"All {len(rule.guards)} guards hold."]
