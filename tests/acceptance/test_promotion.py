"""From the search to a served model on a real Airflow: approval, and what nights leave."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.errors import HpoError
from hpo_lib.record import Model, ModelStatus, RunKey, RunStatus
from tests.acceptance.conftest import DAG, Stack, until

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


DATA = Path(tempfile.mkdtemp(prefix="hpo-data-"))


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
        "deploy": {"to": "package", "metric": "test_loss", "direction": "minimize"} | deploy,
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
    asked = up.client().call("GET", path)
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
