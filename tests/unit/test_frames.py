"""Results as data: columns and dtypes that stay, whatever trials have come to."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas
import pytest
from factories import SPEC, START, attempt, front_run, good_run, run, trial, view

import hpo_lib
from hpo_lib.core.trial import Assignment, Cause, Observation, Origin, Reused, TrialState
from hpo_lib.errors import HpoError, NotFound, SpecError, StoreError
from hpo_lib.frames import made, table
from hpo_lib.records import Model, ModelStatus, RunView
from hpo_lib.store import Store, upgrade
from tests.integration.models_contract import SPEC as NIGHTLY
from tests.integration.models_contract import Wave, champion, searched
from tests.integration.store_contract import handle_for

ROOT = Path(__file__).parents[2]


def dtypes(frame: pandas.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


def fixed(frame: pandas.DataFrame, columns: Mapping[str, str]) -> bool:
    """Say whether a frame begins with these columns."""
    return list(dtypes(frame).items())[: len(columns)] == list(columns.items())


def model(**changes: Any) -> Model:
    plain = Model(
        "wine-quality", 3, 12, 0, {"units": 64}, ModelStatus.CHAMPION, "why", START, START
    )
    return replace(plain, **changes)


class TestTrials:
    def test_every_trial_is_a_row_with_its_state_cause_and_times(self) -> None:
        of = good_run()
        frame = made.trials([of])
        assert fixed(frame, made.TRIALS)
        assert frame.trial.tolist() == [one.trial.number for one in of.trials]
        assert frame.state.tolist() == [one.trial.state.value for one in of.trials]
        failed = frame[frame.state == "failed"]
        assert set(failed.cause) <= {str(cause) for cause in Cause}
        assert failed.value.isna().all()
        assert failed["rank"].isna().all()
        assert frame.started[0] == of.trials[0].attempts[0].started_at
        took = (frame.ended - frame.started).dt.total_seconds()
        assert took.tolist() == pytest.approx(frame.duration_s.tolist(), abs=1e-5)

    def test_the_best_has_rank_1_and_stands_on_the_front(self) -> None:
        of = good_run()
        frame = made.trials([of]).set_index("trial")
        assert frame["rank"].idxmin() == frame.value.idxmax() == of.front[0]
        assert frame.index[frame.on_front.fillna(value=False)].tolist() == of.front

    def test_several_objectives_and_constraints(self) -> None:
        of = front_run()
        frame = made.trials([of]).set_index("trial")
        assert frame.index[frame.on_front.fillna(value=False)].tolist() == of.front
        assert frame.index[frame.feasible.fillna(value=False)].tolist() == of.feasible
        assert list(frame.filter(like="metric_"))[:2] == ["metric_val_auc", "metric_size_mb"]
        assert frame.metric_size_mb.notna().all()

    def test_a_conditional_parameter_is_missing_where_it_does_not_count(self) -> None:
        frame = made.trials([good_run()])
        assert (frame.param_momentum.isna() == (frame.param_optimizer != "sgd")).all()
        found = dtypes(frame)
        assert found["param_learning_rate"] == found["param_momentum"] == "float64"
        assert found["param_units"] == found["param_batch_size"] == "Int64"
        assert (found["param_optimizer"], found["param_nesterov"]) == ("string", "boolean")

    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            ([1, 2.5], "float64"),
            ([1, "auto"], "object"),
            ([[1, 2], {"a": 1}], "object"),
            ([True, 1], "object"),
            ([2**70, 1], "object"),
        ],
    )
    def test_values_keep_their_types(self, values: list[Any], dtype: str) -> None:
        trials = [view(trial(n, 0.5, params={"p": value})) for n, value in enumerate(values)]
        frame = made.trials([RunView(run(SPEC | {"space": {}}, check=False), trials)])
        assert dtypes(frame)["param_p"] == dtype
        assert frame.param_p.tolist() == values

    def test_runs_of_other_spaces_share_a_frame(self) -> None:
        one = RunView(run(), [view(trial(1, 0.5, params={"units": 32}))])
        other = RunView(run(id=13), [view(trial(1, 0.5, params={"depth": 3}))])
        frame = made.trials([one, other])
        assert frame.run.tolist() == [12, 13]
        assert frame.param_units.isna().tolist() == [False, True]
        assert frame.param_depth.isna().tolist() == [True, False]

    def test_what_is_open_has_no_end_and_what_is_reused_no_attempt(self) -> None:
        running = view(trial(1), attempt(1, 0, 5), attempt(1, 6, None, number=2))
        waiting = view(trial(2, state=TrialState.WAITING), attempt(2, 0, 5))
        reused = view(trial(3, 0.5, reused=Reused(7, 4)))
        frame = made.trials([RunView(run(), [running, waiting, reused])])
        assert frame.ended.isna().all()
        assert frame.attempts.tolist() == [2, 1, 0]
        assert frame.started.notna().tolist() == [True, True, False]
        assert frame.reused[2] == "trial 4 of run 7"

    def test_values_that_are_no_numbers_stay_what_they_are(self) -> None:
        odd = trial(1, cause=Cause.OBJECTIVE_NOT_FINITE, metrics={"val_auc": math.inf})
        frame = made.trials([RunView(run(), [view(odd)])])
        assert frame.metric_val_auc[0] == math.inf

    def test_the_champion_is_flagged_in_the_search_and_in_the_final_training(self) -> None:
        final = view(trial(24, 0.9, origin=Origin.FINAL, repeat=2))
        of = replace(good_run(), finals=[final], model=model(trial=24))
        frame = made.trials([of])
        assert frame.trial[frame.champion].tolist() == [0]
        assert frame.model.dropna().tolist() == [3]
        finals = made.trials([of], finals=True)
        assert fixed(finals, made.TRIALS)
        assert (finals.trial[0], finals.seed[0], finals.champion[0]) == (24, 2, True)

    def test_nothing_at_all_has_the_columns_too(self) -> None:
        assert dtypes(made.trials([])) == dict(made.TRIALS)
        assert dtypes(made.observations([])) == dict(made.OBSERVATIONS)
        assert dtypes(made.models([])) == dict(made.MODELS)

    def test_a_name_of_any_kind_is_a_column(self) -> None:
        name = "état <b>\"'"
        frame = made.trials([RunView(run(), [view(trial(1, 0.5, params={name: "x"}))])])
        assert frame[f"param_{name}"].tolist() == ["x"]


def test_models_say_what_became_of_them() -> None:
    found = [model(), model(version=4, status=ModelStatus.REJECTED, metrics={"test": 0.25})]
    frame = made.models(found)
    assert fixed(frame, made.MODELS)
    assert frame.champion.tolist() == [True, False]
    assert frame.param_units.tolist() == [64, 64]
    assert frame.metric_test.isna().tolist() == [True, False]


def test_observations_keep_steps_attempts_and_times() -> None:
    seen = [
        (1, 1, Observation("loss", 0.5, step=1, time=1.5)),
        (1, 2, Observation("loss", math.nan, step=None, time=None)),
    ]
    frame = made.observations([(7, seen)])
    assert dtypes(frame) == dict(made.OBSERVATIONS)
    assert frame.time[0] == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert frame.step.isna().tolist() == frame.time.isna().tolist() == [False, True]
    assert frame.attempt.tolist() == [1, 2]


def test_docs_list_every_column_with_its_dtype() -> None:
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    for columns in (made.TRIALS, made.OBSERVATIONS, made.MODELS):
        for name, dtype in columns.items():
            assert f"| `{name}` | `{dtype}` |" in text


def test_parquet_brings_all_of_it_back() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    of = RunView(run(), [view(trial(1, 0.5, params={"units": 32, "shape": [1, {"a": None}]}))])
    frame = made.trials([of])
    content = table.parquet(frame)
    back = pandas.read_parquet(BytesIO(content))
    assert json.loads(back.param_shape[0]) == [1, {"a": None}]
    typed = frame.columns[frame.dtypes != "object"]
    pandas.testing.assert_frame_equal(back[typed], frame[typed])
    assert parquet.read_schema(BytesIO(content)).names == list(frame.columns)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda _: None)
    with pytest.raises(HpoError, match=r"needs pandas: pip install '.\[results\]'"):
        hpo_lib.results("nightly")


def test_nothing_heavy_comes_with_the_library() -> None:
    said = "import sys, hpo_lib, hpo_lib.frames.made; print('pandas' in sys.modules)"
    done_ = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done_.stdout == "False\n"


class TestStore:
    @pytest.fixture
    def url(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        url = f"sqlite:///{tmp_path}/hpo.db"
        monkeypatch.setenv("HPO_HOME", str(tmp_path))
        monkeypatch.delenv("HPO_STORE", raising=False)
        upgrade(url)
        with Store.open(url) as store:
            first = searched(store, 1, 0.5)
            second = Wave((Assignment(2, {"x": 0.25}),))
            store.next_batch(first.id, "wave-02", lambda _: second)
            attempt = store.open_attempt(first.id, 2, handle_for)
            store.live.keep(attempt.id, [Observation("loss", 0.75, step=1, time=2.0)])
        return url

    def test_an_experiment_or_a_run_of_the_store_that_is_here(self, url: str) -> None:
        by_name, by_number = hpo_lib.results("nightly"), hpo_lib.results(1, store=url)
        assert by_name.runs == by_number.runs == (1,)
        pandas.testing.assert_frame_equal(by_name.trials, by_number.trials)
        assert by_name.trials.state.tolist() == ["complete", "running"]
        live = by_name.observations.query("trial == 2")
        assert live[["attempt", "metric", "step", "value"]].to_numpy().tolist() == [
            [1, "loss", 1, 0.75]
        ]
        assert len(by_name.models) == len(by_name.finals) == 0

    def test_trials_and_observations_join(self, url: str) -> None:
        found = hpo_lib.results("nightly")
        joined = found.observations.merge(found.trials, on=["run", "trial"])
        assert len(joined) == len(found.observations)

    def test_what_is_not_there_is_named(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(NotFound, match=r"no experiment 'nigthly'.*nightly"):
            hpo_lib.results("nigthly")
        with pytest.raises(NotFound, match="no run 9"):
            hpo_lib.results(9)
        with pytest.raises(StoreError):
            hpo_lib.results("nightly", store=f"{url}-other")
        monkeypatch.setenv("HPO_HOME", "/nowhere")
        with pytest.raises(SpecError, match=r"no store at /nowhere/hpo\.db: say which"):
            hpo_lib.results("nightly")

    def test_no_password_is_shown(self) -> None:
        from hpo_lib.frames import Results

        assert "hush" not in repr(Results("iris", (1,), "postgresql://ada:hush@host/hpo"))


def test_final_trials_stand_apart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        made_ = champion(store, 1)
    found = hpo_lib.results(NIGHTLY.name, store=url)
    assert found.models.champion.tolist() == [True]
    assert found.trials.champion.tolist() == [True]
    assert found.trials.model.tolist() == [made_.version]
    assert len(found.finals) == 2
    assert set(found.finals.origin) == {"final"}
