"""From night to night without Airflow: real trials, real store, real packages, the real gate."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hpo_lib import housekeeping, report
from hpo_lib.backends import AttemptName
from hpo_lib.backends.local import LocalBackend
from hpo_lib.cli.main import main
from hpo_lib.core.ending import Exit
from hpo_lib.core.trial import Origin
from hpo_lib.deployers import Check, Deployer
from hpo_lib.deployers.package import PackageDeployer
from hpo_lib.errors import HpoError, NotFound, SpecError, TransientError
from hpo_lib.evaluation import drift
from hpo_lib.installation import Installation
from hpo_lib.promotion import challenger, deployment, monitoring
from hpo_lib.records import Model, ModelStatus, Provenance, RunKey, RunView
from hpo_lib.records.audit import Actor
from hpo_lib.runs import admission, lifecycle, outputs
from hpo_lib.spec import Spec
from hpo_lib.store import Store, upgrade
from hpo_lib.store.batches import Batch
from hpo_lib.store.models import Models
from hpo_lib.trials.recollect import recollect
from tests.integration.loop import Loop, quietly

#: The loss is |x - goal|; `test_loss` is what the seed adds little noise to. The goal is the data
#: of the night. With the flag `silent` nothing is left to deploy, with `breaks` final training
#: fails, with `blind` it has no hold-out; `examples` says which final trials leave the scores of
#: single examples. `right` says by x on how many of 200 rows final trials are right, and they leave
#: these: one that is right on more than 160 loses 3 of those. Fewer epochs than ten lose a tenth
#: each.
PROGRAM = """
import json, os, pathlib, random
data = json.loads(pathlib.Path("data.json").read_text())
params = json.loads(os.environ["HPO_PARAMS"]) | data
noise = random.Random(os.environ["HPO_SEED"]).uniform(-0.01, 0.01)
loss = abs(params["x"] - params["goal"]) + (10 - params["epochs"]) / 10
final = os.environ["HPO_PHASE"] == "final"
scores, test_loss = [0.5 * (loss + noise), 1.5 * (loss + noise)], f"test_loss={loss + noise}"
if final and params.get("breaks"):
    raise SystemExit(3)
if final and params.get("blind"):
    test_loss = ""
if params.get("examples") == "all" or params.get("examples") == "most" and noise > 0:
    holdout = pathlib.Path(os.environ["HPO_OUTPUT"], "holdout.json")
    holdout.write_text(json.dumps({"test_loss": scores}))
if final and "right" in params:
    right = params["right"][str(params["x"])]
    rows = [1] * 157 + ([0] * 3 + [1] * (right - 157) if right > 160 else [1] * 3)
    rows += [0] * (200 - len(rows))
    holdout = pathlib.Path(os.environ["HPO_OUTPUT"], "holdout.json")
    holdout.write_text(json.dumps({"test_accuracy": rows}))
    test_loss += f" test_accuracy={sum(rows) / 200}"
if params.get("leads") == "model":
    pathlib.Path(os.environ["HPO_OUTPUT"], "model").symlink_to("/etc")
elif not params.get("silent"):
    folder = pathlib.Path(os.environ["HPO_OUTPUT"], "model")
    folder.mkdir(parents=True)
    (folder / "weights").write_text(str(params["x"]))
    if params.get("leads"):
        (folder / params["leads"]).symlink_to("/etc/hostname")
    (folder / "metadata.json").write_text(json.dumps({"data": params["data"]}))
