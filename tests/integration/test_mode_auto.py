"""`mode: auto`: chosen once, when a run begins, and the same for whoever goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_lib import report
from hpo_lib.core.trial import TrialState
from hpo_lib.records import AttemptState, Outcome, Provenance, Run, RunKey, RunStatus
from hpo_lib.records.audit import Actor
from hpo_lib.runs import admission, changes, lifecycle
from hpo_lib.runs.slots import Asking
from hpo_lib.store import Store, upgrade
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.loop import Loop
from tests.integration.store_contract import Clock

CONF: dict[str, Any] = {
    "name": "iris",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "tpe", "seed": 3},
    "limits": {"max_trials": 12, "parallel_trials": 2},
    "mode": "auto",
    "trial": {"command": ["true"]},
}
UNKNOWN = (
    "waves (no earlier run tells how long trials take, and in waves the same seed gives the same "
    "trials)"
)
UNLIKE = "async (waves of 2 would have kept 25 % of the places in 1 earlier run waiting)"


class Bench(Loop):
    """Begins runs, and lets their trials last as long as a test says."""

    clock: Clock

    def begin(self, dag_run_id: str, *, in_slots: bool = True, **changed: Any) -> Run:
        return admission.begin(
            self.store,
            RunKey("hpo_local", dag_run_id),
            CONF | changed,
            self.installation,
            backend="local",
            triggered_by="ada",
            provenance=Provenance(),
            in_slots=in_slots,
        )

    def turn(self, run: Run, slot: int) -> Any:
        """Give what a task that has just begun is told for a slot."""
        return Asking(self.store, run.key, slot, self.installation).take_turn().assignment

    def play(self, run: Run, *lasted_s: float) -> Run:
        """Do a run's trials two by two, and end it."""
        for wave in range(len(lasted_s) // 2 + 1):
            going = {}
            for slot in (1, 2):
                if (given := self.turn(run, slot)) is not None:
                    attempt = self.store.open_attempt(run.id, given.trial, lambda _: {})
                    going[attempt.id] = lasted_s[2 * wave + slot - 1]
            passed_s = 0.0
            for attempt_id, ends_s in sorted(going.items(), key=lambda one: one[1]):
                self.clock.advance(ends_s - passed_s)
                passed_s = ends_s
                found = Outcome(AttemptState.SUCCEEDED, "done", value=0.5, metrics={"loss": 0.5})
                self.store.close_attempt(attempt_id, found, final=True)
        return lifecycle.finish(self.store, run.key, self.installation)


class ModeContract:
    """What holds on every database."""

    @pytest.fixture
    def bench(self, url: str, tmp_path: Path) -> Iterator[Bench]:
        upgrade(url)
        clock = Clock()
        with Store.open(url, now=clock) as store:
            made = Bench(store, tmp_path)
            made.clock = clock
            yield made

    def test_what_is_chosen_first_stays_whoever_goes_on(self, bench: Bench) -> None:
        first = bench.begin("1")
        assert (first.spec.mode, first.advice.mode) == ("waves", UNKNOWN)
        assert bench.play(first, *[6, 12] * 6).status is RunStatus.COMPLETE
        second = bench.begin("2")
        assert (second.spec.mode, second.advice.mode) == ("async", UNLIKE)
        assert bench.turn(second, 1).trial == 1
        assert [one.trial for one in (bench.turn(second, 1), bench.turn(second, 2))] == [1, 2]
        for again in ("1", "2"):
            known = bench.begin(again)
            assert known == bench.store.run(known.key)
            assert known.advice.mode == (UNKNOWN if again == "1" else UNLIKE)
        assert bench.play(second, *[10] * 12).status is RunStatus.COMPLETE
        third = bench.begin("3")
        assert third.advice.mode.startswith("async (waves of 2 would have kept 14 % of the places")
        assert bench.begin("2").spec.mode == bench.begin("3").spec.mode == "async"

    def test_the_task_that_takes_over_a_slot_runs_on_in_that_mode(self, bench: Bench) -> None:
        bench.play(bench.begin("1"), *[6, 12] * 6)
        run = bench.begin("2")
        bench.turn(run, 1), bench.turn(run, 2)
        attempt = bench.store.open_attempt(run.id, 1, lambda _: {})
        found = Outcome(AttemptState.SUCCEEDED, "done", value=0.5, metrics={"loss": 0.5})
        bench.store.close_attempt(attempt.id, found, final=True)
        assert bench.turn(run, 1).trial == 3, "it does not wait for trial 2"
        assert bench.store.trial(run.id, 2).state is TrialState.RUNNING

    def test_a_longer_run_keeps_its_mode(self, bench: Bench) -> None:
        run = bench.begin("1")
        bench.play(run, *[6, 12] * 6)
        changes.extend(bench.store, bench.store.run(run.key), 14, Actor("ada"), waves=None)
        again = bench.store.run(run.key)
        assert (again.spec.mode, again.advice.mode) == ("waves", UNKNOWN)
        assert bench.begin("1") == again

    def test_a_dag_of_waves_has_waves_whatever_is_known(self, bench: Bench) -> None:
        bench.play(bench.begin("1"), *[6, 12] * 6)
        run = bench.begin("2", in_slots=False)
        assert (run.spec.mode, run.advice.mode) == ("waves", "waves (this DAG runs nothing else)")

    def test_other_experiments_say_nothing(self, bench: Bench) -> None:
        bench.play(bench.begin("1"), *[6, 12] * 6)
        assert bench.begin("2", name="rose").advice.mode == UNKNOWN

    def test_the_report_and_the_log_say_why(self, bench: Bench) -> None:
        bench.play(bench.begin("1"), *[6, 12] * 6)
        run = bench.begin("2")
        assert list(run.advice.lines()) == [f"mode auto: {UNLIKE}"]
        text = report.html(bench.store.view(run.id))
        assert f"<dt>mode</dt><dd>auto: {UNLIKE}</dd>" in text
        assert "Earlier runs" not in text, "they have advised nothing"
        assert run.provenance.asked != run.spec.digest

    def test_without_auto_nothing_is_chosen(self, bench: Bench) -> None:
        bench.play(bench.begin("1", mode="waves"), *[6, 12] * 6)
        for mode in ("waves", "async"):
            run = bench.begin(mode, mode=mode)
            assert (run.spec.mode, run.advice.mode) == (mode, "")
            assert run.provenance.asked == run.spec.digest


class TestOnSqlite(OnSqlite, ModeContract):
    """On a file."""


class TestOnPostgresql(OnPostgresql, ModeContract):
    """On a server."""
