"""Runs, experiments and trials as pages show them, on both databases."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.cli import overview
from hpo_lib.core.trial import Assignment, Cause, Observation, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.records import AttemptState, Outcome, Provenance, Run, RunKey, RunStatus
from hpo_lib.search.engine import Step
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade
from hpo_lib.store.overview import Sought, idle_share
from hpo_lib.store.table import OWN, Asked, Condition
from tests.integration.api_client import new_store
from tests.integration.databases import OnPostgresql

START = datetime(2031, 5, 6, 7, 0, tzinfo=UTC)
#: Names that SQL or JSON could take for something else.
ODD = ['a"b', "a'b", "a.b", "é", "$", "a b", "%_", "[0]"]
SPEC: dict[str, Any] = {
    "name": "iris",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {
        "x": {"type": "float", "low": 0.0, "high": 10.0},
        "opt": {"type": "categorical", "choices": ["adam", "SGD", 8, True]},
    },
    "limits": {"max_trials": 10, "parallel_trials": 2},
    "trial": {"command": ["true"], "resources": {"gpu": 2}},
}

SORTED: dict[tuple[str, bool], list[int]] = {
    ("number", True): [5, 4, 3, 2, 1],
    ("value", False): [2, 1, 3, 4, 5],
    ("value", True): [3, 1, 2, 4, 5],
    ("params.x", False): [1, 3, 2, 4, 5],
    ("metrics.other", True): [3, 1, 2, 4, 5],
    ("duration_s", True): [3, 2, 1, 4, 5],
    ("state", False): [1, 2, 3, 4, 5],
    ("ended_at", True): [4, 3, 2, 1, 5],
    ("params.none", True): [1, 2, 3, 4, 5],
}
FILTERED: dict[str, list[int]] = {
    "params.x >= 2": [2, 3, 4],
    "params.x>=2 & params.x<4": [2, 3],
    "params.opt=adam": [1, 5],
    "params.opt!=adam": [2, 3, 4],
    "params.opt=8": [3],
    "params.opt=true": [4],
    "params.opt ~ sg": [2],
    "metrics.other < 1.2": [1, 2],
    "value = 0.5": [1],
    "reason ~ BATCH": [4],
    "cause = user_error": [4],
    "duration_s > 15": [2, 3],
    "ended_at < 2031-05-06T07:00:15": [1],
    "params.x != 1": [2, 3, 4, 5],
    "params.none = 3": [],
    "reason ~ 100%_": [],
}
REFUSED: list[tuple[Callable[[], Asked], str]] = [
    (lambda: Asked(where=[Condition.parse("value")]), "where: must be a column"),
    (lambda: Asked("valu"), "unknown column 'valu', did you mean 'value'?"),
    (lambda: Asked(where=[Condition.parse("value > much")]), "value > needs a number"),
    (lambda: Asked(where=[Condition.parse("nope = 1")]), "unknown column 'nope'"),
]


class Clock:
    """Says the time, which tests let pass."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class OverviewContract:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def store(self, url: str, clock: Clock) -> Iterator[Store]:
        if not url.startswith("sqlite"):
            upgrade(url)
        with Store.open(url, now=clock) as opened:
            yield opened

    @pytest.fixture
    def run(self, store: Store, clock: Clock) -> Run:
        """Five trials: three complete, one failed, one that runs."""
        run = begun(store)
        params = [
            {"x": 1.0, "opt": "adam"},
            {"x": 3.0, "opt": "SGD"},
            {"x": 2.0, "opt": 8},
            {"x": 5.0, "opt": True},
            {"opt": "adam"},
        ]
        given(store, run, params)
        for number, value in ((1, 0.5), (2, 0.25), (3, 0.75)):
            lasted(store, clock, run, number, 10.0 * number, value, other=value * 2)
        lasted(store, clock, run, 4, 10.0, None)
        store.open_attempt(run.id, 5, lambda _: {})
        return run

    def test_what_trials_come_to_is_summed_up(self, store: Store, run: Run, clock: Clock) -> None:
        found = store.overview.totals([run.id])[run.id]
        assert found.states == {
            TrialState.COMPLETE: 3,
            TrialState.FAILED: 1,
            TrialState.RUNNING: 1,
        }
        assert (found.trials, found.done, found.lowest, found.highest) == (5, 4, 0.25, 0.75)
        assert found.busy_s == pytest.approx(70.0, abs=0.01)
        assert (found.ended, found.first_start) == (4, START)
        assert found.running == (clock.now,)
        clock.tick(10.0)
        assert idle_share(run, found, clock.now) == pytest.approx(0.5, abs=0.01)
        end = overview.expected_end(run, found)
        assert end is not None
        assert abs((end - START).total_seconds() - (70 + 3 * 17.5)) < 0.1

    def test_a_run_without_trials_has_no_sums(self, store: Store) -> None:
        run = begun(store)
        found = store.overview.totals([run.id])[run.id]
        assert (found.trials, found.busy_s, found.lowest, found.running) == (0, 0.0, None, ())
        assert idle_share(run, found, START) is None
        assert overview.expected_end(run, found) is None
        assert store.overview.best(run) == []

    def test_trials_are_sorted_by_any_column_with_the_absent_last(
        self, store: Store, run: Run
    ) -> None:
        for (sort, descending), numbers in SORTED.items():
            views, total = store.overview.table(run.id, Asked(sort, descending))
            assert ([one.trial.number for one in views], total) == (numbers, 5), sort
        for name in (*OWN, "params.opt"):
            assert store.overview.table(run.id, Asked(name))[1] == 5

    def test_trials_are_filtered_by_any_column(self, store: Store, run: Run) -> None:
        for where, numbers in FILTERED.items():
            asked = Asked(where=[Condition.parse(one) for one in where.split(" & ")])
            views, total = store.overview.table(run.id, asked)
            assert ([one.trial.number for one in views], total) == (numbers, len(numbers)), where

    def test_trials_are_filtered_by_state_and_come_page_by_page(
        self, store: Store, run: Run
    ) -> None:
        states = (TrialState.COMPLETE, TrialState.FAILED)
        pages = [
            store.overview.table(run.id, Asked(states=states, offset=first, limit=3))
            for first in (0, 3, 6)
        ]
        numbers = [[one.trial.number for one in views] for views, _ in pages]
        assert numbers == [[1, 2, 3], [4], []]
        assert {total for _, total in pages} == {4}

    def test_a_page_of_trials_is_the_same_however_its_attempts_are_asked_for(
        self, store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        by_number = store.listing.trials(run.id, 1, 3)
        assert [one.trial.number for one in by_number] == [2, 3, 4]
        assert all(one.attempts for one in by_number)
        monkeypatch.setattr("hpo_lib.store.queries._NAMED", 2)
        assert store.listing.trials(run.id, 1, 3) == by_number

    def test_any_name_is_found_in_params_and_metrics(self, store: Store, clock: Clock) -> None:
        run = begun(store)
        given(store, run, [dict.fromkeys(ODD, "lo"), dict.fromkeys(ODD, "hi")])
        lasted(store, clock, run, 1, 1.0, 0.5, **dict.fromkeys(ODD, 7.0))
        absent = {"odd": math.nan, "vast": -math.inf}
        lasted(store, clock, run, 2, 1.0, 0.5, **dict.fromkeys(ODD, 9.0), **absent)
        for name in ODD:
            for where in (f"metrics.{name} > 8", f"params.{name} = hi"):
                views, _ = store.overview.table(run.id, Asked(where=[Condition.parse(where)]))
                assert [one.trial.number for one in views] == [2], where
        views, _ = store.overview.table(run.id, Asked("metrics.odd", descending=True))
        assert [one.trial.number for one in views] == [1, 2], "NaN is nothing to sort by"

    def test_what_is_no_column_is_refused_by_its_name(self, store: Store) -> None:
        run = begun(store)
        for make, said in REFUSED:
            with pytest.raises(SpecError, match=re.escape(said)):
                store.overview.table(run.id, make())

    def test_a_version_differs_once_anything_has_changed(
        self, store: Store, run: Run, clock: Clock
    ) -> None:
        seen = [store.overview.version(run.id)]

        def changed() -> bool:
            seen.append(store.overview.version(run.id))
            return seen[-1] != seen[-2]

        assert not changed()
        attempt = store.attempts(run.id, 5)[0]
        store.live.keep(attempt.id, [Observation("loss", 0.5, 1)])
        assert changed(), "a metric was shown"
        store.close_attempt(attempt.id, outcome(0.1), final=True)
        assert changed(), "a trial has ended"
        given(store, run, [{"x": 9.0}], slot="wave-02", first=6)
        assert changed(), "a trial was made"
        store.open_attempt(run.id, 6, lambda _: {})
        assert changed(), "a trial runs"
        store.stop_trial(run.id, 6, "enough")
        assert changed(), "a trial was stopped"
        store.finish_run(run.id, RunStatus.COMPLETE, "done")
        assert changed(), "the run has ended"
        assert not changed()
        assert len(set(seen)) == 7

    def test_runs_are_searched_sorted_and_paged(self, store: Store) -> None:
        first = begun(store, "1", name="iris")
        second = begun(store, "2", name="wine", by="grace")
        store.finish_run(second.id, RunStatus.FAILED, "3 trials failed: 100%")
        store.refuse_run(RunKey("hpo_local", "3"), "name: is missing", triggered_by="ada")

        def found(**how: Any) -> list[int]:
            runs, total = store.overview.runs(Sought(["hpo_local"], **how))
            assert total >= len(runs)
            return [one.id for one in runs]

        assert found() == [3, 2, 1]
        assert found(sort="experiment", descending=False) == [1, 2, 3]
        assert found(search="GRACE") == found(search="00%") == found(search="#2") == [2]
        assert found(search="is missing") == [3]
        assert found(search="%") == [2], "it is no pattern"
        assert found(statuses=[RunStatus.RUNNING]) == found(experiment="iris") == [1]
        assert found(limit=1, offset=1) == [2]
        assert store.overview.runs(Sought(["other"])) == ([], 0)
        with pytest.raises(SpecError, match="sort: must be one of id, experiment"):
            found(sort="nope")
        groups, total = store.overview.experiments(Sought(["hpo_local"]))
        assert [(one.name, one.runs, one.running) for one in groups] == [
            ("wine", 1, 0),
            ("iris", 1, 1),
        ]
        assert (total, groups[1].newest) == (2, first.id)

    def test_rows_of_ended_runs_are_remembered_until_something_is_done_to_them(
        self, store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, asked = overview.Rows(), list[Any]()
        real = type(store.overview).totals

        def totals(self: Any, numbers: Any) -> Any:
            asked.append(list(numbers))
            return real(self, numbers)

        monkeypatch.setattr(type(store.overview), "totals", totals)
        for _ in range(2):
            assert rows.of(store, [store.run_by_id(run.id)])[0].done == 4
        assert asked == [[run.id], [run.id]], "one that goes on is summed up anew"
        store.stop_trial(run.id, 5, "enough")
        ended = store.finish_run(run.id, RunStatus.COMPLETE, "done")
        for _ in range(3):
            row = rows.of(store, [ended])[0]
        assert (row.done, row.best, row.best_trial, row.gpu_hours) == (
            5,
            0.25,
            2,
            pytest.approx(140 / 3600, rel=0.01),
        )
        assert len(asked) == 3

    def test_runs_are_put_side_by_side(self, store: Store, run: Run) -> None:
        other = begun(store, "2", limits={"max_trials": 20, "parallel_trials": 2})
        found = overview.compare(store, overview.Rows(), [run, other])
        one, two = found.runs
        assert (one.trials, one.best) == ([1, 2, 3], [0.5, 0.25, 0.25])
        assert one.leading is not None
        assert (one.leading.number, two.leading, two.best) == (2, None, [])
        assert [(d.path, d.values) for d in found.differences] == [("limits.max_trials", [10, 20])]

    def test_failures_are_told_by_kind_with_the_line_that_matters(
        self, store: Store, run: Run
    ) -> None:
        (failure,) = overview.summary(store, run, "v").failures
        assert (failure.cause, failure.trials, failure.line) == (
            Cause.USER_ERROR,
            [4],
            "ValueError: bad batch",
        )


class TestSqlite(OverviewContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        new_store(tmp_path).close()
        return f"sqlite:///{tmp_path}/hpo.db"


class TestPostgresql(OverviewContract, OnPostgresql):
    pass


def begun(store: Store, key: str = "1", by: str = "ada", **changes: Any) -> Run:
    spec = load(SPEC | changes)
    return store.start_run(RunKey("hpo_local", key), spec, triggered_by=by, provenance=Provenance())


def given(
    store: Store, run: Run, params: list[dict[str, Any]], slot: str = "wave-01", first: int = 1
) -> None:
    made = [Assignment(first + at, one) for at, one in enumerate(params)]
    store.next_batch(run.id, slot, lambda _: Step(assignments=made))


def outcome(value: float | None, **metrics: float) -> Outcome:
    if value is None:
        return Outcome(
            AttemptState.FAILED,
            "exit code 1: bad batch",
            cause=Cause.USER_ERROR,
            exit_code=1,
            log_tail="Traceback\n  x = y\nValueError: bad batch\n",
        )
    return Outcome(AttemptState.SUCCEEDED, "done", value=value, metrics={"loss": value} | metrics)


def lasted(
    store: Store,
    clock: Clock,
    run: Run,
    number: int,
    seconds: float,
    value: float | None,
    **metrics: float,
) -> None:
    attempt = store.open_attempt(run.id, number, lambda _: {})
    clock.tick(seconds)
    store.close_attempt(attempt.id, outcome(value, **metrics), final=True)
