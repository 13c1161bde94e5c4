"""What people ask of a run under way: stop, stop a trial, add a point, go on with more trials."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends import Request
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Cause, Decision, TrialState
from hpo_lib.errors import AlreadyFinished, NotFound, SpecError, TransientError
from hpo_lib.housekeeping import sweep
from hpo_lib.records import (
    Attempt,
    AttemptState,
    Outcome,
    Provenance,
    Run,
    RunKey,
    RunStatus,
)
from hpo_lib.records.audit import Actor, Deed
from hpo_lib.runs import admission, changes, lifecycle
from hpo_lib.search import engine
from hpo_lib.spec import Spec
from hpo_lib.store import Store, interventions, upgrade
from hpo_lib.trials import judging, runner
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.loop import Loop, quietly
from tests.integration.store_contract import Clock

ADA = Actor("ada", "api")
KEY = RunKey("hpo_local", "manual__1")
CONF: dict[str, Any] = {
    "name": "iris",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random", "seed": 3},
    "limits": {"max_trials": 4, "parallel_trials": 2},
    "trial": {
        "command": [sys.executable, "-c", "import sys; print('loss=' + sys.argv[1])"],
        "args": ["${params.x}"],
        "timeout": "1m",
    },
}
HANGS = [sys.executable, "-u", "-c", "import time; print('loss=0.125'); time.sleep(600)"]


class Bench(Loop):
    """A run, and what its tasks do."""

    def begin(self, **changed: Any) -> Run:
        return admission.begin(
            self.store,
            KEY,
            CONF | changed,
            self.installation,
            backend="local",
            triggered_by="ada",
            provenance=Provenance(),
        )

    def wave(self, number: int) -> list[int]:
        batch = lifecycle.next_wave(self.store, KEY, number, self.installation)
        return [one.trial for one in batch.assignments]

    def done(self, run: Run, *numbers: int) -> None:
        """Let trials that have not ended do so, without a program: the loss is the parameter."""
        for number in numbers:
            trial = self.store.trial(run.id, number)
            if trial.state is TrialState.RUNNING:
                value = float(trial.params["x"])
                attempt = self.store.open_attempt(run.id, number, lambda _: {})
                found = Outcome(
                    AttemptState.SUCCEEDED, "done", value=value, metrics={"loss": value}
                )
                self.store.close_attempt(attempt.id, found, final=True)

    def play(self, run: Run) -> Run:
        """Do all waves that are left, and end the run."""
        for wave in range(1, 41):
            self.done(run, *self.wave(wave))
        return self.finish()

    def finish(self) -> Run:
        return lifecycle.finish(self.store, KEY, self.installation)

    def deeds(self) -> list[Deed]:
        return [one.deed for one in self.store.audit.entries()]

    def params(self, run: Run) -> list[dict[str, Any]]:
        return [dict(trial.params) for trial in self.store.history(run.id).trials]


class ChangesContract:
    """What holds on every database."""

    @pytest.fixture
    def bench(self, store: Store, tmp_path: Path) -> Bench:
        return Bench(store, tmp_path)

    def test_a_stopped_run_begins_nothing_and_keeps_what_it_has(self, bench: Bench) -> None:
        run = bench.begin()
        bench.done(run, *bench.wave(1))
        assert bench.wave(2) == [3, 4]
        changes.stop(bench.store, run, ADA)
        bench.perform(run, 3, 4)
        assert bench.wave(3) == []
        ended = bench.finish()
        assert (ended.status, ended.reason) == (RunStatus.COMPLETE, "stopped by ada")
        states = [trial.state for trial in bench.store.history(run.id).trials]
        assert states == [TrialState.COMPLETE] * 2 + [TrialState.STOPPED] * 2
        assert all(not bench.store.attempts(run.id, number) for number in (3, 4))

    def test_a_run_that_is_stopped_before_anything_is_complete_has_failed(
        self, bench: Bench
    ) -> None:
        run = bench.begin()
        changes.stop(bench.store, run, ADA)
        assert bench.wave(1) == []
        ended = bench.finish()
        assert ended.status is RunStatus.FAILED
        assert ended.reason == "no trial is complete: 0 failed; stopped by ada"

    def test_whoever_stops_it_again_changes_nothing(self, bench: Bench) -> None:
        run = bench.begin()
        bench.wave(1)
        changes.stop(bench.store, run, ADA)
        changes.stop(bench.store, run, Actor("bob", "api"))
        changes.stop_trial(bench.store, run, 1, Actor("bob", "api"))
        bench.finish()
        changes.stop(bench.store, run, ADA)
        assert bench.deeds() == [Deed.SUBMITTED, Deed.STOPPED]
        assert bench.store.stop_of(run.id) == Decision.stop("stopped by ada")

    def test_a_wave_that_is_being_thought_of_meanwhile_begins_nothing(self, bench: Bench) -> None:
        run = bench.begin()

        def ask(history: Any) -> engine.Step:
            changes.stop(bench.store, run, ADA)
            return engine.step(run.spec, history, 2)

        batch = bench.store.next_batch(run.id, "wave-01", ask)
        assert (batch.assignments, batch.stop) == ((), Decision.stop("stopped by ada"))
        assert bench.store.history(run.id).trials == ()

    def test_a_cancelled_run_has_failed_whatever_it_has_found(self, bench: Bench) -> None:
        run = bench.begin()
        bench.done(run, *bench.wave(1))
        changes.cancel(bench.store, run, ADA)
        lifecycle.finish(bench.store, KEY, bench.installation, stopped_by=Actor("", "airflow"))
        ended = bench.store.run(KEY)
        assert (ended.status, ended.reason) == (RunStatus.FAILED, "cancelled by ada")
        assert bench.deeds() == [Deed.SUBMITTED, Deed.STOPPED], "who has stopped it is told once"

    def test_a_trial_is_stopped_and_the_run_goes_on(self, bench: Bench) -> None:
        run = bench.begin()
        assert bench.wave(1) == [1, 2]
        assert changes.stop_trial(bench.store, run, 1, ADA).state is TrialState.STOPPED
        bench.perform(run, 1, 2)
        bench.done(run, *bench.wave(2))
        assert bench.wave(3) == []
        assert bench.finish().status is RunStatus.COMPLETE
        trial = bench.store.trial(run.id, 1)
        assert (trial.state, trial.reason, trial.cause) == (
            TrialState.STOPPED,
            "stopped by ada",
            None,
        )
        with pytest.raises(NotFound):
            changes.stop_trial(bench.store, run, 99, ADA)

    def test_a_trial_that_runs_is_ended_within_seconds_with_what_it_has_shown(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(judging, "_NEVER_S", 0.1)
        run = bench.begin(trial=CONF["trial"] | {"command": HANGS, "args": [], "timeout": "9m"})
        bench.wave(1)
        began = threading.Event()

        def launch(attempt: Attempt, request: Request) -> Exit:
            bench.backend.submit(attempt.handle, request)
            for item in bench.backend.follow(attempt.handle):
                if isinstance(item, Exit):
                    return item
                began.set()
            raise AssertionError("it has no end")

        def stop() -> None:
            began.wait(60)
            changes.stop_trial(bench.store, run, 1, ADA)

        other = threading.Thread(target=stop)
        other.start()
        trial = runner.perform(bench.store, run, 1, bench.backend, quietly, launch)
        other.join()
        assert (trial.state, trial.reason) == (TrialState.STOPPED, "stopped by ada")
        assert (trial.value, trial.metrics, trial.cause) == (None, {"loss": 0.125}, None)
        (attempt,) = bench.store.attempts(run.id, 1)
        assert attempt.cause is Cause.STOPPED
        (view, _) = bench.store.view(run.id).trials
        assert [seen.value for seen in view.observations] == [0.125]

    def test_a_trial_that_was_done_before_it_heard_of_it_is_complete(self, bench: Bench) -> None:
        run = bench.begin()
        bench.wave(1)

        def launch(attempt: Attempt, request: Request) -> Exit:
            end = runner.follow(bench.backend, attempt, request, quietly)
            changes.stop_trial(bench.store, run, 1, ADA)
            return end

        trial = runner.perform(bench.store, run, 1, bench.backend, quietly, launch)
        assert trial.state is TrialState.COMPLETE

    @pytest.mark.parametrize("ending", [Ending.LOST, Ending.STOPPED, Ending.FAILED])
    def test_however_its_backend_ends_it_it_has_not_failed(
        self, bench: Bench, ending: Ending
    ) -> None:
        run = bench.begin(limits=CONF["limits"] | {"max_failed_trials": 0})
        bench.wave(1)

        def launch(*_: Any) -> Exit:
            changes.stop_trial(bench.store, run, 1, ADA)
            return Exit(ending)

        trial = runner.perform(bench.store, run, 1, bench.backend, quietly, launch)
        assert trial.state is TrialState.STOPPED
        assert len(bench.wave(2)) == 2, "it has cost no budget, and is not tried again"

    def test_a_task_that_is_killed_before_it_has_stopped_its_trial_does_so_later(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = bench.begin()
        bench.wave(1)

        def killed(*_: Any) -> Exit:
            changes.stop_trial(bench.store, run, 1, ADA)
            raise TransientError("the worker is gone")

        with pytest.raises(TransientError):
            runner.perform(bench.store, run, 1, bench.backend, quietly, killed)
        trial = runner.perform(bench.store, run, 1, bench.backend, quietly, killed)
        assert trial.state is TrialState.STOPPED
        (attempt,) = bench.store.attempts(run.id, 1)
        assert attempt.cause is Cause.STOPPED

    def test_what_nobody_looks_after_any_more_is_settled_as_stopped(self, bench: Bench) -> None:
        run = bench.begin()
        bench.wave(1)
        handle = {"folder": str(bench.home / "gone"), "host": socket.gethostname()}
        bench.store.open_attempt(run.id, 1, lambda _: handle)
        changes.stop(bench.store, run, ADA)
        bench.finish()
        states = {trial.number: trial.state for trial in bench.store.history(run.id).trials}
        assert states == {1: TrialState.STOPPED, 2: TrialState.STOPPED}

    def test_a_point_is_tried_before_the_samplers_next_ones(self, bench: Bench) -> None:
        run = bench.begin()
        bench.done(run, *bench.wave(1))
        changes.add_point(bench.store, run, {"x": 0.75}, ADA)
        assert bench.wave(2) == [3, 4]
        assert bench.params(run)[2] == {"x": 0.75}
        assert bench.deeds() == [Deed.SUBMITTED, Deed.CHANGED]

    def test_a_point_is_added_once(self, bench: Bench) -> None:
        run = bench.begin()
        bench.wave(1)
        for _ in range(3):
            run = changes.add_point(bench.store, bench.store.run(KEY), {"x": 0.75}, ADA)
        tried = bench.params(run)[0]
        assert changes.add_point(bench.store, run, tried, ADA) == run
        assert [dict(point) for point in run.spec.initial_points] == [{"x": 0.75}]
        assert bench.deeds() == [Deed.SUBMITTED, Deed.CHANGED]

    def test_a_point_that_cannot_be_tried_any_more_is_refused_not_lost(self, bench: Bench) -> None:
        run = bench.begin()
        bench.wave(1)
        for x in (0.25, 0.75):
            run = changes.add_point(bench.store, run, {"x": x}, ADA)
        with pytest.raises(AlreadyFinished, match="no trial left for another point, of 4 limits"):
            changes.add_point(bench.store, run, {"x": 0.5}, ADA)
        bench.done(run, 1, 2, *bench.wave(2))
        bench.wave(3)
        with pytest.raises(TransientError, match="about to end: max trials reached"):
            changes.add_point(bench.store, run, {"x": 0.5}, ADA)
        bench.finish()
        with pytest.raises(AlreadyFinished, match="run 1 is complete"):
            changes.add_point(bench.store, bench.store.run(KEY), {"x": 0.5}, ADA)

    @pytest.mark.parametrize(
        ("point", "said"),
        [
            ({"x": 7}, "params: x: must be within"),
            ({}, "params: x: is required"),
            ({"x": 0.5, "y": 1}, 'params: "y" is not a parameter'),
            ({"x": "much"}, "params: x: must be a finite number"),
        ],
    )
    def test_a_wrong_point_is_refused_by_name(
        self, bench: Bench, point: dict[str, Any], said: str
    ) -> None:
        run = bench.begin()
        with pytest.raises(SpecError, match=said):
            changes.add_point(bench.store, run, point, ADA)
        assert bench.deeds() == [Deed.SUBMITTED]

    def test_a_point_that_comes_while_the_last_wave_is_thought_of_is_in_it(
        self, bench: Bench
    ) -> None:
        run = bench.begin(limits={"max_trials": 2, "parallel_trials": 2})
        asked = []

        def step(spec: Spec, history: Any, capacity: int) -> engine.Step:
            if not asked:
                changes.add_point(bench.store, run, {"x": 0.75}, ADA)
            asked.append(spec)
            return real(spec, history, capacity)

        real = engine.step
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lifecycle.engine, "step", step)
            assert bench.wave(1) == [1, 2]
        assert (len(asked), bench.params(run)[0]) == (2, {"x": 0.75})

    def test_a_point_that_comes_after_what_was_looked_at_is_asked_for_again(
        self, bench: Bench
    ) -> None:
        run = bench.begin(limits={"max_trials": 2, "parallel_trials": 2})
        history = bench.store.history

        def meanwhile(run_id: int) -> Any:
            found = history(run_id)
            bench.wave(1)
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bench.store, "history", meanwhile)
            with pytest.raises(TransientError, match="run 1 has gone on meanwhile: ask again"):
                changes.add_point(bench.store, run, {"x": 0.75}, ADA)

    def test_a_run_that_has_ended_goes_on_with_its_history(self, bench: Bench) -> None:
        run = bench.begin()
        assert bench.play(run).status is RunStatus.COMPLETE
        before = bench.params(run)
        changes.extend(bench.store, bench.store.run(KEY), 8, ADA, waves=40)
        again = bench.store.run(KEY)
        assert (again.status, again.reason, again.ended_at) == (RunStatus.RUNNING, None, None)
        assert changes.next_wave(bench.store, again) == 3
        ended = bench.play(again)
        assert (ended.status, ended.reason) == (
            RunStatus.COMPLETE,
            "max trials reached: 8 of 8",
        )
        assert bench.params(run)[:4] == before
        assert bench.deeds() == [Deed.SUBMITTED, Deed.EXTENDED]

    def test_the_time_between_an_end_and_its_extension_is_no_run_time(
        self, url: str, tmp_path: Path
    ) -> None:
        upgrade(url)
        clock = Clock()
        with Store.open(url, now=clock) as store:
            bench = Bench(store, tmp_path)
            run = bench.begin(limits=CONF["limits"] | {"max_duration": "10m"})

            def open_s() -> set[float]:
                now = store.run(KEY)
                return {store.history(run.id).elapsed_s, store.slots.history(now).elapsed_s}

            clock.advance(60)
            bench.play(run)
            for max_trials, minutes in ((6, 2), (8, 3)):
                clock.advance(24 * 3_600)
                assert open_s() == {60 * (minutes - 1)}, "it stands still"
                changes.extend(store, store.run(KEY), max_trials, ADA, waves=40)
                clock.advance(60)
                assert open_s() == {60 * minutes}
                ended = bench.play(store.run(KEY))
                assert ended.reason == f"max trials reached: {max_trials} of {max_trials}"
            assert len(ended.closed) == 2
            clock.advance(24 * 3_600)
            changes.extend(store, store.run(KEY), 10, ADA, waves=40)
            clock.advance(8 * 60)
            reason = bench.play(store.run(KEY)).reason or ""
            assert reason.startswith("duration: 11m 00s have passed"), "what it was open counts"
            with pytest.raises(AlreadyFinished, match="cannot go on: duration: 11m 00s"):
                changes.extend(store, store.run(KEY), 12, ADA, waves=40)

    @pytest.mark.parametrize("ended_by", ["time", "a wave"])
    def test_an_extended_run_is_left_to_airflow_until_its_tasks_begin_again(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, ended_by: str
    ) -> None:
        """For Airflow it is over until its tasks are cleared, which the API does next."""
        bench.play(bench.begin())
        run = changes.extend(bench.store, bench.store.run(KEY), 8, ADA, waves=40)
        assert list(sweep(bench.store, bench.installation, lambda _: True)) == []
        assert bench.store.run(KEY).status is RunStatus.RUNNING
        if ended_by == "time":
            monkeypatch.setattr(interventions, "_CLEARED_IN", timedelta(0))
        else:
            bench.wave(changes.next_wave(bench.store, run))
        (said,) = sweep(bench.store, bench.installation, lambda _: True)
        assert said.startswith(f"run {run.id}: failed, its DAG run is over"), said

    def test_whoever_extends_it_again_changes_nothing(self, bench: Bench) -> None:
        run = bench.begin()
        bench.play(run)
        for _ in range(3):
            changes.extend(bench.store, bench.store.run(KEY), 8, ADA, waves=40)
        assert bench.deeds() == [Deed.SUBMITTED, Deed.EXTENDED]

    def test_a_run_under_way_gets_more_trials(self, bench: Bench) -> None:
        run = bench.begin()
        bench.done(run, *bench.wave(1))
        changes.extend(bench.store, run, 6, ADA, waves=40)
        assert bench.play(bench.store.run(KEY)).reason == "max trials reached: 6 of 6"

    def test_a_stopped_run_goes_on_where_it_was(self, bench: Bench) -> None:
        run = bench.begin()
        bench.done(run, *bench.wave(1))
        changes.stop(bench.store, run, ADA)
        with pytest.raises(TransientError, match="about to end: stopped by ada"):
            changes.extend(bench.store, run, 4, ADA, waves=40)
        bench.finish()
        changes.extend(bench.store, bench.store.run(KEY), 4, ADA, waves=40)
        assert bench.play(bench.store.run(KEY)).reason == "max trials reached: 4 of 4"

    def test_a_run_that_would_end_at_once_is_not_begun_again(self, bench: Bench) -> None:
        run = bench.begin(objective=CONF["objective"] | {"target": 1.0})
        bench.play(run)
        with pytest.raises(AlreadyFinished, match="run 1 cannot go on: target reached"):
            changes.extend(bench.store, bench.store.run(KEY), 8, ADA, waves=40)
        assert bench.store.run(KEY).status is RunStatus.COMPLETE

    def test_a_run_whose_trials_failed_alike_is_told_what_to_do_instead(self, bench: Bench) -> None:
        run = bench.begin()
        for number in bench.wave(1):
            attempt = bench.store.open_attempt(run.id, number, lambda _: {})
            missing = Outcome(AttemptState.FAILED, "no loss", cause=Cause.OBJECTIVE_MISSING)
            bench.store.close_attempt(attempt.id, missing, final=True)
        bench.finish()
        said = "all 2 trials of the first wave failed alike: objective_missing: no loss; mend what "
        said += "made its trials fail, and run its spec anew: `hpo spec 1` gives it"
        with pytest.raises(AlreadyFinished, match=f"^run 1 cannot go on: {said}$"):
            changes.extend(bench.store, bench.store.run(KEY), 8, ADA, waves=40)

    @pytest.mark.parametrize(
        ("trials", "waves", "said"),
        [
            (3, 40, "max_trials: must be >= 4, which run 1 has, got 3"),
            (100_001, 40, "limits.max_trials"),
            (8, 3, "of which 4 are left, need 4 waves, and the DAG hpo_local has 3"),
        ],
    )
    def test_what_a_run_cannot_have_is_refused(
        self, bench: Bench, trials: int, waves: int, said: str
    ) -> None:
        run = bench.begin()
        bench.play(run)
        with pytest.raises(SpecError, match=said):
            changes.extend(bench.store, bench.store.run(run.key), trials, ADA, waves=waves)
        assert bench.store.run(KEY).status is RunStatus.COMPLETE

    def test_a_run_that_was_refused_takes_nothing(self, bench: Bench) -> None:
        bench.store.refuse_run(KEY, "it is wrong", triggered_by="ada")
        run = bench.store.run(KEY)
        asks: list[Callable[[], Any]] = [
            lambda: changes.add_point(bench.store, run, {"x": 0.5}, ADA),
            lambda: changes.extend(bench.store, run, 8, ADA, waves=40),
        ]
        for ask in asks:
            with pytest.raises(SpecError, match="run 1 was refused"):
                ask()
        changes.stop(bench.store, run, ADA)
        assert bench.store.run(KEY) == run


class TestOnSqlite(OnSqlite, ChangesContract):
    """On a file."""


class TestOnPostgresql(OnPostgresql, ChangesContract):
    """On a server."""


#: Those that need no package of an extra; each is tried with its defaults.
SAMPLERS = ["random", "sobol", "grid", "bayesian", "skopt", "tpe", "cmaes", "qmc"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_extended_search_has_the_trials_of_one_that_was_asked_for_that_many(
    tmp_path: Path, name: str
) -> None:
    """For every sampler that is a function of what is known, where a stage fills its waves."""
    asked = CONF | {"sampler": {"name": name, "seed": 3}}
    if name == "grid":
        asked |= {"space": {"x": {"type": "ordinal", "choices": list(range(40))}}}
    found = []
    for number, stages in enumerate([[12], [8, 12]]):
        url = f"sqlite:///{tmp_path}/{number}.db"
        upgrade(url)
        with Store.open(url) as store:
            bench = Bench(store, tmp_path)
            run = bench.begin(**asked | {"limits": {"max_trials": stages[0], "parallel_trials": 4}})
            bench.play(run)
            for trials in stages[1:]:
                changes.extend(store, store.run(KEY), trials, ADA, waves=40)
                bench.play(store.run(KEY))
            found.append(bench.params(run))
    assert found[0] == found[1]
    assert len(found[0]) == 12
