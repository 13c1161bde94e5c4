"""From the search to a served model on a real Airflow: approval, and what nights leave."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_lib.errors import HpoError
from hpo_lib.records import Model, ModelStatus, RunKey, RunStatus
from tests.acceptance.conftest import DAG, DEPLOYMENT, Stack, until
from tests.mlflow_server import mlflow, needs_mlflow

pytestmark = [pytest.mark.airflow]

#: The loss is |x - goal|, the seed adds a little noise to what the gate looks at. The goal is the
#: data, which is another one some nights.
SCRIPT = """
mkdir -p "$HPO_OUTPUT/model" && echo "$1" > "$HPO_OUTPUT/model/weights"
awk -v x="$1" -v goal="$(cat "$2")" -v seed="$HPO_SEED" 'BEGIN {
  loss = x > goal ? x - goal : goal - x
  print "loss=" loss " test_loss=" loss + (seed % 7) / 1000
}'
"""

#: What a server of models is tried with; a package would have to load a Keras model for it.
SAMPLED = """
mkdir -p "$HPO_OUTPUT/model"
echo '{"instances": [1], "predictions": [2]}' > "$HPO_OUTPUT/model/sample.json"
"""


DATA = Path(tempfile.mkdtemp(prefix="hpo-data-"))


#: Nobody is asked, although the trials leave no scores of single examples.
UNASKED = {"metric": "test_loss", "direction": "minimize", "approval": "none"}


def conf(name: str, goal: float = 0.3, **deploy: Any) -> dict[str, Any]:
    """Describe an experiment that ends in a package, and put its data in place."""
    data = DATA / name
    data.write_text(str(goal))
    return {
        "name": name,
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "ordinal", "choices": [0.1, 0.3, 0.6, 0.9]}},
        "sampler": {"name": "grid"},
        "limits": {"max_trials": 4, "parallel_trials": 4},
        "trial": {
            "command": ["sh", "-c", SCRIPT, "trial", "${params.x}", str(data)],
            "timeout": "2m",
        },
        "final": {"seeds": 2},
        "deploy": {"to": "package"} | UNASKED | deploy,
    }


def served(stack: Stack, name: str) -> int | None:
    """Follow the alias, as users of the package do."""
    file = Path(stack.embedded.results) / "models" / name / "champion.json"
    return int(json.loads(file.read_text())["version"]) if file.exists() else None


def champion(stack: Stack, name: str) -> int | None:
    model = stack.store.models.champion(name)
    return model.version if model else None


def model_of(stack: Stack, key: RunKey) -> Model:
    model = stack.store.models.of_run(stack.run(key).id)
    assert model is not None
    return model


def task_state(stack: Stack, key: RunKey, task_id: str) -> str:
    return stack.states(key, task_id)[0]


def test_nights_end_in_the_better_model_serving(up: Stack) -> None:
    first = up.trigger(conf("nightly"))
    assert up.wait(first) == "success"
    assert (champion(up, "nightly"), served(up, "nightly")) == (1, 1)
    assert task_state(up, first, "approve") == "skipped", "nobody is asked"

    same = up.trigger(conf("nightly"))
    assert up.wait(same) == "success"
    assert "the champion stays" in up.log(same, "final.choose")
    assert "test_loss 0.00" in up.log(same, "final.choose"), "what it scores tonight"
    assert (champion(up, "nightly"), served(up, "nightly")) == (1, 1)

    better = up.trigger(conf("nightly", goal=0.6))
    assert up.wait(better) == "success"
    assert (champion(up, "nightly"), served(up, "nightly")) == (2, 2)
    assert up.run(better).status is RunStatus.COMPLETE
    assert len(up.states(better, "final.trial")) == 4, "champion and challenger, two seeds each"
    assert "Promoted" in up.log(better, "gate")
    assert "The champion, version 1, trained again, has test_loss 0.30" in up.log(better, "gate")


def test_a_run_without_final_training_ends_as_ever(up: Stack) -> None:
    plain = {k: v for k, v in conf("plain").items() if k not in ("final", "deploy")}
    key = up.trigger(plain)
    assert up.wait(key) == "success"
    for task_id in ("final.trial", "gate", "approve", "deploy"):
        assert task_state(up, key, task_id) == "skipped"
    assert task_state(up, key, "report") == "success"


@pytest.mark.parametrize(
    ("answer", "status"), [("Approve", ModelStatus.CHAMPION), ("Reject", ModelStatus.REJECTED)]
)
def test_people_are_asked(up: Stack, answer: str, status: ModelStatus) -> None:
    name = f"asked-{answer.lower()}"
    key = up.trigger(conf(name, approval="manual"))
    until(lambda: task_state(up, key, "approve") == "awaiting_input", "the question")
    path = f"/dags/{DAG}/dagRuns/{key.dag_run_id}/taskInstances/approve/-1/hitlDetails"
    asked = up.ask("GET", path)
    assert asked["subject"] == f"Deploy {name} version 1?"
    assert "Promoted" in asked["body"]
    assert "report.html" in asked["body"]
    assert served(up, name) is None
    until(lambda: answered(up, key, answer), "the end of the run")
    assert up.wait(key) == "success"
    assert model_of(up, key).status is status
    assert served(up, name) == (1 if answer == "Approve" else None)


def answered(stack: Stack, key: RunKey, answer: str) -> bool:
    """Answer as often as one is asked; Airflow 3.3 may lose an answer that comes at once.

    Its executor's word that the asking part has ended then fails the part that was to go on.
    """
    if task_state(stack, key, "approve") == "awaiting_input":
        path = f"/dags/{DAG}/dagRuns/{key.dag_run_id}/taskInstances/approve/-1/hitlDetails"
        with suppress(HpoError):  # It has just been answered.
            answers = {"chosen_options": [answer], "params_input": {}}
            stack.client().call("PATCH", path, answers)
    return task_state(stack, key, "approve") == "success"


def test_no_answer_in_time_means_no(up: Stack) -> None:
    key = up.trigger(conf("unanswered", approval="manual", approval_timeout="5s"))
    assert up.wait(key) == "success"
    model = model_of(up, key)
    assert (model.status, model.reason) == (ModelStatus.REJECTED, "nobody approved it in time")
    assert served(up, "unanswered") is None


def test_people_are_asked_where_the_gate_is_unsure(up: Stack) -> None:
    """By seeds alone: the first model has nothing to be compared with, the second has."""
    assert up.wait(up.trigger(conf("unsure", approval="unsure"))) == "success"
    assert served(up, "unsure") == 1
    key = up.trigger(conf("unsure", goal=0.6, approval="unsure"))
    until(lambda: task_state(up, key, "approve") == "awaiting_input", "the question")
    path = f"/dags/{DAG}/dagRuns/{key.dag_run_id}/taskInstances/approve/-1/hitlDetails"
    assert "Not promoted unless people approve" in up.ask("GET", path)["body"]
    assert served(up, "unsure") == 1
    until(lambda: answered(up, key, "Approve"), "the end of the run")
    assert up.wait(key) == "success"
    assert (champion(up, "unsure"), served(up, "unsure")) == (2, 2)


@needs_mlflow
def test_mlflow_names_the_better_model(up: Stack, tmp_path: Path) -> None:
    """Through Airflow's connection, with the parameters of each that was registered."""
    spec = conf("registered", to="mlflow")
    command = ["sh", "-c", SAMPLED + SCRIPT, *spec["trial"]["command"][3:]]
    spec["trial"] = spec["trial"] | {"command": command}
    with mlflow(tmp_path) as address, connected(up, address):
        assert up.wait(up.trigger(spec)) == "success"
        assert registered(address) == {"1": ("0.3", ["champion"])}
        conf("registered", goal=0.6)
        assert up.wait(up.trigger(spec)) == "success"
        assert registered(address) == {"1": ("0.3", []), "2": ("0.6", ["champion"])}
    assert champion(up, "registered") == 2


@contextmanager
def connected(stack: Stack, address: str) -> Iterator[None]:
    """Give Airflow the connection to an MLflow server that its deployment names."""
    host, port = address.removeprefix("http://").split(":")
    name = DEPLOYMENT["mlflow"]["connection"]
    body = {"connection_id": name, "conn_type": "http", "host": host, "port": int(port)}
    stack.client().call("POST", "/connections", body)
    yield
    stack.client().call("DELETE", f"/connections/{name}")


def registered(address: str) -> dict[str, tuple[str, list[str]]]:
    """Give the versions of the registered model: the parameter x, and the aliases."""

    def ask(what: str, **params: str) -> Any:
        return httpx.get(f"{address}/api/2.0/mlflow/{what}", params=params).json()

    aliases = ask("registered-models/get", name="registered")["registered_model"]["aliases"]
    found = {}
    for one in ask("model-versions/search", filter="name='registered'")["model_versions"]:
        params = ask("runs/get", run_id=one["run_id"])["run"]["data"]["params"]
        x = next(pair["value"] for pair in params if pair["key"] == "x")
        named = [pair["alias"] for pair in aliases if pair["version"] == one["version"]]
        found[one["version"]] = (x, named)
    return found
