"""Rungs from end to end: a scheduler, real processes, and what store and report say of them."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.core.ending import Exit
from hpo_lib.core.trial import Action, Cause, Decision, TrialState
from hpo_lib.errors import AlreadyFinished
from hpo_lib.records import AttemptState, Provenance, Run, RunKey, RunStatus
from hpo_lib.registry import ALLOWED_SCHEDULERS
from hpo_lib.runs import admission, lifecycle, outputs
from hpo_lib.search import engine
from hpo_lib.store import Store, upgrade
from hpo_lib.store.batches import Batch
from hpo_lib.trials import runner
from tests.halves import HalvesScheduler
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.loop import Loop, quietly
from tests.integration.rungs_contract import RungContract

KEY = RunKey("hpo_local", "rungs")
#: Counts its epochs in a checkpoint; what it has found so far is the better, the smaller x is.
PROGRAM = """
import json, os, pathlib, sys
told = {name: os.environ.get(name) for name in ("HPO_RESOURCE", "HPO_RESUME_FROM")}
folder = pathlib.Path(os.environ["HPO_OUTPUT"])
done = 0
if told["HPO_RESUME_FROM"]:
    done = json.loads((pathlib.Path(told["HPO_RESUME_FROM"]) / "checkpoint.json").read_text())
x, limit = float(sys.argv[1]), int(sys.argv[2])
assert limit == int(told["HPO_RESOURCE"])
for epoch in range(done + 1, limit + 1):
    print(f"step={epoch} loss={x + 1 / epoch}")