print(f"loss={loss} {test_loss} size={params['x']} seed={os.environ['HPO_SEED']}")
"""
CONF: dict[str, Any] = {
    "name": "nightly",
    "objective": {"metric": "loss", "direction": "minimize"},
    "extra_metrics": ["seed"],
    "space": {"x": {"type": "ordinal", "choices": [0.1, 0.3, 0.6, 0.9]}},
    "fixed": {"epochs": 10},
    "sampler": {"name": "grid"},
    "limits": {"max_trials": 4, "parallel_trials": 4},
    "trial": {"command": [sys.executable, "-c", PROGRAM], "args": [], "timeout": "1m"},
    "final": {"seeds": 3},
    "deploy": {
        "to": "package",
        "metric": "test_loss",
        "direction": "minimize",
        "approval": "none",
    },
}
DATA: dict[str, Any] = {"goal": 0.3, "data": "fingerprint"}


@dataclass
class Bench(Loop):
    """Does whole nights."""

    dag: str = "nightly"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.installation = replace(self.installation, deployers=self.deployer)

    def deployer(self, spec: Spec, _: str) -> Deployer:
        assert spec.deploy is not None
        return PackageDeployer.at(spec.name, spec.deploy.options, self.home, {})

    def tune(
        self, night: int, *, data: Mapping[str, Any] = {}, by_file: bool = False, **changes: Any
    ) -> RunKey:
        """Do a night up to the gate, on data of its own."""
        key = RunKey(self.dag, f"night-{night}")
        (self.home / "data.json").write_text(json.dumps(DATA | data))
        run = admission.begin(
            self.store,
            key,
            CONF | changes,
            self.installation,
            backend="local",
            triggered_by="schedule",
            provenance=Provenance(),
            by_file=by_file,
        )
        self.waves(run)
        chosen = challenger.choose(self.store, key, self.installation)
        self.perform(run, *(assignment.trial for assignment in chosen.assignments))
        assert challenger.choose(self.store, key, self.installation) == chosen
        return key

    def night(self, number: int, **changes: Any) -> Model | None:
        """Do a whole night."""
        key = self.tune(number, **changes)
        challenger.decide(self.store, key, self.installation)
        outputs.write_report(
            self.store, lifecycle.finish(self.store, key, self.installation), self.installation
        )
        return deployment.deploy(self.store, key, self.installation, quietly)

    @property
    def alias(self) -> dict[str, Any]:
        """What users of the package follow."""
        found: dict[str, Any] = json.loads((self.home / "models/nightly/champion.json").read_text())
        return found

    @property
    def packages(self) -> list[Path]:
        """The folders of versions."""
        return list((self.home / "models/nightly").glob("v*"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path)


class Own(LocalBackend):
    """Knows its own attempts only, as backends do that run things in different places."""

    name = "local"

    def handle(self, name: AttemptName) -> dict[str, Any]:
        return {**super().handle(name), "own": self.name}

    def output(self, handle: Mapping[str, Any]) -> Path:
        assert handle["own"] == self.name
        return super().output(handle)

    def log(self, handle: Mapping[str, Any]) -> Path:
        assert handle["own"] == self.name
        return super().log(handle)

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        assert handle["own"] == self.name
        return super().poll(handle)


class Elsewhere(Own):
    """A fake of another backend: local processes too."""

    name = "docker"


def test_the_winner_is_trained_where_final_says(bench: Bench, tmp_path: Path) -> None:
    swept: list[str] = []
    made = {
        kind.name: kind(home=bench.home, workdir=bench.home, path="", grace_s=60.0)
        for kind in (Own, Elsewhere)
    }

    def build(name: str) -> LocalBackend:
        swept.append(name)
        return made[name]

    bench.installation = replace(
        bench.installation,
        backends={name: partial(build, name) for name in made},
        artifacts={f"file://{tmp_path}": dict},
    )
    asked: dict[str, Any] = {
        "final": {"seeds": 2, "trial": {"backend": "docker"}},
        "artifacts": {"uri": f"file://{tmp_path}/store", "keep": "all"},
    }
    with pytest.raises(
        SpecError, match=r"final\.trial\.backend: this DAG runs local, got docker; o"
    ):
        bench.tune(1, **asked)
    model = bench.night(2, by_file=True, **asked)
    assert model is not None
    assert (model.status, model.params["x"]) == (ModelStatus.CHAMPION, 0.3)
    view = bench.store.view(model.run_id)
    assert {one.attempts[-1].handle["own"] for one in view.trials} == {"local"}
    assert {one.attempts[-1].handle["own"] for one in view.finals} == {"docker"}
    run = bench.store.run_by_id(model.run_id)
    outputs.keep_artifacts(bench.store, run, bench.installation)
    assert len(list((tmp_path / "store").rglob("weights"))) == 4 + 2

    assert bench.night(3, by_file=True, **asked) is None, "the champion's own configuration wins"
    assert seen(bench, RunKey("nightly", "night-3")).program == (), "search is not final training"

    swept.clear()
    assert list(housekeeping.sweep(bench.store, bench.installation, lambda _: False)) == []
    assert set(swept) == {"local", "docker"}, "both are looked through for what is left over"


def test_what_another_backend_refuses_of_the_winner_is_named(bench: Bench) -> None:
    final = {"seeds": 2, "trial": {"image": "x"}}
    with pytest.raises(SpecError, match=r"^final\.trial\.image: backend local runs processes"):
        bench.tune(1, final=final)


def test_nights_end_in_a_package_that_is_replaced_by_better_ones_only(bench: Bench) -> None:
    first = bench.night(1)
    assert first is not None
    assert (first.status, first.params["x"], first.against) == (ModelStatus.CHAMPION, 0.3, None)
    assert bench.alias["version"] == 1
    with zipfile.ZipFile(bench.home / "models/nightly" / bench.alias["package"]) as archive:
        assert archive.read("model/weights") == b"0.3"
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["params"] == {"epochs": 10, "x": 0.3}
    assert manifest["training"] == {"data": "fingerprint"}
    assert (manifest["run"], manifest["trial"]) == (first.run_id, first.trial)

    assert bench.night(2) is None, "the champion's own configuration wins again"
    assert bench.alias["version"] == 1

    third = bench.night(3, data={"goal": 0.6})
    assert third is not None
    assert (third.status, third.version, third.against) == (ModelStatus.CHAMPION, 2, 1)
    assert third.verdict is not None
    assert third.verdict.improvement == pytest.approx(0.3)
    assert bench.alias["version"] == 2
    assert bench.store.models.get("nightly", 1).status is ModelStatus.RETIRED


def stats(mean: float = 0.0, rows: int = 100) -> dict[str, Any]:
    """What a training may say of its data."""
    feature = {"mean": mean, "std": 1.0, "missing": 0.0}
    return {"fingerprint": f"{mean} {rows}", "rows": rows, "features": {"age": feature}}


def seen(bench: Bench, key: RunKey) -> drift.ChampionCheck:
    """What a run has noted of the champion."""
    run = bench.store.run(key)
    champion = bench.store.view(run.id).champion
    check = champion.check_of(run.id) if champion else None
    assert check is not None
    return check


def test_a_manifest_says_of_what_and_by_what_a_model_is_made(bench: Bench) -> None:
    model = bench.night(1, data={"data": stats()})
    assert model is not None
    document = model.manifest.document
    assert document["training"]["data"] == stats()
    assert document["program"]["fixed"] == {"epochs": 10}
    assert document["program"]["command"][:2] == [sys.executable, "-c"]
    kept = document["scores"]
    assert (kept["metric"], len(kept["values"])) == ("test_loss", 3)
    assert model.metrics["test_loss"] in kept["values"]
    assert model.manifest.score("test_loss") == drift.Score.of(kept["values"])


def test_what_each_night_sees_of_the_champion_is_kept_and_shown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.night(1, data={"data": stats()})
    assert bench.night(2, data={"data": stats()}) is None
    key = RunKey("nightly", "night-2")
    stays = seen(bench, key)
    assert (stays.search, stays.data.same, stays.version, stays.program) == (True, True, 1, ())
    assert challenger.choose(bench.store, key, bench.installation).stop is not None
    assert len(bench.store.models.get("nightly", 1).checks) == 1

    moved = {"goal": 0.6, "data": stats(0.5, rows=90)}
    model = bench.night(3, data=moved, deploy={**CONF["deploy"], "min_improvement": 0.5})
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    challenged = seen(bench, RunKey("nightly", "night-3"))
    assert challenged.worse == pytest.approx(0.3)
    assert challenged.error is not None
    assert not challenged.search
    assert challenged.data.rows == (100, 90)
    assert challenged.data.shifts[0].by == pytest.approx(0.5)
    assert "otherwise" not in model.reason, "the data alone has changed"

    page = outputs.report_path(bench.store.run_by_id(model.run_id), bench.installation).read_text()
    assert "The champion: version 1" in page
    assert "age by 0.5 standard deviations" in page
    assert monitoring.said(bench.store, RunKey("nightly", "night-3")) == list(
        challenged.sentences()
    )
    monkeypatch.setenv("HPO_STORE", f"sqlite:///{bench.home}/hpo.db")
    assert main(["models", "nightly", "--history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (same,) = (at for at, line in enumerate(lines) if "The data is the same" in line)
    (worse,) = (at for at, line in enumerate(lines) if "run 3: The champion, version 1" in line)
    (rejected,) = (at for at, line in enumerate(lines) if "v2 rejected" in line)
    assert same < worse < rejected


@pytest.mark.parametrize(
    "left",
    [None, 7, "text", [1], {"rows": -1, "features": {"a": {"mean": "x"}}, "classes": [None]}],
)
def test_what_training_says_of_its_data_may_be_anything(bench: Bench, left: object) -> None:
    bench.night(1, data={"data": left})
    model = bench.night(2, data={"data": left, "goal": 0.6})
    assert model is not None
    assert model.status is ModelStatus.CHAMPION
    check = seen(bench, RunKey("nightly", "night-2"))
    assert check.data.same is (True if left == "text" else None)
    assert not check.data.shifts


def test_runs_without_a_champion_have_seen_none(bench: Bench) -> None:
    bench.night(1)
    assert monitoring.said(bench.store, RunKey("nightly", "night-1")) == []
    assert monitoring.said(bench.store, RunKey("nightly", "never")) == []
    smaller = {"x": {"type": "ordinal", "choices": [0.3, 0.9]}}
    bench.tune(
        2, space=smaller, limits={"max_trials": 2, "max_failed_trials": 0}, data={"goal": "?"}
    )
    assert monitoring.said(bench.store, RunKey("nightly", "night-2")) == []


def test_a_night_with_fewer_epochs_does_not_replace_what_had_more(bench: Bench) -> None:
    bench.night(1)
    fewer = {"data": {"goal": 0.6}, "fixed": {"epochs": 5}}
    model = bench.night(2, **fewer)
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    assert "It is better by 0.3" in model.reason
    assert "when it was made: fixed.epochs was 10, is 5. Its test_loss was" in model.reason
    assert "as trained now, worse by 0.8, which exceeds min_improvement (0)" in model.reason
    assert "approval: manual" in model.reason
    assert bench.alias["version"] == 1
    assert seen(bench, RunKey("nightly", "night-2")).program == ("fixed.epochs was 10, is 5",)

    again = bench.night(3, data={"goal": 0.6})
    assert again is not None
    assert again.status is ModelStatus.CHAMPION, "trained as before it may"


def test_people_may_want_fewer_epochs(bench: Bench) -> None:
    bench.night(1)
    asking = {**CONF["deploy"], "approval": "manual"}
    key = bench.tune(2, data={"goal": 0.6}, fixed={"epochs": 5}, deploy=asking)
    model = challenger.decide(bench.store, key, bench.installation)
    assert model is not None
    assert model.status is ModelStatus.CHALLENGER
    assert model.promising
    assert "fixed.epochs was 10, is 5" in model.verdict_reason
    assert "Approve it only if the change is meant." in model.verdict_reason
    challenger.approve(bench.store, key, approved=True, reason="Approved by ada.")
    deployment.deploy(bench.store, key, bench.installation, quietly)
    after = bench.night(3, fixed={"epochs": 5}, data={"goal": 0.9})
    assert after is not None
    assert after.status is ModelStatus.CHAMPION, "that is now how the champion was made"


def test_another_program_that_loses_nothing_is_no_reason(bench: Bench) -> None:
    bench.night(1, fixed={"epochs": 5})
    model = bench.night(2, data={"goal": 0.6}, fixed={"epochs": 10})
    assert model is not None
    assert model.status is ModelStatus.CHAMPION
    assert seen(bench, RunKey("nightly", "night-2")).program


def test_an_outage_costs_a_note_but_no_night(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.night(1)

    def unreachable(*args: Any) -> None:
        raise TransientError("the bucket does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(monitoring, "json_or_why", unreachable)
        key = bench.tune(2)
    assert monitoring.said(bench.store, key) == []
    challenger.choose(bench.store, key, bench.installation)
    assert monitoring.said(bench.store, key)


def test_champion_and_challenger_are_trained_with_the_same_seeds(bench: Bench) -> None:
    bench.night(1)
    key = bench.tune(2, data={"goal": 0.6})
    view = bench.store.view(bench.store.run(key).id)
    by_params: dict[float, list[float]] = {}
    for one in view.finals:
        by_params.setdefault(one.trial.params["x"], []).append(one.trial.metrics["seed"])  # type: ignore[arg-type]
    assert by_params[0.3] == by_params[0.6]
    assert len(set(by_params[0.3])) == 3
    assert all(one.trial.origin is Origin.FINAL for one in view.finals)


def test_the_champions_parameters_are_the_first_that_are_tried(bench: Bench) -> None:
    bench.night(1)
    key = bench.tune(2, data={"goal": 0.6})
    first = bench.store.trial(bench.store.run(key).id, 1)
    assert (first.params, first.origin) == ({"x": 0.3}, Origin.INITIAL)
    smaller = {"x": {"type": "ordinal", "choices": [0.6, 0.9]}}
    key = bench.tune(3, space=smaller, limits={"max_trials": 2})
    run = bench.store.run(key)
    assert run.advice.dropped == (
        "the champion's parameters are not tried: x: must be one of [0.6, 0.9], got 0.3",
    )
    key = bench.tune(4, final=None, deploy=None, sampler={"name": "grid", "seed": 3})
    assert bench.store.trial(bench.store.run(key).id, 1).origin is Origin.SAMPLER


def test_no_conf_replaces_the_champion_of_another_dag(bench: Bench) -> None:
    bench.night(1)
    begin: dict[str, Any] = {"backend": "local", "triggered_by": "eve", "provenance": Provenance()}
    other = RunKey("hpo_local", "manual")
    with pytest.raises(SpecError, match=r"deploy: the champion of nightly is made by DAG nightly"):
        admission.begin(bench.store, other, CONF, bench.installation, **begin)
    assert "made by DAG nightly" in (bench.store.run(other).reason or "")
    plain = CONF | {"deploy": None}
    admission.begin(bench.store, RunKey("hpo_local", "plain"), plain, bench.installation, **begin)
    mine = RunKey("hpo_scheduled_nightly", "1")
    assert admission.begin(bench.store, mine, CONF, bench.installation, **begin, by_file=True).spec


def test_too_little_an_improvement_is_rejected_and_the_report_says_why(bench: Bench) -> None:
    bench.night(1)
    deploy = {**CONF["deploy"], "min_improvement": 0.5}
    model = bench.night(2, data={"goal": 0.6}, deploy=deploy)
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    assert "min_improvement (0.5)" in model.reason
    assert bench.alias["version"] == 1
    run = bench.store.run_by_id(model.run_id)
    page = outputs.report_path(run, bench.installation).read_text()
    assert "Final training: model version 2" in page
    assert "min_improvement (0.5)" in page


def test_a_broken_guard_is_named(bench: Bench) -> None:
    guards = [{"metric": "size", "at_most": 0.2}]
    model = bench.night(1, deploy={**CONF["deploy"], "guards": guards})
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    assert "size" in model.reason
    assert bench.store.models.champion("nightly") is None


@pytest.mark.parametrize(("flag", "why"), [("breaks", "test_loss"), ("silent", "HPO_OUTPUT/model")])
def test_final_training_that_leaves_nothing_promotes_nothing(
    bench: Bench, flag: str, why: str
) -> None:
    bench.night(1)
    model = bench.night(2, data={"goal": 0.6, flag: True})
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    assert why in model.reason
    assert bench.alias["version"] == 1


@pytest.mark.parametrize(
    ("leads", "where"), [("model", "/etc"), ("name", "/etc/hostname")], ids=["folder", "file"]
)
def test_a_model_that_leads_out_of_its_output_is_not_deployed(
    bench: Bench, leads: str, where: str
) -> None:
    bench.night(1)
    model = bench.night(2, data={"goal": 0.6, "leads": leads})
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    path = "model" if leads == "model" else "model/name"
    told = f"{path} is a link that leads out, to {where}"
    assert model.reason == f"a model that leads out of HPO_OUTPUT is not deployed: {told}."
    assert bench.alias["version"] == 1
    reasons = [one.trial.reason or "" for one in bench.store.view(model.run_id).finals]
    assert all(reason.endswith(f"left alone in its output: {told}") for reason in reasons)


def test_a_final_without_a_deployment_keeps_a_challenger(bench: Bench) -> None:
    key = bench.tune(1, deploy=None)
    model = challenger.decide(bench.store, key, bench.installation)
    assert model is not None
    assert model.status is ModelStatus.CHALLENGER
    assert (Path(model.files) / "weights").read_text() == "0.3"


def test_a_spec_without_final_training_has_none(bench: Bench) -> None:
    key = bench.tune(1, final=None, deploy=None)
    assert challenger.decide(bench.store, key, bench.installation) is None
    assert bench.store.view(bench.store.run(key).id).finals == []


def test_what_people_refuse_is_rejected(bench: Bench) -> None:
    key = bench.tune(1)
    challenger.decide(bench.store, key, bench.installation)
    challenger.approve(bench.store, key, approved=False, reason="not approved by ada")
    model = deployment.deploy(bench.store, key, bench.installation, quietly)
    assert model is not None
    assert (model.status, model.reason) == (ModelStatus.REJECTED, "not approved by ada")


def test_nothing_is_deployed_that_nobody_has_approved(bench: Bench) -> None:
    key = bench.tune(1, deploy={**CONF["deploy"], "approval": "manual"})
    with pytest.raises(TransientError, match="the gate has not decided"):
        challenger.approve(bench.store, key, approved=True, reason="Approved by ada.")
    challenger.decide(bench.store, key, bench.installation)
    with pytest.raises(SpecError, match="nobody has approved version 1 of nightly"):
        deployment.deploy(bench.store, key, bench.installation, quietly)
    challenger.approve(bench.store, key, approved=True, reason="Approved by ada.")
    model = deployment.deploy(bench.store, key, bench.installation, quietly)
    assert model is not None
    assert model.status is ModelStatus.CHAMPION
    assert model.reason.endswith(" Approved by ada.")
    assert deployment.deploy(bench.store, key, bench.installation, quietly) == model


def test_a_champion_is_replaced_though_its_place_is_gone(bench: Bench) -> None:
    bench.night(1)

    def moved(spec: Spec, store: str) -> PackageDeployer:
        assert spec.deploy is not None
        if "uri" not in spec.deploy.options:
            raise TransientError("the old place does not answer")
        return PackageDeployer("nightly", bench.home / "new")

    bench.installation = dataclasses.replace(bench.installation, deployers=moved)
    there = {"uri": f"file://{bench.home}/new"}
    model = bench.night(2, data={"goal": 0.6}, deploy={**CONF["deploy"], "options": there})
    assert model is not None
    assert model.status is ModelStatus.CHAMPION
    assert PackageDeployer("nightly", bench.home / "new").serving() == 2


def test_what_does_not_serve_is_taken_back_to_where_the_one_before_serves(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By that one's own options: with the new ones it would be another thing that serves."""
    bench.night(1)
    there, verify = bench.home / "new", PackageDeployer.verify

    def spoilt(deployer: PackageDeployer, version: int) -> Check:
        return Check("no answer") if version == 2 else verify(deployer, version)

    monkeypatch.setattr(PackageDeployer, "verify", spoilt)
    monkeypatch.setattr(bench, "installation", offering(bench, there))
    options = {"uri": f"file://{there}"}
    model = bench.night(2, data={"goal": 0.6}, deploy={**CONF["deploy"], "options": options})
    assert model is not None
    assert model.reason == "it did not serve once it was switched to: no answer"
    champion = bench.store.models.champion("nightly")
    assert champion is not None
    assert (champion.version, bench.alias["version"]) == (1, 1)
    assert list((there / "nightly").iterdir()) == [], "and nothing is left of either"


