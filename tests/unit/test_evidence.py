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
