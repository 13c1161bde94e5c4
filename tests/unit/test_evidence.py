"""Evidence that vanishes: what is missing never makes the gate easier, and is named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpo_lib.core.trial import Direction
from hpo_lib.evaluation.gate import Guard, Made, Rule, Scores, judge

SEEDS = 5
#: The champion is right on 160 of 200 rows, the challenger on 165: it won 8 of them and lost 3.
CHAMPION = [1.0] * 160 + [0.0] * 40
CHALLENGER = [1.0] * 157 + [0.0] * 3 + [1.0] * 8 + [0.0] * 32
CLEARLY_BETTER = [1.0] * 190 + [0.0] * 10
#: By default, people are asked if the verdict is unsure.
RULE = Rule("acc", Direction.MAXIMIZE, seeds=SEEDS)


def side(row: Sequence[float], seeds: int = SEEDS, **others: float) -> Scores:
    """Give a configuration whose final trials all score the same rows the same."""
    metrics = [{"acc": math.fsum(row) / len(row), **others}] * seeds
    return Scores(metrics, {"acc": [row] * seeds})


def without_file(whole: Scores, *at: int) -> Scores:
    """Take final trials' example scores away."""
    rows = [[] if one in at else row for one, row in enumerate(whole.examples["acc"])]
    return replace(whole, examples={"acc": rows})


def torn(whole: Scores, *at: int) -> Scores:
    """Make final trials' example scores unreadable."""
    why = dict.fromkeys(at, "/runs/7/trial-0012/holdout.json is no JSON, or is cut short")
    return replace(without_file(whole, *at), unread=why)


def with_metrics(whole: Scores, at: int, **metrics: float) -> Scores:
    """Change what a final trial scored."""
    found = [metrics if one == at else known for one, known in enumerate(whole.metrics)]
    return replace(whole, metrics=found)


ISSUE = side(CHALLENGER), side(CHAMPION)


def test_five_rows_won_of_200_are_no_proof() -> None:
    verdict = judge(RULE, *ISSUE)
    assert (verdict.promote, verdict.asks) == (False, False)
    assert verdict.improvement == pytest.approx(0.025)
    assert verdict.error == pytest.approx(0.017, abs=0.0005)


DAMAGED = {
    "a file of the challenger's": (without_file(ISSUE[0], 4), ISSUE[1]),
    "a file of the champion's": (ISSUE[0], without_file(ISSUE[1], 0)),
    "a torn file": (torn(ISSUE[0], 2), ISSUE[1]),
    "three files": (torn(ISSUE[0], 2), without_file(ISSUE[1], 1, 3)),
    "a whole final trial": (with_metrics(ISSUE[0], 1), ISSUE[1]),
}


