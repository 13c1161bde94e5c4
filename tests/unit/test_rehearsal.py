"""Nights in a row: what they are made of, and what the terminal says between them."""

from __future__ import annotations

import json
import sys
import zipfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import factories
import pytest

from hpo_lib.cli import airflow, console, main, rehearsal
from hpo_lib.cli.embedded import Embedded
from hpo_lib.core.space import key
from hpo_lib.core.trial import Assignment
from hpo_lib.errors import HpoError, TransientError
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import AttemptState, ModelStatus, Outcome, Provenance, RunKey, RunStatus
from hpo_lib.search import engine
from hpo_lib.search.warm_start import first_point
from hpo_lib.spec import Spec, load
from hpo_lib.spec.yaml_file import from_yaml, to_yaml
from hpo_lib.store import Store, upgrade

FILES = sorted((Path(__file__).parents[2] / "config" / "nights").glob("*.yaml"))
DEPLOYED = factories.SPEC | {"final": {}, "deploy": {"to": "package"}}


def test_the_nights_of_the_demo_differ_in_their_space_alone() -> None:
    plain = [from_yaml(file.read_text()).dump() for file in FILES]
    assert len(plain) == 3
    for spec in plain:
        del spec["description"], spec["space"]
    assert plain[0] == plain[1] == plain[2]


def test_the_second_night_cannot_try_the_champion_and_the_third_tries_it_first() -> None:
    first, slip, wide = (from_yaml(file.read_text()) for file in FILES)
    for low in (True, False):
        params = {
            name: one.low if low else one.high
            for name, one in first.search_space.parameters.items()
        }
        assert "not tried" in (first_point(slip, params)[1] or "")
        tried = first_point(wide, params)[0].initial_points
        assert [key(one) for one in tried] == [key(params)]


@pytest.mark.parametrize("schedule", [None, {"assets": ["s3://bucket/data.csv"]}])
def test_a_night_is_due_by_hand_alone_and_else_what_its_file_says(schedule: Any) -> None:
    spec = load(factories.SPEC | ({"schedule": schedule} if schedule else {}))
    played = from_yaml(to_yaml(rehearsal.tonight(spec)))
    assert played.schedule is not None
    assert played.schedule.paused
    assert played.schedule.upcoming(datetime.now(UTC), 1) == []
    assert played.digest == spec.digest


def written(folder: Path, **changes: Any) -> str:
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    trial = {"trial": DEPLOYED["trial"] | {"dir": str(Path(__file__).parents[2])}}
    path.write_text(to_yaml(load(DEPLOYED | trial | changes)))
    return str(path)


def test_nights_of_two_experiments_are_refused_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_fresh", lambda: pytest.fail("it was started"))
    words = ["nights", written(tmp_path, name="one"), written(tmp_path, name="two")]
    assert main.main(words) == 2
    assert capsys.readouterr().err == ("name: nights are those of one experiment, got one, two\n")


def test_their_airflow_shares_no_store_and_no_files_with_the_checkouts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HPO_STORE", "postgresql://team/hpo")
    monkeypatch.setenv("HPO_EXPERIMENTS", "/srv/experiments")
    monkeypatch.setenv("HPO_DATA", "/srv/data")
    own, played = console.embedded(), console.embedded(console.NIGHTS, {"HPO_EXPERIMENTS": "/tmp"})
    assert own.store_url == "postgresql://team/hpo"
    assert played.store_url == f"sqlite:///{own.home}/nights/hpo/hpo.db"
    passed = {"HPO_DATA": "/srv/data", "HPO_EXPERIMENTS": "/tmp"}
    assert played.settings == console.ANYWHERE | passed


class FakeAirflow:
    """Shows a file as it was, and after a few questions as it is."""

    def __init__(self, *shown: str) -> None:
        self.shown = list(shown)

    def documentation(self, dag_id: str) -> str:
        assert dag_id == "hpo_scheduled_tiny"
        return self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]


def test_a_night_begins_when_airflow_has_read_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_POLL_S", 0.0)
    spec = load(DEPLOYED | {"name": "tiny"})
    airflow = FakeAirflow("", "as it was", f"```yaml\n{to_yaml(spec).rstrip()}\n```")
    assert rehearsal._put(tmp_path, airflow, spec) == "hpo_scheduled_tiny"  # type: ignore[arg-type]
    assert len(airflow.shown) == 1
    assert from_yaml((tmp_path / "tiny.yaml").read_text()) == spec
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    monkeypatch.setattr(rehearsal, "_READ_S", 0.0)
    with pytest.raises(TransientError, match=r"has not read .*/tiny.yaml in 0 s: as it was"):
        rehearsal._put(tmp_path, FakeAirflow("as it was"), spec)  # type: ignore[arg-type]


def serve(folder: Path, loader: str) -> Path:
    """Serve a package with a loader of one's own."""
    (folder / "v0001").mkdir(parents=True)
    with zipfile.ZipFile(folder / "v0001" / "tiny-v1.zip", "w") as archive:
        archive.writestr("load.py", loader)
    alias = {"version": 1, "package": "v0001/tiny-v1.zip"}
    (folder / "champion.json").write_text(json.dumps(alias))
    return folder


def test_what_serves_is_asked_as_a_user_would(tmp_path: Path) -> None:
    folder = serve(tmp_path / "tiny", "import sys; print(sys.argv[1:], '5 answers agree')")
    said = rehearsal.ask(folder, Path(sys.executable))
    assert said == "tiny-v1.zip, asked for its sample: ['--check'] 5 answers agree"
    assert rehearsal.ask(folder, None).startswith("tiny-v1.zip; nothing here can load it")


