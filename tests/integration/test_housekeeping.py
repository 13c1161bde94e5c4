"""Housekeeping: what nobody looks after is ended, what somebody does is left alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, update

from hpo_lib.backends import AttemptName
from hpo_lib.backends.local import LocalBackend
from hpo_lib.core.ending import Ending
from hpo_lib.core.trial import Cause, TrialState
from hpo_lib.errors import TransientError
from hpo_lib.housekeeping import sweep
from hpo_lib.installation import Installation
from hpo_lib.records import Attempt, Provenance, Run, RunKey, RunStatus, slug_of
from hpo_lib.runs import admission, lifecycle
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade
from hpo_lib.store.schema import runs
from hpo_lib.trials import runner

KEY = RunKey("hpo_local", "manual__1")
CONF: dict[str, Any] = {
    "name": "sweep",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "limits": {"max_trials": 4, "parallel_trials": 2},
    "trial": {"command": [sys.executable, "-c", "import time; print('loss=1'); time.sleep(600)"]},
}


class Bench:
    """A store, a backend, and a run of which one trial runs."""

    def __init__(self, store: Store, home: Path) -> None:
        self.store, self.home = store, home
        self.backend = LocalBackend(home=home, workdir=home, grace_s=60.0)
        self.installation = Installation(home, {"local": lambda: self.backend})
        facts: dict[str, Any] = {
            "backend": "local",
            "triggered_by": "ada",
            "provenance": Provenance(),
        }
        self.run: Run = admission.begin(store, KEY, CONF, self.installation, **facts)
        self.first, _ = lifecycle.next_wave(store, KEY, 1, self.installation).assignments
        self.attempt = self.opened()
        trial = store.trial(self.run.id, self.first.trial)
        spec = self.run.spec
        output = str(self.backend.output(self.attempt.handle))
        asked = runner.request(
            spec,
            self.run,
            trial,
            self.first,
            attempt=self.attempt.number,
            output=output,
            store=store.id,
        )
        self.backend.submit(self.attempt.handle, asked)

    def opened(self) -> Attempt:
        """Open the first trial's attempt, or give it."""
        slug = slug_of(self.run)
        number = self.first.trial
        return self.store.open_attempt(
            self.run.id,
            number,
            lambda n: self.backend.handle(AttemptName(self.store.id, slug, number, n)),
        )

    def sweep(self, *, over: bool) -> list[str]:
        """Clean up."""
        return list(sweep(self.store, self.installation, lambda key: over))

    def alive(self) -> bool:
        """Say whether the trial runs."""
        return self.backend.poll(self.attempt.handle) is None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        made = Bench(store, tmp_path)
        yield made
        made.backend.stop(made.attempt.handle)


def until_started(bench: Bench) -> None:
    """Wait until the trial's own process is there to be found."""
    end = time.monotonic() + 60
    while not list(bench.backend.found(bench.store.id)):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_is_looked_after_is_left_alone(bench: Bench) -> None:
    until_started(bench)
    assert bench.sweep(over=False) == []
    assert bench.alive()
    assert bench.store.run(KEY).status is RunStatus.RUNNING


def test_a_run_whose_dag_run_is_over_is_closed_with_all_it_had(bench: Bench) -> None:
    (said,) = bench.sweep(over=True)
    run = bench.store.run(KEY)
    assert run.status is RunStatus.FAILED
    assert said.startswith(f"run {run.id}: failed, its DAG run is over: ")
    assert not bench.alive()
    trials = [view.trial for view in bench.store.view(run.id).trials]
    assert [trial.cause for trial in trials] == [Cause.KILLED_BY_OPERATOR, Cause.LOST]
    assert (bench.home / "runs" / slug_of(run) / "report.html").exists()
    assert bench.sweep(over=True) == [], "once is enough"


def test_a_process_without_a_live_attempt_is_ended(bench: Bench) -> None:
    until_started(bench)
    bench.store.fail_trial(bench.run.id, bench.first.trial, Cause.LOST, "its task never came back")
    assert bench.alive()
    (said,) = bench.sweep(over=False)
    assert said == f"local: ended what was left of attempt 1 of trial 1 of run {bench.run.id}"
    assert bench.backend.poll(bench.attempt.handle).ending is Ending.STOPPED
    assert bench.store.trial(bench.run.id, 1).state is TrialState.FAILED
    assert bench.sweep(over=False) == []


def test_a_run_that_cannot_be_closed_is_said_and_holds_up_nothing(bench: Bench) -> None:
    facts: dict[str, Any] = {"backend": "local", "triggered_by": "ada", "provenance": Provenance()}
    other = admission.begin(
        bench.store, RunKey("hpo_local", "2"), CONF, bench.installation, **facts
    )
    backends = iter([lambda: 1 / 0])

    def first_is_broken() -> LocalBackend:
        return next(backends, lambda: bench.backend)()

    installation = Installation(bench.home, {"local": first_is_broken})
    said = list(sweep(bench.store, installation, lambda key: True))
    assert said[0] == f"run {bench.run.id}: could not be closed: division by zero"
    assert said[1].startswith(f"run {other.id}: failed, its DAG run is over")


def test_a_run_whose_spec_is_refused_today_holds_up_nothing(bench: Bench) -> None:
    facts: dict[str, Any] = {
        "backend": "local",
        "triggered_by": "ada",
        "provenance": Provenance(),
    }
    other = admission.begin(
        bench.store, RunKey("hpo_local", "2"), CONF, bench.installation, **facts
    )
    until_started(bench)
    engine = create_engine(f"sqlite:///{bench.home}/hpo.db")
    with engine.begin() as connection:
        old = load(CONF).dump() | {"mode": "of an older version"}
        connection.execute(update(runs).where(runs.c.id == bench.run.id).values(spec=old))
    bench.store.fail_trial(bench.run.id, bench.first.trial, Cause.LOST, "its task never came back")
    said = bench.sweep(over=True)
    assert said[0].startswith(f"run {bench.run.id}: could not be closed: mode: must be waves")
    assert said[1].startswith(f"run {other.id}: failed, its DAG run is over")
    assert said[2].startswith("local: ended what was left of attempt 1 of trial 1 of run")
    assert not bench.alive(), "and what it has left running is ended"


def test_a_backend_out_of_reach_is_said_and_hides_no_other(bench: Bench) -> None:
    def unreachable() -> LocalBackend:
        raise TransientError("no route to host")

    installation = Installation(bench.home, {"local": unreachable})
    said = list(sweep(bench.store, installation, lambda key: False))
    assert said == ["local: could not be swept: no route to host"]
    assert bench.alive()
