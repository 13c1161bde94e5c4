"""A run from conf to report without Airflow: real trials, a real store, the engine's decisions."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends import Request
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Cause, Origin, TrialState
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.records import Attempt, Provenance, Run, RunKey, RunStatus, RunView
from hpo_lib.runs import admission, lifecycle, outputs
from hpo_lib.search import stopping
from hpo_lib.store import Store, upgrade
from hpo_lib.trials import runner
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.loop import Loop, quietly

#: Wide nets have a small loss and a large size; with a high rate they overfit.
PROGRAM = """
import json, os
params = json.loads(os.environ["HPO_PARAMS"])
width, rate = params["width"], params["rate"]
for step in range(1, 6):
    loss = 4 / width / step
    print(f"step={step} loss={loss} val_loss={loss + rate * step / 50}")
if width != params.get("silent"):
    print(f"size_mb={width / 10}")
"""
KEY = RunKey("hpo_local", "manual__2031-05-06T07:08:09+00:00")
CONF: dict[str, Any] = {
    "name": "small-nets",
    "objective": [
        {"metric": "val_loss", "direction": "minimize", "reduce": "best"},
        {"metric": "size_mb", "direction": "minimize"},
    ],
    "constraints": ["val_loss - loss <= 0.05"],
    "space": {
        "width": {"type": "ordinal", "choices": [1, 4, 16, 64]},
        "rate": {"type": "ordinal", "choices": [0.1, 10.0]},
    },
    "sampler": {"name": "grid"},
    "limits": {"max_trials": 8, "parallel_trials": 4, "max_failed_trials": 0},
    "trial": {"command": [sys.executable, "-c", PROGRAM], "timeout": "1m"},
}


class Bench(Loop):
    """Does whole runs."""

    def begin(self, conf: Any, key: RunKey = KEY) -> Run:
        return admission.begin(
            self.store,
            key,
            conf,
            self.installation,
            backend="local",
            triggered_by="ada",
            provenance=Provenance(),
        )

    def run(self, **changes: Any) -> Run:
        run = self.begin(CONF | changes)
        self.waves(run)
        return lifecycle.finish(self.store, KEY, self.installation)

    def view(self, run: Run) -> RunView:
        return self.store.view(run.id)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path)


def test_two_objectives_and_a_constraint_give_a_front(bench: Bench) -> None:
    run = bench.run()
    assert (run.status, run.reason) == (RunStatus.COMPLETE, "max trials reached: 8 of 8")
    view = bench.view(run)
    assert len(view.trials) == 8
    by_number = {one.trial.number: one.trial for one in view.trials}
    for trial in by_number.values():
        width, rate = trial.params["width"], trial.params["rate"]
        series = [4 / width / step + rate * step / 50 for step in range(1, 6)]
        step = series.index(min(series)) + 1
        assert trial.value == trial.metrics["val_loss"] == pytest.approx(min(series))
        assert trial.metrics["loss"] == pytest.approx(4 / width / step), "of the best step"
        assert trial.metrics["size_mb"] == width / 10
        kept = rate * step / 50 <= 0.05
        assert (trial.number in view.feasible) == kept
        assert ("val_loss - loss <= 0.05 is exceeded by" in (trial.reason or "")) == (not kept)
    on_front = [by_number[number] for number in view.front]
    assert [trial.params["width"] for trial in on_front] == [1, 4, 16, 64]
    assert {trial.params["rate"] for trial in on_front} == {0.1}


def test_the_report_of_the_run_shows_its_front(bench: Bench) -> None:
    run = bench.run()
    path = outputs.write_report(bench.store, run, bench.installation)
    text = path.read_text(encoding="utf-8")
    assert "Pareto front: 4 trials" in text
    with (path.parent / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    view = bench.view(run)
    assert [int(row["number"]) for row in rows if row["on_front"] == "true"] == view.front
    assert [int(row["number"]) for row in rows if row["feasible"] == "true"] == view.feasible
    assert all(row["value"] == row["metrics.val_loss"] and row["metrics.size_mb"] for row in rows)


def test_no_secret_of_the_worker_is_in_a_trial_its_log_the_report_or_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AIRFLOW_CONN_DB",
        "AWS_SECRET_ACCESS_KEY",
        "NVIDIA_API_KEY",
        "TF_VAR_db_password",
    ):
        monkeypatch.setenv(name, "hush-5707e")
    told = f"{PROGRAM}\nprint(dict(os.environ))\n"
    run = bench.run(
        limits={"max_trials": 1, "parallel_trials": 1},
        trial={"command": [sys.executable, "-c", told], "timeout": "1m"},
    )
    outputs.write_report(bench.store, run, bench.installation)
    written = [path for path in bench.home.rglob("*") if path.is_file()]
    assert {"hpo.db", "log.txt", "report.html", "request.json"} <= {path.name for path in written}
    logs = [path.read_text() for path in written if path.name == "log.txt"]
    assert all("'HPO_PARAMS'" in text for text in logs), "it has told what it was given"
    assert [path for path in written if b"hush-5707e" in path.read_bytes()] == []


def test_a_run_that_no_trial_of_is_feasible_says_so(bench: Bench) -> None:
    run = bench.run(constraints=["val_loss <= 0.01"])
    assert run.status is RunStatus.COMPLETE
    assert run.reason is not None
    assert run.reason.startswith("no trial keeps the constraints: trial ")
    assert run.reason.endswith("; max trials reached: 8 of 8")
    assert bench.view(run).front == []
    text = outputs.write_report(bench.store, run, bench.installation).read_text(encoding="utf-8")
    assert "No trial keeps the constraints" in text


def test_a_metric_whose_name_looks_like_a_sum_is_itself(bench: Bench) -> None:
    program = PROGRAM.replace("val_loss=", "val-loss=")
    run = bench.run(
        objective={"metric": "val-loss", "direction": "minimize"},
        constraints=["val-loss <= 0.3", "val-loss - loss <= 0.5"],
        trial={"command": [sys.executable, "-c", program], "timeout": "1m"},
    )
    assert run.status is RunStatus.COMPLETE
    assert run.spec.constraints == ("'val-loss' <= 0.3", "'val-loss' - loss <= 0.5")
    found = {view.trial.params["width"] for view in bench.view(run).trials if view.trial.value}
    assert found == {1, 4, 16, 64}
    assert bench.view(run).feasible != []


@pytest.mark.parametrize("constraints", [[], ["size_mb <= 9", "val_loss - loss <= 1"]])
def test_a_metric_that_is_missing_fails_the_trial_and_is_named(
    bench: Bench, constraints: list[str]
) -> None:
    objective: Any = CONF["objective"] if not constraints else CONF["objective"][0]
    run = bench.run(objective=objective, constraints=constraints, fixed={"silent": 1})
    assert run.status is RunStatus.FAILED
    lost = [one.trial for one in bench.view(run).trials if one.trial.state is TrialState.FAILED]
    assert {trial.params["width"] for trial in lost} == {1}
    assert {trial.cause for trial in lost} == {Cause.OBJECTIVE_MISSING}
    said = "exit code 0, but only loss, val_loss where size_mb was expected"
    assert {trial.reason for trial in lost} == {said}


def test_a_target_of_two_objectives_needs_one_trial_that_reaches_both(bench: Bench) -> None:
    first, second = CONF["objective"]
    both = [first | {"target": 0.3}, second | {"target": 1.0}]
    run = bench.run(objective=both, limits={"max_trials": 8, "parallel_trials": 1})
    assert run.reason is not None
    assert run.reason.startswith("target reached: val_loss ")
    assert "size_mb 0.4 <= 1 in trial 3" in run.reason


def test_all_that_is_wrong_with_a_conf_is_told_and_kept(bench: Bench) -> None:
    changes = {
        "sampler": {"name": "grid", "fractoin": 1, "bogus": 2},
        "limits": {"max_trials": 90, "parallel_trials": 33, "patience": 0},
        "trial": CONF["trial"] | {"options": {"bogus": 1}, "spot": True},
        "artifacts": {"uri": "s3://bucket/x"},
        "reuse": {"data": ["x"]},
    }
    with pytest.raises(SpecError) as refused:
        bench.run(**changes)
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "limits.patience",
        "reuse.code",
        *("sampler", "sampler"),
        *("limits.parallel_trials", "trial.spot", "trial.options", "artifacts"),
    ]
    assert bench.store.run(KEY).status is RunStatus.REFUSED
    assert bench.store.run(KEY).reason == str(refused.value)


def test_what_no_check_foresaw_is_refused_and_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> list[str]:
        raise ZeroDivisionError("a gap")

    monkeypatch.setattr(admission.engine, "problems", fail)
    with pytest.raises(SpecError) as refused:
        bench.run()
    assert str(refused.value).endswith("which no check foresaw: ZeroDivisionError: a gap")
    assert bench.store.run(KEY).status is RunStatus.REFUSED
    assert bench.store.run(KEY).reason == str(refused.value)


def test_what_cannot_even_be_asked_for_is_the_trials_own_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Exit:
        raise SpecError("trial.options: node_selector.a: must be text, got 3")

    monkeypatch.setattr(runner, "follow", refuse)
    run = bench.run(limits=CONF["limits"] | {"max_trials": 1})
    (view,) = bench.view(run).trials
    assert (view.trial.cause, run.status) == (Cause.USER_ERROR, RunStatus.FAILED)
    assert "must be text" in str(view.trial.reason)


def test_an_output_that_could_not_be_copied_is_no_fault_of_the_trial(bench: Bench) -> None:
    argv = [sys.executable, "-c", "raise SystemExit(74)"]
    own = bench.run(trial={"command": argv}, limits=CONF["limits"] | {"max_trials": 1})
    (view,) = bench.view(own).trials
    assert view.trial.cause is Cause.USER_ERROR


def begun(bench: Bench, **trial: Any) -> tuple[Run, int]:
    """Begin a run, and name its first trial."""
    run = bench.begin(CONF | trial)
    return run, lifecycle.next_wave(bench.store, KEY, 1, bench.installation).assignments[0].trial


def test_only_what_the_world_has_spoilt_uses_up_the_attempts(bench: Bench) -> None:
    run, number = begun(bench)
    unwatched = [Exit(Ending.STOPPED), Exit(Ending.ABANDONED)] * 3
    ends = [*unwatched, Exit(Ending.LOST), *unwatched, Exit(Ending.PREEMPTED), Exit(Ending.LOST)]
    for count, end in enumerate(ends, start=1):
        state = bench.store.trial(run.id, number).state
        assert state is TrialState.RUNNING, f"attempt {count} is due"

        def launch(attempt: Attempt, request: Request, end: Exit = end) -> Exit:
            return end

        if count < len(ends):
            with pytest.raises(TransientError, match=f"attempt {count} failed: "):
                runner.perform(bench.store, run, number, bench.backend, quietly, launch)
        else:
            runner.perform(bench.store, run, number, bench.backend, quietly, launch)
    trial = bench.store.trial(run.id, number)
    assert (trial.state, trial.cause) == (TrialState.FAILED, Cause.LOST)
    causes = [one.cause for one in bench.store.attempts(run.id, number)]
    assert causes.count(Cause.STOPPED) == len(unwatched) * 2


def test_a_cleared_trial_is_attempted_again_when_nothing_is_left_of_it(bench: Bench) -> None:
    program = "import os, time; print('val_loss=1 size_mb=1 loss=1', flush=True); time.sleep("
    program += "600 * (os.environ['HPO_ATTEMPT'] == '1'))"
    run, number = begun(bench, trial={"command": [sys.executable, "-c", program]})

    def cleared(attempt: Attempt, request: Request) -> Exit:
        bench.backend.submit(attempt.handle, request)
        assert bench.backend.poll(attempt.handle) is None
        bench.backend.end(attempt.handle)
        runner.give_up(bench.store, attempt, over=False)
        raise TransientError("the task was ended by hand")

    def again(attempt: Attempt, request: Request) -> Exit:
        (former, _) = bench.store.attempts(run.id, number)
        assert (former.cause, former.reason) == (Cause.STOPPED, "its Airflow task was cleared")
        assert bench.backend.poll(former.handle) is not None, "two at once may be too much"
        return runner.follow(bench.backend, attempt, request, quietly)

    with pytest.raises(TransientError):
        runner.perform(bench.store, run, number, bench.backend, quietly, cleared)
    trial = runner.perform(bench.store, run, number, bench.backend, quietly, again)
    assert trial.state is TrialState.COMPLETE
    assert len(bench.store.attempts(run.id, number)) == 2


def test_a_trial_whose_task_was_marked_is_over(bench: Bench) -> None:
    run, number = begun(bench)

    def marked(attempt: Attempt, request: Request) -> Exit:
        bench.backend.submit(attempt.handle, request)
        bench.backend.end(attempt.handle)
        runner.give_up(bench.store, attempt, over=True)
        raise TransientError("the task was ended by hand")

    with pytest.raises(TransientError):
        runner.perform(bench.store, run, number, bench.backend, quietly, marked)
    bench.perform(run, number)
    assert bench.store.trial(run.id, number).cause is Cause.KILLED_BY_OPERATOR
    (attempt,) = bench.store.attempts(run.id, number)
    bench.backend.stop(attempt.handle)


# -------------------------------------------------------------------------- the failure budget

#: A trial for each width, of which the first fail.
FAILING: dict[str, Any] = {
    "name": "failing",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"width": {"type": "int", "low": 1, "high": 9}},
    "sampler": {"name": "grid"},
    "limits": {"max_trials": 9, "parallel_trials": 6, "max_failed_trials": 2},
    "trial": {
        "command": [sys.executable, "-c", "import sys; print('loss=1'); sys.exit(1)"],
        "timeout": "1m",
    },
}
SPENT = (
    "failure budget spent: 3 failed (user_error 3), limits.max_failed_trials is 2 and one more "
    "ends the run"
)


def failing(bench: Bench, **changes: Any) -> tuple[Run, list[int]]:
    """Begin a run whose trials fail, and name those of its first wave."""
    run = bench.begin(FAILING | changes)
    wave = lifecycle.next_wave(bench.store, KEY, 1, bench.installation)
    return run, [one.trial for one in wave.assignments]


def never(*_: Any) -> Exit:
    raise AssertionError("it was launched")


class FailureBudget:
    """What every database must give."""

    @pytest.mark.parametrize("budget", [0, 1, 2])
    def test_one_failure_more_than_is_tolerated_ends_the_run_and_nothing_more_begins(
        self, store: Store, tmp_path: Path, budget: int
    ) -> None:
        bench = Bench(store, tmp_path)
        limits = FAILING["limits"] | {"max_failed_trials": budget}
        run, numbers = failing(bench, limits=limits)
        bench.perform(run, *numbers)
        trials = [one.trial for one in bench.view(run).trials]
        states = [trial.state for trial in trials]
        assert states == [TrialState.FAILED] * (budget + 1) + [TrialState.STOPPED] * (5 - budget)
        ended = lifecycle.finish(store, KEY, bench.installation)
        assert ended.status is RunStatus.FAILED
        assert f"{budget + 1} failed (user_error {budget + 1}), " in str(ended.reason)
        for trial in trials[budget + 1 :]:
            assert trial.reason == f"not begun: {ended.reason}"
            assert (trial.cause, trial.value, trial.duration_s) == (None, None, None)
            assert store.attempts(run.id, trial.number) == []


class TestFailureBudgetOnSqlite(OnSqlite, FailureBudget):
    """On SQLite."""


class TestFailureBudgetOnPostgresql(OnPostgresql, FailureBudget):
    """On PostgreSQL."""


def test_what_has_not_begun_shows_in_report_and_table_as_what_it_is(bench: Bench) -> None:
    run, numbers = failing(bench)
    bench.perform(run, *numbers)
    run = lifecycle.finish(bench.store, KEY, bench.installation)
    path = outputs.write_report(bench.store, run, bench.installation)
    assert f"not begun: {SPENT}" in path.read_text(encoding="utf-8")
    with (path.parent / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["failed"] * 3 + ["stopped"] * 3
    assert stopping.causes(bench.store.history(run.id)) == "3 failed (user_error 3), 3 not begun"


def test_a_trial_that_runs_when_the_budget_is_spent_goes_on_to_its_end(bench: Bench) -> None:
    run, numbers = failing(bench)
    *others, last = numbers

    def late(attempt: Attempt, request: Request) -> Exit:
        raise TransientError("the worker was restarted")

    with pytest.raises(TransientError):
        runner.perform(bench.store, run, last, bench.backend, quietly, late)
    bench.perform(run, *others)
    assert bench.store.trial(run.id, others[-1]).state is TrialState.STOPPED
    taken: list[int] = []

    def take_over(attempt: Attempt, request: Request) -> Exit:
        taken.append(attempt.number)
        return Exit(Ending.EXITED, 1)

    trial = runner.perform(bench.store, run, last, bench.backend, quietly, take_over)
    assert (trial.state, taken) == (TrialState.FAILED, [1])
    ended = lifecycle.finish(bench.store, KEY, bench.installation)
    assert str(ended.reason).startswith("failure budget spent: 4 failed (user_error 4), ")


@pytest.mark.parametrize("end", [Ending.PREEMPTED, Ending.STOPPED])
def test_a_trial_whose_attempt_was_lost_is_not_attempted_again(bench: Bench, end: Ending) -> None:
    run, numbers = failing(bench)
    *others, last = numbers
    with pytest.raises(TransientError):
        runner.perform(bench.store, run, last, bench.backend, quietly, lambda *_: Exit(end))
    bench.perform(run, *others)
    trial = runner.perform(bench.store, run, last, bench.backend, quietly, never)
    assert (trial.state, trial.reason) == (TrialState.STOPPED, f"not begun again: {SPENT}")
    assert len(bench.store.attempts(run.id, last)) == 1


def test_a_task_that_is_cleared_or_retried_begins_nothing_afterwards(bench: Bench) -> None:
    run, numbers = failing(bench)
    bench.perform(run, *numbers)
    said: list[str] = []
    trial = runner.perform(bench.store, run, numbers[-1], bench.backend, said.append, never)
    assert said == [f"trial {numbers[-1]} is already stopped: nothing is run again"]
    assert trial.reason == f"not begun: {SPENT}"


def test_a_final_trial_begins_whatever_has_failed_in_the_search(bench: Bench) -> None:
    run, numbers = failing(bench)
    bench.perform(run, *numbers)
    searched = bench.store.trial(run.id, numbers[-1])
    assert runner._not_begun(bench.store, run, searched) == f"not begun: {SPENT}"
    assert runner._not_begun(bench.store, run, replace(searched, origin=Origin.FINAL)) is None


def test_what_the_world_has_spoilt_spends_no_budget(bench: Bench) -> None:
    run, numbers = failing(bench, limits=FAILING["limits"] | {"max_failed_trials": 0})
    for number in numbers[:2]:
        bench.store.fail_trial(run.id, number, Cause.LOST, "its machine is gone")
    bench.perform(run, numbers[2])
    assert bench.store.trial(run.id, numbers[2]).state is TrialState.FAILED


def test_the_next_wave_is_not_begun_and_is_no_trial(bench: Bench) -> None:
    run, numbers = failing(bench)
    bench.perform(run, *numbers)
    batch = lifecycle.next_wave(bench.store, KEY, 2, bench.installation)
    assert batch.assignments == ()
    assert batch.stop is not None
    assert (batch.stop.reason, batch.stop.failed) == (SPENT, True)


WARM: dict[str, Any] = {
    "name": "line",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "limits": {"max_trials": 4, "parallel_trials": 2},
    "warm_start": {},
    "trial": {
        "command": [
            sys.executable,
            "-c",
            "import sys; print(f'loss={sys.argv[1]}')",
            "${params.x}",
        ],
        "timeout": "1m",
    },
}


def warmed(bench: Bench, name: str, **changes: Any) -> Run:
    return bench.begin(WARM | changes, RunKey("hpo_local", name))


def ended(bench: Bench, name: str) -> Run:
    """Run an experiment to its end."""
    run = warmed(bench, name)
    for wave in (1, 2):
        for assignment in lifecycle.next_wave(
            bench.store, run.key, wave, bench.installation
        ).assignments:
            bench.perform(run, assignment.trial)
    return lifecycle.finish(bench.store, run.key, bench.installation)


def test_a_run_is_advised_by_those_before_it_and_by_none_after(bench: Bench) -> None:
    first = ended(bench, "monday")
    assert first.status is RunStatus.COMPLETE
    assert first.advice.dropped == ("no run of line is complete yet",)
    second = warmed(bench, "tuesday")
    advice = second.advice
    assert [one.run for one in advice.runs] == [first.id]
    assert advice.runs[0].weight == pytest.approx(1.0, abs=1e-3)
    tried = {trial.params["x"] for trial in bench.store.history(first.id).trials}
    assert {trial.params["x"] for trial in advice.runs[0].trials} == tried
    third = ended(bench, "wednesday")
    assert warmed(bench, "tuesday") == second, "a retry changes nothing"
    assert bench.store.history(second.id).earlier == advice.earlier
    lease = lifecycle.next_wave(bench.store, second.key, 1, bench.installation)
    assert lease.assignments[0].params["x"] == min(tried)
    found = warmed(bench, "thursday").advice
    assert [one.run for one in found.runs] == [third.id, first.id]