@pytest.mark.parametrize("approval", ["none", "unsure", "manual"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_of_what_is_left_the_rows_still_count(damage: str, approval: Any) -> None:
    verdict = judge(replace(RULE, approval=approval), *DAMAGED[damage])
    assert (verdict.promote, verdict.asks) == (False, False)
    assert verdict.improvement == pytest.approx(0.025)
    assert verdict.error == pytest.approx(0.017, abs=0.0005)
    assert "took no part" in verdict.reason


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        (
            [CHALLENGER] * 4 + [CHALLENGER[:199]],
            [CHAMPION] * 5,
            "scored on 199 and 200 examples, so the hold-out was not the same: the challenger's "
            "final trial 5 of 5 on 199.",
        ),
        (
            [CHALLENGER] * 5,
            [CHAMPION[:198], CHAMPION, CHAMPION[:199], CHAMPION, CHAMPION],
            "the champion's final trials 1, 3 of 5 on 198 and 199.",
        ),
        (
            [*[CHALLENGER] * 3, [math.nan, *CHALLENGER[1:]], CHALLENGER],
            [CHAMPION] * 5,
            "the challenger's acc is 0.825 in final trial 4 of 5, which is not the mean of its "
            "example scores: score 1 of 200 is NaN.",
        ),
        (
            [CHALLENGER] * 5,
            [CHAMPION] * 4 + [[0.5] * 200],
            "the champion's acc is 0.8 in final trial 5 of 5, which is not the mean of its example "
            "scores, 0.5.",
        ),
    ],
)
def test_rows_that_contradict_are_refused_by_name(
    mine: list[list[float]], theirs: list[list[float]], said: str
) -> None:
    sides = [
        replace(one, examples={"acc": rows})
        for one, rows in zip(ISSUE, (mine, theirs), strict=True)
    ]
    for approval in ("none", "unsure", "manual"):
        verdict = judge(replace(RULE, approval=approval), *sides)
        assert not verdict.promising
        assert said in verdict.reason


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (
            without_file(side(CLEARLY_BETTER), 1, 3),
            "The challenger's final trials 2, 4 of 5 took no part, for want of scores of single "
            "examples of acc.",
        ),
        (
            torn(side(CLEARLY_BETTER), 2),
            "The challenger's final trial 3 of 5 took no part: /runs/7/trial-0012/holdout.json is "
            "no JSON, or is cut short.",
        ),
        (
            with_metrics(side(CLEARLY_BETTER), 4),
            "Final trial 5 of 5 took no part, for want of acc on at least one side.",
        ),
        (side(CLEARLY_BETTER, seeds=3), "Final trials 4, 5 of 5 took no part, for want of acc"),
    ],
)
@pytest.mark.parametrize("approval", ["none", "unsure"])
def test_what_is_better_by_what_is_left_is_not_promoted_unasked(
    left: Scores, said: str, approval: Any
) -> None:
    rule = replace(RULE, approval=approval)
    assert judge(rule, side(CLEARLY_BETTER), ISSUE[1]).promote
    verdict = judge(rule, left, ISSUE[1])
    assert (verdict.promote, verdict.asks) == (False, approval == "unsure")
    assert said in verdict.reason
    assert "What is missing might speak against it" in verdict.reason
    start = "Not promoted unless people approve: " if verdict.asks else "Not promoted: "
    assert verdict.reason.startswith(start)


def test_three_trials_alone_that_were_all_there_should_be_are_whole() -> None:
    rule = replace(RULE, seeds=3)
    assert judge(rule, side(CLEARLY_BETTER, seeds=3), side(CHAMPION, seeds=3)).promote


def test_of_two_pairs_that_are_left_of_five_people_decide_however_they_agree() -> None:
    metrics = side(CLEARLY_BETTER).metrics
    mine = Scores([*metrics[:2], {}, {}, {}])
    verdict = judge(RULE, mine, Scores(ISSUE[1].metrics))
    assert verdict.error == 0
    assert (verdict.promote, verdict.asks) == (False, True)
    assert not judge(replace(RULE, approval="none"), mine, Scores(ISSUE[1].metrics)).promising


def test_rows_of_one_pair_alone_are_too_few_and_the_others_are_named() -> None:
    verdict = judge(RULE, torn(ISSUE[0], 0, 1, 2, 3, 4), without_file(ISSUE[1], 0))
    assert not verdict.promising
    assert verdict.reason.startswith(
        "Not promoted: at least 2 seeds are needed to judge scores of single examples of acc, and "
        "there are 0; of 5 final trials that were asked for, 0 of the challenger's and 4 of the "
        "champion's left them. The challenger's final trial 1 of 5 took no part: /runs/7/"
    )
    assert "Nor did its final trials 4, 5 of 5, for such reasons." in verdict.reason
    assert verdict.reason.count("/runs/7/") == 3, "a hundred seeds make no longer a sentence"


