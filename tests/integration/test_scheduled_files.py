"""Runs of files without Airflow: real trials, a real store, and a file that changes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends import AttemptName
from hpo_lib.backends.local import LocalBackend
from hpo_lib.core.trial import Assignment, Cause
from hpo_lib.errors import SpecError
from hpo_lib.housekeeping import sweep
from hpo_lib.installation import Installation
from hpo_lib.records import Provenance, Run, RunKey, RunStatus, slug_of
from hpo_lib.runs import admission, lifecycle, scheduled_files
from hpo_lib.runs.scheduled_files import ScheduledFile
from hpo_lib.spec import load
from hpo_lib.spec.yaml_file import to_yaml
from hpo_lib.store import Store, upgrade
from hpo_lib.trials import runner

KEY = RunKey("hpo_scheduled_nightly", "scheduled__2031-05-06T07:08:09+00:00")
CONF: dict[str, Any] = {
    "name": "run",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "int", "low": 1, "high": 9}},
    "sampler": {"name": "grid"},
    "limits": {"max_trials": 3},
    "trial": {"command": ["sh", "-c", "echo loss=$1", "trial"], "args": ["${params.x}"]},
    "schedule": {"cron": "0 3 * * *"},
}


def file(**changes: Any) -> ScheduledFile:
    return ScheduledFile(KEY.dag_id, "nightly.yaml", load(CONF | changes))


BROKEN = file().broken("spec: must be YAML\nand text")


@dataclass
class Clock:
    """Today's time, or that of days to come."""

    days: int = 0

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self.days)


@dataclass
class Bench:
    """A store and an installation whose bounds on conf-triggered DAGs are narrow."""

    store: Store
    home: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.backend = LocalBackend(home=self.home, workdir=self.home, path="", grace_s=60.0)
        backends = {"local": lambda: self.backend}
        self.installation = Installation(self.home, backends, max_waves=1, max_parallel=1)

    def begin(self, planned: ScheduledFile, conf: Any = None) -> Run:
        facts: dict[str, Any] = {"triggered_by": "scheduled", "provenance": Provenance()}
        return scheduled_files.begin(self.store, KEY, planned, conf, self.installation, **facts)

    def wave(self, run: Run, wave: int) -> None:
        def launch(attempt: Any, request: Any) -> Any:
            return runner.follow(self.backend, attempt, request, lambda _: None)

        for one in lifecycle.next_wave(self.store, KEY, wave, self.installation).assignments:
            runner.perform(self.store, run, one.trial, self.backend, lambda _: None, launch)

    def lose_task_of_wave(self, wave: int) -> None:
        """Ask for a wave's trials, whose tasks never come."""
        assert lifecycle.next_wave(self.store, KEY, wave, self.installation).assignments

    def submit(self, run: Run, number: int) -> Any:
        """Start a trial whose task is killed at once, and give its handle."""
        slug, trial = slug_of(run), self.store.trial(run.id, number)

        def named(attempt: int) -> Any:
            return self.backend.handle(AttemptName(self.store.id, slug, number, attempt))

        handle = self.store.open_attempt(run.id, number, named).handle
        output, spec = str(self.backend.output(handle)), run.spec
        asked = runner.request(
            spec,
            run,
            trial,
            Assignment(number, trial.params),
            attempt=1,
            output=output,
            store=self.store.id,
        )
        self.backend.submit(handle, asked)
        return handle

    def finish(self, planned: ScheduledFile) -> Run:
        why = partial(scheduled_files.strayed, file=planned)
        return lifecycle.finish(self.store, KEY, self.installation, why)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    upgrade(url)
    clock = Clock()
    with Store.open(url, now=clock) as store:
        yield Bench(store, tmp_path, clock)


ELSEWHERE = {"final": {"trial": {"backend": "docker", "image": "i"}}}


