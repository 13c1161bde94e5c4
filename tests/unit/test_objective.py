"""Goal and constraints: what is best, feasible and on the front, and what is refused."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import Cause, Direction, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.spec.outline import Outline

DOWN, UP = Direction.MINIMIZE, Direction.MAXIMIZE


def complete(number: int, value: float, **metrics: float) -> Trial:
    return Trial(number, {"x": number}, TrialState.COMPLETE, value, metrics=metrics)


class TestConstraint:
    @pytest.mark.parametrize(
        ("text", "metrics", "excess"),
        [
            ("loss <= 1", {"loss": 0.75}, -0.25),
            ("loss <= 1", {"loss": 1.0}, 0.0),
            ("loss >= 1", {"loss": 0.75}, 0.25),
            ("val_loss - loss <= 0.01", {"val_loss": 1.0, "loss": 0.5}, 0.49),
            ("0 <= loss", {"loss": -2}, 2.0),
            ("abs(a - b) <= 2 * -(c) + +3", {"a": 1, "b": 5, "c": 1}, 3.0),
            ("a / b <= 1", {"a": 4, "b": 2}, 1.0),
            ('"val/f1-score" >= 0.5', {"val/f1-score": 0.25}, 0.25),
            # What cannot be known counts as exceeded.
            ("a / b <= 1", {"a": 4, "b": 0}, math.inf),
            ("a <= 1", {}, math.inf),
            ("a - b <= 1", {"a": math.inf, "b": math.inf}, math.inf),
            ("a <= 1", {"a": math.nan}, math.inf),
        ],
    )
    def test_excess(self, text: str, metrics: dict[str, float], excess: float) -> None:
        assert Constraint.parse(text).excess(metrics) == pytest.approx(excess)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a <= 2", None),
            ("a <= 0.5", "a <= 0.5 is exceeded by 0.5"),
            ("a / 0 <= 1", "a / 0 <= 1 has no finite value"),
        ],
    )
    def test_broken_says_by_how_much(self, text: str, said: str | None) -> None:
        assert Constraint.parse(text).broken({"a": 1.0}) == said

    @pytest.mark.parametrize(
        "text",
        [
            *("", "a", "a < 1", "a == 1", "a <= 1 <= 2", "a <= b <= 1", "a <=", "(a <= 1)()"),
            *("a ** 2 <= 1", "a if a else b <= 1", "f(a) <= 1", "abs(a, b) <= 1", "abs(x=a) <= 1"),
            *("a.b <= 1", "a[0] <= 1", "[a] <= 1", "lambda: a <= 1", "True <= a", "1e999 <= a"),
            *("a and b <= 1", "not a <= 1", "a; b <= 1", "import os", "f'{a}' <= 1", "b'a' <= 1"),
            *("1j <= a", "None <= a", "a <= 1\0", "a % 2 <= 1", "~a <= 1", "(b := a) <= 1"),
            *("a" * 300 + " <= 1", "-" * 100 + "a <= 1", "(" * 150 + "a", "1 <= 2"),
            *("__import__('os').system('x') <= 1", "abs <= 1", "abs(1) <= 2"),
            *("abs - a <= 1", "a <= 1 # b", "a <= 1 # \x1b[31m", "'\x1b[31m' <= 1"),
        ],
    )
    def test_whatever_is_not_arithmetic_is_refused(self, text: str) -> None:
        with pytest.raises(SpecError):
            Constraint.parse(text)

    def test_spaces_do_not_matter(self) -> None:
        one = Constraint.parse(" a -  b\n <= 1 ")
        assert one == Constraint.parse("a - b <= 1")
        assert one.metrics == {"a", "b"}

    @given(st.text("ab01.+-*/()<>=\"' \n", max_size=40))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            read = Constraint.parse(text)
        except SpecError:
            return
        assert isinstance(ast.parse(read.text, mode="eval").body, ast.Compare)
        assert isinstance(read.excess(dict.fromkeys(read.metrics, 1.0)), float)


class TestGoal:
    def test_losses_follow_the_directions(self) -> None:
        goal = Goal((("loss", DOWN), ("auc", UP)))
        assert goal.losses(complete(1, 0.5, loss=9.0, auc=0.75)) == (0.5, -0.75)
        assert goal.values(complete(1, 0.5, loss=9.0, auc=0.75)) == (0.5, 0.75)

    @pytest.mark.parametrize(
        "trial",
        [
            Trial(1, {}),
            Trial(1, {}, TrialState.FAILED, cause=Cause.USER_ERROR, metrics={"auc": 1.0}),
            complete(1, 0.5),
            complete(1, 0.5, auc=math.nan),
            complete(1, math.inf, auc=1.0),
        ],
    )
    def test_a_trial_that_lacks_a_value_has_no_losses(self, trial: Trial) -> None:
        goal = Goal((("loss", DOWN), ("auc", UP)))
        assert goal.losses(trial) is None
        assert goal.best([trial]) is None
        assert goal.front([trial]) == goal.ranked([trial]) == []

    def test_the_best_is_feasible_and_the_earliest_of_equals(self) -> None:
        goal = Goal((("auc", UP),), (Constraint.parse("gap <= 0.1"),))
        trials = [complete(3, 0.9, gap=0.2), complete(2, 0.8, gap=0.1), complete(1, 0.8, gap=0.0)]
        best = goal.best(trials)
        assert best is not None
        assert best.number == 1
        assert [trial.number for trial in goal.front(trials)] == [1]

    def test_of_equals_the_earliest_is_on_the_front(self) -> None:
        goal = Goal.of(DOWN, DOWN)
        trials = [complete(n, 1.0, objective_2=2.0) for n in (3, 1, 2)]
        assert [trial.number for trial in goal.front(trials)] == [1]

    def test_the_nearest_to_feasible_is_found_whatever_the_units(self) -> None:
        constraints = tuple(map(Constraint.parse, ("gap <= 0.1", "bytes <= 1000", "a / b <= 1")))
        goal = Goal((("auc", UP),), constraints)
        trials = [
            complete(1, 0.9, gap=0.3, bytes=1000, a=1, b=1),
            complete(2, 0.1, gap=0.15, bytes=2000, a=1, b=1),
            complete(3, 0.2, gap=0.1, bytes=5000, a=1, b=1),
            complete(4, 0.2, gap=0.1, bytes=0, a=1, b=0),
        ]
        assert [trial.number for trial in goal.ranked(trials)] == [2, 1, 3, 4]
        ranked = goal.ranked([*trials, complete(5, 0.01, gap=0, bytes=0, a=0, b=1)])
        assert ranked[0].number == 5

    def test_metrics_are_those_that_every_complete_trial_needs(self) -> None:
        goal = Goal(
            (("b", DOWN), ("a", UP)), tuple(map(Constraint.parse, ("c - a <= 1", "d >= 0")))
        )
        assert goal.metrics == ["b", "a", "c", "d"]

    @pytest.mark.parametrize(
        "spec",
        [
            {},
            {"objective": []},
            {"objective": "loss"},
            {"objective": [None]},
            {"objective": {"metric": "loss"}},
            {"objective": {"metric": "loss", "direction": "up"}},
            {"objective": {"metric": "loss", "direction": "minimize"}, "constraints": ["loss"]},
            {"objective": {"metric": "loss", "direction": "minimize"}, "constraints": 5},
        ],
    )
    def test_a_spec_that_does_not_say_has_no_goal(self, spec: dict[str, Any]) -> None:
        assert Outline.of(spec).goal is None


_ROW = st.tuples(*[st.integers(-3, 3)] * 4)


@given(st.lists(_ROW, max_size=25), st.tuples(*[st.sampled_from(Direction)] * 3))
def test_the_front_holds_what_no_other_feasible_trial_dominates(
    rows: list[tuple[int, ...]], directions: tuple[Direction, ...]
) -> None:
    goal = Goal.of(*directions, constraints=[Constraint.parse("gap <= 0")])
    trials = [
        complete(number, float(a), objective_2=float(b), objective_3=float(c), gap=float(gap))
        for number, (a, b, c, gap) in enumerate(rows, 1)
    ]
    feasible = [trial for trial in trials if trial.metrics["gap"] <= 0]
    front = goal.front(trials)
    assert {goal.losses(trial) for trial in front} == {
        goal.losses(one)
        for one in feasible
        if not any(_dominates(goal.losses(other), goal.losses(one)) for other in feasible)
    }
    assert len({goal.losses(trial) for trial in front}) == len(front)
    assert [trial.number for trial in front] == sorted(trial.number for trial in front)
    ranked = goal.ranked(trials)
    assert len(ranked) == len(trials)
    assert [goal.feasible(trial) for trial in ranked] == sorted(
        (goal.feasible(trial) for trial in trials), reverse=True
    )
    assert goal.best(trials) == (ranked[0] if feasible else None)


def _dominates(a: Any, b: Any) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