def offering(bench: Bench, folder: Path) -> Installation:
    """Give an installation that lets packages lie in one more folder."""

    def deployer(spec: Spec, _: str) -> Deployer:
        assert spec.deploy is not None
        root = folder if "uri" in spec.deploy.options else bench.home / "models"
        return PackageDeployer(spec.name, root)

    return dataclasses.replace(bench.installation, deployers=deployer)


def test_deciding_again_changes_nothing(bench: Bench) -> None:
    key = bench.tune(1)
    model = challenger.decide(bench.store, key, bench.installation)
    assert challenger.decide(bench.store, key, bench.installation) == model


@pytest.mark.parametrize("flag", ["better", "worse", "silent"])
def test_a_gate_that_broke_off_after_its_verdict_is_taken_up(
    bench: Bench, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.night(1)
    deploy = {**CONF["deploy"], "min_improvement": 0.5 if flag == "worse" else 0.0}
    key = bench.tune(2, data={"goal": 0.6, flag: True}, deploy=deploy)

    def broken_off(*args: Any) -> None:
        raise TransientError("broken off")

    with monkeypatch.context() as patched:
        patched.setattr(outputs, "keep_output", broken_off)
        patched.setattr(Models, "reject", broken_off)
        with pytest.raises(TransientError, match="broken off"):
            challenger.decide(bench.store, key, bench.installation)
    left = bench.store.models.get("nightly", 2)
    assert left.status is ModelStatus.CHALLENGER
    assert left.verdict is not None
    kept: list[int] = []
    monkeypatch.setattr(outputs, "keep_output", lambda store, run, number, _: kept.append(number))
    model = challenger.decide(bench.store, key, bench.installation)
    assert model is not None
    expected = ModelStatus.CHALLENGER if flag == "better" else ModelStatus.REJECTED
    assert model.status is expected
    wanted = [model.trial] if flag == "better" else []
    assert kept == wanted, "its files are where they are deployed from"


def test_a_model_without_files_is_no_folder(bench: Bench) -> None:
    bench.night(1)
    model = bench.night(2, data={"goal": 0.6, "silent": True})
    assert model is not None
    with pytest.raises(NotFound, match="version 2 of nightly has no files"):
        challenger.files_of(model, bench.installation)


def test_a_model_is_not_given_before_its_files_are_where_deployment_looks(bench: Bench) -> None:
    """A bucket that does not answer while the gate brings the model there."""
    uri = f"file://{bench.home}/bucket"
    outages: list[TransientError] = []

    def options() -> dict[str, Any]:
        if outages:
            raise outages.pop()
        return {}

    bench.installation = replace(bench.installation, artifacts={uri: options})
    key = bench.tune(1, artifacts={"uri": uri})
    outages.append(TransientError("the bucket does not answer"))
    with pytest.raises(TransientError, match="does not answer"):
        challenger.decide(bench.store, key, bench.installation)
    model = challenger.decide(bench.store, key, bench.installation)
    assert model is not None
    assert (challenger.files_of(model, bench.installation) / "weights").read_bytes() == b"0.3"


def test_housekeeping_serves_what_the_store_names(bench: Bench) -> None:
    bench.night(1)
    bench.night(2, data={"goal": 0.6})
    alias = bench.home / "models/nightly/champion.json"
    alias.unlink()
    said = list(housekeeping.sweep(bench.store, bench.installation, lambda key: True))
    assert "nightly: switched to version 2" in said
    assert bench.alias["version"] == 2
    assert not [
        one for one in housekeeping.sweep(bench.store, bench.installation, lambda key: True) if one
    ]


def test_housekeeping_rejects_challengers_whose_run_is_over(bench: Bench) -> None:
    key = bench.tune(1)
    challenger.decide(bench.store, key, bench.installation)
    assert not [
        one
        for one in housekeeping.sweep(bench.store, bench.installation, lambda key: False)
        if "v" in one
    ]
    said = list(housekeeping.sweep(bench.store, bench.installation, lambda key: True))
    assert any("version 1 is rejected" in one for one in said)


@pytest.fixture
def left_over(bench: Bench) -> Bench:
    """A champion, and what a run had staged when it was killed for good."""
    bench.night(1)
    key = bench.tune(2, data={"goal": 0.6})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PackageDeployer, "try_out", killed)
        challenger.decide(bench.store, key, bench.installation)
        with pytest.raises(KeyboardInterrupt):
            deployment.deploy(bench.store, key, bench.installation, quietly)
    return bench