(folder / "checkpoint.json").write_text(json.dumps(limit))
(folder / "told.json").write_text(json.dumps(told | {"begun_at": done}))
"""
CONF: dict[str, Any] = {
    "name": "rungs",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "ordinal", "choices": [1, 2, 3, 4, 5, 6]}},
    "sampler": {"name": "grid"},
    "scheduler": {"name": "tests.halves:HalvesScheduler", "low": 2, "high": 5},
    "limits": {"max_trials": 6, "parallel_trials": 4},
    "trial": {
        "command": [sys.executable, "-c", PROGRAM],
        "args": ["${params.x}", "${resource}", "--from=${resume_from}"],
        "timeout": "1m",
    },
}


class TestSqlite(OnSqlite, RungContract):
    """The contract of rungs on SQLite."""


class TestPostgresql(OnPostgresql, RungContract):
    """The contract of rungs on PostgreSQL."""


class Bench(Loop):
    def begin(self, **changes: Any) -> Run:
        facts: dict[str, Any] = {"triggered_by": "ada", "provenance": Provenance()}
        return admission.begin(
            self.store, KEY, CONF | changes, self.installation, backend="local", **facts
        )

    def wave(self, number: int) -> Batch:
        return lifecycle.next_wave(self.store, KEY, number, self.installation)

    def finish(self) -> Run:
        return lifecycle.finish(self.store, KEY, self.installation)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv(ALLOWED_SCHEDULERS, "tests")
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path)


def test_two_rungs_run_to_their_end(bench: Bench) -> None:
    run = bench.begin()
    bench.waves(run)
    ended = bench.finish()
    assert (ended.status, ended.reason) == (RunStatus.COMPLETE, "max trials reached: 6 of 6")
    view = bench.store.view(run.id)
    by_x = {one.trial.params["x"]: one for one in view.trials}
    states = {x: by_x[x].trial.state for x in sorted(by_x)}
    assert states == {x: TrialState.COMPLETE if x <= 3 else TrialState.STOPPED for x in range(1, 7)}
    assert by_x[1].trial.rungs == {2.0: 1.5, 5.0: 1.2}
    assert by_x[1].trial.value == 1.2
    assert by_x[6].trial.rungs == {2.0: 6.5}
    assert by_x[6].trial.value is None
    assert by_x[6].trial.reason == "rung 2: 6.5 is not among the best 3"
    assert [one.resource for one in by_x[1].attempts] == [2.0, 5.0]


def test_a_promoted_trial_goes_on_from_its_checkpoint(bench: Bench) -> None:
    run = bench.begin()
    bench.waves(run)
    (best,) = [one for one in bench.store.view(run.id).trials if one.trial.params["x"] == 1]
    first, second = (bench.backend.output(one.handle) for one in best.attempts)
    assert json.loads((first / "told.json").read_text()) == {
        "HPO_RESOURCE": "2",
        "HPO_RESUME_FROM": None,
        "begun_at": 0,
    }
    assert json.loads((second / "told.json").read_text()) == {
        "HPO_RESOURCE": "5",
        "HPO_RESUME_FROM": str(first),
        "begun_at": 2,
    }
    assert [one.step for one in best.observations] == [3, 4, 5]


def test_decisions_reach_store_slot_and_report(bench: Bench) -> None:
    run = bench.begin()
    bench.waves(run)
    bench.finish()
    view = bench.store.view(run.id)
    assert [(one.trial, one.action) for one in view.decisions if one.resource] == [
        (one.trial.number, Action.PROMOTE) for one in view.trials if one.trial.value is not None
    ]
    batches = [bench.store.batch_of(run.id, f"wave-0{wave}") for wave in (2, 3, 4)]
    said = [{one.action for one in batch.decisions} for batch in batches if batch]
    assert said == [set(), {Action.PROMOTE}, {Action.STOP}]
    report = outputs.write_report(bench.store, view.run, bench.installation).read_text()
    assert "rung 2: 6.5 is not among the best 3" in report
    assert "rung 2: 1.5 is among the best 3" in report
    assert "HPO_RESOURCE=5" in report, "to train the best again, as far as it went"


def test_a_task_of_the_first_rung_that_is_cleared_runs_nothing(bench: Bench) -> None:
    run = bench.begin(limits={"max_trials": 2, "parallel_trials": 2})
    first = bench.wave(1)
    bench.perform(run, *(one.trial for one in first.assignments))
    (promoted,) = bench.wave(2).assignments
    said: list[str] = []

    def launch(*_: Any) -> Exit:
        raise AssertionError("it was launched")

    trial = runner.perform(
        bench.store, run, promoted.trial, bench.backend, said.append, launch, slot="wave-01"
    )
    assert trial.state is TrialState.RUNNING
    assert said == [f"trial {promoted.trial} has gone on in wave-02: nothing is run here"]
    assert [one.state for one in bench.store.attempts(run.id, promoted.trial)] == [
        AttemptState.SUCCEEDED
    ]


def test_a_trial_that_waits_has_no_attempt_to_take(bench: Bench) -> None:
    run = bench.begin(limits={"max_trials": 2, "parallel_trials": 2})
    (one, *_) = bench.wave(1).assignments
    bench.perform(run, one.trial)
    assert bench.store.trial(run.id, one.trial).state is TrialState.WAITING
    with pytest.raises(AlreadyFinished, match=f"trial {one.trial} is waiting"):
        bench.store.open_attempt(run.id, one.trial, lambda _: {})


def test_every_rung_has_its_own_tries(bench: Bench) -> None:
    """Two attempts lost at the low rung leave three at the high one."""
    run = bench.begin(limits={"max_trials": 1, "parallel_trials": 1})
    for wave in (1, 2):
        (one,) = bench.wave(wave).assignments
        causes = iter([Cause.LOST, Cause.LOST])

        def launch(attempt: Any, request: Any, causes: Iterator[Cause] = causes) -> Exit:
            if next(causes, None) is not None:
                return Exit(runner.Ending.LOST, detail="gone")
            return runner.follow(bench.backend, attempt, request, quietly)

        for _ in range(2):
            with pytest.raises(runner.TransientError):
                runner.perform(bench.store, run, one.trial, bench.backend, quietly, launch)
        runner.perform(bench.store, run, one.trial, bench.backend, quietly, launch)
    assert bench.store.trial(run.id, 1).state is TrialState.COMPLETE
    assert [a.resource for a in bench.store.attempts(run.id, 1)] == [2, 2, 2, 5, 5, 5]


def test_a_trial_that_is_told_to_stop_is_ended_by_whoever_runs_it(bench: Bench) -> None:
    run = bench.begin(limits={"max_trials": 2, "parallel_trials": 2})
    one = bench.wave(1).assignments[0].trial
    stop = Decision.stop("it is hopeless")
    bench.store.next_batch(run.id, "other", lambda _: engine.Step(decisions={one: stop}))
    assert bench.store.trial(run.id, one).state is TrialState.RUNNING
    said: list[str] = []

    def launch(*_: Any) -> Exit:
        raise AssertionError("it was launched")

    trial = runner.perform(bench.store, run, one, bench.backend, said.append, launch)
    assert (trial.state, trial.reason) == (TrialState.STOPPED, "it is hopeless")
    assert said == [f"trial {one} is stopped: it is hopeless"]


def test_a_run_that_ends_early_leaves_no_trial_waiting(bench: Bench) -> None:
    run = bench.begin()
    bench.perform(run, *(one.trial for one in bench.wave(1).assignments))
    ended = bench.finish()
    assert ended.status is RunStatus.FAILED
    states = {one.trial.state for one in bench.store.view(run.id).trials}
    assert states == {TrialState.STOPPED}
    (reason, *_) = {one.trial.reason for one in bench.store.view(run.id).trials}
    assert reason.startswith("not promoted: the run has ended: ")


def test_asked_again_at_every_point_it_comes_to_the_same(bench: Bench, tmp_path: Path) -> None:
    """Every task is killed after its answer was kept, and comes again."""
    run = bench.begin()
    for wave in range(1, 6):
        batch = bench.wave(wave)
        assert bench.wave(wave) == batch
        for one in batch.assignments:
            bench.perform(run, one.trial)
            bench.perform(run, one.trial)
        if batch.stop is not None:
            break
    assert bench.finish().status is RunStatus.COMPLETE
    found = {t.trial.params["x"]: len(t.attempts) for t in bench.store.view(run.id).trials}
    assert found == {1: 2, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1}


def test_a_promoted_trial_whose_task_never_began_is_lost_and_costs_no_budget(bench: Bench) -> None:
    run = bench.begin(limits={"max_trials": 2, "parallel_trials": 2, "max_failed_trials": 0})
    bench.perform(run, *(one.trial for one in bench.wave(1).assignments))
    (promoted,) = bench.wave(2).assignments
    bench.wave(3)
    trial = bench.store.trial(run.id, promoted.trial)
    assert (trial.state, trial.cause) == (TrialState.FAILED, Cause.LOST)
    assert trial.reason == "its Airflow task ended before it could start"


class Late(HalvesScheduler):
    """Fails as soon as somebody waits."""

    def judge(self, *_: Any) -> Decision:
        raise ZeroDivisionError("too late")


def test_a_scheduler_that_fails_later_ends_the_run_and_its_trials(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED_SCHEDULERS, __name__)
    run = bench.begin(scheduler={"name": f"{__name__}:Late"})
    bench.perform(run, *(one.trial for one in bench.wave(1).assignments))
    assert bench.wave(2).assignments == ()
    ended = bench.finish()
    assert ended.status is RunStatus.FAILED
    assert ended.reason is not None
    assert "Late failed: ZeroDivisionError: too late (test_rungs.py, line " in ended.reason
    assert {one.trial.state for one in bench.store.view(run.id).trials} == {TrialState.STOPPED}


def test_a_run_whose_scheduler_is_allowed_no_more_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.begin()
    bench.perform(run, *(one.trial for one in bench.wave(1).assignments))
    monkeypatch.delenv(ALLOWED_SCHEDULERS)
    ended = bench.finish()
    assert ended.status is RunStatus.FAILED
    assert ended.reason is not None
    assert "its spec cannot be used any more: scheduler.name: " in ended.reason
    assert {one.trial.state for one in bench.store.view(run.id).trials} == {TrialState.STOPPED}
    outputs.write_report(bench.store, ended, bench.installation)


#: Is worse, the larger x is; the last one says so, and would go on for a minute.
SLOW = """
import sys, time
x = float(sys.argv[1])
for epoch in range(1, 61):
    print(f"step={epoch} loss={x + 1 / epoch}", flush=True)
    if x < 3 and epoch == 4:
        break
    time.sleep(1.0 if x == 3 else 0.0)
