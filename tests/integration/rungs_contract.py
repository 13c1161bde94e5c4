"""What the store has to hold of rungs and of a scheduler's decisions, on each database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_lib.core.trial import (
    Action,
    Assignment,
    Cause,
    Decision,
    Direction,
    History,
    Observation,
    TrialState,
)
from hpo_lib.records import AttemptState, Run, RunStatus
from hpo_lib.search import engine
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store
from hpo_lib.store.batches import Batch
from tests.integration.store_contract import (
    INHERITED,
    SPEC,
    RunKey,
    assignment,
    attempt_of,
    begin,
    failed,
    succeeded,
    together,
)


@dataclass(frozen=True)
class Said:
    """What an engine answers, decisions of its scheduler included."""

    assignments: tuple[Assignment, ...] = ()
    stop: Decision | None = None
    decisions: Mapping[int, Decision] = field(default_factory=dict)


def give(store: Store, run: Run, slot: str, *assignments: Assignment, **said: Any) -> Batch:
    return store.next_batch(run.id, slot, lambda _: Said(assignments, **said))


def to_rung(number: int, resource: float = 2.0) -> Assignment:
    return assignment(number, resource=resource, partial=True)


class RungContract:
    """Rungs: a trial waits, goes on, or is stopped on purpose."""

    @pytest.fixture
    def run(self, store: Store) -> Run:
        return begin(store)

    def reach(self, store: Store, run: Run, number: int, value: float = 0.5) -> None:
        store.close_attempt(attempt_of(store, run, number).id, succeeded(value), final=True)

    def test_a_trial_waits_at_its_rung(self, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0))
        assert attempt_of(store, run).resource == 2.0
        self.reach(store, run, 0, 0.25)
        trial = store.trial(run.id, 0)
        assert (trial.state, trial.value, trial.rungs) == (TrialState.WAITING, None, {2.0: 0.25})
        assert store.history(run.id).trials == (trial,)
        assert store.view(run.id).trials[0].trial == trial

    def test_a_promoted_trial_runs_again_and_keeps_its_rungs(self, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0))
        self.reach(store, run, 0, 0.25)
        on = assignment(0, resource=9.0, resume_from=0, reason="the best of one")
        batch = give(store, run, "b", on)
        assert batch.assignments == (on,)
        assert batch == store.batch_of(run.id, "b") == give(store, run, "b")
        assert store.assignment(run.id, 0) == ("b", on)
        assert store.batch_of(run.id, "a") == Batch((to_rung(0),))
        self.reach(store, run, 0, 0.125)
        trial = store.trial(run.id, 0)
        assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.125)
        assert trial.rungs == {2.0: 0.25, 9.0: 0.125}
        assert [one.resource for one in store.attempts(run.id, 0)] == [2.0, 9.0]
        (view,) = store.view(run.id).trials
        assert view.slot == "b"

    def test_only_who_waits_goes_on(self, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0))
        with pytest.raises(ValueError, match="trial 0 cannot go on: it does not wait"):
            give(store, run, "b", assignment(0, resource=9.0))
        assert store.batch_of(run.id, "b") is None
        store.fail_trial(run.id, 0, Cause.USER_ERROR, "broken")
        with pytest.raises(ValueError, match="trial 0 cannot go on"):
            give(store, run, "b", assignment(0, resource=9.0))

    def test_a_decision_is_kept_once_with_its_reason(self, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0), to_rung(1))
        self.reach(store, run, 0)
        self.reach(store, run, 1)
        stop = {1: Decision.stop("worse"), 0: Decision.go_on("fine")}
        on = assignment(0, resource=9.0, reason="better")
        batch = give(store, run, "b", on, decisions=stop)
        assert [(one.trial, one.action, one.reason) for one in batch.decisions] == [
            (1, Action.STOP, "worse"),
            (0, Action.PROMOTE, "better"),
        ]
        give(store, run, "c", decisions=stop)
        assert store.view(run.id).decisions == list(batch.decisions)
        trial = store.trial(run.id, 1)
        assert (trial.state, trial.reason, trial.cause) == (TrialState.STOPPED, "worse", None)
        assert store.told_to_stop(run.id, 1) == "worse"
        assert store.told_to_stop(run.id, 0) is None

    def test_a_running_trial_is_told_to_stop_and_ended_by_others(
        self, store: Store, run: Run
    ) -> None:
        give(store, run, "a", to_rung(0))
        attempt = attempt_of(store, run)
        give(store, run, "b", decisions={0: Decision.stop("hopeless")})
        assert store.trial(run.id, 0).state is TrialState.RUNNING
        assert store.stop_trial(run.id, 0, "hopeless").state is TrialState.STOPPED
        (ended,) = store.attempts(run.id, 0)
        assert (ended.state, ended.cause) == (AttemptState.FAILED, Cause.STOPPED)
        late = store.close_attempt(attempt.id, succeeded(), final=True)
        assert (late.state, late.rungs) == (TrialState.STOPPED, {})

    def test_a_trial_that_was_told_to_stop_waits_for_nothing(self, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0))
        attempt = attempt_of(store, run)
        give(store, run, "b", decisions={0: Decision.stop("hopeless")})
        ended = store.close_attempt(attempt.id, succeeded(0.25), final=True)
        assert (ended.state, ended.reason) == (TrialState.STOPPED, "hopeless")
        assert ended.rungs == {2.0: 0.25}

    def test_a_failure_at_a_rung_is_a_failure(self, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0))
        store.close_attempt(attempt_of(store, run).id, failed(), final=True)
        trial = store.trial(run.id, 0)
        assert (trial.state, trial.rungs) == (TrialState.FAILED, {})

    def test_a_run_that_ends_stops_what_waits(self, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0), to_rung(1))
        self.reach(store, run, 0)
        store.finish_run(run.id, RunStatus.FAILED, "enough")
        assert store.trial(run.id, 0).reason == "not promoted: the run has ended: enough"
        assert store.trial(run.id, 1).state is TrialState.RUNNING

    def test_many_that_ask_at_once_promote_once(self, url: str, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0))
        self.reach(store, run, 0)

        def promote(_: int) -> Any:
            with Store.open(url) as own:
                return give(own, run, "b", assignment(0, resource=9.0, reason="on")).assignments

        answers = together(4, promote)
        assert len(answers) == 4
        assert all(one == answers[0] for one in answers)
        assert len(store.view(run.id).decisions) == 1

    @given(rungs=st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True))
    @settings(max_examples=15, suppress_health_check=INHERITED)
    def test_whatever_the_rungs_all_of_them_are_kept(self, store: Store, rungs: list[int]) -> None:
        run = begin(store, RunKey("any", "-".join(map(str, rungs))))
        for place, resource in enumerate(sorted(rungs)):
            last = place == len(rungs) - 1
            asked = replace(to_rung(0, float(resource)), partial=not last)
            give(store, run, f"slot-{place}", asked)
            self.reach(store, run, 0, 1.0 / resource)
        trial = store.trial(run.id, 0)
        assert trial.rungs == {float(one): 1.0 / one for one in rungs}
        assert trial.state is TrialState.COMPLETE

    def test_a_history_is_the_same_however_it_is_read(self, store: Store, run: Run) -> None:
        give(store, run, "a", to_rung(0), to_rung(1))
        self.reach(store, run, 0)
        asked: list[History] = []
        store.next_batch(run.id, "b", lambda history: asked.append(history) or Said())
        assert asked[0].trials == store.history(run.id).trials

    def test_who_watches_is_told_the_curves_of_trials_that_run_and_that_have_ended(
        self, store: Store
    ) -> None:
        run = begin(store, spec=watching(SPEC))
        give(store, run, "a", assignment(1), assignment(2), assignment(3))
        metric = run.spec.objective.metric
        shown = [Observation(metric, 0.5, 1), Observation("other", 9.0, 1)]
        store.live.keep(attempt_of(store, run, 1).id, shown)
        from_zero = [Observation(metric, 0.4, 0), Observation(metric, 0.3)]
        ended = succeeded(0.3, observations=from_zero)
        store.close_attempt(attempt_of(store, run, 2).id, ended, final=True)
        curves = {one.number: one.curve for one in store.slots.history(run).trials}
        assert curves == {1: {1: 0.5}, 2: {1: 0.4, 2: 0.3}, 3: {}}
        store.live.keep(attempt_of(store, run, 1).id, [*shown, Observation(metric, 0.2, 3)])
        assert store.slots.history(run).trials[0].curve == {1: 0.5, 3: 0.2}
        plain = begin(store, RunKey("hpo_local", "plain"))
        give(store, plain, "a", assignment(1))
        store.live.keep(attempt_of(store, plain, 1).id, shown)
        assert store.slots.history(plain).trials[0].curve == {}

    def test_a_running_trial_is_judged_while_no_slot_asks(self, store: Store) -> None:
        run = begin(store, spec=watching(SPEC))
        give(store, run, "a", *(assignment(number) for number in (1, 2, 3)))
        for number in (1, 2, 3):
            seen = [Observation(run.spec.objective.metric, number / 10, 1)]
            store.live.keep(attempt_of(store, run, number).id, seen)
            store.slots.judge(run.id, engine.judge_running)
        worse = [store.told_to_stop(run.id, number) for number in (1, 2, 3)]
        direction = run.spec.objective.direction
        best = 1 if direction is Direction.MINIMIZE else 3
        assert [n for n, why in enumerate(worse, 1) if why is None] == [best]
        assert worse[1] == "epoch 1: 0.2 is not among the best 1 of 3 trials"
        store.slots.judge(run.id, engine.judge_running)
        assert len(store.view(run.id).decisions) == 2, "each is decided once"
        store.finish_run(run.id, RunStatus.COMPLETE, "enough")
        store.slots.judge(run.id, engine.judge_running)


def watching(made: Spec) -> Spec:
    section = {"name": "asha", "type": "stopping", "max": 9, "resource": "epoch"}
    return load(made.dump() | {"scheduler": section})
