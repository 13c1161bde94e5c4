"""The gate: whether a challenger replaces the champion, by what both scored on one hold-out.

Pure, and without randomness: the same scores give the same verdict. docs/gate.md derives the rule.
What is missing of the evidence never makes it easier: a challenger is promoted unasked only on all
of it, and what is known of a final trial of which something is missing counts against it as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpo_lib.core.trial import Direction
from hpo_lib.errors import SpecError
from hpo_lib.evaluation.evidence import DIGITS, LARGEST, Evidence, is_score, scored
from hpo_lib.evaluation.evidence import Scores as Scores
from hpo_lib.evaluation.uncertainty import exceeds, mean_of, uncertainty_of
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.words import count, number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    It was scored on so many `examples` one by one, if that is known.
    """

    score: float | None
    otherwise: Sequence[str] = ()
    examples: int = 0


def judge(
    rule: Rule, challenger: Scores, champion: Scores | None, made: Made | None = None
) -> Verdict:
    """Promote a challenger that is better by enough, beyond chance, and breaks no guard.

    The improvement has to exceed both `min_improvement` and its own one-sided uncertainty. Without
    a champion the guards alone decide. A challenger is not promoted if its score was not finite
    with some seed, or if fewer than two seeds can be compared; nor, unless people decide,
    if the champion was `made` by another training and has lost more than `min_improvement` since.
    What is known of a final trial that cannot be compared example by example is not forgotten: the
    scores of all seeds have to show the improvement too, and guards are over all seeds.
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
    """Say why each broken guard is broken; it is over all seeds, whether they take part or not.

    A final trial that left anything, but not a guard's metric, breaks the guard.
    """
    for guard in rule.guards:
        sides = case.sides if guard.not_worse_than is not None else case.sides[:1]
        known = [scored(guard.metric, side) for _, side in sides]
        gaps = [(name, _silent(guard.metric, side)) for name, side in sides]
        unknown = [f"the {name}'s {case.trials(at)}" for name, at in gaps if at]
        if unknown:
            whose = next(name for name, at in gaps if at)
            said = f"The {whose}'s {guard.metric} is not known for every seed"
            yield f"{said}: it is missing in {' and '.join(unknown)}."
            continue
        yield from _out_of_bounds(guard, mean_of([*known[0].values()]))
        if known[1:]:
            both = sorted(known[0].keys() & known[1].keys())
            means = (mean_of([scores[at] for at in both]) for scores in known)
            yield from _worse(guard, rule.direction_of(guard), *means)


def _silent(metric: str, side: Scores) -> list[int]:
    """Give the positions of final trials that left something, but no score of a metric."""
    known, left = scored(metric, side), enumerate(side.metrics)
    return [
        at
        for at, one in left
        if at not in known and (metric in one or any(map(is_score, one.values())))
    ]


def _out_of_bounds(guard: Guard, value: float) -> Iterator[str]:
    shown = f"The challenger's {guard.metric} is {number(value, DIGITS)}"
    if guard.at_most is not None and exceeds(value, guard.at_most, value):
        yield f"{shown}, more than {number(guard.at_most)} (at_most)."
    if guard.at_least is not None and exceeds(guard.at_least, value, value):
        yield f"{shown}, less than {number(guard.at_least)} (at_least)."


def _worse(guard: Guard, direction: Direction | None, value: float, than: float) -> Iterator[str]:
    if guard.not_worse_than is None or direction is None:
        return
    worse = direction.loss(value) - direction.loss(than)
    if exceeds(worse, guard.not_worse_than, value, than):
        yield (
            f"The challenger's {guard.metric} is {number(value, DIGITS)}, worse than the "
            f"champion's {number(than, DIGITS)} by {number(worse, DIGITS)}, more than "
            f"{number(guard.not_worse_than)} (not_worse_than)."
        )


def _first(rule: Rule, case: Evidence, broken: Sequence[str]) -> Verdict:
    known, gaps = [*case.known(case.challenger).values()], case.gaps()
    promote, asks = _outcome(rule, not broken, bool(gaps), bool(gaps))
    said = [
        f"{_OUTCOME[promote, asks]}: the challenger's {rule.metric} is "
        f"{number(mean_of(known), DIGITS)} over {count(len(known), 'seed')}, and there is no "
        "champion to compare it with.",
        *_of_guards(rule, broken),
        *gaps,
        *_of_gaps(rule, not broken, gaps),
    ]
    return Verdict(promote, " ".join(said), broken=broken, asks=asks)


def _compared(
    rule: Rule, case: Evidence, champion: Scores, made: Made | None, broken: Sequence[str]
) -> Verdict:
    found = _difference(rule, case, champion)
    whole = _by_scores(rule, case, champion)
    against = found.missed(rule) or (whole is not None and whole.missed(rule)) or broken
    doubts = list(_doubts(rule, mean_of([*case.known(champion).values()]), made))
    gaps = [*case.gaps(), *_forgotten(rule, made, found.examples)]
    good = not against and (rule.attended or not doubts)
    promote, asks = _outcome(rule, good, bool(gaps), bool(gaps) or not found.examples)
    said = [
        f"{_OUTCOME[promote, asks]}: {rule.metric} is {number(found.mine, DIGITS)} for the "
        f"challenger and {number(found.theirs, DIGITS)} for the champion, over "
        f"{count(len(case.seeds), 'seed')} ({rule.direction}).",
        _of_improvement(rule, found),
        _of_error(len(case.seeds), found.examples),
        *_of_all(rule, whole),
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
    seeds: int
    examples: int

    def bounds(self, rule: Rule) -> dict[str, float]:
        """Give what the improvement has to exceed, by name."""
        sure = f"the uncertainty at {rule.confidence * 100:g} % confidence"
        return {
            f"min_improvement ({number(rule.min_improvement)})": rule.min_improvement,
            f"{sure} ({number(self.uncertainty, DIGITS)})": self.uncertainty,
        }

    def missed(self, rule: Rule) -> list[str]:
        """Name what the improvement does not exceed by more than rounding."""
        bounds, scores = self.bounds(rule).items(), (self.mine, self.theirs)
        return [name for name, at in bounds if not exceeds(self.improvement, at, *scores)]


def _by_scores(rule: Rule, case: Evidence, champion: Scores) -> _Difference | None:
    """Compare the means over all seeds whose scores are known, be there example scores or not.

    None if these are the seeds that take part.
    """
    mine, theirs = case.known(case.challenger), case.known(champion)
    both = sorted(mine.keys() & theirs.keys())
    if both == case.seeds:
        return None
    return _between(rule, [[scores[at] for at in both] for scores in (mine, theirs)])


def _difference(rule: Rule, case: Evidence, champion: Scores) -> _Difference:
    """Compare the means over the seeds, by example scores where there are any."""
    import numpy as np

    examples = np.asarray(case.examples(), dtype=float)
    by_seed = [case.values(case.challenger), case.values(champion)]
    by_example = None
    if examples.size:
        by_seed = examples.mean(axis=2).tolist()
        by_example = examples[0] - examples[1]
    return _between(rule, by_seed, by_example)


def _between(
    rule: Rule,
    by_seed: Sequence[Sequence[float]],
    by_example: NDArray[np.float64] | None = None,
) -> _Difference:
    """Compare the means of two sides."""
    mine, theirs = map(mean_of, by_seed)
    differences = [one - other for one, other in zip(*by_seed, strict=True)]
    error, uncertainty = uncertainty_of(differences, by_example, rule.confidence)
    improvement = rule.direction.loss(theirs) - rule.direction.loss(mine)
    size = 0 if by_example is None else by_example.shape[1]
    return _Difference(mine, theirs, improvement, error, uncertainty, len(differences), size)


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


def _forgotten(rule: Rule, made: Made | None, examples: int) -> Iterator[str]:
    """Say what is not known any more, of what was known when the champion was made."""
    if made is not None and made.examples and not examples:
        yield (
            "The final trials leave no scores of single examples any more; they did when the "
            f"champion was made, of {count(made.examples, 'hold-out example')}."
        )
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
    if not exceeds(lost, rule.min_improvement, champion, made.score):
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


def _of_improvement(rule: Rule, found: _Difference) -> str:
    error, missed = number(found.error, DIGITS), found.missed(rule)
    size = f"{number(abs(found.improvement), DIGITS)} ± {error}"
    if found.improvement == 0:
        return f"They are equal (± {error})."
    if found.improvement < 0:
        return f"It is worse by {size}."
    if missed:
        return f"It is better by {size}, which does not exceed {' nor '.join(missed)}."
    return f"It is better by {size}, which exceeds {' and '.join(found.bounds(rule))}."


def _of_all(rule: Rule, whole: _Difference | None) -> Iterator[str]:
    """Say what the known scores of all seeds show, if some of them take no part."""
    if whole is not None:
        yield (
            f"Over all {count(whole.seeds, 'seed')} whose {rule.metric} is known, scores of single "
            f"examples aside, it is {number(whole.mine, DIGITS)} for the challenger and "
            f"{number(whole.theirs, DIGITS)} for the champion."
        )
        yield _of_improvement(rule, whole)


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