@pytest.mark.parametrize("better_by", [1e-3, 0.5])
def test_without_any_rows_people_are_asked(better_by: float) -> None:
    """Where every seed gives the same, ± 0 would promote whatever is better."""
    mine, theirs = (Scores([{"acc": value}] * SEEDS) for value in (0.4 + better_by, 0.4))
    verdict = judge(RULE, mine, theirs)
    assert (verdict.promote, verdict.asks, verdict.error) == (False, True, 0)
    assert "is that of 5 seeds alone: without scores of single examples" in verdict.reason
    assert verdict.reason.endswith(
        "What the seeds agree on may be the luck of this one hold-out, so people are asked."
    )
    assert judge(replace(RULE, approval="none"), mine, theirs).promote
    assert judge(replace(RULE, approval="manual"), mine, theirs).promote
    assert not judge(RULE, theirs, mine).promising, "nobody is asked about what is worse"


def test_the_first_model_needs_no_rows_but_all_of_its_trials() -> None:
    assert judge(RULE, Scores(ISSUE[0].metrics), None).promote
    for left in (with_metrics(ISSUE[0], 3), torn(ISSUE[0], 3), without_file(ISSUE[0], 3)):
        verdict = judge(RULE, left, None)
        assert (verdict.promote, verdict.asks) == (False, True)
        assert "inal trial 4 of 5 took no part" in verdict.reason
        assert not judge(replace(RULE, approval="none"), left, None).promising


def test_a_guards_metric_that_is_missing_breaks_the_guard() -> None:
    rule = replace(RULE, guards=[Guard("mb", at_most=3)])
    mine = side(CLEARLY_BETTER, mb=2.0)
    assert judge(rule, mine, ISSUE[1]).promote
    for left in ({"acc": 0.95}, {"acc": 0.95, "mb": math.nan}):
        verdict = judge(rule, with_metrics(mine, 2, **left), ISSUE[1])
        assert not verdict.promising
        assert verdict.broken == (
            "The challenger's mb is not known for every seed: it is missing in the challenger's "
            "final trial 3 of 5.",
        )


def test_a_guard_that_one_final_trial_would_break_is_not_kept_by_losing_it() -> None:
    rule = replace(RULE, guards=[Guard("mb", at_most=3)])
    mine = side(CLEARLY_BETTER, mb=2.0)
    heavy = with_metrics(mine, 0, acc=mine.metrics[0]["acc"], mb=20.0)
    assert not judge(rule, heavy, ISSUE[1]).promising
    for champion in (ISSUE[1], None):
        verdict = judge(rule, with_metrics(heavy, 0), champion)
        assert (verdict.promote, verdict.asks) == (False, True)


@pytest.mark.parametrize(("score", "asks"), [(0.99, False), (None, True), (0.8, None)])
def test_a_champion_of_another_training_whose_score_is_forgotten_is_no_easier(
    score: float | None, asks: bool | None
) -> None:
    made = Made(score, ["fixed.epochs was 40, is 4"])
    verdict = judge(RULE, side(CLEARLY_BETTER), ISSUE[1], made)
    assert (verdict.promote, verdict.asks) == (asks is None, asks is True)
    assert ("What its acc was then is not known." in verdict.reason) is (score is None)
    unasked = judge(replace(RULE, approval="none"), side(CLEARLY_BETTER), ISSUE[1], made)
    assert unasked.promising is (asks is None)


# What is known of a final trial that takes no part is not forgotten.

APPROVALS = pytest.mark.parametrize("approval", ["none", "unsure", "manual"])


def right(*shares: float, **others: Sequence[float]) -> Scores:
    """Give a configuration that is right on these shares of 200 rows, by seed."""
    listed = {"acc": shares, **others}
    metrics = [{name: own[at] for name, own in listed.items()} for at in range(len(shares))]
    rows = [[1.0] * round(200 * one) + [0.0] * round(200 * (1 - one)) for one in shares]
    return Scores(metrics, {"acc": rows})


FAILED_ONCE, STEADY = right(0.85, 0.85, 0.85, 0.85, 0.45), right(0.8, 0.8, 0.8, 0.8, 0.8)
LESS_SURE = right(0.95, 0.95, 0.95, 0.95, 0.5)


