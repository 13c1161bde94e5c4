"""Registered models, and exported runs, on a real MLflow server."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from hpo_lib.core.trial import TrialState
from hpo_lib.deployers import Release
from hpo_lib.deployers.mlflow import MlflowDeployer
from hpo_lib.deployers.mlflow_options import MlflowOptions, MlflowRules
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.records import RunView
from hpo_lib.validation import parse, told
from tests.integration.deployer_contract import (
    EXPERIMENT,
    SAMPLE,
    Crash,
    CrashContract,
    MakeRelease,
    serve,
)
from tests.mlflow_server import mlflow, needs_mlflow
from tests.unit.exporter_contract import ExporterContract, Told
from tests.unit.factories import good_run

pytestmark = needs_mlflow
#: Nobody listens there.
NOWHERE = "http://user:sekret@127.0.0.1:1"
API = "/api/2.0/mlflow"


class Limited(httpx.BaseTransport):
    """Passes some requests on, then the process crashes."""

    def __init__(self, left: int) -> None:
        self.left, self.real = left, httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.left == 0:
            raise Crash
        self.left -= 1
        return self.real.handle_request(request)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow(tmp_path_factory.mktemp("mlflow")) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as made:
        yield made


def _run_id(deployer: MlflowDeployer) -> str:
    version = deployer._version(1)
    assert version is not None
    return str(version["run_id"])


def _with_alias(deployer: MlflowDeployer, alias: str) -> MlflowDeployer:
    """Ask for an alias, whether or not a spec may."""
    options = MlflowOptions.model_construct(model=deployer.name, alias=alias)
    return replace(deployer, options=options, rules=MlflowRules(aliases=("*",)))


class TestMlflow(CrashContract):
    @pytest.fixture
    def deployer(self, client: httpx.Client, tmp_path: Path) -> MlflowDeployer:
        """Give one with a registered model for this test alone."""
        options = MlflowOptions(model=f"iris-{tmp_path.name}")
        return MlflowDeployer(EXPERIMENT, options, lambda: client)

    @pytest.fixture
    def crashing(self, deployer: MlflowDeployer, address: str) -> Callable[[int], Any]:
        def make(left: int) -> MlflowDeployer:
            limited = httpx.Client(base_url=address, timeout=60, transport=Limited(left))
            return replace(deployer, connect=lambda: limited)

        return make

    @pytest.fixture
    def unreachable(self, deployer: MlflowDeployer) -> MlflowDeployer:
        return replace(deployer, connect=lambda: httpx.Client(base_url=NOWHERE))

    def test_what_serves_is_what_mlflow_resolves(
        self, deployer: MlflowDeployer, client: httpx.Client, release: MakeRelease
    ) -> None:
        serve(deployer, release(3))
        asked = {"name": deployer.name, "alias": "champion"}
        found = client.get(f"{API}/registered-models/alias", params=asked).json()["model_version"]
        assert (found["version"], found["status"]) == ("1", "READY"), "MLflow counts for itself"
        run = client.get(f"{API}/runs/get", params={"run_id": found["run_id"]}).json()["run"]
        assert run["info"]["status"] == "FINISHED"
        logged = {one["key"]: one["value"] for one in run["data"]["params"]}
        assert logged == {"units": "8", "optimizer": "adam"}
        assert [one["key"] for one in run["data"]["metrics"]] == ["val_loss"]

    def test_an_alias_is_refused_before_a_run_if_mlflow_will_refuse_it(
        self, deployer: MlflowDeployer, release: MakeRelease
    ) -> None:
        deployer.stage(release(1))
        for alias in ("latest", "Latest", "V2", "v12", "v0", "a.b", "a b", "a:b"):
            (line,) = told(lambda alias=alias: parse(MlflowOptions, {"alias": alias}))
            assert line.startswith("alias: must "), alias
            with pytest.raises(SpecError, match="mlflow: POST"):
                _with_alias(deployer, alias).switch(1)
        for alias in ("champion", "v", "v2a", "version2", "2", "V_2", "_", "latest1"):
            assert parse(MlflowOptions, {"alias": alias}).alias == alias
            _with_alias(deployer, alias).switch(1)
            assert _with_alias(deployer, alias).serving() == 1

    def test_metrics_are_logged_whatever_they_are_called(
        self, deployer: MlflowDeployer, client: httpx.Client, release: MakeRelease
    ) -> None:
        one = release(1)
        names = {"hit@10": 0.1, "hit_10": 0.2, "metrics/mAP50(B)": 0.3, "valid_1's auc": 0.4}
        serve(deployer, replace(one, manifest=dict(one.manifest) | {"metrics": names}))
        version = deployer._version(1)
        assert version is not None
        run = client.get(f"{API}/runs/get", params={"run_id": version["run_id"]}).json()["run"]
        assert {one["key"]: one["value"] for one in run["data"]["metrics"]} == {
            "hit_10_": 0.1,
            "hit_10": 0.2,
            "metrics/mAP50_B_": 0.3,
            "valid_1_s auc": 0.4,
        }

    def test_a_saved_model_says_how_mlflow_loads_it(
        self, deployer: MlflowDeployer, release: MakeRelease
    ) -> None:
        deployer.stage(release(1))
        version = deployer._version(1)
        assert version is not None
        content = deployer._read(deployer._folder(version), "model/MLmodel")
        flavor = json.loads(content or b"")["flavors"]["tensorflow"]
        assert flavor["saved_model_dir"] == "saved_model/1"

    def test_a_model_with_an_mlmodel_of_its_own_keeps_it(
        self, deployer: MlflowDeployer, release: MakeRelease
    ) -> None:
        own = release(1, MLmodel=b"flavors: {}\n")
        serve(deployer, own)
        assert (own.files / "MLmodel").read_bytes() == b"flavors: {}\n"

    def test_a_file_that_is_not_as_trained_fails_the_trial(
        self, deployer: MlflowDeployer, release: MakeRelease
    ) -> None:
        one = release(1)
        deployer.stage(one)
        (Path(str(one.files)) / "saved_model" / "1" / "saved_model.pb").write_bytes(b"other 1")
        assert "saved_model.pb is not what training has left" in deployer.try_out(one)
        (Path(str(one.files)) / "more").write_bytes(b"")
        assert "has not the model's files: model/more" in deployer.try_out(one)

    def test_a_file_that_is_lost_is_seen_where_it_serves(
        self, deployer: MlflowDeployer, client: httpx.Client, release: MakeRelease
    ) -> None:
        serve(deployer, release(1))
        version = deployer._version(1)
        assert version is not None
        folder = deployer._folder(version).removeprefix("mlflow-artifacts:/")
        path = f"{folder}/model/saved_model/1/saved_model.pb"
        assert client.delete(f"/api/2.0/mlflow-artifacts/artifacts/{path}").is_success
        assert "saved_model.pb should have 7 bytes, got None" in deployer.verify(1)

    def test_odd_names_and_large_files_arrive(
        self, deployer: MlflowDeployer, release: MakeRelease
    ) -> None:
        files = {"a b/ü&=.bin": b"x" * 3_000_000, "empty": b""}
        serve(deployer, release(1, **files))

    def test_somebody_elses_registered_model_is_left_alone(
        self, deployer: MlflowDeployer, client: httpx.Client, release: MakeRelease
    ) -> None:
        client.post(f"{API}/registered-models/create", json={"name": deployer.name})
        for call in (lambda: deployer.stage(release(1)), deployer.serving):
            with pytest.raises(SpecError, match=r"is not one of experiment iris; give it the tag"):
                call()
        with pytest.raises(SpecError, match="is not one of"):
            deployer.switch(1)

    def test_an_alias_on_somebody_elses_version_is_not_ours(
        self, deployer: MlflowDeployer, client: httpx.Client, release: MakeRelease
    ) -> None:
        serve(deployer, release(1))
        mine = {"name": deployer.name, "source": "s3://bucket/mine"}
        made = client.post(f"{API}/model-versions/create", json=mine).json()["model_version"]
        moved = {"name": deployer.name, "alias": "champion", "version": made["version"]}
        client.post(f"{API}/registered-models/alias", json=moved)
        assert deployer.serving() is None
        assert "@champion is MLflow's version 2, not version 1" in deployer.verify(1)


class Scoring(BaseHTTPRequestHandler):
    """A fake scoring server: it knows version 1 only, and says what a test wants."""

    answer, asked = b"", ""

    def do_POST(self) -> None:
        Scoring.asked = self.path
        known = "/versions/1" in self.path
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(Scoring.answer)

    def log_message(self, *said: object) -> None:
        """Say nothing."""


@pytest.fixture
def scoring() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Scoring)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_scoring_server_is_asked_where_the_deployment_names_one(
    client: httpx.Client, scoring: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "sample.json").write_text(json.dumps(SAMPLE))
    rules = MlflowRules(scoring=f"{scoring}/models/{{model}}/versions/{{version}}:predict")
    options = MlflowOptions(model=f"iris-{tmp_path.name}")
    deployer = MlflowDeployer(EXPERIMENT, options, lambda: client, rules)
    one, two = (Release(EXPERIMENT, version, folder, {}) for version in (1, 2))
    deployer.stage(one)
    Scoring.answer = json.dumps({"predictions": SAMPLE["predictions"]}).encode()
    assert deployer.try_out(one) == ""
    assert Scoring.asked == f"/models/{deployer.name}/versions/1:predict"
    Scoring.answer = b'{"predictions": [[0.1, 0.9], [0.2, 0.8]]}'
    assert "must be about [0.9, 0.1], got [0.1, 0.9]" in deployer.try_out(one)
    deployer.stage(two)
    assert deployer.try_out(two) == "scoring: 404 Not Found"
    lost = replace(deployer, rules=MlflowRules(scoring="http://127.0.0.1:1"))
    with pytest.raises(TransientError, match="scoring: cannot be reached"):
        lost.try_out(one)


def test_a_deployment_says_which_models_and_aliases() -> None:
    rules = MlflowRules(models=("team-*",), aliases=("champion", "canary"))
    for options, words in (
        ({}, 'deploy.options.model: this installation allows team-*, got "iris"'),
        ({"model": "other"}, 'allows team-*, got "other"'),
        (
            {"model": "team-a", "alias": "prod"},
            "options.alias: this installation allows champion, ",
        ),
    ):
        with pytest.raises(SpecError, match=re.escape(words)):
            MlflowDeployer("iris", parse(MlflowOptions, options), httpx.Client, rules)
    MlflowDeployer("iris", MlflowOptions(model="team-a", alias="canary"), httpx.Client, rules)


@pytest.mark.parametrize(
    "options", [{"model": "a/b"}, {"model": "x' or '1"}, {"alias": "a b"}, {"uri": "http://x"}]
)
def test_a_conf_names_no_addresses(options: dict[str, str]) -> None:
    with pytest.raises(SpecError):
        parse(MlflowOptions, options)


def deployer_of(answer: Callable[[httpx.Request], httpx.Response], **rules: Any) -> MlflowDeployer:
    """Make a deployer to a server that is a function: a fake."""
    made = httpx.Client(
        base_url="http://mlflow", transport=httpx.MockTransport(answer), auth=("ada", "sekret")
    )
    return MlflowDeployer(EXPERIMENT, MlflowOptions(), lambda: made, MlflowRules(**rules))


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.Response(503), TransientError, "503: Service Unavailable"),
        (httpx.Response(429), TransientError, "429"),
        (httpx.Response(401), SpecError, "401: Unauthorized"),
        (httpx.Response(302, headers={"location": "http://evil"}), SpecError, "302"),
        (httpx.Response(200, text="<html>"), SpecError, "is no MLflow server"),
        (httpx.Response(200, json=[]), SpecError, "is no MLflow server"),
        (
            httpx.Response(403, json={"error_code": "PERMISSION_DENIED", "message": "no!"}),
            SpecError,
            "403: no!",
        ),
    ],
)
def test_what_a_server_answers_is_told_without_secrets(
    answer: httpx.Response, error: type[Exception], words: str
) -> None:
    deployer = deployer_of(lambda _: answer)
    with pytest.raises(error, match=re.escape(words)) as caught:
        deployer.serving()
    assert "sekret" not in str(caught.value)


class TestExporter(ExporterContract):
    """Each test has a store of its own: the server has the runs of all."""

    name = "mlflow"
    states = {TrialState.WAITING: TrialState.RUNNING}  # noqa: RUF012
    _STATES = {  # noqa: RUF012
        "RUNNING": TrialState.RUNNING,
        "FINISHED": TrialState.COMPLETE,
        "KILLED": TrialState.STOPPED,
        "FAILED": TrialState.FAILED,
    }

    @pytest.fixture
    def target(self, address: str) -> str:
        return address

    @pytest.fixture(autouse=True)
    def own_store(self, client: httpx.Client) -> None:
        self.store, self.client = uuid.uuid4().hex[:12], client

    def export(self, target: str, of: RunView) -> str:
        provenance = replace(of.run.provenance, store=self.store)
        return super().export(target, replace(of, run=replace(of.run, provenance=provenance)))

    def runs(self, run_id: int) -> dict[str, Any]:
        """Give MLflow's runs of a run by the tag of their trial."""
        listed = self.client.post(f"{API}/experiments/search", json={"max_results": 1000}).json()
        asked = {
            "experiment_ids": [one["experiment_id"] for one in listed["experiments"]],
            "filter": f"tags.`hpo.run` = '{self.store}/{run_id}'",
        }
        found = self.client.post(f"{API}/runs/search", json=asked).json().get("runs", [])
        by_trial = {tags(one).get("hpo.trial", ""): one for one in found}
        assert len(by_trial) == len(found), "nothing is there twice"
        return by_trial

    def told(self, target: str, run_id: int) -> Told:
        return {
            int(trial): (self._STATES[one["info"]["status"]], _value(one))
            for trial, one in self.runs(run_id).items()
            if trial and tags(one).get("hpo.origin") != "final"
        }

    def curve(self, target: str, run_id: int, number: int, metric: str) -> list[tuple[int, float]]:
        asked = {"run_id": self.runs(run_id)[str(number)]["info"]["run_id"], "metric_key": metric}
        found = (
            self.client.get(f"{API}/metrics/get-history", params=asked).json().get("metrics", [])
        )
        return sorted((int(one.get("step", 0)), float(one["value"])) for one in found)

    def no_target(self, tmp_path: Path) -> str:
        return str(tmp_path)

    def test_trials_are_children_of_their_run_which_has_the_report(self, target: str) -> None:
        self.export(target, good_run(3, fail=0.0))
        parent, *children = (one for _, one in sorted(self.runs(12).items()))
        assert {tags(one)["mlflow.parentRunId"] for one in children} == {parent["info"]["run_id"]}
        assert parent["info"]["status"] == "FINISHED"
        params = {one["key"]: one["value"] for one in children[0]["data"]["params"]}
        assert params["units"] == str(good_run(3, fail=0.0).trials[0].trial.params["units"])
        asked = {"run_id": parent["info"]["run_id"]}
        listed = self.client.get(f"{API}/artifacts/list", params=asked).json()["files"]
        assert {"report.html", "report.json", "trials.csv"} <= {one["path"] for one in listed}

    def test_a_password_in_an_address_is_not_told(self) -> None:
        with pytest.raises(SpecError, match="MLFLOW_TRACKING_USERNAME") as caught:
            self.export("http://me:sekret@127.0.0.1:1", good_run(1))
        assert "sekret" not in str(caught.value)

    def test_no_answer_can_be_tried_again(self) -> None:
        with pytest.raises(TransientError, match="cannot be reached"):
            self.export("http://127.0.0.1:1", good_run(1))


def tags(run: Any) -> dict[str, str]:
    return {one["key"]: one["value"] for one in run["data"].get("tags", [])}


def _value(run: Any) -> float | None:
    """Give the value of a trial that is complete."""
    if run["info"]["status"] != "FINISHED":
        return None
    found = {one["key"]: one["value"] for one in run["data"].get("metrics", [])}
    return float(found.get("trial/val_auc", found.get("trial/objective", math.nan)))