@pytest.mark.parametrize(
    ("begun", "now", "why"),
    [
        ({"final": {}}, {"final": {}}, None),
        ({"final": {}}, {"final": {"seeds": 3}}, None),
        (ELSEWHERE, ELSEWHERE, None),
        ({}, ELSEWHERE, None),
        (
            {"final": {}},
            ELSEWHERE,
            "nightly.yaml was changed to backend docker while it ran on local",
        ),
        ({"final": {}}, {}, "nightly.yaml asks for no final training any more"),
    ],
)
def test_a_winner_that_the_files_dag_cannot_train_is_told_of(
    bench: Bench, begun: dict[str, Any], now: dict[str, Any], why: str | None
) -> None:
    run = bench.store.start_run(
        KEY, load(CONF | begun).unscheduled(), triggered_by="ada", provenance=Provenance()
    )
    assert scheduled_files.strayed_final(run, file(**now)) == why


def test_a_file_runs_as_wide_and_long_as_it_says(bench: Bench) -> None:
    planned = file(limits={"max_trials": 4, "parallel_trials": 2})
    run = bench.begin(planned, {})
    for wave in range(1, planned.waves + 1):
        bench.wave(run, wave)
    ended = bench.finish(planned)
    assert (ended.status, ended.reason) == (RunStatus.COMPLETE, "max trials reached: 4 of 4")
    assert "schedule" not in ended.document
    assert ended.provenance.file == "nightly.yaml"


