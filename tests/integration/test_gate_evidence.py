"""Evidence that vanishes on the disk: real final trials, whose files are then lost or torn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpo_lib.cli.main import main
from hpo_lib.cli.progress import final
from hpo_lib.errors import SpecError
from hpo_lib.evaluation import gate
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.promotion import challenger, deployment, holdout, monitoring
from hpo_lib.records import Manifest, Model, ModelStatus, RunKey, Trained, TrialView
from hpo_lib.runs import outputs
from hpo_lib.store import Store, upgrade
from tests.integration.loop import quietly
from tests.integration.test_promotion import CONF, Bench, seen, stats

#: Nothing is said of approval.
DEPLOY = {"to": "package", "metric": "test_accuracy", "direction": "maximize"}
#: On how many of 200 rows champion (x = 0.3) and challenger (x = 0.6) are right.
ISSUE, CLEAR = {"0.3": 160, "0.6": 165}, {"0.3": 160, "0.6": 190}
NIGHT = RunKey("nightly", "night-2")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path)


def two_nights(bench: Bench, right: dict[str, int], **deploy: Any) -> None:
    """Make a champion, unasked, and train a challenger beside it, up to the gate."""
    asked = {"final": {"seeds": 5}, "deploy": DEPLOY | deploy}
    first = bench.night(1, data={"right": right}, **asked)
    assert first is not None
    assert first.status is ModelStatus.CHAMPION, "it has nothing to be compared with"
    assert bench.tune(2, data={"goal": 0.6, "right": right}, **asked) == NIGHT


def finals(bench: Bench, x: float) -> list[TrialView]:
    """Give a configuration's final trials of the second night, by seed."""
    view = bench.store.view(bench.store.run(NIGHT).id)
    return [one for one in view.finals if one.trial.params["x"] == x]


def file_of(bench: Bench, one: TrialView) -> Path:
    return bench.backend.output(one.attempts[-1].handle) / "holdout.json"


def judged(bench: Bench) -> Verdict:
    """Judge as the gate does, without writing it down."""
    spec = bench.store.run(NIGHT).spec
    rule = challenger.rule_of(spec)
    sides = [
        challenger._scores(rule, spec, finals(bench, x), bench.installation) for x in (0.6, 0.3)
    ]
    return gate.judge(rule, *sides)


def rows(file: Path) -> list[float]:
    found: list[float] = json.loads(file.read_text())["test_accuracy"]
    return found


def written(content: Any) -> Callable[[Path], object]:
    return lambda file: file.write_text(json.dumps({"test_accuracy": content(rows(file))}))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "lost": (Path.unlink, "final trial 2 of 5 took no part, for want of scores of single examples"),
    "cut short": (lambda file: file.write_text(file.read_text()[:300]), "{file} is no JSON, or is"),
    "empty": (lambda file: file.write_text(""), "{file} is empty"),
    "of another type": (written(sum), "test_accuracy in {file} must be a list of numbers, got 1"),
    "of text": (written(lambda row: ["1", *row[1:]]), 'a list of numbers, got "1" at place 1'),
    "of null": (written(lambda row: [*row[1:], None]), "a list of numbers, got null at place 200"),
    "over the limit": (
        lambda file: file.write_text(file.read_text() + " " * 5000),
        "{file} is larger than 5,000 bytes",
    ),
    "a row short": (written(lambda row: row[:-1]), "final trial 2 of 5 on 199."),
    "of NaN": (written(lambda row: [float("nan"), *row[1:]]), "score 1 of 200 is NaN"),
    "of other rows": (written(lambda row: [0.25] * 200), "not the mean of its example scores"),
}


