"""When a store enters a trial as complete with another's result: inherit and supply `url`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_lib.core.trial import Decision, Observation, Origin, Reused, TrialState
from hpo_lib.records import Provenance, Run, RunKey, RunStatus
from hpo_lib.search import engine
from hpo_lib.spec import load
from hpo_lib.store import Store
from hpo_lib.store.batches import Batch
from tests.integration.store_contract import (
    SPEC,
    Answer,
    assignment,
    failed,
    handle_for,
    killed_at,
    raw,
    succeeded,
    together,
)
from tests.integration.store_contract import execute as sql

SAME, OTHER = "one", "another"
CURVE = [Observation("loss", 1.0, 1, 10.0), Observation("loss", 0.25, 2)]
INHERITED = (HealthCheck.differing_executors, HealthCheck.function_scoped_fixture)


def start(store: Store, name: str, mark: str | None = SAME, experiment: str = "iris") -> Run:
    spec = SPEC.model_copy(update={"name": experiment})
    key = RunKey("nightly", name)
    return store.start_run(key, spec, triggered_by="ada", provenance=Provenance(), fingerprint=mark)


def ask(store: Store, run: Run, *numbers: int, slot: str = "wave-01", **changes: Any) -> Batch:
    answer = Answer(tuple(assignment(number, **changes) for number in numbers))
    return store.next_batch(run.id, slot, lambda _: answer)


def train(store: Store, run: Run, number: int, value: float | None = 0.25) -> None:
    """Do a trial; without a value it fails."""
    attempt = store.open_attempt(run.id, number, handle_for)
    metrics = {"loss": float("nan") if value is None else value, "size": 3.0}
    found = {"metrics": metrics, "observations": CURVE}
    outcome = failed(**found) if value is None else succeeded(value, **found)
    store.close_attempt(attempt.id, outcome, final=True)


def end(store: Store, run: Run, status: RunStatus = RunStatus.COMPLETE) -> Run:
    return store.finish_run(run.id, status, "done")


class ReuseContract:
    """A result is reused if it is complete, its own run's, and its run is over and alike."""

    @pytest.fixture
    def first(self, store: Store) -> Run:
        """Give an ended run whose trials 0 and 1 are complete, and whose trial 2 has failed."""
        run = start(store, "first")
        ask(store, run, 0, 1, 2)
        train(store, run, 0, 0.5)
        train(store, run, 1)
        train(store, run, 2, None)
        return end(store, run)

    def test_a_known_result_is_entered_and_not_given_out(self, store: Store, first: Run) -> None:
        run = start(store, "second")
        lease = ask(store, run, 1, 2, 3)
        source = Reused(first.id, 1)
        assert [one.trial for one in lease.assignments] == [2, 3], "what has failed is tried again"
        assert lease.reused == ((assignment(1), source),)
        known, *_ = store.history(run.id).trials
        assert (known.state, known.value, known.reused) == (TrialState.COMPLETE, 0.25, source)
        assert known.metrics == {"loss": 0.25, "size": 3.0}
        assert (known.reason, known.cause) == (f"reused from trial 1 of run {first.id}", None)
        assert (known.duration_s, store.attempts(run.id, 1)) == (None, []), "it cost nothing"

    def test_its_number_may_be_another_and_its_curve_is_shown(
        self, store: Store, first: Run
    ) -> None:
        run = start(store, "second")
        ask(store, run, 7, params=assignment(1).params, origin=Origin.INITIAL)
        (view,) = store.view(run.id).trials
        assert (view.trial.number, view.trial.origin) == (7, Origin.INITIAL)
        assert (view.slot, list(view.observations), view.attempts) == ("wave-01", CURVE, [])

    def test_asking_again_gives_the_same_whatever_has_happened_meanwhile(
        self, store: Store, first: Run
    ) -> None:
        run = start(store, "second")
        lease = ask(store, run, 1, 4)
        store.forget_fingerprint(first.id)
        assert ask(store, run, 8) == store.batch_of(run.id, "wave-01") == lease

    def test_a_slot_may_hold_nothing_but_known_results(self, store: Store, first: Run) -> None:
        run = start(store, "second")
        lease = ask(store, run, 0, 1)
        assert (lease.assignments, lease.stop, len(lease.reused)) == ((), None, 2)
        assert store.batch_of(run.id, "wave-01") == lease
        stop = Decision.stop("max trials reached")
        assert store.next_batch(run.id, "wave-02", lambda _: Answer(stop=stop)) == Batch(stop=stop)

    def test_what_was_reused_is_reused_from_where_it_was_trained(
        self, store: Store, first: Run
    ) -> None:
        for name in ("second", "third"):
            run = start(store, name)
            assert [source for _, source in ask(store, run, 1).reused] == [Reused(first.id, 1)]
            end(store, run)
        store.forget_fingerprint(first.id)
        assert ask(store, start(store, "fourth"), 1).reused == ()

    @pytest.mark.parametrize(
        ("mark", "experiment"),
        [(OTHER, "iris"), (None, "iris"), (SAME, "rose")],
        ids=["fingerprint", "none", "experiment"],
    )
    def test_other_runs_train(
        self, store: Store, first: Run, mark: str | None, experiment: str
    ) -> None:
        run = start(store, "second", mark, experiment)
        assert len(ask(store, run, 0, 1).assignments) == 2

    @pytest.mark.parametrize(
        "changes",
        [
            {"params": {"lr": 2 / 1024, "x": 1}},
            {"resource": 3.0},
            {"resume_from": 1},
            {"origin": Origin.FINAL, "repeat": 1},
        ],
        ids=["params", "resource", "resume", "final"],
    )
    def test_other_assignments_are_trained(
        self, store: Store, first: Run, changes: dict[str, Any]
    ) -> None:
        assert len(ask(store, start(store, "second"), 1, **changes).assignments) == 1

    def test_params_that_are_told_otherwise_are_others(self, store: Store) -> None:
        run = start(store, "first")
        ask(store, run, 0, params={"x": 1})
        train(store, run, 0)
        end(store, run)
        second = start(store, "second")
        answer = Answer((assignment(1, params={"x": 1.0}), assignment(2, params={"x": True})))
        assert len(store.next_batch(second.id, "wave-01", lambda _: answer).assignments) == 2

    def test_nothing_is_taken_from_a_run_that_goes_on(self, store: Store) -> None:
        run = start(store, "first")
        ask(store, run, 0)
        train(store, run, 0)
        assert len(ask(store, start(store, "second"), 0).assignments) == 1
        end(store, run, RunStatus.FAILED)
        assert len(ask(store, start(store, "third"), 0).reused) == 1, (
            "its trial is good all the same"
        )

    def test_final_trials_give_and_take_nothing(self, store: Store, first: Run) -> None:
        run = start(store, "second")
        ask(store, run, 1)
        history = store.history(run.id)
        final_step = engine.FinalStep(
            (assignment(2, origin=Origin.FINAL, repeat=1),), history.trials[0]
        )
        lease = store.next_final_batch(run.id, "final", lambda *_: final_step)
        assert (len(lease.assignments), lease.reused) == (1, ())
        train(store, run, 2)
        end(store, run)
        assert len(ask(store, start(store, "third"), 2).assignments) == 1

    def test_metrics_that_were_read_again_are_not_those_of_others(
        self, store: Store, first: Run
    ) -> None:
        (attempt,) = store.attempts(first.id, 1)
        corrected = load(SPEC.dump() | {"metrics": {"collector": "jsonl"}})
        store.recollect(attempt.id, succeeded(0.125), corrected)
        assert store.run_by_id(first.id).fingerprint is None
        assert len(ask(store, start(store, "second"), 0, 1).assignments) == 2

    def test_the_first_of_equals_is_taken(self, store: Store) -> None:
        pair = [start(store, name) for name in ("first", "second")]
        for run in pair:
            ask(store, run, 0)
            train(store, run, 0)
        for run in reversed(pair):
            end(store, run)
        ((_, source),) = ask(store, start(store, "third"), 0).reused
        assert source == Reused(pair[0].id, 0)

    @pytest.mark.parametrize("statement", ["INSERT INTO trials", "INSERT INTO leases"])
    def test_killed_in_between_it_decides_the_same_again(
        self, url: str, store: Store, first: Run, statement: str
    ) -> None:
        run = start(store, "second")
        killed_at(statement, url, lambda own: ask(own, run, 1, 4))
        assert store.history(run.id).trials == ()
        lease = ask(store, run, 1, 4)
        assert [one.trial for one, _ in lease.reused] == [1]
        assert [one.trial for one in lease.assignments] == [4]

    def test_processes_that_ask_at_once_get_one_answer(self, store: Store, first: Run) -> None:
        run = start(store, "second")
        leases = together(4, lambda _: ask(store, run, 0, 1, 5))
        assert all(lease == leases[0] for lease in leases)
        assert len(store.history(run.id).trials) == 3

    def test_runs_from_before_it_share_nothing(self, url: str, store: Store, first: Run) -> None:
        sql(url, "UPDATE runs SET fingerprint = NULL")
        assert len(ask(store, start(store, "second"), 0, 1).assignments) == 2
        with raw(url).connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar() == 3

    @settings(max_examples=25, suppress_health_check=INHERITED)
    @given(
        nights=st.lists(
            st.tuples(
                st.sampled_from([SAME, SAME, OTHER, None]),
                st.dictionaries(st.integers(0, 4), st.booleans(), min_size=1),
                st.sampled_from([RunStatus.COMPLETE, RunStatus.FAILED, None]),
            ),
            max_size=5,
        )
    )
    def test_of_any_nights_exactly_what_is_known_is_reused(
        self, store: Store, names: Iterator[str], nights: list[Any]
    ) -> None:
        """By a model: what each fingerprint's ended runs have trained to completion."""
        experiment = next(names)
        known: dict[str, dict[int, Reused]] = {SAME: {}, OTHER: {}}
        for mark, tried, status in nights:
            run = start(store, next(names), mark, experiment)
            lease = ask(store, run, *tried)
            expected = {n: known[mark][n] for n in tried if mark and n in known[mark]}
            assert {one.trial: source for one, source in lease.reused} == expected
            fresh = [one.trial for one in lease.assignments]
            assert fresh == [n for n in tried if n not in expected]
            for number in fresh:
                train(store, run, number, 0.25 if tried[number] else None)
            if status:
                end(store, run, status)
            if status and mark:
                good = {n: Reused(run.id, n) for n in fresh if tried[n]}
                known[mark] = {**good, **known[mark]}
            states = {one.number: one.state for one in store.history(run.id).trials}
            complete = {n for n, good in tried.items() if good} | set(expected)
            assert {n for n, s in states.items() if s is TrialState.COMPLETE} == complete
            attempts = [len(store.attempts(run.id, n)) for n in fresh]
            assert attempts == [1] * len(fresh)
            assert all(not store.attempts(run.id, n) for n in expected)

    @pytest.fixture
    def names(self) -> Iterator[str]:
        return (f"example-{number}" for number in itertools.count())
