"""The gate: what it promotes, what it says, and what must not change its mind."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.trial import Direction
from hpo_lib.errors import SpecError
from hpo_lib.evaluation.gate import Guard, Made, Rule, Scores, judge
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.promotion.challenger import rule_of
from hpo_lib.spec import Spec, load

MAXIMIZE, MINIMIZE = Direction.MAXIMIZE, Direction.MINIMIZE
#: Of these nobody is asked, so that scores alone may promote.
RULE = Rule("auc", MAXIMIZE, min_improvement=0.01, approval="none")
OPPOSITE = {MAXIMIZE: MINIMIZE, MINIMIZE: MAXIMIZE}

values = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))
rules = st.builds(
    Rule,
    metric=st.just("auc"),
    direction=st.sampled_from(Direction),
    min_improvement=st.sampled_from([0.0, 0.01, 1.0]),
    confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
    approval=st.sampled_from(["none", "unsure", "manual"]),
)


def scores(*auc: float | None, **others: float) -> Scores:
    """Give one final trial per value; of None, one that left nothing."""
    return Scores([{} if value is None else {"auc": value, **others} for value in auc])


def by_example(*rows: Sequence[float]) -> Scores:
    means = [{"auc": math.fsum(row) / len(row)} for row in rows]
    return Scores(means, {"auc": rows})


@st.composite
def pairs(draw: st.DrawFn, examples: bool | None = None) -> tuple[Scores, Scores]:
    """Draw a challenger's and a champion's scores, with or without those of single examples."""
    seeds = draw(st.integers(2, 5))
    if draw(st.booleans()) if examples is None else examples:
        row = st.lists(values, min_size=(size := draw(st.integers(2, 6))), max_size=size)
        table = st.lists(row, min_size=seeds, max_size=seeds)
        return by_example(*draw(table)), by_example(*draw(table))
    column = st.lists(values, min_size=seeds, max_size=seeds)
    return scores(*draw(column)), scores(*draw(column))


def changed(side: Scores, change: object) -> Scores:
    """Apply a function to every score of a side."""
    assert callable(change)
    examples = {
        name: [[change(x) for x in row] for row in rows] for name, rows in side.examples.items()
    }
    return Scores([{"auc": change(one["auc"])} for one in side.metrics], examples)


def in_order(side: Scores, order: Sequence[int]) -> Scores:
    examples = {name: [rows[at] for at in order] for name, rows in side.examples.items()}
    return Scores([side.metrics[at] for at in order], examples)


@given(rules, pairs())
def test_a_verdict_is_plain_and_its_reason_a_sentence(
    rule: Rule, sides: tuple[Scores, Scores]
) -> None:
    verdict = judge(rule, *sides)
    assert verdict.reason.endswith(".")
    assert rule.metric in verdict.reason
    assert verdict.reason.startswith("Promoted" if verdict.promote else "Not promoted")
    assert json.loads(json.dumps(asdict(verdict)))["promote"] is verdict.promote
    assert judge(rule, *sides) == verdict


@given(rules, pairs())
def test_it_is_the_same_seen_upside_down(rule: Rule, sides: tuple[Scores, Scores]) -> None:
    one = judge(rule, *sides)
    other = judge(
        replace(rule, direction=OPPOSITE[rule.direction]),
        *(changed(side, lambda x: -x) for side in sides),
    )
    assert (one.promote, one.improvement, one.error) == (
        other.promote,
        other.improvement,
        other.error,
    )


@given(rules, pairs(), st.randoms(use_true_random=False))
def test_the_order_of_seeds_does_not_matter(
    rule: Rule, sides: tuple[Scores, Scores], random: Random
) -> None:
    order = random.sample(range(len(sides[0].metrics)), len(sides[0].metrics))
    one, other = judge(rule, *sides), judge(rule, *(in_order(side, order) for side in sides))
    assert one.promote is other.promote
    assert one.improvement == pytest.approx(other.improvement, abs=1e-9)
    assert one.error == pytest.approx(other.error, abs=1e-9)


@given(rules, pairs())
def test_never_both_ways(rule: Rule, sides: tuple[Scores, Scores]) -> None:
    assert not (judge(rule, *sides).promote and judge(rule, *reversed(sides)).promote)


@given(rules, pairs(), st.lists(st.floats(0, 1e3), min_size=5, max_size=5))
def test_what_is_no_better_with_any_seed_is_not_promoted(
    rule: Rule, sides: tuple[Scores, Scores], by: Sequence[float]
) -> None:
    champion = sides[1]
    worse = [rule.direction.loss(x) for x in by]
    if champion.examples:
        rows = zip(champion.examples["auc"], worse, strict=False)
        challenger = by_example(*([x + up for x in row] for row, up in rows))
    else:
        ones = zip(champion.metrics, worse, strict=False)
        challenger = scores(*(one["auc"] + up for one, up in ones))
    assert not judge(rule, challenger, champion).promote


@given(rules, pairs(), st.floats(0, 3e3), st.floats(0, 1e3))
def test_better_scores_never_cost_a_promotion(
    rule: Rule, sides: tuple[Scores, Scores], by: float, more: float
) -> None:
    sign = 1 if rule.direction is MAXIMIZE else -1
    good = changed(sides[0], lambda x: x + sign * by)
    better = changed(sides[0], lambda x: x + sign * (by + more))
    assert judge(rule, good, sides[1]).promote <= judge(rule, better, sides[1]).promote


@given(rules, pairs(), st.sampled_from([{"min_improvement": 2}, {"confidence": 0.995}]))
def test_asking_for_more_never_promotes_more(
    rule: Rule, sides: tuple[Scores, Scores], more: dict[str, float]
) -> None:
    stricter = replace(rule, **more)
    assert judge(stricter, *sides).promote <= judge(rule, *sides).promote


@given(pairs(examples=True))
def test_example_scores_never_lower_the_bar_that_seeds_set(sides: tuple[Scores, Scores]) -> None:
    error = judge(RULE, *sides).error
    without = judge(RULE, *(replace(side, examples={}) for side in sides)).error
    assert error is not None
    assert without is not None
    assert error >= without * (1 - 1e-9)


@pytest.mark.parametrize(
    ("mine", "theirs", "promote", "said"),
    [
        ((0.93, 0.92, 0.94), (0.90, 0.90, 0.90), True, "better by 0.03 ± 0.005774"),
        # Not enough, however sure.
        ((0.905, 0.905, 0.905), (0.90, 0.90, 0.90), False, "not exceed min_improvement (0.01)."),
        # A tie with the threshold is not more than it, whatever floats make of it.
        ((0.80, 0.80, 0.80), (0.79, 0.79, 0.79), False, "not exceed min_improvement (0.01)."),
        # Enough, but not sure.
        ((1.0, 0.90, 0.80), (0.80, 0.88, 0.90), False, "not exceed the uncertainty at 95 %"),
        ((0.95, 0.90, 0.85), (0.90, 0.895, 0.90), False, "min_improvement (0.01) nor the"),
        ((0.90, 0.90, 0.90), (0.90, 0.90, 0.90), False, "They are equal (± 0)."),
        ((0.89, 0.88, 0.87), (0.90, 0.90, 0.90), False, "It is worse by 0.02 ± "),
        # No variance at all: a deterministic training.
        ((0.92, 0.92), (0.90, 0.90), True, "better by 0.02 ± 0"),
    ],
)
def test_what_is_promoted(
    mine: tuple[float, ...], theirs: tuple[float, ...], promote: bool, said: str
) -> None:
    verdict = judge(RULE, scores(*mine), scores(*theirs))
    assert verdict.promote is promote
    assert said in verdict.reason


def test_less_is_better_where_the_rule_says_so() -> None:
    rule = Rule("auc", MINIMIZE, approval="none")
    assert judge(rule, scores(0.1, 0.1), scores(0.2, 0.2)).promote
    assert not judge(rule, scores(0.2, 0.2), scores(0.1, 0.1)).promote


def test_few_examples_make_sure_seeds_unsure() -> None:
    """Two of 40 examples, the same with every seed: seeds alone cannot see that this is luck."""
    theirs = [1.0] * 30 + [0.0] * 10
    mine = [1.0] * 32 + [0.0] * 8
    sides = by_example(mine, mine, mine), by_example(theirs, theirs, theirs)
    assert judge(RULE, *(replace(side, examples={}) for side in sides)).promote
    verdict = judge(RULE, *sides)
    assert not verdict.promote
    assert "3 seeds and 40 hold-out examples" in verdict.reason


@pytest.mark.parametrize(("ahead", "promote"), [(3, False), (5, True)])
def test_a_handful_of_examples_counts_as_in_an_exact_test(ahead: int, promote: bool) -> None:
    """Of a sign test, 3 of 3 have p = 0.125 and 5 of 5 have p = 0.031, however many are equal."""
    theirs = [0.0] * 2_000
    mine = [1.0] * ahead + theirs[ahead:]
    rule = Rule("auc", MAXIMIZE)
    assert judge(rule, by_example(mine, mine), by_example(theirs, theirs)).promote is promote


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        (scores(), scores(0.9, 0.9), "there are 0; of 2 final trials"),
        (scores(0.99, None, None), scores(0.9, 0.9, 0.9), "1 of the challenger's and 3 of the"),
        (scores(0.99, 0.99), scores(None, None), "2 of the challenger's and 0 of the champion's"),
        # Two each, but only one in common.
        (scores(0.99, 0.99, None), scores(None, 0.9, 0.9), "there are 1"),
        # One that diverges with some seed is not judged by the others.
        (scores(0.99, 0.99, math.nan), scores(0.9, 0.9, 0.9), "was NaN in final trial 3 of 3"),
        (scores(0.99, 0.99, math.inf), scores(0.9, 0.9, 0.9), "was ∞ in final trial 3 of 3"),
        (by_example([1, 1], [1, 1]), by_example([0, 0, 0], [0, 0, 0]), "2 and 3 examples"),
        (by_example([1], [1]), by_example([0], [0]), "one example"),
        (
            replace(by_example([1, 1], [1, 1]), metrics=scores(1.0, 0.5).metrics),
            by_example([0, 0], [0, 0]),
            "0.5 in final trial 2 of 2, which is not the mean of its example scores",
        ),
    ],
)
def test_what_cannot_be_compared_is_not_promoted(mine: Scores, theirs: Scores, said: str) -> None:
    verdict = judge(RULE, mine, theirs)
    assert not verdict.promote
    assert verdict.improvement is None
    assert said in verdict.reason
    assert "auc" in verdict.reason


@pytest.mark.parametrize(
    ("approval", "promote", "asks", "said"),
    [
        ("none", False, False, "against it, and nobody is to be asked (deploy.approval: none)."),
        ("unsure", False, True, "What is missing might speak against it, so people are asked."),
        ("manual", True, False, "What is missing might speak against it, so people are asked."),
    ],
)
def test_a_lost_final_trial_takes_its_pair_along_and_promotes_nothing_unasked(
    approval: Any, promote: bool, asks: bool, said: str
) -> None:
    mine, theirs = scores(0.95, None, 0.95), scores(0.90, 0.80, 0.90, math.nan)
    verdict = judge(replace(RULE, approval=approval), mine, theirs)
    assert (verdict.promote, verdict.asks) == (promote, asks)
    assert verdict.improvement == pytest.approx(0.05)
    assert "Final trials 2, 4 of 4 took no part" in verdict.reason
    assert said in verdict.reason


def test_a_final_trial_without_examples_takes_its_pair_along_where_others_have_them() -> None:
    mine = by_example([1, 1, 1, 0], [1, 1, 0, 1], [1, 1, 1, 1])
    theirs = Scores(scores(0.1, 0.1, 0.1).metrics, {"auc": [[0.1] * 4, [0.1] * 4]})
    reason = judge(RULE, mine, theirs).reason
    assert "that of 2 seeds and 4 hold-out examples." in reason
    assert (
        "The champion's final trial 3 of 3 took no part, for want of scores of single examples of "
        "auc."
    ) in reason


@pytest.mark.parametrize(
    ("guard", "mine", "theirs", "said"),
    [
        (Guard("mb", at_most=3), 3.0, 1.0, None),
        (Guard("mb", at_most=3), 3.1, 1.0, "mb is 3.1, more than 3 (at_most)."),
        (Guard("mb", at_least=3), 3.0, 1.0, None),
        (Guard("mb", at_least=3), 2.9, 1.0, "mb is 2.9, less than 3 (at_least)."),
        (Guard("mb", not_worse_than=0.01, direction=MAXIMIZE), 0.79, 0.80, None),
        (Guard("mb", not_worse_than=0.01, direction=MAXIMIZE), 0.78, 0.80, "0.8 by 0.02, more"),
        (Guard("mb", not_worse_than=0.01, direction=MINIMIZE), 0.78, 0.80, None),
        (Guard("mb", not_worse_than=0.01, direction=MINIMIZE), 0.82, 0.80, "0.8 by 0.02, more"),
        (Guard("mb", at_most=3), math.nan, 1.0, "The challenger's mb is not known"),
        (Guard("gb", at_most=3), 1.0, 1.0, "The challenger's gb is not known"),
        (Guard("mb", at_most=3), 1.0, math.nan, None),
        (Guard("mb", not_worse_than=1, direction=MINIMIZE), 1.0, math.nan, "The champion's mb"),
    ],
)
def test_guards(guard: Guard, mine: float, theirs: float, said: str | None) -> None:
    rule = replace(RULE, guards=[Guard("auc", at_least=0.1), guard])
    verdict = judge(rule, scores(0.95, 0.95, mb=mine), scores(0.9, 0.9, mb=theirs))
    assert verdict.promote is (said is None)
    assert len(verdict.broken) == (said is not None)
    assert (said or "All 2 guards hold.") in verdict.reason
    assert said is None or said in verdict.broken[0]


def test_a_guard_on_the_rules_own_metric_knows_its_direction() -> None:
    rule = replace(RULE, guards=[Guard("auc", not_worse_than=0)])
    assert judge(rule, scores(0.95, 0.95), scores(0.9, 0.9)).promote


def test_the_first_model_is_promoted_if_its_guards_hold() -> None:
    guards = [Guard("mb", at_most=3), Guard("mb", not_worse_than=0, direction=MINIMIZE)]
    rule = replace(RULE, guards=guards)
    verdict = judge(rule, scores(0.5, 0.6, mb=2), None)
    assert verdict == Verdict(True, verdict.reason)
    assert "auc is 0.55 over 2 seeds, and there is no champion" in verdict.reason
    broken = judge(rule, scores(0.5, 0.6, mb=4), None)
    assert not broken.promote
    assert broken.reason.endswith("mb is 4, more than 3 (at_most).")
    assert not judge(rule, scores(0.5, None, mb=2), None).promote


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_improvement": -0.1}, "min_improvement: must be >= 0, got -0.1"),
        ({"min_improvement": math.nan}, "min_improvement: must be >= 0, got nan"),
        ({"confidence": 1.0}, "confidence: must be >= 0.5 and < 1, got 1.0"),
        ({"guards": [Guard("mcc", not_worse_than=0.1)]}, "not_worse_than of mcc needs a direction"),
    ],
)
def test_a_rule_that_makes_no_sense(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Rule("auc", MAXIMIZE, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_examples", [0, 400])
def test_chance_is_promoted_as_rarely_as_the_confidence_says(n_examples: int) -> None:
    """Two equal models, 3 seeds: normal scores, with parts of the seed, the example and both."""
    random, promoted, rounds = Random(0), 0, 200
    rule = Rule("auc", MAXIMIZE, confidence=0.9)
    for _ in range(rounds):
        of_examples = [random.gauss(0, 1) for _ in range(n_examples)]
        rows = []
        for _ in range(3):
            of_seed = random.gauss(0, 0.05)
            rows.append([of_seed + one + random.gauss(0, 0.5) for one in of_examples] or [of_seed])
        mine = by_example(*rows) if n_examples else scores(*(row[0] for row in rows))
        theirs = changed(mine, lambda _: 0.0)
        promoted += judge(rule, mine, theirs).promote
    assert promoted / rounds < 0.15


DEPLOYED: dict[str, Any] = {
    "name": "nightly",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "trial": {"command": ["true"]},
    "final": {"seeds": 2},
    "deploy": {"to": "package"},
}


def asking(**deploy: Any) -> Spec:
    return load(DEPLOYED | {"deploy": {"to": "package"} | deploy})


def test_a_spec_leaves_it_to_the_gate_whether_people_are_asked() -> None:
    rule = rule_of(asking())
    assert (rule.approval, rule.seeds) == ("unsure", 2)
    assert rule_of(load(DEPLOYED | {"deploy": None})).approval == "none", "there is nothing to ask"
    with pytest.raises(
        SpecError, match=r"^deploy\.approval: must be 'unsure', 'none' or 'manual', "
    ):
        asking(approval="usnure")


def test_a_spec_that_means_what_it_meant_has_kept_its_digest() -> None:
    """One without `approval` now means something else, so it has another digest than before."""
    before = {
        "none": "5704c5a4c1b337d08b7e842b4e57e9f5",
        "manual": "04f4508ffa6f9075782b9ca7906e52b3",
    }
    assert {word: asking(approval=word).digest for word in before} == before
    assert asking().digest == asking(approval="unsure").digest
    assert asking().digest not in before.values()
    stored = asking(approval="none").dump()
    assert load(stored).deploy == asking(approval="none").deploy, "as former versions wrote it"


BETTER, CHAMPION = scores(0.93, 0.95), scores(0.80, 0.82)
FEWER = ["fixed.epochs was 40, is 4"]


def test_a_champion_that_lost_by_another_training_is_not_replaced_unattended() -> None:
    verdict = judge(RULE, BETTER, CHAMPION, Made(0.99, FEWER))
    assert not verdict.promote
    assert verdict.reason.startswith("Not promoted: auc is 0.94 for the challenger and 0.81 for ")
    assert verdict.reason.endswith(
        "The champion was trained otherwise when it was made: fixed.epochs was 40, is 4. Its auc "
        "was 0.99 then and is 0.81 as trained now, worse by 0.18, which exceeds min_improvement "
        "(0.01): the better of the two may be worse than what serves. Train as before, or let "
        "people decide (deploy.approval: manual)."
    )
    assert judge(RULE, BETTER, CHAMPION).promote


def test_people_are_told_and_decide() -> None:
    verdict = judge(replace(RULE, approval="manual"), BETTER, CHAMPION, Made(0.99, FEWER))
    assert verdict.promote
    assert verdict.reason.startswith("Promoted: ")
    assert "fixed.epochs was 40, is 4. Its auc was 0.99 then and is 0.81 as" in verdict.reason
    assert verdict.reason.endswith("Approve it only if the change is meant.")
    worse = judge(replace(RULE, approval="manual"), CHAMPION, BETTER, Made(0.99, FEWER))
    assert not worse.promote, "people are asked about nothing that the scores are against"


@given(rules, pairs(), values, st.sampled_from([[], FEWER]))
def test_only_a_loss_of_another_training_changes_a_verdict(
    rule: Rule, sides: tuple[Scores, Scores], then: float, otherwise: list[str]
) -> None:
    plain, verdict = judge(rule, *sides), judge(rule, *sides, Made(then, otherwise))
    now = math.fsum(one["auc"] for one in sides[1].metrics) / len(sides[1].metrics)
    lost = rule.direction.loss(now) - rule.direction.loss(then)
    if not otherwise or lost < rule.min_improvement - 1e-4:
        assert verdict == plain
    elif lost > rule.min_improvement + 1e-4 and plain.improvement is not None:
        assert "was trained otherwise" in verdict.reason
        assert verdict.promote == (plain.promote and rule.attended)
    assert (verdict.improvement, verdict.error) == (plain.improvement, plain.error)


@given(rules, pairs(), values)
def test_a_loss_of_another_training_is_the_same_seen_from_the_other_side(
    rule: Rule, sides: tuple[Scores, Scores], then: float
) -> None:
    flipped = replace(rule, direction=OPPOSITE[rule.direction])
    other = [changed(side, lambda x: -x) for side in sides]
    mirrored = judge(flipped, *other, Made(-then, FEWER))
    assert judge(rule, *sides, Made(then, FEWER)).promote == mirrored.promote