def test_a_file_that_is_lost_or_torn_never_makes_the_gate_easier(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case of 200 rows, then each damage to one of its ten files, by each side."""
    monkeypatch.setattr(holdout, "MAX_HOLDOUT", 5000)
    two_nights(bench, ISSUE)
    whole = judged(bench)
    assert (whole.promote, whole.asks) == (False, False)
    assert whole.improvement == pytest.approx(0.025)
    assert whole.error == pytest.approx(0.017, abs=0.0005)
    for x, name in ((0.6, "challenger"), (0.3, "champion")):
        file = file_of(bench, finals(bench, x)[1])
        content = file.read_bytes()
        for damage, (change, said) in DAMAGE.items():
            change(file)
            verdict = judged(bench)
            assert (verdict.promote, verdict.asks) == (False, False), damage
            assert f"the {name}'s" in verdict.reason.lower(), damage
            assert "final trial 2 of 5" in verdict.reason, damage
            assert said.format(file=file) in verdict.reason, damage
            file.write_bytes(content)
    assert judged(bench) == whole


@pytest.mark.parametrize("approval", ["unsure", "none"])
def test_what_was_to_be_promoted_is_not_without_all_of_its_files(
    bench: Bench, approval: str
) -> None:
    two_nights(bench, CLEAR, approval=approval)
    assert judged(bench).promote
    file = file_of(bench, finals(bench, 0.6)[4])
    file.write_text(file.read_text()[:-1])
    model = challenger.decide(bench.store, NIGHT, bench.installation)
    assert model is not None
    assert f"The challenger's final trial 5 of 5 took no part: {file} is no" in model.verdict_reason
    if approval == "none":
        assert model.status is ModelStatus.REJECTED
        assert model.reason.endswith("nobody is to be asked (deploy.approval: none).")
        return
    assert model.status is ModelStatus.CHALLENGER
    assert model.needs_approval(bench.store.run(NIGHT).spec.deploy)
    with pytest.raises(SpecError, match="nobody has approved version 2 of nightly"):
        deployment.deploy(bench.store, NIGHT, bench.installation, quietly)
    assert bench.alias["version"] == 1


@pytest.mark.parametrize("approval", ["unsure", "none"])
def test_files_that_are_all_lost_are_missed_as_the_champion_had_left_them(
    bench: Bench, approval: str
) -> None:
    two_nights(bench, CLEAR, approval=approval)
    champion = bench.store.models.get("nightly", 1)
    assert champion.manifest.document["scores"]["examples"] == 200
    for x in (0.3, 0.6):
        for one in finals(bench, x):
            file_of(bench, one).unlink()
    model = challenger.decide(bench.store, NIGHT, bench.installation)
    assert model is not None
    assert "they did when the champion was made, of 200 hold-out examples." in model.verdict_reason
    assert model.status is (ModelStatus.REJECTED if approval == "none" else ModelStatus.CHALLENGER)
    assert model.promising is (approval == "unsure")
    assert "examples" not in model.manifest.document["scores"]


def test_with_all_of_its_files_it_is_promoted_unasked(bench: Bench) -> None:
    two_nights(bench, CLEAR)
    model = challenger.decide(bench.store, NIGHT, bench.installation)
    assert model is not None
    assert not model.needs_approval(bench.store.run(NIGHT).spec.deploy)
    deployment.deploy(bench.store, NIGHT, bench.installation, quietly)
    assert bench.alias["version"] == 2


def waiting(bench: Bench) -> Model:
    """Give a challenger that is better by seeds alone."""
    asked = {"deploy": {**CONF["deploy"], "approval": "unsure"}}
    bench.night(1, **asked)
    key = bench.tune(2, data={"goal": 0.6}, **asked)
    model = challenger.decide(bench.store, key, bench.installation)
    assert model is not None
    return model


def test_without_rows_people_are_asked_and_everybody_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = waiting(bench)
    assert (model.status, model.promising) == (ModelStatus.CHALLENGER, True)
    assert model.verdict_reason.startswith("Not promoted unless people approve: test_loss is ")
    run = bench.store.run(NIGHT)
    assert "it waits to be approved in Airflow" in final(run.spec, bench.store.view(run.id))
    page = outputs.write_report(bench.store, run, bench.installation).read_text()
    assert "It waits for people to approve it, in Airflow under Required Actions." in page
    monkeypatch.setenv("HPO_HOME", str(bench.home))
    monkeypatch.setenv("HPO_STORE", f"sqlite:///{bench.home}/hpo.db")
    assert main(["models", "nightly"]) == 0
    assert "(waits to be approved)" in capsys.readouterr().out
    with pytest.raises(SpecError, match="nobody has approved version 2 of nightly"):
        deployment.deploy(bench.store, NIGHT, bench.installation, quietly)

    challenger.approve(bench.store, NIGHT, approved=True, reason="Approved by ada.")
    deployment.deploy(bench.store, NIGHT, bench.installation, quietly)
    assert bench.alias["version"] == 2
    assert "waits" not in final(run.spec, bench.store.view(run.id))
    assert (main(["models", "nightly"]), "waits" in capsys.readouterr().out) == (0, False)
    page = outputs.write_report(bench.store, run, bench.installation).read_text()
    assert "It waits for people" not in page
    assert "Approved by ada." in page
    assert main(["models", "nightly", "--history"]) == 0
    told = capsys.readouterr().out
    assert "v2 champion: Not promoted unless people approve: test_loss is" in told
    assert "so people are asked. Approved by ada." in told
    assert main(["rollback", "nightly"]) == 0
    assert bench.alias["version"] == 1


def test_without_an_answer_it_is_rejected(bench: Bench) -> None:
    waiting(bench)
    challenger.approve(bench.store, NIGHT, approved=False, reason="nobody approved it in time")
    model = deployment.deploy(bench.store, NIGHT, bench.installation, quietly)
    assert model is not None
    assert (model.status, model.reason) == (ModelStatus.REJECTED, "nobody approved it in time")
    assert bench.alias["version"] == 1


def test_the_task_asks_where_the_gate_is_unsure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task's own question, without Airflow: its context is a fake."""
    final_tasks = pytest.importorskip("hpo_airflow.final_tasks")
    monkeypatch.setenv("HPO_HOME", str(bench.home))
    monkeypatch.setenv("HPO_STORE", f"sqlite:///{bench.home}/hpo.db")

    def question(night: int) -> Any:
        dag_run = SimpleNamespace(dag_id="nightly", run_id=f"night-{night}")
        return final_tasks._question({"dag_run": dag_run})

    waiting(bench)
    assert question(1) is None, "the first has been deployed"
    _, subject, body, _ = question(2)
    assert subject == "Deploy nightly version 2?"
    assert "Not promoted unless people approve" in body
    assert "nothing is known of the hold-out's own" in body


# What the champion is compared with, and what is said of it


def metadata(bench: Bench, x: float) -> list[Path]:
    return [file_of(bench, one).parent / "model" / "metadata.json" for one in finals(bench, x)]


def test_versions_that_are_named_no_more_count_as_others(bench: Bench) -> None:
    """With a tenth of the epochs the score is worse too, which has a reason now."""
    described = {"data": {"data": stats()}, "final": {"seeds": 2}}
    bench.night(1, **described)
    champion = bench.store.models.get("nightly", 1)
    named = {**champion.manifest.document}
    named["program"] = {**named["program"], "versions": {"keras": "3.15.0"}}
    bench.store.models.judged(champion, champion.verdict, _made(champion, named))  # type: ignore[arg-type]
    bench.tune(2, data={"goal": 0.6, "data": None}, final={"seeds": 2})
    for file in metadata(bench, 0.3)[:1]:
        file.write_text('{"versions": {"keras"')
    model = challenger.decide(bench.store, NIGHT, bench.installation)
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    assert "when it was made: metadata.json named versions, and names none" in model.reason
    check = seen(bench, NIGHT)
    assert check.missing == (
        f"{metadata(bench, 0.3)[0]} is no JSON, or is cut short",
        "the statistics of the data, which there were when it was made",
    )
    assert f"What is missing: {check.missing[0]}; the" in monitoring.said(bench.store, NIGHT)[-1]


def _made(model: Model, document: dict[str, Any]) -> Trained:
    return Trained(model.trial or 0, model.files, model.metrics, Manifest(document))


def test_a_score_of_some_final_trials_says_how_many_are_missing(bench: Bench) -> None:
    two_nights(bench, CLEAR)
    run, spec = bench.store.run(NIGHT), bench.store.run(NIGHT).spec
    first, *others = finals(bench, 0.3)
    mine = [replace(first, trial=replace(first.trial, metrics={})), *others]
    champion = bench.store.models.get("nightly", 1)
    rule = challenger.rule_of(spec)
    check = monitoring.note(bench.store, run, spec, rule, champion, mine, bench.installation)
    assert check is not None
    assert check.missing == ("1 of 5 trials left no test_accuracy",)
    assert "by 4 seeds" in next(check.sentences())