@APPROVALS
@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        (
            without_file(FAILED_ONCE, 4),
            STEADY,
            "Over all 5 seeds whose acc is known, scores of single examples aside, it is 0.77 for "
            "the challenger and 0.8 for the champion. It is worse by 0.03 ± 0.08.",
        ),
        (torn(FAILED_ONCE, 4), STEADY, "Over all 5 seeds"),
        (FAILED_ONCE, without_file(STEADY, 4), "Over all 5 seeds"),
        (without_file(FAILED_ONCE, 4), without_file(STEADY, 4), "It is worse by 0.03 ± 0.08."),
        # The champion's best seed, which the challenger does not reach.
        (right(*[0.85] * 5), without_file(right(*[0.8] * 3, 1, 1), 3, 4), "by 0.03 ± 0.04"),
        # Better in the mean, and not surely so.
        (
            without_file(LESS_SURE, 4),
            STEADY,
            "0.86 for the challenger and 0.8 for the champion. It "
            "is better by 0.06 ± 0.09, which does not exceed the uncertainty at 95 % confidence",
        ),
        # The metric is lost and the file is not, which says the same.
        (with_metrics(FAILED_ONCE, 4), STEADY, "it is 0.77 for the challenger and 0.8 for the"),
        (
            with_metrics(FAILED_ONCE, 4, loss=3.0),
            without_file(STEADY, 0),
            "0.77 for the challenger",
        ),
    ],
)
def test_the_known_scores_of_all_seeds_have_to_hold(
    mine: Scores, theirs: Scores, said: str, approval: Any
) -> None:
    verdict = judge(replace(RULE, approval=approval), mine, theirs)
    assert not verdict.promising
    assert said in verdict.reason
    assert "took no part" in verdict.reason
    assert "are asked" not in verdict.reason


def test_the_known_scores_have_to_be_better_by_min_improvement_too() -> None:
    mine, enough = without_file(right(0.9, 0.9, 0.9, 0.9, 0.8), 4), replace(RULE, approval="manual")
    assert judge(enough, mine, STEADY).promote
    verdict = judge(replace(enough, min_improvement=0.08), mine, STEADY)
    assert not verdict.promising
    assert "is better by 0.08 ± 0.02, which does not exceed min_improvement (0.08)." in (
        verdict.reason
    )


def test_what_a_side_scored_alone_is_told() -> None:
    """It cannot be compared, as nothing is known of the other side with this seed."""
    theirs = Scores([*STEADY.metrics[:3], {}, {}], {"acc": STEADY.examples["acc"][:3]})
    verdict = judge(RULE, FAILED_ONCE, theirs)
    assert (verdict.promote, verdict.asks) == (False, True)
    assert (
        "Final trials 4, 5 of 5 took no part, for want of acc on at least one side. In final "
        "trials 4, 5 of 5 the challenger's acc is 0.65 in the mean."
    ) in verdict.reason


def test_a_score_that_is_lost_and_was_not_finite_is_known_by_its_rows() -> None:
    rows = [*FAILED_ONCE.examples["acc"][:4], [math.nan] * 200]
    mine = replace(with_metrics(FAILED_ONCE, 4), examples={"acc": rows})
    verdict = judge(RULE, mine, STEADY)
    assert not verdict.promising
    assert "the challenger's acc was NaN in final trial 5 of 5" in verdict.reason


GAPS = (0.05, 5.0, 0.05, 0.05, 0.05)
HEAVY = right(*[0.95] * 5, gap=GAPS)
LIGHT = right(*[0.8] * 5, gap=[0.05] * 5)


