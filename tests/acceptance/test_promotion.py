"""From the search to a served model on a real Airflow: approval, kills, and what nights leave."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo_lib.errors import HpoError
from hpo_lib.record import Model, ModelStatus, RunKey, RunStatus
from hpo_lib.remote import DONE
from tests.acceptance.conftest import DAG, PATIENCE_S, Stack, cmdline, until

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


@pytest.mark.parametrize("task_id", ["gate", "deploy"])
def test_a_killed_task_is_done_again(up: Stack, task_id: str) -> None:
    for number in range(5):
        name = f"killed-{task_id}-{number}"
        assert up.wait(up.trigger(conf(name))) == "success"
        key = up.trigger(conf(name, goal=0.6))
        killed = kill(up, key, task_id)
        assert up.wait(key) == "success"
        assert (champion(up, name), served(up, name)) == (2, 2)
        found = up.store.models.of(name)
        assert [one.status for one in found] == [ModelStatus.CHAMPION, ModelStatus.RETIRED]
        if killed:
            return
    pytest.fail(f"{task_id} was never caught while it ran")


def kill(stack: Stack, key: RunKey, task_id: str) -> bool:
    """Kill the process of a task as soon as there is one; no if it was quicker."""
    (wanted,) = until(
        lambda: [t["id"] for t in stack.tasks(key) if t["task_id"] == task_id], task_id
    )
    for _ in range(int(PATIENCE_S)):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            found = [p for p in psutil.process_iter() if wanted in " ".join(cmdline(p))]
            children = [p for p in found if p.ppid() in {one.pid for one in found}]
            if children:
                os.kill(children[-1].pid, signal.SIGKILL)
                return True
        if stack.client().state(key.dag_id, key.dag_run_id) in DONE:
            return False
    raise AssertionError(f"waited in vain for {task_id}")
