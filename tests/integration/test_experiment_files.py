"""Runs of files without Airflow: real trials, a real store, and a file that changes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hpo_lib import experiments, runs
from hpo_lib.backends.local import LocalBackend
from hpo_lib.errors import SpecError
from hpo_lib.experiments import Planned
from hpo_lib.record import Run, RunKey, RunStatus
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade

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


def file(**changes: Any) -> Planned:
    return Planned(KEY.dag_id, "nightly.yaml", load(CONF | changes))


BROKEN = file().broken("spec: must be YAML\nand text")


@dataclass
class Bench:
    """A store and a deployment whose bounds on conf-triggered DAGs are narrow."""

    store: Store
    home: Path

    def __post_init__(self) -> None:
        self.backend = LocalBackend(home=self.home, workdir=self.home, path="", grace_s=60.0)
        backends = {"local": lambda: self.backend}
        self.deployment = runs.Deployment(self.home, backends, max_waves=1, max_parallel=1)

    def begin(self, planned: Planned, conf: Any = None) -> Run:
        facts: dict[str, Any] = {"triggered_by": "scheduled", "provenance": {}}
        return experiments.begin(self.store, KEY, planned, conf, self.deployment, **facts)

    def wave(self, run: Run, wave: int) -> None:
        def launch(attempt: Any, request: Any) -> Any:
            return runs.follow(self.backend, attempt, request, lambda _: None)

        for one in runs.next_wave(self.store, KEY, wave, self.deployment).assignments:
            runs.perform(self.store, run, one.trial, self.backend, lambda _: None, launch)

    def finish(self, planned: Planned) -> Run:
        why = partial(experiments.strayed, planned=planned)
        return runs.finish(self.store, KEY, self.deployment, why)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path)


def test_a_file_runs_as_wide_and_long_as_it_says(bench: Bench) -> None:
    planned = file(limits={"max_trials": 4, "parallel_trials": 2})
    run = bench.begin(planned, {})
    for wave in range(1, planned.waves + 1):
        bench.wave(run, wave)
    ended = bench.finish(planned)
    assert (ended.status, ended.reason) == (RunStatus.COMPLETE, "max trials reached: 4 of 4")
    assert "schedule" not in ended.spec
    assert ended.provenance["file"] == "nightly.yaml"


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
    bench: Bench, planned: Planned, conf: Any, reason: str
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
    bench: Bench, later: Planned
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
def test_a_run_that_its_dag_leaves_behind_says_why(bench: Bench, later: Planned, why: str) -> None:
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
        runs.validate(CONF, bench.deployment, backend="local")
    assert str(refused.value).startswith("schedule: belongs to a file in config/experiments")
