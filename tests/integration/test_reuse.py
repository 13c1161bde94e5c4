"""Reused results: the contract on both databases, and nights of real trials that are counted."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpo_airflow import tasks
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.backends.local import LocalBackend
from hpo_lib.backends.pod_rights import KubernetesRules
from hpo_lib.core.trial import Reused
from hpo_lib.errors import SpecError
from hpo_lib.installation import Inputs, Installation
from hpo_lib.promotion import challenger
from hpo_lib.records import Provenance, Run, RunKey, RunStatus
from hpo_lib.runs import admission, lifecycle, outputs
from hpo_lib.store import Store, upgrade
from hpo_lib.trials.recollect import recollect
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.loop import Loop
from tests.integration.reuse_contract import ReuseContract


class TestSqlite(OnSqlite, ReuseContract):
    pass


class TestPostgresql(OnPostgresql, ReuseContract):
    pass


#: Writes a line per launch, prints the square of the distance from what the data says; 0.9 breaks.
PROGRAM = """
echo "$1 $HPO_PHASE $HPO_SEED" >> ../launches
[ "$1" = 0.9 ] && [ -e ../breaks ] && exit 3
mkdir -p "$HPO_OUTPUT/model" && echo "$1" > "$HPO_OUTPUT/model/weights"
awk -v x="$1" -v goal="$(cat "$HPO_DATA/goal")" 'BEGIN { print "loss=" (x - goal) ^ 2 }'
"""
CONF: dict[str, Any] = {
    "name": "nightly",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "ordinal", "choices": [0.1, 0.3, 0.6, 0.9]}},
    "sampler": {"name": "grid"},
    "limits": {"max_trials": 4, "parallel_trials": 2, "max_failed_trials": 4},
    "trial": {"command": ["sh", "train.sh", "${params.x}"], "timeout": "1m"},
    "reuse": {"data": ["goal"], "code": ["train.sh"]},
}


@dataclass
class Nights(Loop):
    """Does whole nights, with a folder of code and one of data."""

    def __post_init__(self) -> None:
        self.work, self.data = self.home / "work", self.home / "data"
        self.work.mkdir()
        self.data.mkdir()
        (self.work / "train.sh").write_text(PROGRAM)
        (self.data / "goal").write_text("0.3")
        self.backend = LocalBackend(home=self.home, workdir=self.work, path="", grace_s=60.0)
        self.installation = Installation(
            self.home,
            {"local": lambda: self.backend, "kubernetes": self._cluster},
            inputs=Inputs([self.work, self.data]),
        )

    def _cluster(self) -> KubernetesBackend:
        rules = KubernetesRules(images=("*",))
        return KubernetesBackend(self.home, connect=lambda: None, rules=rules)

    def begin(self, name: str, /, backend: str = "local", **changes: Any) -> Run:
        return admission.begin(
            self.store,
            RunKey("nightly", name),
            {name: value for name, value in (CONF | changes).items() if value is not None},
            self.installation,
            backend=backend,
            triggered_by="schedule",
            provenance=Provenance(),
        )

    def night(self, name: str, /, **changes: Any) -> Run:
        run = self.begin(name, **changes)
        self.waves(run)
        if run.spec.final is not None:
            chosen = challenger.choose(self.store, run.key, self.installation)
            self.perform(run, *(one.trial for one in chosen.assignments))
            challenger.decide(self.store, run.key, self.installation)
        return lifecycle.finish(self.store, run.key, self.installation)

    def launches(self) -> list[str]:
        """Give what was launched since this was asked for the last time, and forget it."""
        path = self.home / "launches"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return sorted(line.rpartition(" ")[0] for line in lines)

    def reused(self, run: Run) -> dict[float, Reused]:
        trials = self.store.history(run.id).trials
        return {float(one.params["x"]): one.reused for one in trials if one.reused}


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nights]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    monkeypatch.setenv("HPO_DATA", str(tmp_path / "data"))
    with Store.open(url) as store:
        yield Nights(store, tmp_path)


ALL = ["0.1 search", "0.3 search", "0.6 search", "0.9 search"]


def test_a_night_on_the_same_data_trains_nothing_again(nights: Nights) -> None:
    first = nights.night("monday")
    assert nights.launches() == ALL
    second = nights.night("tuesday")
    assert nights.launches() == []
    assert (second.status, second.reason) == (first.status, first.reason)
    assert second.reason == "max trials reached: 4 of 4", "they count as trials"
    values = [[one.value for one in nights.store.history(run.id).trials] for run in (first, second)]
    assert values[0] == values[1]
    assert {source.run for source in nights.reused(second).values()} == {first.id}


def test_what_is_new_is_trained_beside_what_is_known(nights: Nights) -> None:
    nights.night("monday", limits={"max_trials": 2, "parallel_trials": 2})
    before = nights.launches()
    second = nights.night("tuesday")
    assert sorted([*before, *nights.launches()]) == ALL
    assert len(nights.reused(second)) == len(before) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"data/goal": "0.6"},
        {"work/train.sh": f"{PROGRAM}# another line\n"},
        {"fixed": {"epochs": 3}},
        {"sampler": {"name": "grid", "seed": 1}},
        {"extra_metrics": ["size"]},
        {"trial": CONF["trial"] | {"env": {"MODE": "fast"}}},
        {"metrics": {"collector": "stdout", "format": "(?P<name>loss)=(?P<value>.*)"}},
        {"objective": CONF["objective"] | {"reduce": "best"}},
        {"reuse": None},
        {"name": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_night_on_anything_else_trains_everything(nights: Nights, change: dict[str, Any]) -> None:
    nights.night("monday")
    assert nights.launches() == ALL
    for name in [name for name in change if "/" in name]:
        (nights.home / name).write_text(change[name])
    nights.night("tuesday", **{name: v for name, v in change.items() if "/" not in name})
    assert nights.launches() == ALL


def test_what_was_there_before_is_known_again(nights: Nights) -> None:
    first = nights.night("monday")
    (nights.data / "goal").write_text("0.6")
    nights.night("tuesday")
    (nights.data / "goal").write_text("0.3")
    nights.launches()
    assert {one.run for one in nights.reused(nights.night("wednesday")).values()} == {first.id}
    assert nights.launches() == []


def test_what_has_failed_is_tried_again(nights: Nights) -> None:
    (nights.home / "breaks").touch()
    nights.night("monday")
    nights.launches()
    (nights.home / "breaks").unlink()
    nights.night("tuesday")
    assert nights.launches() == ["0.9 search"]


def test_data_that_changes_during_a_night_is_nobodys(nights: Nights) -> None:
    run = nights.begin("monday")
    lease = lifecycle.next_wave(nights.store, run.key, 1, nights.installation)
    (nights.data / "goal").write_text("0.6")
    nights.perform(run, *(one.trial for one in lease.assignments))
    assert lifecycle.finish(nights.store, run.key, nights.installation).fingerprint is None
    (nights.data / "goal").write_text("0.3")
    nights.launches()
    nights.night("tuesday")
    assert nights.launches() == ALL


def test_a_report_that_is_written_again_later_forgets_nothing(nights: Nights) -> None:
    first = nights.night("monday")
    (nights.data / "goal").unlink()
    assert lifecycle.finish(nights.store, first.key, nights.installation) == first
    assert first.fingerprint is not None


def test_data_that_is_gone_at_the_end_ends_the_run_all_the_same(nights: Nights) -> None:
    run = nights.begin("monday")
    lease = lifecycle.next_wave(nights.store, run.key, 1, nights.installation)
    nights.perform(run, *(one.trial for one in lease.assignments))
    (nights.data / "goal").unlink()
    ended = lifecycle.finish(nights.store, run.key, nights.installation)
    assert (ended.status, ended.fingerprint) == (RunStatus.FAILED, None)


def test_a_place_that_is_not_there_refuses_the_run(nights: Nights) -> None:
    (nights.data / "goal").unlink()
    with pytest.raises(SpecError, match=r"^reuse\.data\.0: must be a file or folder .*\"goal\"$"):
        nights.begin("monday")
    assert nights.store.run(RunKey("nightly", "monday")).status is RunStatus.REFUSED


def test_the_champions_parameters_are_tried_first_and_only_once_on_the_same_data(
    nights: Nights,
) -> None:
    final = {"seeds": 2}
    first = nights.night("monday", final=final)
    model = nights.store.models.of_run(first.id)
    assert model is not None
    nights.store.models.promote(model, "good")
    assert [line for line in nights.launches() if "final" in line] == ["0.3 final", "0.3 final"]
    choices = {"x": {"type": "ordinal", "choices": [0.2, 0.3, 0.4, 0.5]}}
    second = nights.night("tuesday", final=final, space=choices)
    searched = [line for line in nights.launches() if "search" in line]
    assert searched == ["0.2 search", "0.4 search", "0.5 search"]
    tried = nights.store.history(second.id).trials[0]
    assert (tried.params, tried.reused) == ({"x": 0.3}, Reused(first.id, model.source))


def test_an_image_by_its_tag_is_told_to_be_no_reason(nights: Nights) -> None:
    pod = {"backend": "kubernetes", "image": "r.example.org/train:1"}
    reuse = {"data": []}
    run = nights.begin("monday", "kubernetes", trial=pod, reuse=reuse)
    assert run.fingerprint is None
    said = (
        "no result is reused: trial.image: must be named by its digest, name@sha256:…, got "
        '"r.example.org/train:1"'
    )
    assert list(run.advice.lines()) == [said]
    page = outputs.write_report(nights.store, run, nights.installation).read_text(encoding="utf-8")
    assert "no result is reused: trial.image: must be named by its digest" in page


def test_the_report_marks_what_was_reused(nights: Nights) -> None:
    first = nights.night("monday")
    second = nights.night("tuesday")
    path = outputs.write_report(nights.store, second, nights.installation)
    page = path.read_text(encoding="utf-8")
    sources = nights.reused(second)
    for source in sources.values():
        assert f"reused from trial {source.trial} of run {first.id}" in page
    assert "4 complete · 4 reused" in page
    with (path.parent / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["reused"] for row in rows} == {str(source) for source in sources.values()}
    assert {row["attempts"] for row in rows} == {"0"}
    plain = outputs.write_report(nights.store, first, nights.installation)
    assert "reused" not in plain.read_text(encoding="utf-8").split("<script")[0].split("Spec (")[0]
    assert "reused" not in (plain.parent / "trials.csv").read_text()


def test_collecting_again_leaves_alone_what_has_left_nothing(nights: Nights) -> None:
    nights.night("monday")
    second = nights.night("tuesday")
    run, found = recollect(nights.store, second, nights.installation, everything=True)
    assert (run.status, found) == (RunStatus.COMPLETE, [])


def test_the_tasks_map_what_is_trained_and_log_what_is_not(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    places = {"HPO_HOME": nights.home, "HPO_TRIAL_DIR": nights.work}
    store = {"HPO_STORE": f"sqlite:///{nights.home}/hpo.db"}
    for name, value in {**store, **places}.items():
        monkeypatch.setenv(name, str(value))
    first = nights.night("monday", limits={"max_trials": 1, "parallel_trials": 1})
    (source,) = nights.store.history(first.id).trials
    changes = {"initial_points": [{"x": source.params["x"]}]}
    dag_run = SimpleNamespace(
        dag_id="hpo_local",
        run_id="manual",
        conf=CONF | changes,
        triggering_user_name="ada",
        run_type=SimpleNamespace(value="manual"),
    )
    context = {"dag": SimpleNamespace(dag_id="hpo_local", tags=(), task_ids=()), "dag_run": dag_run}
    tasks.validate(context | {"params": {}}, "local")
    assignments, stop = tasks.suggest(context, 1)
    assert ([one["trial"] for one in assignments], stop) == ([2], None)
    said = f"trial 1 (initial): {dict(source.params)}; reused from trial 1 of run {first.id}"
    assert f"{said}, not trained" in caplog.messages
