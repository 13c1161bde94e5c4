"""The stack loses nothing when its services are killed, and two workers run eight trials at once.

It needs what test_stack.py needs. Killing each service of both executors twice, during a run of its
own, takes 25 minutes and is done where HPO_TEST_STACK is set. Seconds and repeated attempts
are logged: `-o log_cli=true --log-cli-level=INFO`.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests import compose
from tests.compose import Stack

log = logging.getLogger(__name__)

#: A trial ends the run by reaching its target, once the test has seen enough.
TRIAL = """
cd /opt/airflow/hpo
note() {{ echo "$1 $HPO_TRIAL $HPO_ATTEMPT $(uname -n) $(date +%s.%N)" >> {ledger}; }}
note begin
{work}
echo "model of $HPO_TRIAL" > "$HPO_OUTPUT/model"
note end
if [ -e {ledger}.enough ]; then echo loss=0; else echo loss=1; fi
"""
#: Prints the newest run.
VIEW = """
import json, os
from hpo_lib.store import Store
with Store.open(os.environ["HPO_STORE"]) as store:
    view = store.view(max(run.id for run in store.runs()))
trials = {one.trial.number: one for one in view.trials}
print("TOLD", json.dumps({
    "status": view.run.status,
    "states": {number: one.trial.state for number, one in trials.items()},
    "attempts": {n: [a.cause for a in one.attempts] for n, one in trials.items()},
}))
"""
#: Prints the processes of attempts.
LEFT = """
import psutil
def marked(process):
    try:
        guard = process.name() in ("hpo-guard", "hpo-keeper")
        return guard or "HPO_ATTEMPT_DIR" in process.environ()
    except psutil.Error:
        return False
print("TOLD", [process.pid for process in psutil.process_iter() if marked(process)])
"""
SETTINGS: dict[str, dict[str, object]] = {
    "LocalExecutor": {},
    "CeleryExecutor": {"HPO_WORKERS": 2, "HPO_PARALLELISM": 10},
}
#: What is killed at once: those that do nothing for a run that goes on share one.
KILLED = {
    "LocalExecutor": [
        ["postgres"],
        ["api-server"],
        ["scheduler"],
        ["s3"],
        ["dag-processor", "triggerer"],
    ],
    "CeleryExecutor": [["postgres"], ["api-server"], ["scheduler"], ["redis"], ["worker"]],
}

pytestmark = [pytest.mark.airflow, *compose.needed]


@dataclass(frozen=True)
class Note:
    """What a trial wrote when an attempt began and when it ended, and in which container."""

    what: str
    trial: int
    attempt: int
    host: str
    at: float

    @classmethod
    def read(cls, line: str) -> Note:
        what, trial, attempt, host, at = line.split()
        return cls(what, int(trial), int(attempt), host, float(at))


@dataclass(frozen=True)
class Ledger:
    """A file on the volume of the trials, read through a container that nobody kills."""

    stack: Stack
    name: str

    def notes(self, what: str, since: float = 0.0) -> list[Note]:
        read = f"cat /hpo/{self.name} 2>/dev/null || true"
        lines = self.stack.do("docker", "exec", self._reader, "sh", "-c", read).splitlines()
        notes = [Note.read(line) for line in lines]
        return [note for note in notes if note.what == what and note.at > since]

    def enough(self) -> None:
        self.stack.do("docker", "exec", self._reader, "touch", f"/hpo/{self.name}.enough")

    def begun(self, count: int = 1) -> None:
        """Wait until so many attempts have begun from now on."""
        now = time.time()
        self.stack.poll(lambda: len(self.notes("begin", now)) >= count, f"{count} attempts")

    def ended(self, count: int) -> None:
        """Wait until so many attempts have ended that begin from now on."""
        now = time.time()

        def whole() -> bool:
            begun = {(note.trial, note.attempt) for note in self.notes("begin", now)}
            ended = {(note.trial, note.attempt) for note in self.notes("end", now)}
            return len(begun & ended) >= count

        self.stack.poll(whole, f"the end of {count} attempts")

    @property
    def _reader(self) -> str:
        return f"{self.stack['COMPOSE_PROJECT_NAME']}-ledger"


@pytest.fixture(scope="module")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack with an executor, and a container that sees its trials' volume."""
    settings = {"HPO_EXECUTOR": request.param, **SETTINGS[request.param]}
    with compose.made(tmp_path_factory.mktemp("stack"), **settings) as one:
        began = time.monotonic()
        one.up()
        log.info("%s: up after %.0f s", request.param, time.monotonic() - began)
        project, image = one["COMPOSE_PROJECT_NAME"], one["HPO_AIRFLOW_IMAGE"]
        words = [f"--name={project}-ledger", f"--volume={project}_hpo:/hpo", "--entrypoint=sleep"]
        one.do("docker", "run", "--detach", "--rm", *words, image, "infinity")
        try:
            yield one
        finally:
            one.do("docker", "kill", f"{project}-ledger")