@APPROVALS
@pytest.mark.parametrize(
    "guard",
    [Guard("gap", at_most=0.1), Guard("gap", not_worse_than=0.1, direction=Direction.MINIMIZE)],
)
@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (HEAVY, LIGHT),
        (HEAVY, without_file(LIGHT, 1)),
        (without_file(HEAVY, 1), LIGHT),
        (torn(HEAVY, 1), torn(LIGHT, 1, 2)),
        (with_metrics(HEAVY, 1, gap=5.0), LIGHT),
        (HEAVY, with_metrics(LIGHT, 1, gap=0.05)),
        (without_file(HEAVY, *range(5)), without_file(LIGHT, *range(5))),
    ],
)
def test_a_guard_is_over_all_seeds_whatever_rows_there_are(
    mine: Scores, theirs: Scores, guard: Guard, approval: Any
) -> None:
    verdict = judge(replace(RULE, approval=approval, guards=[guard]), mine, theirs)
    assert not verdict.promising
    assert len(verdict.broken) == 1
    assert "The challenger's gap is 1.04, " in verdict.broken[0]


@APPROVALS
@pytest.mark.parametrize("mine", [HEAVY, without_file(HEAVY, 1), with_metrics(HEAVY, 1, gap=5.0)])
def test_a_guard_is_over_all_seeds_of_a_first_model_too(mine: Scores, approval: Any) -> None:
    rule = replace(RULE, approval=approval, guards=[Guard("gap", at_most=0.1)])
    verdict = judge(rule, mine, None)
    assert not verdict.promising
    assert verdict.broken == ("The challenger's gap is 1.04, more than 0.1 (at_most).",)
    assert "acc is 0.95 over 5 seeds, and there is no champion" in verdict.reason


@pytest.mark.parametrize("left", [{"acc": 0.95}, {"loss": 0.3}, {"acc": 0.95, "gap": math.inf}])
def test_a_guards_metric_is_missing_where_a_trial_left_anything_else(
    left: dict[str, float],
) -> None:
    rule = replace(RULE, guards=[Guard("gap", at_most=9)], approval="manual")
    assert judge(rule, HEAVY, LIGHT).promote
    verdict = judge(rule, with_metrics(HEAVY, 1, **left), without_file(LIGHT, 1))
    assert "the challenger's final trial 2 of 5." in verdict.broken[0]


def test_a_champion_that_fails_with_a_seed_can_be_replaced_by_people() -> None:
    behind = Guard("gap", not_worse_than=9, direction=Direction.MINIMIZE)
    failing = without_file(with_metrics(LIGHT, 1, acc=math.nan), 1)
    verdict = judge(replace(RULE, guards=[behind]), HEAVY, failing)
    assert (verdict.promote, verdict.asks) == (False, True)


@APPROVALS
@pytest.mark.parametrize("lost", [(1,), (0, 1), (1, 2, 4)])
def test_a_proof_stays_one_without_the_file_of_the_other_side(
    lost: tuple[int, ...], approval: Any
) -> None:
    rule, theirs = replace(RULE, approval=approval), without_file(STEADY, *lost)
    other, short = right(*[0.95] * 5), right(*[0.95] * 5)
    other = with_metrics(other, 1, acc=0.5)
    verdict = judge(rule, other, theirs)
    assert not verdict.promising
    assert "0.5 in final trial 2 of 5, which is not the mean of its example" in verdict.reason
    rows = [row[at == 1 :] for at, row in enumerate(short.examples["acc"])]
    verdict = judge(rule, replace(short, examples={"acc": rows}), theirs)
    assert not verdict.promising
    assert "the challenger's final trial 2 of 5 on 199." in verdict.reason


def test_a_champions_loss_by_another_training_is_over_all_of_its_scores() -> None:
    """Its file of the seed that shows the loss is what is lost."""
    made = Made(0.8, ["fixed.epochs was 40, is 4"])
    theirs = right(0.8, 0.8, 0.8, 0.8, 0.4)
    for left in (theirs, without_file(theirs, 4)):
        verdict = judge(RULE, right(*[0.95] * 5), left, made)
        assert not verdict.promising
        assert "was 0.8 then and is 0.72 as trained now, worse by 0.08" in verdict.reason