def killed(*args: Any) -> None:
    raise KeyboardInterrupt


def test_housekeeping_drops_what_a_dead_run_has_staged(left_over: Bench) -> None:
    assert sorted(one.name for one in left_over.packages) == ["v0001", "v0002"]
    said = list(housekeeping.sweep(left_over.store, left_over.installation, lambda key: True))
    assert "nightly: version 2 is rejected: its run ended before it was deployed" in said
    assert [one.name for one in left_over.packages] == ["v0001"]


def test_housekeeping_serves_though_it_cannot_drop(
    left_over: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any) -> None:
        raise TransientError("the bucket does not answer")

    (left_over.home / "models/nightly/champion.json").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(PackageDeployer, "drop", away)
        said = list(housekeeping.sweep(left_over.store, left_over.installation, lambda key: True))
    assert "nightly: could not be looked after: the bucket does not answer" in said
    assert left_over.alias["version"] == 1
    assert left_over.store.models.get("nightly", 2).status is ModelStatus.CHALLENGER
    list(housekeeping.sweep(left_over.store, left_over.installation, lambda key: True))
    assert [one.name for one in left_over.packages] == ["v0001"]


def test_housekeeping_rejects_what_the_gate_never_judged(bench: Bench) -> None:
    key = bench.tune(1)
    said = list(housekeeping.sweep(bench.store, bench.installation, lambda key: True))
    assert any("run 1: complete, its DAG run is over" in one for one in said)
    model = bench.store.models.of_run(bench.store.run(key).id)
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    assert model.reason == "its run ended before the gate could judge it"