@pytest.mark.parametrize(
    ("planned", "conf", "reason"),
    [
        (BROKEN, None, "nightly.yaml: spec: must be YAML\nnightly.yaml: and text"),
        (file(), {"name": "mine"}, "conf: must be empty, for this DAG runs nightly.yaml as it is"),
        # What only the checks before a run see.
        (file(limits={"max_trials": 10}), None, "limits.max_trials: must be <= 9"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_reason(
    bench: Bench, planned: ScheduledFile, conf: Any, reason: str
) -> None:
    with pytest.raises(SpecError) as refused:
        bench.begin(planned, conf)
    assert str(refused.value).startswith(reason)
    run = bench.store.run(KEY)
    assert run.status is RunStatus.REFUSED
    assert (run.reason or "").startswith(reason)
    assert bench.begin(file()).status is RunStatus.RUNNING, "mended and cleared, it runs"


@pytest.mark.parametrize("later", [BROKEN, file(limits={"max_trials": 9})])
def test_a_run_that_has_begun_is_given_whatever_the_file_says_now(
    bench: Bench, later: ScheduledFile
) -> None:
    first = bench.begin(file())
    assert bench.begin(later, {"name": "mine"}) == first


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (file(limits={"max_trials": 1}), "nightly.yaml was changed while it ran, its DAG has 1"),
        (BROKEN, "nightly.yaml has become unreadable while it ran: spec: must be YAML"),
    ],
)
def test_a_run_that_its_dag_leaves_behind_says_why(
    bench: Bench, later: ScheduledFile, why: str
) -> None:
    bench.wave(bench.begin(file()), 1)
    ended = bench.finish(later)
    assert ended.status is RunStatus.FAILED
    assert (ended.reason or "").startswith(f"broken off after 1 of 3 trials: {why}")


def test_a_run_that_was_through_is_complete_although_its_file_is_broken(bench: Bench) -> None:
    run = bench.begin(file())
    for wave in (1, 2, 3):
        bench.wave(run, wave)
    assert bench.finish(BROKEN).status is RunStatus.COMPLETE


def test_a_conf_with_a_schedule_is_refused(bench: Bench) -> None:
    with pytest.raises(SpecError) as refused:
        admission.validate(CONF, bench.installation, backend="local")
    assert str(refused.value).startswith("schedule: belongs to a file in config/experiments")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of experiments with the file of `bench`'s run."""
    made = tmp_path / "experiments"
    made.mkdir()
    (made / "nightly.yaml").write_text(to_yaml(load(CONF)))
    return made


def test_a_run_whose_file_is_there_has_a_dag_also_if_it_is_broken(
    bench: Bench, folder: Path
) -> None:
    run = bench.begin(file())
    assert scheduled_files.orphaned(run, folder) is None
    (folder / "nightly.yaml").write_text("name: [")
    assert scheduled_files.orphaned(run, folder) is None


def test_of_a_folder_that_is_not_there_and_of_a_conf_nothing_is_known(
    bench: Bench, folder: Path
) -> None:
    run = bench.begin(file())
    assert scheduled_files.orphaned(run, folder / "not mounted") is None
    assert scheduled_files.orphaned(replace(run, provenance=Provenance()), folder / "..") is None


def test_a_run_whose_file_has_no_dag_any_more_says_why(bench: Bench, folder: Path) -> None:
    run = bench.begin(file())
    (folder / "nightly.yaml").write_text(to_yaml(load(CONF).unscheduled()))
    assert scheduled_files.orphaned(run, folder) == "nightly.yaml has no schedule any more"
    (folder / "nightly.yaml").unlink()
    assert scheduled_files.orphaned(run, folder) == "nightly.yaml was removed while it ran"


def swept(bench: Bench, folder: Path) -> list[str]:
    """Do what housekeeping does while Airflow says that the DAG run goes on.

    Give what it says of runs: a guard goes a moment after it has told its trial's end.
    """
    said = partial(scheduled_files.orphaned, folder=folder)
    told = sweep(bench.store, bench.installation, lambda key: False, said)
    return [line for line in told if line.startswith("run ")]


def test_a_run_waits_a_day_for_a_file_that_was_removed(bench: Bench, folder: Path) -> None:
    run = bench.begin(file())
    bench.wave(run, 1)
    (folder / "nightly.yaml").rename(folder / "nightly.bak")
    (said,) = swept(bench, folder)
    assert said.startswith("run 1 waits: nightly.yaml was removed while it ran; it goes on when")
    assert bench.store.run(KEY).status is RunStatus.RUNNING

    (folder / "nightly.bak").rename(folder / "nightly.yaml")
    assert swept(bench, folder) == []
    bench.wave(run, 2)
    assert len(bench.store.view(run.id).trials) == 2, "it goes on"


def test_a_day_later_the_run_is_closed_with_all_that_it_had(bench: Bench, folder: Path) -> None:
    run = bench.begin(file())
    bench.wave(run, 1)
    bench.lose_task_of_wave(2)
    (folder / "nightly.yaml").rename(folder / "nightly.bak")
    bench.clock.days += 2
    (said,) = swept(bench, folder)
    why = "broken off after 2 of 3 trials: nightly.yaml was removed while it ran"
    assert said.startswith(f"run 1: failed, it has waited for a day: {why} (")
    ended = bench.store.run(KEY)
    assert (ended.status, ended.reason) == (RunStatus.FAILED, why)
    assert (bench.home / "runs" / "000001-run" / "report.html").exists()
    first, second = (one.trial for one in bench.store.view(run.id).trials)
    assert first.value == 1.0, "nothing is lost"
    assert second.cause is Cause.LOST

    (folder / "nightly.bak").rename(folder / "nightly.yaml")
    stop = lifecycle.next_wave(bench.store, KEY, 3, bench.installation).stop
    assert stop is not None
    assert stop.failed, "the file that is back finds an ended run"


def test_while_a_trial_runs_its_run_is_not_closed(bench: Bench, folder: Path) -> None:
    run = bench.begin(file(trial=CONF["trial"] | {"command": ["sleep", "600"], "args": []}))
    (asked,) = lifecycle.next_wave(bench.store, KEY, 1, bench.installation).assignments
    handle = bench.submit(run, asked.trial)
    (folder / "nightly.yaml").unlink()
    bench.clock.days += 2
    try:
        assert swept(bench, folder)[0].startswith("run 1 waits: ")
    finally:
        bench.backend.stop(handle)
    assert swept(bench, folder)[0].startswith("run 1: failed, it has waited for a day: ")