"""


def test_a_hopeless_trial_is_stopped_while_nobody_asks_for_another(bench: Bench) -> None:
    trial = CONF["trial"] | {"command": [sys.executable, "-c", SLOW], "args": ["${params.x}"]}
    run = bench.begin(
        space={"x": {"type": "ordinal", "choices": [1, 2, 3]}},
        scheduler={"name": "median", "min_trials_required": 2, "start_step": 2},
        limits={"max_trials": 3, "parallel_trials": 3},
        trial=trial,
    )
    numbers = [one.trial for one in bench.wave(1).assignments]
    by_x = {bench.store.trial(run.id, number).params["x"]: number for number in numbers}
    bench.perform(run, by_x[1], by_x[2])
    began = time.monotonic()
    bench.perform(run, by_x[3])
    assert time.monotonic() - began < 40
    stopped = bench.store.trial(run.id, by_x[3])
    assert (stopped.state, stopped.value, stopped.cause) == (TrialState.STOPPED, None, None)
    assert stopped.reason is not None
    assert re.fullmatch(r"step \d+: 3\.\d+ is above the median 2\.\d+ of 2 trials", stopped.reason)
    ended = bench.finish()
    assert ended.status is RunStatus.COMPLETE
    assert ended.reason == "max trials reached: 3 of 3"


def test_an_heir_goes_on_from_where_its_parent_was_however_far_that_has_come(bench: Bench) -> None:
    scheduler = {"name": "pbt", "population": 2, "max": 2, "quantile": 0.5}
    limits = {"max_trials": 3, "parallel_trials": 3}
    run = bench.begin(scheduler=scheduler, limits=limits)
    bench.perform(run, *(one.trial for one in bench.wave(1).assignments))
    heir, parent = bench.wave(2).assignments
    assert (heir.trial, heir.resume_from, parent.resource) == (3, parent.trial, 2)
    bench.perform(run, parent.trial, heir.trial)
    view = bench.store.view(run.id)
    attempts = {one.trial.number: one.attempts for one in view.trials}
    told = json.loads((bench.backend.output(attempts[3][0].handle) / "told.json").read_text())
    assert told == {
        "HPO_RESOURCE": "2",
        "HPO_RESUME_FROM": str(bench.backend.output(attempts[parent.trial][0].handle)),
        "begun_at": 1,
    }
    bench.waves(run)
    assert bench.finish().status is RunStatus.COMPLETE
    (lost,) = [one.trial for one in bench.store.view(run.id).trials if one.trial.value is None]
    assert lost.state is TrialState.STOPPED
    assert lost.reason is not None
    assert lost.reason.endswith("is among the worst 1 of 2 trials; trial 3 takes its place")


@pytest.mark.parametrize(
    ("scheduler", "to_the_end"),
    [
        ({"name": "asha", "max": 9}, {1}),
        ({"name": "successive_halving", "max": 9}, {1}),
        ({"name": "screen", "max": 9, "keep": 2}, {1, 2}),
    ],
)
def test_the_best_are_trained_to_their_end_without_repeating_an_epoch(
    bench: Bench, scheduler: dict[str, Any], to_the_end: set[int]
) -> None:
    run = bench.begin(scheduler=scheduler)
    bench.waves(run)
    assert bench.finish().status is RunStatus.COMPLETE
    views = {one.trial.params["x"]: one for one in bench.store.view(run.id).trials}
    assert {x for x, one in views.items() if one.trial.value is not None} == to_the_end
    for one in views.values():
        outputs = [bench.backend.output(attempt.handle) / "told.json" for attempt in one.attempts]
        begun = [json.loads(file.read_text())["begun_at"] for file in outputs]
        assert begun == [0, *(attempt.resource for attempt in one.attempts[:-1])]


#: Counts its epochs in real checkpoints, and is preempted in the epochs that it is told.
RESUMES = """
import json, os, sys
from hpo_lib import runtime
from hpo_lib.runtime import checkpoints