@pytest.mark.parametrize(
    ("approval", "promote", "asks"),
    [("none", False, False), ("unsure", False, True), ("manual", True, False)],
)
def test_rows_that_there_were_when_the_champion_was_made_are_missing(
    approval: Any, promote: bool, asks: bool
) -> None:
    rule, everything = replace(RULE, approval=approval), range(SEEDS)
    left = [without_file(one, *everything) for one in ISSUE]
    verdict = judge(rule, *left, Made(0.8, examples=200))
    assert (verdict.promote, verdict.asks) == (promote, asks)
    assert (
        "The final trials leave no scores of single examples any more; they did when the champion "
        "was made, of 200 hold-out examples. What is missing might speak against it, "
    ) in verdict.reason
    assert judge(replace(RULE, approval="none"), *left, Made(0.8)).promote, "nothing says so"
    whole = side(CLEARLY_BETTER), ISSUE[1]
    assert judge(RULE, *whole, Made(0.8, examples=100)).promote, "it is another hold-out"


# The property: with all of its evidence the gate is easiest.

bits = st.lists(st.sampled_from([0.0, 1.0]), min_size=8, max_size=8)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rule, Scores, Scores | None, Made | None]:
    """Draw whole evidence: with rows, and with a metric that a guard looks at."""
    seeds = draw(st.integers(2, 4))
    behind = Guard("mb", not_worse_than=1, direction=Direction.MINIMIZE)
    guards = draw(st.sampled_from([[], [], [Guard("mb", at_most=3)], [behind]]))
    rule = Rule(
        "acc",
        Direction.MAXIMIZE,
        draw(st.sampled_from([0.0, 0.1])),
        draw(st.sampled_from([0.5, 0.5, 0.95])),
        guards,
        draw(st.sampled_from(["none", "unsure"])),
        seeds,
    )
    same = draw(st.booleans())
    mine, theirs = (drawn(draw, seeds, same) for _ in range(2))
    made = st.builds(Made, st.floats(0, 1), st.sampled_from([[], ["image was a, is b"]]))
    return rule, mine, draw(st.sampled_from([None, theirs, theirs])), draw(st.none() | made)


def drawn(draw: st.DrawFn, seeds: int, same: bool) -> Scores:
    """Draw a side, with rows that are the same with every seed or not."""
    row = draw(bits)
    rows = [row if same else draw(bits) for _ in range(seeds)]
    metrics = [
        {"acc": math.fsum(one) / len(one), "mb": draw(st.sampled_from([1.0, 2.0, 9.0]))}
        for one in rows
    ]
    return Scores(metrics, {"acc": rows})


