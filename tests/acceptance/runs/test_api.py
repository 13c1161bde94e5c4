"""The commands for any Airflow, on a real one, by its address and a token alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.cli.main import main
from hpo_lib.core.trial import TrialState
from hpo_lib.records import RunKey, RunStatus, RunView
from hpo_lib.records.audit import Deed
from hpo_lib.runs.outputs import slug_of
from hpo_lib.words import utc
from tests.acceptance.conftest import Stack, attempt_processes, undisturbed, until
from tests.acceptance.runs.test_run import conf

pytestmark = pytest.mark.airflow

#: Ends only for one point.
_HANGS = 'echo loss=$1; test "$1" = 0.25 || sleep 600'
#: So many seconds after a run was stopped its report is there, as docs/cli.md says.
_REPORT_S = 30
Hpo = Callable[..., Any]


@pytest.fixture
def hpo(
    up: Stack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> Hpo:
    """Run a command as on another machine, and give the JSON that it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_CONTEXTS", str(tmp_path / "contexts.json"))
    monkeypatch.setenv("HPO_AIRFLOW", up.client().url)
    monkeypatch.setenv("HPO_TOKEN", up.client().login())
    for name in ("HPO_STORE", "HPO_HOME", "HPO_ROOT"):
        monkeypatch.delenv(name, raising=False)

    def said(*words: str, code: int = 0) -> Any:
        capfd.readouterr()
        assert main([*words, "--json"]) == code
        return json.loads(capfd.readouterr().out)

    return said


def submitted(up: Stack, spec: dict[str, Any]) -> RunKey:
    """Submit a conf by the API, and wait until its run has begun."""
    told = up.client().hpo("POST", "/runs", spec)
    key = RunKey(told["dag_id"], told["dag_run_id"])
    until(lambda: up.find(key), "the run")
    return key


def running(up: Stack, key: RunKey, count: int) -> list[int]:
    """Wait until so many trials run, and name them."""

    def found() -> list[int]:
        trials = up.store.view(up.run(key).id).trials
        live = [one.trial for one in trials if one.attempts]
        return [one.number for one in live if one.state is TrialState.RUNNING]

    return list(until(lambda: len(found()) == count and found(), f"{count} running trials"))


def test_a_file_is_run_watched_and_read_from_elsewhere(up: Stack, hpo: Hpo, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(conf(name="elsewhere")))
    run = hpo("run", "mine.json")
    number = str(run["id"])
    assert (run["status"], run["trials"]["complete"]) == ("complete", 4)
    assert hpo("runs", "elsewhere")[0]["id"] == run["id"]
    assert "elsewhere" in {one["name"] for one in hpo("experiments")}
    assert hpo("status", number)["reason"] == "max trials reached: 4 of 4"
    trials = hpo("trials", number)
    assert {one["number"]: one["params"] for one in trials} == undisturbed(conf())
    best = min(trials, key=lambda one: one["value"])
    assert [one["number"] for one in hpo("best", number)["trials"]] == [best["number"]]
    assert hpo("export", number) == trials
    assert hpo("spec", number)["name"] == "elsewhere"
    assert "elsewhere" in Path(hpo("report", number)["report"]).read_text()
    assert main(["log", number, "1", "-f"]) == 0


def test_the_log_is_what_the_trial_has_printed(
    up: Stack, hpo: Hpo, capfd: pytest.CaptureFixture[str]
) -> None:
    key = submitted(up, conf("echo said here; echo loss=$1", limits={"max_trials": 1}))
    up.complete(key)
    capfd.readouterr()
    assert main(["log", str(up.run(key).id), "1", "-f"]) == 0
    assert "said here" in capfd.readouterr().out.splitlines()


def test_a_run_is_changed_stopped_and_goes_on(up: Stack, hpo: Hpo) -> None:
    spec = conf(_HANGS, limits={"max_trials": 6, "parallel_trials": 2})
    key = submitted(up, spec)
    number = str(up.run(key).id)
    assert running(up, key, 2) == [1, 2]
    hpo("add-point", number, "x=0.25")
    for trial in ("1", "2", "2"):
        assert hpo("stop-trial", number, trial)["reason"] == "stopped by admin"
    until(lambda: len(up.store.view(int(number)).trials) == 4, "the second wave")
    assert up.store.trial(int(number), 3).params == {"x": 0.25}
    until(lambda: up.store.trial(int(number), 3).value == 0.25, "the trial of the point")
    assert running(up, key, 1) == [4]
    assert hpo("stop", number)["reason"] == hpo("stop", number)["reason"] == "stopped by admin"
    report = up.embedded.results / "runs" / slug_of(up.run(key)) / "report.html"
    until(report.exists, "the report")
    assert up.wait(key) == "success"
    view = _states(up, key, {1: "stopped", 2: "stopped", 3: "complete", 4: "stopped"})
    assert (view.run.status, view.run.reason) == (RunStatus.COMPLETE, "stopped by admin")
    assert attempt_processes(up.embedded.home) == []
    assert "stopped by admin" in report.read_text()
    asked = [one.time for one in up.store.view(int(number)).audit if one.deed is Deed.STOPPED][-1]
    assert report.stat().st_mtime - utc(asked).timestamp() < _REPORT_S
    hpo("extend", number, "--trials", "0")
    assert running(up, key, 2) == [5, 6]
    assert hpo("cancel", number)["state"] == hpo("cancel", number)["state"] == "failed"
    assert up.wait(key) == "failed"
    up.sweep()
    ended = up.run(key)
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "cancelled by admin")
    deeds = [one.deed for one in up.store.view(ended.id).audit if one.where == "api"]
    stops = [Deed.STOPPED] * 3
    assert deeds == [Deed.CHANGED, *stops, Deed.EXTENDED, Deed.STOPPED]


def test_an_extended_run_has_the_trials_of_one_that_was_asked_for_that_many(
    up: Stack, hpo: Hpo
) -> None:
    key = submitted(up, conf())
    up.complete(key)
    number = str(up.run(key).id)
    hpo("extend", number, "--trials", "4")
    assert hpo("watch", number)["reason"] == "max trials reached: 8 of 8"
    view = up.store.view(int(number))
    longer = conf(limits={"max_trials": 8, "parallel_trials": 2})
    assert {one.trial.number: dict(one.trial.params) for one in view.trials} == undisturbed(longer)
    assert [len(one.attempts) for one in view.trials] == [1] * 8


def _states(up: Stack, key: RunKey, wanted: dict[int, str]) -> RunView:
    view = up.store.view(up.run(key).id)
    assert {one.trial.number: str(one.trial.state) for one in view.trials} == wanted
    return view
