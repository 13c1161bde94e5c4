"""Metrics are read again after the settings were mended, and nothing is trained again."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.cli import main
from hpo_lib.core.trial import TrialState
from hpo_lib.errors import HpoError, SpecError
from hpo_lib.installation import Installation
from hpo_lib.records import Run, RunStatus
from hpo_lib.runs import lifecycle, outputs
from hpo_lib.store import Store, upgrade
from hpo_lib.trials.recollect import recollect
from tests.integration.test_runs import KEY, Bench

#: Notes each training; prints its metric as no format reads it.
PROGRAM = """
import json, os, pathlib
width = json.loads(os.environ["HPO_PARAMS"])["width"]
with open("trained", "a") as file:
    file.write("x")
for step in (1, 2):
    print(f"step={step} val_loss -> {width / step}")
if width == 8:
    print("val_loss -> nan")
if width == 16:
    raise SystemExit(3)
(pathlib.Path(os.environ["HPO_OUTPUT"]) / "metrics.jsonl").write_text('{"val_loss": 7}')
"""
FORM = r"(?P<name>step|val_loss)(?:=| -> )(?P<value>\S+)"
CONF: dict[str, Any] = {
    "name": "widths",
    "objective": {"metric": "val_loss", "direction": "minimize", "reduce": "best"},
    "space": {"width": {"type": "ordinal", "choices": [1, 2, 4, 8, 16]}},
    "sampler": {"name": "grid"},
    "limits": {"max_trials": 5, "parallel_trials": 5, "max_failed_trials": 5},
    "trial": {"command": [sys.executable, "-c", PROGRAM], "timeout": "1m"},
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path)


def trained(bench: Bench) -> int:
    return len((bench.home / "trained").read_text())


def values(bench: Bench, run: Run) -> dict[Any, float | None]:
    return {one.trial.params["width"]: one.trial.value for one in bench.view(run).trials}


def run_widths(bench: Bench, **changes: Any) -> Run:
    return bench.run(**(CONF | {"constraints": []} | changes))


def test_a_failed_run_is_saved_by_the_right_format(bench: Bench) -> None:
    run = run_widths(bench)
    assert run.status is RunStatus.FAILED
    assert set(values(bench, run).values()) == {None}
    saved, found = recollect(bench.store, run, bench.installation, {"format": FORM})
    assert values(bench, run) == {1: 0.5, 2: 1, 4: 2, 8: 4, 16: None}
    assert (saved.status, saved.reason) == (RunStatus.COMPLETE, "max trials reached: 5 of 5")
    assert saved.document["metrics"] == {"collector": "stdout", "format": FORM}
    assert len(found) == 4, "the one that failed by itself is not asked again"
    assert trained(bench) == 5
    assert bench.store.run(KEY) == saved
    outputs.write_report(bench.store, saved, bench.installation)
    assert "0.5" in (bench.home / "runs" / "000001-widths" / "trials.csv").read_text()


def test_again_there_is_nothing_left_to_do(bench: Bench) -> None:
    run = run_widths(bench)
    saved, _ = recollect(bench.store, run, bench.installation, {"format": FORM})
    before = bench.view(run)
    again, found = recollect(bench.store, saved, bench.installation, {"format": FORM})
    assert (again, found, bench.view(run)) == (saved, [], before)
    everything = recollect(bench.store, saved, bench.installation, everything=True)
    assert everything[0] == saved
    assert [one.before == one.after for one in everything[1]] == [True] * 4
    assert bench.view(run) == before


def test_where_nothing_is_found_everything_stays(bench: Bench) -> None:
    run = run_widths(bench)
    before = bench.view(run)
    same, found = recollect(
        bench.store, run, bench.installation, {"format": r"(?P<name>x)(?P<value>y)"}
    )
    assert (same, bench.view(run)) == (run, before)
    assert {one.read.reason for one in found} == {
        "exit code 0, but no metric at all where val_loss was expected"
    }


def test_a_complete_trial_is_never_lost(bench: Bench) -> None:
    run = run_widths(bench, metrics={"format": FORM})
    kept = values(bench, run)
    recollect(
        bench.store,
        run,
        bench.installation,
        {"format": r"(?P<name>x)(?P<value>y)"},
        everything=True,
    )
    shutil.rmtree(bench.home / "runs")
    _, found = recollect(bench.store, run, bench.installation, everything=True)
    assert all(one.read.reason.startswith("nothing that it has left is here: no ") for one in found)
    assert all("log.txt, nothing in " in one.read.reason for one in found)
    assert values(bench, run) == kept


def test_another_collector_begins_anew(bench: Bench) -> None:
    run = run_widths(bench, metrics={"format": FORM})
    saved, _ = recollect(
        bench.store, run, bench.installation, {"collector": "jsonl"}, everything=True
    )
    assert saved.document["metrics"] == {"collector": "jsonl"}
    assert set(values(bench, run).values()) == {7.0, None}


def test_a_run_that_was_stopped_by_its_failures_says_so_when_it_is_saved(bench: Bench) -> None:
    limits = {"max_trials": 5, "parallel_trials": 1, "max_failed_trials": 0}
    run = run_widths(bench, limits=limits)
    assert len(bench.view(run).trials) == 1
    for _ in range(2):
        run, _ = recollect(bench.store, run, bench.installation, {"format": FORM})
        assert run.status is RunStatus.COMPLETE
        assert run.reason is not None
        assert run.reason.startswith(
            "ended after 1 of 5 trials, before metrics were collected again: "
        )


def test_while_a_trial_runs_nothing_is_collected(bench: Bench) -> None:
    run = bench.begin(CONF)
    lifecycle.next_wave(bench.store, KEY, 1, bench.installation)
    bench.perform(run, 1)
    with pytest.raises(HpoError, match="run 1 is still running trial 2, 3, 4, 5; collect again"):
        recollect(bench.store, run, bench.installation, {"format": FORM})
    assert bench.store.trial(run.id, 1).state is TrialState.FAILED


def test_wrong_settings_and_refused_runs_are_told(bench: Bench) -> None:
    with pytest.raises(SpecError):
        bench.run(name="No")
    with pytest.raises(HpoError, match="run 1 was refused, it has no trials: name: must be"):
        recollect(bench.store, bench.store.run(KEY), bench.installation)
    run = run_widths(bench)
    with pytest.raises(SpecError, match=r"metrics\.format: must have the groups"):
        recollect(bench.store, run, bench.installation, {"format": "x"})
    with pytest.raises(HpoError, match="backend local is not there; there are: ecs"):
        Installation(bench.home, {"ecs": lambda: bench.backend}).backend(run.spec)


def test_the_command_tells_every_trial_and_rewrites_the_report(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_widths(bench)
    monkeypatch.setenv("HPO_HOME", str(bench.home))
    words = ["collect", str(run.id), "--url", f"sqlite:///{bench.home}/hpo.db"]
    report = bench.home / "runs" / "000001-widths" / "report.html"
    assert main.main(words) == 1
    assert "trial 1: left as it was; exit code 0, but no metric at all" in capsys.readouterr().out
    assert main.main([*words, "--format", FORM]) == 0
    numbers = [one.trial.number for one in bench.view(run).trials if one.trial.value is not None]
    out = capsys.readouterr().out.splitlines()
    assert out == [
        *(
            f"trial {number}: val_loss = {bench.store.trial(1, number).value:g}"
            for number in numbers
        ),
        "run 1 of widths: complete (max trials reached: 5 of 5)",
        f"report: {report}",
    ]
    assert "max trials reached: 5 of 5" in report.read_text(encoding="utf-8")
    assert main.main([*words, "--collector", "jsonll"]) == 2
    assert "did you mean 'jsonl'?" in capsys.readouterr().err
    assert main.main(["collect", "99", *words[2:]]) == 1
    assert capsys.readouterr().err == "the store has no run 99\n"


def test_the_corrected_spec_is_a_spec(bench: Bench) -> None:
    run = run_widths(bench)
    saved, _ = recollect(bench.store, run, bench.installation, {"format": FORM})
    assert saved.spec.dump() == saved.document


def test_what_never_began_is_not_collected_and_stays_as_it_is(bench: Bench) -> None:
    run = run_widths(bench, limits=CONF["limits"] | {"max_failed_trials": 1})
    states = [one.trial.state for one in bench.view(run).trials]
    assert states == [TrialState.FAILED] * 2 + [TrialState.STOPPED] * 3
    _, found = recollect(bench.store, run, bench.installation, {"format": FORM}, everything=True)
    begun = [one.trial for one in bench.view(run).trials if one.attempts]
    assert len(found) == sum(trial.params["width"] != 16 for trial in begun)
    assert [one.trial.state for one in bench.view(run).trials][2:] == [TrialState.STOPPED] * 3
    assert trained(bench) == 2