def test_a_model_that_is_asked_sees_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    folder = serve(tmp_path / "tiny", "import os; print('hush' in str(os.environ))")
    assert rehearsal.ask(folder, Path(sys.executable)).endswith("asked for its sample: False")


@pytest.mark.parametrize(
    ("loader", "why"), [("raise ValueError('answers differ')", "answers differ"), ("", "no answer")]
)
def test_what_does_not_answer_is_an_error(tmp_path: Path, loader: str, why: str) -> None:
    folder = serve(tmp_path / "tiny", loader)
    with pytest.raises(HpoError, match=why):
        rehearsal.ask(folder, Path(sys.executable))


@pytest.mark.parametrize("lost", ["champion.json", "v0001/tiny-v1.zip"])
def test_what_is_not_there_cannot_be_asked(tmp_path: Path, lost: str) -> None:
    folder = serve(tmp_path / "tiny", "")
    (folder / lost).unlink()
    with pytest.raises(HpoError, match=r"tiny: what is served cannot be asked: .*No such file"):
        rehearsal.ask(folder, Path(sys.executable))


@pytest.fixture
def store(tmp_path: Path) -> Any:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as opened:
        yield opened


def night(store: Store, spec: Spec, number: int, *, promote: bool) -> None:
    """Enter a night's model with its verdict, as the tasks of a run do."""
    run = store.start_run(
        RunKey("dag", str(number)), spec, triggered_by="ada", provenance=Provenance()
    )
    step = engine.Step((Assignment(1, {"x": number / 10}),))
    store.next_batch(run.id, "wave-01", lambda _: step)
    attempt = store.open_attempt(run.id, 1, lambda _: {})
    found = Outcome(AttemptState.SUCCEEDED, "done", number, metrics={"loss": number})
    store.close_attempt(attempt.id, found, final=True)
    store.next_final_batch(
        run.id, "final", lambda history, champion: engine.final_step(spec, history, None)
    )
    model = store.models.of_run(run.id)
    assert model is not None
    said = "Promoted: it is better." if promote else "Not promoted: it is worse."
    model = store.models.judged(model, Verdict(promote, said))
    if promote:
        store.models.promote(model, said)
    else:
        store.models.reject(model, said)


def test_between_nights_one_reads_who_is_champion_and_what_serves(
    store: Store, tmp_path: Path
) -> None:
    spec = load(
        {
            "name": "tiny",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "trial": {"command": ["true"]},
            "final": {},
            "deploy": {"to": "package"},
        }
    )
    assert rehearsal.standing(store, spec, tmp_path, None) == ["champion    none"]
    for number, promote in enumerate((True, False, True), start=1):
        night(store, spec, number, promote=promote)
    serve(tmp_path / "models" / "tiny", "print('2 answers agree')")
    assert rehearsal.standing(store, spec, tmp_path, Path(sys.executable)) == [
        "champion    version 3: x=0.3",
        "served      tiny-v1.zip, asked for its sample: 2 answers agree",
    ]
    cases = [(None, "nowhere: its spec has no `deploy`"), ("mlflow", "by mlflow")]
    for number, (deploy, said) in enumerate(cases, start=4):
        changes = {"name": f"on-{deploy}".lower(), "deploy": {"to": deploy} if deploy else None}
        other = load({**spec.dump(), **changes})
        night(store, other, number, promote=True)
        assert rehearsal.standing(store, other, tmp_path, None)[1] == f"served      {said}"
    assert rehearsal.story(store, "tiny") == [
        "version 1  retired   Promoted: it is better.",
        "version 2  rejected  Not promoted: it is worse.",
        "version 3  champion  Promoted: it is better.",
    ]
    assert store.models.get("tiny", 2).status is ModelStatus.REJECTED


def test_after_a_night_that_failed_no_further_one_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played: list[Spec] = []

    def fail(embedded: Any, client: Any, spec: Spec) -> bool:
        played.append(spec)
        return False

    monkeypatch.setattr(rehearsal, "_fresh", lambda: None)
    monkeypatch.setattr(airflow, "started", lambda embedded, keep: nullcontext())
    monkeypatch.setattr(rehearsal, "_night", fail)
    assert main.main(["nights", *(written(tmp_path) for _ in range(2))]) == 1
    assert len(played) == 1
    assert "night 1 has failed: no further one is played" in capsys.readouterr().out


class EndedAirflow:
    """Knows a DAG run that has ended, and whose DAG was paused after that."""

    def __init__(self, state: str) -> None:
        self.seen = state

    def state(self, dag_id: str, run_id: str) -> str:
        return self.seen

    def is_paused(self, dag_id: str) -> bool:
        return True

    def run_url(self, dag_id: str, run_id: str) -> str:
        return f"http://airflow/{dag_id}/{run_id}"

    def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        return ["deploy"]


@pytest.mark.parametrize(("state", "well"), [("success", True), ("failed", False)])
def test_a_run_that_is_complete_but_was_not_deployed_has_not_gone_well(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    state: str,
    well: bool,
) -> None:
    monkeypatch.setattr("hpo_lib.cli.progress._POLL_S", 0.0)
    embedded = Embedded(tmp_path, tmp_path, {})
    embedded.results.mkdir()
    upgrade(embedded.store_url)
    ended = RunKey("dag", "run")
    with Store.open(embedded.store_url) as store:
        run = store.start_run(ended, load(DEPLOYED), triggered_by="ada", provenance=Provenance())
        store.finish_run(run.id, RunStatus.COMPLETE, "all done")
    assert airflow.follow(embedded, EndedAirflow(state), ended) is well  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert ("failed      deploy: see the log in Airflow" in said) is not well
