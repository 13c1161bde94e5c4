"""What the report advises: importance, edges, a narrower space that loads, what is left to gain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import factories
import pytest
import yaml

from hpo_lib.core.trial import Cause, Origin, Value
from hpo_lib.records import RunView
from hpo_lib.report import importance_of, with_importance
from hpo_lib.report.advice import Next
from hpo_lib.report.at_rungs import ENOUGH
from hpo_lib.report.data import data_of
from hpo_lib.report.facts import Facts
from hpo_lib.report.importance import ROUNDS, Importance, Method
from hpo_lib.report.narrower import Range
from hpo_lib.spec import load

SPACE: dict[str, Any] = {
    "rate": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
    "layers": {"type": "int", "low": 1, "high": 9},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
    "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
    "power": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": ["b"]}},
}


def made(trials: int = 60, best_rate: float = -3.0, least: float = 0.0) -> RunView:
    """Make a run whose loss is the distance of the rate's decade from the best, and of kind a.

    No loss is below `least`.
    """
    random, views = Random(5), []
    for number in range(trials):
        decade = random.uniform(-5, -1)
        params: dict[str, Value] = {
            "rate": 10**decade,
            "layers": random.randint(1, 9),
            "dropout": round(random.randrange(6) / 10, 1),
            "kind": "abc"[number % 3],
        }
        if params["kind"] == "b":
            params["power"] = random.random()
        loss = max(abs(decade - best_rate) + 0.5 * (params["kind"] != "a"), least)
        views.append(factories.view(factories.trial(number, loss, params=params)))
    objective = {"metric": "loss", "direction": "minimize"}
    changes = {"space": SPACE, "objective": objective, "extra_metrics": []}
    return RunView(factories.run(factories.SPEC | changes), views)


def test_the_parameter_that_makes_the_loss_is_named_by_every_method() -> None:
    (found,) = importance_of(made())
    assert found.agreed
    assert found.parameters[0] == "rate"
    assert {method.name for method in found.methods} == {
        "fANOVA",
        "PED-ANOVA",
        "mean decrease in impurity",
    }
    for method in found.methods:
        assert math.fsum(method.share) == pytest.approx(1.0)
        shares = zip(method.low, method.share, method.high, strict=True)
        assert all(low <= share <= high for low, share, high in shares)
    assert found.said.startswith("rate mattered most for loss: ")
    assert found.dump(["kind", "rate"], ["loss"])["parameters"][0] == 1


def test_what_sets_the_others_apart_is_seen_where_most_trials_are_equally_good() -> None:
    view = made(least=1.9)
    losses = [one.trial.value for one in view.trials]
    assert losses.count(1.9) > 0.75 * len(losses)
    (found,) = importance_of(view)
    for method in found.methods:
        assert math.fsum(method.share) == pytest.approx(1.0), method.name
    assert found.parameters[0] == "rate"


def of_losses(losses: Sequence[float]) -> RunView:
    """Give the trials of a run these losses."""
    view = made(len(losses))
    trials = [
        replace(one, trial=replace(one.trial, value=loss, metrics={"loss": loss}))
        for one, loss in zip(view.trials, losses, strict=True)
    ]
    return replace(view, trials=trials)


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([1.0] * 59 + [0.0], id="one-better"),
        pytest.param([1.0] * 58 + [0.0] * 2, id="two-better"),
        pytest.param([0.0] * 59 + [1.0], id="one-worse"),
        pytest.param([1.0] * 9 + [1.0 + 2**-52], id="by-a-bit"),
        pytest.param([-1.7e308] * 5 + [1.7e308] * 5, id="of-any-size"),
        pytest.param([5e-324] * 9 + [0.0], id="next-to-nothing"),
    ],
)
def test_losses_that_hardly_differ_cost_no_report(losses: list[float]) -> None:
    """Trials drawn again often have one loss only, of which a method can say nothing."""
    view = of_losses(losses)
    found = importance_of(view)
    for method in (method for one in found for method in one.methods):
        assert math.fsum(method.share) == pytest.approx(1.0)
        assert all(math.isfinite(share) for share in [*method.low, *method.high])
        assert method.first <= ROUNDS
    assert with_importance(view)


def test_nothing_is_said_of_few_trials_or_of_equal_ones() -> None:
    assert importance_of(made(ENOUGH - 1)) == []
    alike = [factories.view(factories.trial(n, 0.5)) for n in range(20)]
    assert importance_of(RunView(factories.run(), alike)) == []
    assert importance_of(factories.refused_run()) == []


def test_where_few_are_complete_a_rung_says_what_parameters_do() -> None:
    """Of 24 trials 14 have been at epoch 3, and two at their end."""
    view = drawn(factories.rungs_run([1] * 10 + [3] * 12 + [9] * 2))
    (found,) = importance_of(view)
    assert (found.metric, found.trials) == ("val_auc at epoch 3", 14)
    assert data_of(view, [found])["importance"][0]["said"] == found.said
    (found,) = importance_of(drawn(factories.rungs_run([1] * 10 + [9] * 12)))
    assert (found.metric, found.trials) == ("val_auc", 12)
    assert importance_of(drawn(factories.rungs_run([1] * 9))) == []
    assert importance_of(factories.rungs_run([9] * 12)) == [], "none is a point of the space"


def drawn(view: RunView) -> RunView:
    """Give the trials of a run points of its space."""
    fixed = {"units": 64, "optimizer": "adam", "batch_size": 32, "dropout": 0.1, "decay": 0.9}
    rates = [1e-4 * (1 + number) for number in range(len(view.trials))]
    points = [{"learning_rate": rate, **fixed} for rate in rates]
    trials = [
        replace(one, trial=replace(one.trial, params=point))
        for one, point in zip(view.trials, points, strict=True)
    ]
    return replace(view, trials=trials)


def test_methods_that_differ_are_told_with_what_they_ask() -> None:
    methods = [Method("fANOVA", [0.8, 0.2], [], [], 8), Method("PED-ANOVA", [0.4, 0.6], [], [], 3)]
    found = Importance("loss", 30, ["rate", "power"], methods, frozenset({"power"}))
    assert not found.agreed
    assert "fANOVA rate; PED-ANOVA power" in found.said
    assert "power counts on one branch of the space only" in found.said
    unsure = " ".join(Next.of(made(), [found]).unsure)
    assert "Which parameter matters most for loss hangs on" in unsure


def test_a_narrower_space_holds_the_best_trial_and_loads() -> None:
    view = made()
    proposed = Next.of(view).narrower
    assert proposed is not None
    space = yaml.safe_load(proposed.yaml)["space"]
    spec = load({**view.run.document, "space": space})
    best = view.trials[view.front[0]].trial.params
    kept = spec.search_space.canonical(best)
    assert kept["rate"] == pytest.approx(best["rate"])
    assert kept.keys() == best.keys()
    assert 1e-5 < space["rate"]["low"] < 1e-3 < space["rate"]["high"] < 0.1
    assert "rate" in proposed.changes


def test_choices_that_none_of_the_best_used_go_unless_a_condition_needs_them() -> None:
    proposed = Next.of(made(200)).narrower
    assert proposed is not None
    kinds = proposed.space["kind"]["choices"]
    assert "a" in kinds
    assert "b" in kinds, "power is there for b only, so that the space would not load without"


@pytest.mark.parametrize(("best_rate", "end"), [(-5.5, "lower"), (-0.5, "upper"), (-3.0, None)])
def test_a_best_value_at_the_end_of_its_range_is_told(best_rate: float, end: str | None) -> None:
    told = [one for one in Next.of(made(200, best_rate)).edges if one.startswith("rate")]
    assert [f"the {end} end" in one for one in told] == ([True] if end else [])


@pytest.mark.parametrize(
    ("scale", "low", "high", "middle"),
    [("linear", 0, 10, 5), ("log", 1e-4, 1, 1e-2), ("reverse_log", 0.9, 0.9999, 1 - 10**-2.5)],
)
def test_a_range_knows_its_scale(scale: str, low: float, high: float, middle: float) -> None:
    found = Range("x", low, high, scale)
    assert found.place(middle) == pytest.approx(0.5)
    assert found.value(0.5) == pytest.approx(middle)


def test_more_trials_pay_less_the_nearer_the_best_is() -> None:
    few, many = Next.of(made(15)).left, Next.of(made(150)).left
    assert few is not None
    assert many is not None
    assert 0 <= many.expected < few.expected
    assert "the next one, well chosen, is expected to improve loss by" in few.told
    assert Next.of(factories.front_run()).left is None
    assert Next.of(factories.failed_run()).left is None


def test_resources_are_told_by_cause_and_with_how_many_trials() -> None:
    lost: Mapping[str, Any] = {"cause": Cause.OUT_OF_MEMORY, "reason": "used more than 3 GiB"}
    views = [factories.view(factories.trial(n, **lost)) for n in range(2)]
    others = factories.good_run(4, fail=0.0).trials
    told = Next.of(RunView(factories.run(), [*views, *others])).resources
    said = "2 trials of 6 failed for out of memory: ask for more"
    assert any(one.startswith(said) for one in told)


def test_every_run_has_advice_or_none() -> None:
    for view in (factories.refused_run(), RunView(factories.run()), factories.good_run(1)):
        found = Next.of(view)
        assert found.narrower is None
        assert found.left is None
        assert found.edges == [] or Facts.of(view).front


def test_a_narrow_lead_is_told_unless_a_final_training_has_settled_it() -> None:
    values = [0.9, 0.9, 0.5, 0.4, 0.3, 0.2]
    trials = [factories.view(factories.trial(n, value)) for n, value in enumerate(values)]
    view = RunView(factories.run(), trials)
    again = "another seed may change their order. A final training with repeats would tell."
    assert f"Trials 0 and 1 are level; {again}" in Next.of(view).unsure
    ahead = [factories.view(factories.trial(0, 0.9001)), *trials[1:]]
    assert (
        f"Trial 0 leads trial 1 by 0.0001 only; {again}"
        in Next.of(replace(view, trials=ahead)).unsure
    )
    final = factories.view(replace(factories.trial(6, 0.9), origin=Origin.FINAL))
    assert not any(again in one for one in Next.of(replace(view, finals=[final])).unsure)