found = checkpoints.newest()
done = 0 if found is None else found.step
x, falls = float(sys.argv[1]), int(os.environ["HPO_ATTEMPT"]) in (1, 2)
for epoch in range(done + 1, int(runtime.resource() or 5) + 1):
    with open(os.environ["TRAINED"], "a") as file:
        file.write(json.dumps([int(os.environ["HPO_TRIAL"]), epoch]) + "\\n")
    runtime.report(epoch, loss=x + 1 / epoch)
    if falls and epoch == done + 2:
        os._exit(1)
    with checkpoints.saving(epoch) as folder:
        (folder / "state").write_text(str(epoch))
"""


def _resuming(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    env = {"TRAINED": str(tmp_path / "trained"), "PYTHONPATH": str(Path(__file__).parents[2])}
    trial = {
        "command": [sys.executable, "-c", RESUMES],
        "args": ["${params.x}"],
        "env": env,
        "timeout": "1m",
    }
    return {"trial": trial, "metrics": {"collector": "jsonl"}, **changes}


def _lost(bench: Bench, run: Run, number: int) -> None:
    """Try a trial whose attempt ends by itself, as one that its machine takes with it."""

    def launch(attempt: Any, request: Any) -> Exit:
        runner.follow(bench.backend, attempt, request, quietly)
        return Exit(runner.Ending.LOST, detail="gone")

    with pytest.raises(runner.TransientError):
        runner.perform(bench.store, run, number, bench.backend, quietly, launch)


def _folders(bench: Bench, run: Run, number: int) -> list[list[str]]:
    outputs_ = [bench.backend.output(one.handle) for one in bench.store.attempts(run.id, number)]
    return [
        sorted(p.name for p in Path(str(one)).glob("checkpoint/training/*")) for one in outputs_
    ]


def test_an_attempt_that_is_lost_is_gone_on_with(bench: Bench, tmp_path: Path) -> None:
    """Twice, and with the metrics of one that nobody has disturbed."""
    conf = _resuming(tmp_path, scheduler={"name": "fifo"}, limits={"max_trials": 1})
    run = bench.begin(**conf)
    (one,) = bench.wave(1).assignments
    _lost(bench, run, one.trial)
    assert _folders(bench, run, one.trial) == [["00000001"]]
    _lost(bench, run, one.trial)
    assert _folders(bench, run, one.trial) == [[], ["00000001", "00000002"]]
    bench.perform(run, one.trial)
    (view,) = bench.store.view(run.id).trials
    assert view.trial.state is TrialState.COMPLETE
    x = view.trial.params["x"]
    assert [(o.step, o.value) for o in view.observations if o.metric == "loss"] == [
        (epoch, pytest.approx(x + 1 / epoch)) for epoch in range(1, 6)
    ]
    trained = [json.loads(line)[1] for line in (tmp_path / "trained").read_text().splitlines()]
    assert trained == [1, 2, 2, 3, 3, 4, 5]
    assert _folders(bench, run, one.trial) == [[], [], []], "nobody needs them any more"


def test_a_trial_that_waits_keeps_what_it_will_go_on_from(bench: Bench, tmp_path: Path) -> None:
    run = bench.begin(**_resuming(tmp_path, limits={"max_trials": 1, "parallel_trials": 1}))
    (one,) = bench.wave(1).assignments
    _lost(bench, run, one.trial)
    _lost(bench, run, one.trial)
    bench.perform(run, one.trial)
    assert bench.store.trial(run.id, one.trial).state is TrialState.WAITING
    kept = _folders(bench, run, one.trial)
    assert kept[:-1] == [[], []]
    assert kept[-1][-1] == "00000002"
    bench.waves(run)
    assert bench.store.trial(run.id, one.trial).state is TrialState.COMPLETE
    assert not any(_folders(bench, run, one.trial))
    trained = [json.loads(line)[1] for line in (tmp_path / "trained").read_text().splitlines()]
    assert trained == [1, 2, 2, 3, 4, 5]


def test_files_of_the_programs_own_in_the_folder_of_checkpoints_stay(
    bench: Bench, tmp_path: Path
) -> None:
    program = "import os, pathlib\nc = pathlib.Path(os.environ['HPO_OUTPUT']) / 'checkpoint'\n"
    program += "c.mkdir()\n(c / 'best.keras').touch()\nprint('loss=1')\n"
    trial = {"command": [sys.executable, "-c", program], "args": [], "timeout": "1m"}
    limits = {"max_trials": 1, "parallel_trials": 1}
    run = bench.begin(trial=trial, scheduler={"name": "fifo"}, limits=limits)
    (one,) = bench.wave(1).assignments
    bench.perform(run, one.trial)
    (attempt,) = bench.store.attempts(run.id, one.trial)
    assert (Path(str(bench.backend.output(attempt.handle))) / "checkpoint" / "best.keras").exists()