def damaged(draw: st.DrawFn, whole: Scores) -> Scores:
    """Take something away from some final trials of a side."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(whole.metrics) - 1))
        match draw(st.sampled_from(["file", "torn", "rows", "trial", "metric", "guard"])):
            case "file":
                whole = without_file(whole, at)
            case "torn":
                unread = {**whole.unread, at: "it is torn"}
                whole = replace(whole, unread=unread)
            case "rows":
                rows = list(whole.examples["acc"])
                rows[at] = rows[at][: draw(st.integers(0, 7))]
                whole = replace(whole, examples={"acc": rows})
            case "trial":
                whole = without_file(with_metrics(whole, at), at)
            case "metric":
                whole = with_metrics(whole, at, mb=1.0)
            case _:
                known = {k: v for k, v in whole.metrics[at].items() if k != "mb"}
                whole = with_metrics(whole, at, **known)
    return whole


@settings(max_examples=200)
@given(cases(), st.data())
def test_no_verdict_gets_easier_when_evidence_is_taken_away(
    case: tuple[Rule, Scores, Scores | None, Made | None], data: st.DataObject
) -> None:
    """Where all files are lost, `none` cannot know that there were any: that is its price."""
    rule, mine, theirs, made = case
    left = damaged(data.draw, mine), theirs and damaged(data.draw, theirs)
    if made is not None and data.draw(st.booleans()):
        made = replace(made, score=None)
    if data.draw(st.booleans()):
        last = -1 if len(mine.metrics) > 2 else None
        left = shortened(left[0], last), left[1] and shortened(left[1], last)
    seen = [one for one in left if one is not None]
    if rule.approval == "none" and not any(one.unread or any(one.examples["acc"]) for one in seen):
        return
    whole, now = judge(rule, mine, theirs, case[3]), judge(rule, *left, made)
    assert now.promote <= whole.promote
    if now.promote:
        assert (now.improvement, now.error) == (whole.improvement, whole.error)


@settings(max_examples=200)
@given(cases(), st.sampled_from(["none", "unsure", "manual"]), st.data())
def test_files_that_vanish_never_hide_what_is_known(
    case: tuple[Rule, Scores, Scores | None, Made | None], approval: Any, data: st.DataObject
) -> None:
    """The metrics stay: what they refuse by themselves is refused, and each guard stays broken."""
    rule, (_, mine, theirs, made) = replace(case[0], approval=approval), case
    at = st.sets(st.integers(0, rule.seeds - 1), max_size=rule.seeds)
    take = data.draw(st.sampled_from([without_file, torn]))
    left = take(mine, *data.draw(at)), theirs and take(theirs, *data.draw(at))
    whole, now = judge(rule, mine, theirs, made), judge(rule, *left, made)
    bare = [one and replace(one, examples={}) for one in (mine, theirs)]
    by_scores = judge(replace(rule, approval="manual"), bare[0] or mine, bare[1], made)
    assert now.promising <= by_scores.promote
    if now.improvement is not None:
        assert now.broken == whole.broken
    if approval != "manual":
        assert now.promote <= whole.promote or not any(left[0].examples["acc"])


@given(st.data(), st.sampled_from(["none", "unsure", "manual"]), st.booleans())
def test_a_proof_stays_one_while_its_file_is_there(
    data: st.DataObject, approval: Any, first: bool
) -> None:
    wrong = data.draw(st.integers(0, SEEDS - 1))
    mine = with_metrics(side(CLEARLY_BETTER), wrong, acc=0.5)
    at = st.sets(st.integers(0, SEEDS - 1))
    theirs = None if first else without_file(ISSUE[1], *data.draw(at))
    verdict = judge(
        replace(RULE, approval=approval), without_file(mine, *data.draw(at) - {wrong}), theirs
    )
    assert not verdict.promising


@given(st.data(), st.booleans())
def test_unasked_only_all_of_the_evidence_promotes(data: st.DataObject, first: bool) -> None:
    mine, theirs = side(CLEARLY_BETTER, mb=1.0), None if first else side(CHAMPION, mb=1.0)
    rule = replace(RULE, guards=[Guard("mb", at_most=3)])
    left = damaged(data.draw, mine), theirs and damaged(data.draw, theirs)
    assert judge(rule, mine, theirs).promote
    harmless = left[0] == mine and [_scored(left[1])] == [_scored(theirs)]
    assert judge(rule, *left).promote is harmless


def _scored(whole: Scores | None) -> object:
    """Give what counts of a champion: no guard looks at its other metrics."""
    if whole is None:
        return None
    counts = [{name: one[name] for name in one.keys() & {"acc"}} for one in whole.metrics]
    return replace(whole, metrics=counts)


def shortened(whole: Scores, last: int | None) -> Scores:
    """Take the last final trial away as if nobody had asked for it."""
    return replace(
        whole, metrics=whole.metrics[:last], examples={"acc": whole.examples["acc"][:last]}
    )


@given(st.sets(st.integers(0, SEEDS - 1), min_size=1), st.sets(st.integers(0, SEEDS - 1)))
@example({0, 1, 2, 3, 4}, {0, 1, 2, 3, 4})
def test_the_case_of_200_rows_is_never_promoted_by_losing_files(
    mine: set[int], theirs: set[int]
) -> None:
    verdict = judge(RULE, without_file(ISSUE[0], *mine), without_file(ISSUE[1], *theirs))
    assert not verdict.promote
    nothing_left = len(mine) == len(theirs) == SEEDS
    assert verdict.asks is nothing_left