def test_housekeeping_deploys_last(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.tune(1)
    monkeypatch.setattr(housekeeping, "heal", lambda *args: iter(["deployed"]))
    broken = Installation(bench.home, {})
    said = list(housekeeping.sweep(bench.store, broken, lambda key: False))
    assert said == ["local: could not be swept: 'local'", "deployed"]


def test_the_gate_does_not_pass_over_a_choice_that_was_never_made(bench: Bench) -> None:
    key = RunKey("nightly", "night-1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(challenger, "choose", lambda *args: Batch())
        bench.tune(1)
    with pytest.raises(TransientError, match=r"final\.choose has not said"):
        challenger.decide(bench.store, key, bench.installation)
    challenger.choose(bench.store, key, bench.installation)
    assert challenger.decide(bench.store, key, bench.installation) is not None


def test_while_a_final_trial_runs_nothing_is_collected(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(challenger, "choose", lambda *args: Batch())
        key = bench.tune(1)
    challenger.choose(bench.store, key, bench.installation)
    with pytest.raises(HpoError, match="run 1 is still running trial 5, 6, 7"):
        recollect(bench.store, bench.store.run(key), bench.installation)


def test_a_report_that_was_overtaken_is_written_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bench.tune(1)
    challenger.decide(bench.store, key, bench.installation)
    run, page_of = bench.store.run(key), report.with_importance

    def overtaken(view: RunView) -> str:
        deployment.deploy(bench.store, key, bench.installation, quietly)
        return page_of(view)

    monkeypatch.setattr(report, "with_importance", overtaken)
    page = outputs.write_report(bench.store, run, bench.installation).read_text()
    assert ">champion</span>" in page
    assert ">challenger</span>" not in page


def test_rolling_back_serves_the_one_before(bench: Bench) -> None:
    bench.night(1)
    bench.night(2, data={"goal": 0.6})
    deployment.roll_back(bench.store, "nightly", None, Actor("ada", "cli"))
    deployment.serve(bench.store, "nightly", bench.installation, quietly)
    assert bench.alias["version"] == 1


def test_whoever_rolls_back_needs_no_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.night(1)
    bench.night(2, data={"goal": 0.6})

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 50000")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setenv("HPO_HOME", str(bench.home))
    monkeypatch.setenv("HPO_STORE", f"sqlite:///{bench.home}/hpo.db")
    assert main(["rollback", "nightly", "--why", "wrong labels"]) == 0
    assert "version 1 is the champion" in capsys.readouterr().out
    assert bench.alias["version"] == 1
    reason = bench.store.models.get("nightly", 2).reason
    assert reason == f"rolled back by user {os.getuid()}@{platform.node()}: wrong labels"


def test_rolling_back_elsewhere_leaves_what_serves_to_those_who_reach_it(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench.night(1)
    bench.night(2, data={"goal": 0.6})
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (bench.home / "runs").rename(bench.home / "out of sight")
    monkeypatch.setenv("HPO_HOME", str(elsewhere))
    monkeypatch.setenv("HPO_STORE", f"sqlite:///{bench.home}/hpo.db")
    assert main(["rollback", "nightly"]) == 0
    assert "it is not served from here" in capsys.readouterr().out
    assert not list(elsewhere.rglob("champion.json"))
    deployment.serve(bench.store, "nightly", bench.installation, quietly)
    assert bench.alias["version"] == 1, "by its package, which is still there"


def test_a_deployer_that_is_not_there_is_refused_before_any_trial(bench: Bench) -> None:
    bench.installation = Installation(bench.home, {"local": lambda: bench.backend})
    with pytest.raises(SpecError, match=r"deploy\.to: nothing can be deployed from here"):
        bench.tune(1)


def lose(bench: Bench, version: int, *, files: bool) -> None:
    """Delete a version's package, and if wanted what training left too."""
    shutil.rmtree(bench.home / f"models/nightly/v{version:04d}")
    if files:
        shutil.rmtree(bench.store.models.get("nightly", version).files)


def test_a_champion_whose_package_was_deleted_is_packed_again(bench: Bench) -> None:
    bench.night(1)
    lose(bench, 1, files=False)
    said: list[str] = []
    key = bench.tune(2)
    assert deployment.deploy(bench.store, key, bench.installation, said.append) is None
    assert said == [
        "nothing serves, and version 1 is to: it is brought there",
        "switched to version 1",
        "version 1 serves",
    ]
    assert (bench.home / "models/nightly" / bench.alias["package"]).exists()


def test_a_champion_of_which_nothing_is_left_is_told_and_a_better_one_replaces_it(
    bench: Bench,
) -> None:
    bench.night(1)
    lose(bench, 1, files=True)
    said = list(housekeeping.sweep(bench.store, bench.installation, lambda key: False))
    assert said[0] == "nightly: nothing serves, and version 1 is to: it is brought there"
    lost = bench.store.models.get("nightly", 1)
    assert said[1].startswith(
        f"nightly: could not be looked after: {lost.files}: no files of version 1, and its package "
        f"is not at {bench.home}/models/nightly/v0001/nightly-v1.zip"
    )
    same = bench.tune(2)
    with pytest.raises(TransientError, match="no files of version 1"):
        deployment.deploy(bench.store, same, bench.installation, quietly)
    better = bench.night(3, data={"goal": 0.6})
    assert better is not None
    assert (better.status, bench.alias["version"]) == (ModelStatus.CHAMPION, 2)


def test_models_and_rollback_tell_what_is_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.night(1)
    bench.night(2, data={"goal": 0.6})
    lose(bench, 1, files=True)
    monkeypatch.setenv("HPO_HOME", str(bench.home))
    monkeypatch.setenv("HPO_STORE", f"sqlite:///{bench.home}/hpo.db")
    assert main(["models", "nightly"]) == 0
    newest, lost = capsys.readouterr().out.splitlines()
    assert lost.endswith(f"(no files at {bench.store.models.get('nightly', 1).files})")
    assert newest.endswith(f"  {bench.store.models.get('nightly', 2).files}")
    assert main(["rollback", "nightly"]) == 0
    told = capsys.readouterr().out
    assert "it is not served from here: " in told
    assert "no files of version 1, and its package is not at" in told
    assert "what served before goes on" in told
    assert bench.alias["version"] == 2, "it does"
    assert main(["rollback", "nightly", "--to", "2"]) == 0
    assert "version 2 is the champion" in capsys.readouterr().out
    assert main(["models"]) == 0
    assert capsys.readouterr().out.startswith("nightly v2  champion")


def test_the_hold_out_counts_for_the_final_trials_that_have_left_it(bench: Bench) -> None:
    bench.night(1)
    for number, (left, said) in enumerate(
        [
            ("all", "is that of 3 seeds and 2 hold-out examples"),
            ("most", "took no part, for want of scores of single examples of test_loss"),
            ("none", "is that of 3 seeds alone: without scores of single examples nothing"),
        ],
        start=2,
    ):
        goal = {2: 0.6, 3: 0.9, 4: 0.1}[number]
        model = bench.night(number, data={"goal": goal, "examples": left})
        assert model is not None
        assert said in model.verdict_reason


def test_without_a_hold_out_nothing_is_promoted(bench: Bench) -> None:
    bench.night(1)
    model = bench.night(2, data={"goal": 0.6, "blind": True})
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    assert model.reason == (
        "Not promoted: at least 2 seeds are needed to judge test_loss, and there are 0; of 3 final "
        "trials that were asked for, 0 of the challenger's and 0 of the champion's left it."
    )
    assert bench.alias["version"] == 1
