"""The document that charts are drawn from: columns of one length, bounded, of any run."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import factories
import pytest

from hpo_lib.core.trial import Cause, Observation, TrialState
from hpo_lib.records import AttemptState, RunView
from hpo_lib.report import assets
from hpo_lib.report.data import MAX_CELLS, data_of, text_of
from hpo_lib.report.series import looked_at

RUNS = {
    "good": factories.good_run(12),
    "a front": factories.front_run(),
    "rungs": factories.rungs_run(),
    "all failed": factories.failed_run(),
    "refused": factories.refused_run(),
    "no trial": RunView(factories.run()),
    "spec of nonsense": RunView(
        factories.run({"space": 3, "objective": []}, check=False), factories.good_run(5).trials
    ),
}


@pytest.mark.parametrize("view", RUNS.values(), ids=RUNS.keys())
def test_every_run_has_columns_of_one_length(view: RunView) -> None:
    found = json.loads(text_of(data_of(view)))
    trials = found["trials"]
    assert trials["number"] == [one.trial.number for one in view.trials]
    per_row = [trials[name] for name in ("state", "duration_s", "ended_s", "wave")]
    columns = [*per_row, *trials["params"], *trials["metrics"]]
    assert {len(column) for column in columns} == {len(view.trials)}
    assert len(trials["params"]) == len(found["parameters"])
    assert len(trials["metrics"]) == len(found["metrics"])
    attempts = found["attempts"]
    assert len({len(attempts[name]) for name in ("row", "state", "lane", "start_s")}) == 1


def test_values_are_numbers_of_five_digits_and_places_among_choices() -> None:
    made = factories.trial(
        0,
        0.123456789,
        params={"learning_rate": 0.0123456789, "units": 64, "optimizer": "sgd"},
        metrics={"loss": math.nan, "val_loss": 1.0},
    )
    found = data_of(RunView(factories.run(), [factories.view(made)]))
    by_name = {one["name"]: place for place, one in enumerate(found["parameters"])}
    params = found["trials"]["params"]
    assert params[by_name["learning_rate"]] == [0.012346]
    assert params[by_name["units"]] == [64]
    assert params[by_name["optimizer"]] == [2]
    assert params[by_name["momentum"]] == [None]
    assert found["parameters"][by_name["units"]]["whole"]
    assert not found["parameters"][by_name["momentum"]]["whole"]
    assert found["trials"]["metrics"][0] == [0.12346]
    assert found["trials"]["metrics"][found["metrics"].index("loss")] == [None]


def test_what_stopped_trials_had_at_a_rung_is_a_metric() -> None:
    found = data_of(factories.rungs_run([1, 9, 3, 1]))
    partial = [found["metrics"][at] for at in found["partial"]]
    assert partial == ["val_auc at epoch 1", "val_auc at epoch 3"], "all at 9 are complete"
    low, high = (found["trials"]["metrics"][at] for at in found["partial"])
    assert low == [0.525, 0.55, 0.575, 0.6]
    assert high == [None, 0.6, 0.625, None]
    assert found["metrics"][found["telling"]] == "val_auc", "fewer than ten have been anywhere"
    assert data_of(factories.good_run(12))["partial"] == []
    many = data_of(factories.rungs_run([1] * 10 + [3] * 12 + [9] * 2))
    assert many["metrics"][many["telling"]] == "val_auc at epoch 3"


def test_an_attempt_that_was_stopped_has_not_failed() -> None:
    tried = factories.attempt(0, 0, 5, state=AttemptState.FAILED, cause=Cause.STOPPED)
    made = replace(factories.trial(0, None), state=TrialState.STOPPED)
    found = data_of(RunView(factories.run(), [factories.view(made, tried)]))["attempts"]
    assert [found["states"][state] for state in found["state"]] == ["stopped"]


def test_the_difference_of_a_pair_is_a_metric_of_its_own() -> None:
    made = factories.trial(0, 0.5, metrics={"loss": 0.25, "val_loss": 0.75})
    found = data_of(RunView(factories.run(), [factories.view(made)]))
    assert found["trials"]["metrics"][found["metrics"].index("loss_diff")] == [0.5]
    own = replace(made, metrics={**made.metrics, "loss_diff": 7.0})
    found = data_of(RunView(factories.run(), [factories.view(own)]))
    assert found["metrics"].count("loss_diff") == 1
    assert found["trials"]["metrics"][found["metrics"].index("loss_diff")] == [7.0]


def test_rows_say_who_leads_and_what_was_out_of_the_ordinary() -> None:
    view = factories.good_run(24)
    trials = data_of(view)["trials"]
    assert [trials["number"][row] for row in trials["leading"]] == view.front
    failed = [row for row, one in enumerate(view.trials) if one.trial.reason]
    assert sorted(map(int, trials["told"]["by_row"])) == failed
    assert len(trials["told"]["texts"]) == len(set(trials["told"]["texts"]))


def test_curves_are_some_lines_and_how_all_lie() -> None:
    view = factories.good_run(300, fail=0.0)
    (curves,) = data_of(view)["curves"]
    assert len(curves["rows"]) == len(curves["values"]) == 50
    assert data_of(view)["trials"]["leading"][0] in curves["rows"]
    assert curves["of"] == len(looked_at(view).trials) == 200
    low, high = curves["quantiles"]["values"][0], curves["quantiles"]["values"][-1]
    assert len(low) == len(curves["quantiles"]["steps"]) == 30
    assert all(left <= right for left, right in zip(low, high, strict=True))


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    series = [Observation("val_auc", step / 1000, step) for step in range(1000)]
    view = RunView(factories.run(), [factories.view(factories.trial(0, 0.9), observations=series)])
    (curves,) = data_of(view)["curves"]
    steps = curves["steps"][curves["at"][0]]
    assert len(steps) <= 101
    assert steps[-1] == 999


def test_a_document_is_bounded_and_says_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CELLS <= 250_000
    monkeypatch.setattr("hpo_lib.report.data.MAX_CELLS", 21 * 30)
    found = data_of(factories.good_run(100))
    assert len(found["trials"]["number"]) == 30
    assert "30 of 100 are drawn" in found["left_out"][0]


def test_the_program_is_self_contained_and_needs_no_eval() -> None:
    code, style = assets.script(), assets.style()
    assert not [
        word for word in ("https:", "http:", "new Function", "</script", "<!--") if word in code
    ]
    assert "innerHTML" not in code.partition("hpoCharts")[2]
    assert "url(" not in style
    assert len(code) < 900_000
