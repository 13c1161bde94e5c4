"""Whole runs on a real Airflow: what a user sees when things go well, and when they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.cli import main
from hpo_lib.core.trial import Cause, TrialState
from hpo_lib.errors import HpoError
from hpo_lib.records import RunStatus
from hpo_lib.spec.yaml_file import from_yaml
from tests.acceptance.conftest import (
    ROOT,
    WAVES,
    Stack,
    attempt_processes,
    no_housekeeping,
    until,
)

pytestmark = pytest.mark.airflow


def conf(script: str = "echo loss=$1", **changes: Any) -> dict[str, Any]:
    """Describe an experiment whose objective is, unless said otherwise, its parameter x."""
    base = {
        "name": "run",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "sampler": {"name": "random", "seed": 3},
        "limits": {"max_trials": 4, "parallel_trials": 2},
        "trial": {"command": ["sh", "-c", script, "trial"], "args": ["${params.x}"]},
    }
    return base | changes


def test_a_scheduler_of_ones_own_promotes_the_better_half(up: Stack) -> None:
    script = 'before=0; test -z "$3" || read before < "$3/done"; echo "$2" > "$HPO_OUTPUT/done"'
    told = 'echo "loss=$1"; echo "resource=$HPO_RESOURCE"; echo "before=$before"'
    spec = conf(
        space={"x": {"type": "ordinal", "choices": [1, 2, 3, 4]}},
        sampler={"name": "grid"},
        extra_metrics=["resource", "before"],
        scheduler={"name": "tests.halves:HalvesScheduler", "low": 2, "high": 7},
        limits={"max_trials": 4, "parallel_trials": 4},
        trial={
            "command": ["sh", "-c", f"{script}; {told}", "trial"],
            "args": ["${params.x}", "${resource}", "${resume_from}"],
        },
    )
    key = up.trigger(spec, WAVES)
    view = up.complete(key)
    trials = {one.trial.params["x"]: one.trial for one in view.trials}
    assert {x: trial.state for x, trial in trials.items()} == {
        1: TrialState.COMPLETE,
        2: TrialState.COMPLETE,
        3: TrialState.STOPPED,
        4: TrialState.STOPPED,
    }
    assert trials[1].metrics == {"loss": 1.0, "resource": 7.0, "before": 2.0}
    assert trials[4].metrics == {"loss": 4.0, "resource": 2.0, "before": 0.0}
    assert trials[4].reason == "rung 2: 4 is not among the best 2"
    assert up.states(key, "wave_01.trial") == ["success"] * 4
    assert up.states(key, "wave_02.trial") == ["success"] * 2
    labels = {t["rendered_map_index"] for t in up.tasks(key) if t["task_id"] == "wave_02.trial"}
    assert labels == {f"{trials[x].number}: x={x} up to 7" for x in (1, 2)}
    assert "promote: rung 2: 1 is among the best 2" in up.log(key, "wave_02.suggest")
    assert "stop: rung 2: 4 is not among the best 2" in up.log(key, "wave_03.suggest")


def test_slots_run_trial_after_trial(up: Stack) -> None:
    script = 'test "$HPO_TRIAL" != 3 || exit 5; echo "loss=$1"'
    limits = {"max_trials": 9, "parallel_trials": 2}
    key = up.trigger(conf(script, limits=limits, mode="async"))
    view = up.complete(key)
    states = [one.trial.state for one in view.trials]
    assert states == [TrialState.COMPLETE] * 2 + [TrialState.FAILED] + [TrialState.COMPLETE] * 6
    assert up.states(key, "slot") == ["success"] * 2, "a trial that fails ends no slot"
    assert not any("wave" in one["task_id"] for one in up.tasks(key))
    labels = {one["rendered_map_index"] for one in up.tasks(key) if one["task_id"] == "slot"}
    done = [int(label.split(": ")[1].split()[0]) for label in labels]
    assert sum(done) == 9, labels
    by_slot = [up.log(key, "slot", index) for index in range(2)]
    assert sum(log.count("::group::trial ") for log in by_slot) == 9


_MEMORY = Cause.OUT_OF_MEMORY
BEHAVIOURS = {
    "well": ("echo loss=0.5", None),
    "twice": ("echo loss=9; echo loss=0.25", None),
    "garbage": ("head -c 300000 /dev/urandom; echo; echo loss=0.75", None),
    "children": ("sleep 600 & setsid sleep 600 & echo loss=0.7", None),
    "exit3": ("echo loss=0.1; exit 3", Cause.USER_ERROR),
    "segfault": ("kill -SEGV $$", Cause.USER_ERROR),
    "silent": ("exit 0", Cause.OBJECTIVE_MISSING),
    "other": ("echo accuracy=0.5", Cause.OBJECTIVE_MISSING),
    "nan": ("echo loss=nan", Cause.OBJECTIVE_NOT_FINITE),
    "infinite": ("echo loss=-inf", Cause.OBJECTIVE_NOT_FINITE),
    "hang": ("sleep 600", Cause.TIMEOUT),
    "greedy": (
        "exec python3 -c 'b = bytearray(400 * 2**20); import time; time.sleep(60)'",
        Cause.OUT_OF_MEMORY,
    ),
}


def test_every_behaviour_has_its_outcome(up: Stack) -> None:
    cases = "\n".join(f"{name}) {script} ;;" for name, (script, _) in BEHAVIOURS.items())
    spec = conf(
        space={"behave": {"type": "categorical", "choices": list(BEHAVIOURS)}},
        sampler={"name": "grid"},
        limits={"max_trials": 12, "parallel_trials": 4, "max_failed_trials": 12},
        trial={
            "command": ["sh", "-c", f'case "$1" in\n{cases}\nesac', "trial"],
            "args": ["${params.behave}"],
            "timeout": "10s",
            "resources": {"memory": "200Mi"},
        },
    )
    key = up.trigger(spec, WAVES)
    view = up.complete(key)
    trials = {v.trial.params["behave"]: v for v in view.trials}
    assert {name: v.trial.cause for name, v in trials.items()} == {
        name: cause for name, (_, cause) in BEHAVIOURS.items()
    }
    assert trials["twice"].trial.value == 0.25
    assert trials["garbage"].trial.value == 0.75
    assert all(len(v.attempts) == 1 for v in trials.values()), "the user's failures are not retried"
    assert attempt_processes(up.embedded.home) == []
    mapped = [t for t in up.tasks(key) if t["task_id"].endswith(".trial")]
    red = {t["rendered_map_index"].split("=", 1)[1] for t in mapped if t["state"] == "failed"}
    told = {label.partition(" · ")[0]: label.partition(" · ")[2].split(":")[0] for label in red}
    assert told == {name: str(cause) for name, (_, cause) in BEHAVIOURS.items() if cause}
    folder = up.embedded.home / "hpo" / "runs" / f"{view.run.id:06d}-run"
    assert "where loss was expected" in (folder / "report.html").read_text()
    assert len((folder / "trials.csv").read_text().splitlines()) == 13


def test_tasks_are_labelled_and_logs_are_live(up: Stack) -> None:
    key = up.trigger(conf("echo first; sleep 5; echo loss=$1", limits={"max_trials": 1}), WAVES)
    task = "wave_01.trial"
    until(lambda: up.states(key, task) == ["running"] and up.log(key, task, 0), "a log")
    until(lambda: "first" in up.log(key, task, 0), "the trial's line in the task's log")
    assert up.states(key, task) == ["running"], "while it runs"
    label = next(t["rendered_map_index"] for t in up.tasks(key) if t["task_id"] == task)
    assert label.startswith("1: x=0.")
    assert up.wait(key) == "success"
    assert up.states(key, "wave_02.suggest") == ["success"], "it decided to stop"
    assert up.states(key, "wave_02.trial") == up.states(key, "wave_06.trial") == ["skipped"]


def test_what_a_user_wrote_is_never_rendered(up: Stack) -> None:
    choices = ["{{ 7 * 7 }}", "<script>alert(1)</script>", "$(touch /tmp/owned)", "a b", "é"]
    spec = conf(
        'test "$1" = "$2" && echo loss=1',
        space={"x": {"type": "categorical", "choices": choices}},
        sampler={"name": "grid"},
        limits={"max_trials": 5, "parallel_trials": 5},
    )
    spec["trial"]["args"] = ["${params.x}", "${params.x}"]
    key = up.trigger(spec)
    view = up.complete(key)
    assert [v.trial.params["x"] for v in view.trials] == choices
    assert [v.trial.state for v in view.trials] == [TrialState.COMPLETE] * 5
    params = json.dumps({"x": choices[0]})
    request = Path(view.trials[0].attempts[0].handle["folder"]) / "request.json"
    assert json.loads(request.read_text())["env"]["HPO_PARAMS"] == params


def test_what_is_known_is_not_trained_again(up: Stack) -> None:
    known = conf(name="reuse", reuse={"data": [], "code": ["pyproject.toml"]})
    first = up.complete(up.trigger(known))
    assert [len(v.attempts) for v in first.trials] == [1] * 4
    more = known | {"limits": {"max_trials": 5, "parallel_trials": 2}}
    key = up.trigger(more, WAVES)
    second = up.complete(key)
    assert [len(v.attempts) for v in second.trials] == [0, 0, 0, 0, 1]
    assert [v.trial.value for v in second.trials[:4]] == [v.trial.value for v in first.trials]
    assert {v.trial.reused.run for v in second.trials if v.trial.reused} == {first.run.id}
    trials = [up.states(key, f"wave_0{wave}.trial") for wave in (1, 2, 3, 4)]
    assert trials == [["skipped"], ["skipped"], ["success"], ["skipped"]]
    asked = [up.states(key, f"wave_0{wave}.suggest") for wave in (1, 2, 3, 4)]
    assert asked == [["success"]] * 4
    said = f"reused from trial 1 of run {first.run.id}, not trained"
    assert said in up.log(key, "wave_01.suggest")


BAD = {
    "unknown key": (conf(sapce={}), "spec: unknown key \"sapce\", did you mean 'space'?"),
    "markup in name": (conf(name="<b>x</b>"), 'got "<b>x</b>"'),
    "small space": (
        conf(space={"x": {"type": "int", "low": 1, "high": 3}}),
        "limits.max_trials: must be <= 3",
    ),
    "huge": (conf(description="x" * 1_000_000), "must be at most 262,144 bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_conf_is_refused_before_anything_starts(up: Stack, case: str) -> None:
    spec, message = BAD[case]
    key = up.trigger(spec)
    assert up.wait(key) == "failed"
    run = up.run(key)
    assert run.status is RunStatus.REFUSED
    assert message in run.reason
    assert (run.experiment, dict(run.document)) == ("", {}), "nothing is stored but the refusal"
    assert not up.store.view(run.id).trials
    assert up.states(key, "validate") == up.states(key, "report") == ["failed"]
    assert up.states(key, "slot") == ["skipped"]
    assert message.split('"')[0] in up.log(key, "validate")
    assert message.split('"')[0] in up.log(key, "report")


def test_ten_megabytes_of_conf_do_no_harm(up: Stack) -> None:
    key = up.trigger(conf(description="x" * 10_000_000))
    assert up.wait(key) == "failed"
    assert "must be at most 262,144 bytes of JSON" in up.run(key).reason
    assert len(up.run(key).reason) < 1_000


@pytest.mark.parametrize(
    ("limits", "objective", "reason"),
    [
        ({"max_trials": 6, "max_failed_trials": 1}, {}, "failure budget spent: 2 failed"),
        ({"max_trials": 6}, {"target": 1.0}, "target reached: loss"),
    ],
)
def test_a_run_stops_for_a_reason(
    up: Stack, limits: dict[str, Any], objective: dict[str, Any], reason: str
) -> None:
    script = "exit 1" if "max_failed_trials" in limits else "sleep 1; echo loss=$1"
    goal = {"metric": "loss", "direction": "minimize"} | objective
    key = up.trigger(conf(script, limits=limits, objective=goal))
    failed = reason.startswith("failure")
    assert up.wait(key) == ("failed" if failed else "success")
    run = up.run(key)
    assert run.reason.startswith(reason)
    assert run.status is (RunStatus.FAILED if failed else RunStatus.COMPLETE)
    assert len(up.store.view(run.id).trials) == (2 if failed else 1)
    assert (up.embedded.home / "hpo" / "runs" / f"{run.id:06d}-run" / "report.html").exists()


def test_what_waits_is_not_begun_once_the_failure_budget_is_spent(up: Stack) -> None:
    eight = {"max_trials": 8, "parallel_trials": 8, "max_failed_trials": 0}
    key = up.trigger(conf("exit 1", limits=eight), WAVES)  # the pool holds six
    assert up.wait(key) == "failed"
    run = up.run(key)
    assert run.status is RunStatus.FAILED
    trials = [view.trial for view in up.store.view(run.id).trials]
    waited = [one for one in trials if one.state is TrialState.STOPPED]
    assert len(trials) == 8
    assert len(waited) >= 2
    assert all(one.reason.startswith("not begun: failure budget spent") for one in waited)
    assert {one.cause for one in trials if one not in waited} == {Cause.USER_ERROR}
    assert sorted(up.states(key, "wave_01.trial")) == sorted(
        ["failed"] * (8 - len(waited)) + ["success"] * len(waited)
    )


def test_several_objectives_and_constraints_pass_through_the_form(up: Stack) -> None:
    goals = [{"metric": name, "direction": "minimize"} for name in ("loss", "size")]
    spec = conf(
        "echo loss=$1 size=-$1 gap=$1",
        objective=goals,
        constraints=["gap <= 2"],
        space={"x": {"type": "int", "low": 1, "high": 3}},
        limits={"max_trials": 3, "parallel_trials": 3},
        sampler={},
    )
    key = up.trigger(spec)
    view = up.complete(key)
    front = {v.trial.params["x"] for v in view.trials if v.trial.number in view.front}
    assert front == {1, 2}
    path = up.embedded.home / "hpo" / "runs" / f"{view.run.id:06d}-run" / "report.html"
    text = path.read_text()
    assert "Pareto front: 2 trials" in text
    assert "auto: grid (one wave of 3 trials holds all 3 configurations)" in text


def test_clearing_finished_tasks_changes_nothing(up: Stack, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    key = up.trigger(conf(f"echo x >> {ledger}; echo loss=$1"))
    assert up.wait(key) == "success"
    before = up.store.view(up.run(key).id)
    for tasks in (["slots", "slot"], ["slot"], ["validate"]):
        up.clear(key, *tasks)
        assert up.wait(key) == "success"
    everything = sorted({t["task_id"] for t in up.tasks(key)})
    up.clear(key, *everything)
    assert up.wait(key) == "success"
    assert up.store.view(up.run(key).id) == before
    assert ledger.read_text() == "x\n" * 4
    assert up.states(key, "slot") == ["success", "success"]


def test_a_task_marked_failed_ends_its_trial(up: Stack) -> None:
    key = up.trigger(conf("sleep 600", limits={"max_trials": 2, "max_failed_trials": 5}), WAVES)
    until(lambda: attempt_processes(up.embedded.home), "an attempt")
    up.mark_trial_failed(key, 1)
    until(lambda: len(up.store.view(up.run(key).id).trials) == 2, "the second wave")
    first = up.store.trial(up.run(key).id, 1)
    assert first.cause is Cause.KILLED_BY_OPERATOR
    until(lambda: attempt_processes(up.embedded.home), "the second attempt")
    with no_housekeeping(up):
        up.mark(key, "failed")
        until(lambda: not attempt_processes(up.embedded.home), "the end of every process")
        assert up.run(key).status is RunStatus.RUNNING, "Airflow runs no report of a marked run"
    up.sweep()
    run = up.run(key)
    assert run.status is RunStatus.FAILED
    assert (up.embedded.home / "hpo" / "runs" / f"{run.id:06d}-run" / "report.html").exists()


@pytest.mark.parametrize("state", ["failed", "queued"])
def test_a_deleted_run_ends_its_trials(up: Stack, state: str) -> None:
    """Airflow deletes no running run: it is marked failed before, or, tasks and all, queued.

    Its scheduler may die of the deletion, as of 3.3.2: its tasks end their trials all the same, but
    there is no housekeeping until it is started again.
    """
    key = up.trigger(conf("sleep 600", limits={"max_trials": 2, "max_failed_trials": 5}))
    until(lambda: attempt_processes(up.embedded.home), "an attempt")
    with pytest.raises(HpoError, match="cannot be deleted in running state"):
        up.delete(key)
    assert attempt_processes(up.embedded.home)
    until(lambda: up.deleted(key, state), "the deletion")
    until(lambda: not attempt_processes(up.embedded.home), "the end of every process")
    up.sweep()
    assert up.run(key).status is RunStatus.FAILED


def test_two_runs_at_once_do_not_disturb_each_other(up: Stack) -> None:
    keys = [up.trigger(conf(sampler={"name": "random", "seed": seed})) for seed in (1, 2)]
    assert [up.wait(key) for key in keys] == ["success", "success"]
    views = [up.store.view(up.run(key).id) for key in keys]
    assert [[v.trial.number for v in view.trials] for view in views] == [[1, 2, 3, 4]] * 2
    one, two = ({v.trial.params["x"] for v in view.trials} for view in views)
    assert not one & two


def test_no_secret_of_airflow_reaches_a_trial_or_the_report(up: Stack) -> None:
    key = up.trigger(conf("env; echo loss=$1", limits={"max_trials": 1}))
    assert up.wait(key) == "success"
    run = up.run(key)
    folder = up.embedded.home / "hpo" / "runs" / f"{run.id:06d}-run"
    (log,) = folder.glob("trial-0001/attempt-1-*/log.txt")
    told = log.read_text()
    secrets = json.loads((up.embedded.home / "embedded.json").read_text())
    everything = told + (folder / "report.html").read_text()
    assert "HPO_TRIAL=1" in told
    assert not [name for name in ("password", "fernet", "jwt") if secrets[name] in everything]
    assert "AIRFLOW" not in told


def test_the_example_on_the_form_works(up: Stack) -> None:
    details = up.ask("GET", "/dags/hpo_local/details")
    form = {name: param["value"] for name, param in details["params"].items()}
    example = from_yaml((ROOT / "config" / "experiments" / "curve.yaml").read_text())
    form["limits"] = {"max_trials": 2, "parallel_trials": 2}
    key = up.trigger(form)
    assert up.wait(key) == "success"
    run = up.run(key)
    assert run.experiment == example.name
    assert [v.trial.state for v in up.store.view(run.id).trials] == [TrialState.COMPLETE] * 2


def test_a_wrong_format_is_mended_and_cleared_and_nothing_is_trained_again(
    up: Stack, tmp_path: Path
) -> None:
    trained = tmp_path / "trained"
    key = up.trigger(conf(f'echo x >> {trained}; echo "loss -> $1"'))
    assert up.wait(key) == "failed"
    run = up.run(key)
    assert (run.status, up.store.trial(run.id, 1).cause) == (
        RunStatus.FAILED,
        Cause.OBJECTIVE_MISSING,
    )
    made = len(trained.read_text().splitlines())
    words = ["collect", str(run.id), "--url", up.embedded.store_url]
    words += ["--format", r"(?P<name>\w+) -> (?P<value>\S+)"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_HOME", str(up.embedded.results))
        assert main.main(words) == 0
    tasks = {task["task_id"] for task in up.tasks(key) if task["state"] == "failed"}
    up.clear(key, *tasks)
    assert up.wait(key) == "success"
    assert up.run(key).status is RunStatus.COMPLETE
    assert len(trained.read_text().splitlines()) == made
    trials = up.store.view(run.id).trials
    assert {one.trial.state for one in trials} == {TrialState.COMPLETE}