def ledger_of(stack: Stack) -> Ledger:
    return Ledger(stack, f"ledger-{uuid.uuid4().hex[:8]}")


def conf(ledger: Ledger, work: str, *, trials: int, parallel: int) -> dict[str, Any]:
    script = TRIAL.format(ledger=ledger.name, work=work)
    return {
        "name": "kill",
        "objective": {"metric": "loss", "direction": "minimize", "target": 0.5},
        "space": {"x": {"type": "float", "low": -1, "high": 1}},
        "sampler": {"name": "random"},
        "limits": {"max_trials": trials, "parallel_trials": parallel},
        "trial": {"command": ["sh", "-c", script], "args": ["${params.x}"]},
        "artifacts": {"uri": f"s3://hpo/{ledger.name}", "keep": "all"},
    }


@pytest.mark.parametrize("stack", ["CeleryExecutor"], indirect=True)
def test_a_run_loses_nothing_while_each_service_is_killed_in_turn(stack: Stack) -> None:
    ledger, client = ledger_of(stack), stack.client()
    run_id = client.trigger("hpo_local", conf(ledger, "sleep 4", trials=400, parallel=2))
    for services in [*KILLED["CeleryExecutor"], ["s3"], ["dag-processor", "triggerer"]]:
        ledger.begun()
        log.info("%s", ", ".join(services))
        kill_and_start(stack, _victims(stack, services, ledger))
    ledger.ended(2)
    ledger.enough()
    assert stack.ended(client, run_id) == "success"
    check(stack, ledger)


@pytest.mark.needs("HPO_TEST_STACK")
@pytest.mark.parametrize("stack", list(KILLED), indirect=True)
def test_runs_lose_nothing_when_each_service_is_killed_in_turn(stack: Stack) -> None:
    for services in KILLED[stack["HPO_EXECUTOR"]]:
        log.info("%s: %s", stack["HPO_EXECUTOR"], ", ".join(services))
        run_while_killed(stack, services, ledger_of(stack))


def run_while_killed(stack: Stack, services: list[str], ledger: Ledger) -> None:
    """Kill services twice during a run: so that they stay dead, then so that Docker notices."""
    client = stack.client()
    run_id = client.trigger("hpo_local", conf(ledger, "sleep 8", trials=300, parallel=2))
    ledger.begun()
    kill_and_start(stack, _victims(stack, services, ledger))
    ledger.ended(2)
    ledger.begun()
    ledger.enough()
    crash(stack, _victims(stack, services, ledger))
    assert stack.ended(client, run_id) == "success"
    check(stack, ledger)


@pytest.mark.parametrize("stack", ["CeleryExecutor"], indirect=True)
def test_two_workers_run_eight_trials_at_once(stack: Stack) -> None:
    ledger = ledger_of(stack)
    together = f"until [ $(grep -c begin {ledger.name}) -ge 8 ]; do sleep 0.2; done"
    spec = conf(ledger, together, trials=8, parallel=8)
    spec["trial"]["timeout"] = "10m"
    client = stack.client()
    assert stack.ended(client, client.trigger("hpo_local", spec)) == "success"
    begun, ended = ledger.notes("begin"), ledger.notes("end")
    hosts = Counter(note.host for note in begun)
    log.info("eight began within %.1f s: %s", begun[-1].at - begun[0].at, dict(hosts))
    assert len(begun) == len(ended) == 8
    assert max(note.at for note in begun) < min(note.at for note in ended)
    assert len(hosts) == 2
    check(stack, ledger)


def kill_and_start(stack: Stack, victims: Sequence[str]) -> None:
    """`docker kill`, which Docker takes for a wish and does not undo, and `make up-stack`."""
    began = time.monotonic()
    stack.do("docker", "kill", *victims)
    assert {_state(stack, one)[1] for one in victims} == {"exited"}
    stack.start()
    log.info("docker kill: all healthy after %.0f s", time.monotonic() - began)


def crash(stack: Stack, victims: Sequence[str]) -> None:
    """Kill the containers' first processes from the engine's host; Docker has to start them."""
    form = "--format={{.State.Pid}}"
    pids = stack.do("docker", "inspect", form, *victims).split()
    before = {one: _state(stack, one)[0] for one in victims}
    began = time.monotonic()
    words = ["--pid=host", "--user=0", "--network=none", "--entrypoint=sh"]
    kill = " ".join(["kill", "-9", *pids])
    stack.do("docker", "run", "--rm", *words, stack["HPO_AIRFLOW_IMAGE"], "-c", kill)
    for one in victims:
        stack.poll(
            lambda one=one: (
                _state(stack, one)[0] != before[one]
                and _state(stack, one)[1:] == ("running", "healthy")
            ),
            f"the return of {one}",
        )
    log.info("kill -9: healthy again after %.0f s", time.monotonic() - began)


def check(stack: Stack, ledger: Ledger) -> None:
    """Compare the store with what the trials wrote down, and with what is in S3."""
    found = json.loads(stack.told(VIEW))
    numbers = sorted(map(int, found["states"]))
    attempts = {int(number): causes for number, causes in found["attempts"].items()}
    repeated = {number: causes for number, causes in attempts.items() if len(causes) > 1}
    log.info("%s trials, repeated: %s", len(numbers), repeated)
    assert found["status"] == "complete"
    assert set(found["states"].values()) == {"complete"}
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    ended = Counter(note.trial for note in ledger.notes("end"))
    assert ended == dict.fromkeys(numbers, 1), "each trial was run to its end exactly once"
    begun = Counter((note.trial, note.attempt) for note in ledger.notes("begin"))
    assert set(begun.values()) == {1}, "no attempt was run twice"
    assert all(attempt <= len(attempts[trial]) for trial, attempt in begun)
    assert _models(stack, ledger) == set(numbers)
    assert _left(stack) == []


def _victims(stack: Stack, services: Sequence[str], ledger: Ledger) -> list[str]:
    """Give the services' containers; of several workers the one that began the last attempt."""
    ids = stack.compose("ps", "--quiet", *services).split()
    if services != ["worker"]:
        return ids
    host = ledger.notes("begin")[-1].host
    return [one for one in ids if one.startswith(host)]


def _state(stack: Stack, container: str) -> tuple[str, str, str]:
    """Give when it was started, how it is and how healthy."""
    form = "{{.State.StartedAt}} {{.State.Status}} {{.State.Health.Status}}"
    started, status, health = stack.do("docker", "inspect", f"--format={form}", container).split()
    return started, status, health


def _models(stack: Stack, ledger: Ledger) -> set[int]:
    """Give the trials whose model is in S3."""
    pages = stack.s3().get_paginator("list_objects_v2")
    keys = pages.paginate(Bucket="hpo", Prefix=f"{ledger.name}/").search("Contents[].Key")
    found = [re.search(r"/trial-(\d+)/attempt-\d+/model$", key) for key in keys]
    return {int(one[1]) for one in found if one}


def _left(stack: Stack) -> list[str]:
    """Give the processes of attempts wherever tasks run."""
    ids = stack.compose("ps", "--quiet", "scheduler").split()
    if stack["HPO_EXECUTOR"] == "CeleryExecutor":
        ids += stack.compose("ps", "--quiet", "worker").split()
    told = [stack.do("docker", "exec", one, "python", "-c", LEFT) for one in ids]
    return [line for line in told if line.strip() != "TOLD []"]
