"""kill -9 between the search and the end of a deployment: one champion, and it serves.

Seven experiments go through their nights side by side on one Airflow. In the second night, whose
challenger is better, each is held at another step and killed there; in the third some of them die
together with all of Airflow, and others come to what a dead run has left. Who uses the packages
meanwhile must find a whole one whenever they look, and never one from before.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo_lib.deployers import Deployer
from hpo_lib.records import Model, ModelStatus, RunKey
from hpo_lib.spec import Spec
from tests.acceptance.conftest import DAG, Stack, cmdline, no_housekeeping, until
from tests.acceptance.held import WAIT, HeldOptions, HeldPackages, held, hold, let_go
from tests.integration.test_promotion import Bench

pytestmark = pytest.mark.airflow

#: The loss is |x - goal|; the seed adds a little noise to what the gate looks at. The goal is data.
SCRIPT = f"""{WAIT}
mkdir -p "$HPO_OUTPUT/model" && echo "$1" > "$HPO_OUTPUT/model/weights"
if test "$HPO_PHASE" = final; then wait_at "$3" "final trial"; fi
awk -v x="$1" -v goal="$(cat "$2")" -v seed="$HPO_SEED" 'BEGIN {{
  loss = x > goal ? x - goal : goal - x
  print "loss=" loss " test_loss=" loss + (seed % 7) / 1000
}}'
"""
TASK, SUPERVISOR = "task", "supervisor"


@dataclass(frozen=True)
class Case:
    """Where a second night is held, what dies there, and what serves and is champion then."""

    step: str
    dies: tuple[str, ...]
    champion: int
    serves: int
    #: Its DAG run is marked as failed at once: nothing is tried again.
    left: bool = False


CASES = {
    "gate": Case("gate", (SUPERVISOR, TASK), 1, 1),
    "final": Case("final trial", (SUPERVISOR, TASK), 1, 1),
    "staging": Case("stage", (TASK,), 1, 1),
    "trying": Case("try out", (SUPERVISOR,), 1, 1),
    "switched": Case("switched", (TASK,), 2, 2),
    "left-staged": Case("try out", (SUPERVISOR, TASK), 1, 1, left=True),
    "left-promoted": Case("switch", (SUPERVISOR, TASK), 2, 1, left=True),
}
RETRIED = [name for name, case in CASES.items() if not case.left]
LEFT = [name for name, case in CASES.items() if case.left]
#: Where they are in the third night when all of Airflow dies.
DIE_WITH_AIRFLOW = {"gate": "stage", "final": "switch", "staging": "switched"}


class FirstNight(Bench):
    """A night without Airflow, which is quicker: nothing dies in it."""

    def deployer(self, spec: Spec, _: str) -> Deployer:
        assert spec.deploy is not None
        return HeldPackages(spec.name, HeldOptions(**spec.deploy.options))


@dataclass
class Users:
    """Read what every alias names, all the time, and note the versions in their order."""

    models: Path
    seen: dict[str, list[int]] = field(default_factory=dict)
    looks: int = 0
    trouble: list[str] = field(default_factory=list)

    def __enter__(self) -> Users:
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.ended.wait(0.05):
            for name in CASES:
                try:
                    self._note(name, serving(self.models, name))
                except Exception as error:
                    self.trouble.append(f"{name}: {error!r}")

    def _note(self, name: str, version: int) -> None:
        self.looks += 1
        versions = self.seen.setdefault(name, [])
        if versions[-1:] != [version]:
            versions.append(version)


def serving(models: Path, name: str) -> int:
    """Give the version that an alias names, whose package has to be whole."""
    alias = json.loads((models / name / "champion.json").read_bytes())
    content = (models / name / alias["package"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == alias["sha256"], "the package is whole"
    return int(alias["version"])


@dataclass
class Nights:
    """The experiments on a running Airflow."""

    stack: Stack
    home: Path
    keys: dict[str, RunKey] = field(default_factory=dict)
    #: Champion in the store and version that serves, at the moment of the kill.
    found: dict[str, tuple[int, int]] = field(default_factory=dict)
    users: Users = field(init=False)

    @property
    def models(self) -> Path:
        return self.home / "models"

    def steps(self, name: str) -> Path:
        return self.home / "steps" / name

    def first(self) -> None:
        """Have a champion of every experiment serve."""
        bench = FirstNight(self.stack.store, self.stack.embedded.results, DAG)
        for number, name in enumerate(CASES):
            bench.night(number, **self.conf(name, [0.3], goal=0.3))
            self.check(name, 1)

    def second(self) -> None:
        """Hold every experiment somewhere, kill it there, and wait for those that are retried."""
        for name, case in CASES.items():
            hold(self.steps(name), case.step)
            self.begin(name, goal=0.6)
        for name in CASES:
            self.kill(name)
        self.end(RETRIED)

    def begin(self, name: str, goal: float) -> None:
        self.keys[name] = self.stack.trigger(self.conf(name, [0.3, 0.6], goal))

    def conf(self, name: str, choices: list[float], goal: float) -> dict[str, Any]:
        """Describe an experiment."""
        steps, data = str(self.steps(name)), self.home / f"{name}.data"
        data.write_text(str(goal))
        words = ["trial", "${params.x}", str(data), steps]
        return {
            "name": name,
            "objective": {"metric": "loss", "direction": "minimize"},
            "extra_metrics": [],
            "space": {"x": {"type": "ordinal", "choices": choices}},
            "fixed": {},
            "sampler": {"name": "grid"},
            "limits": {"max_trials": len(choices), "parallel_trials": 2},
            "trial": {"command": ["sh", "-c", SCRIPT, *words], "timeout": "5m"},
            "final": {"seeds": 2},
            "deploy": {
                "to": "tests.acceptance.held:HeldPackages",
                "options": {"root": str(self.models), "steps": steps},
                "metric": "test_loss",
                "direction": "minimize",
                "approval": "none",
            },
        }

    def champion(self, name: str) -> Model:
        """Give the champion, of which there is one."""
        listed = self.stack.store.models.of(name)
        (found,) = [model for model in listed if model.status is ModelStatus.CHAMPION]
        return found

    def check(self, name: str, version: int) -> None:
        """One champion, which serves, and is the one that the store names."""
        champion = self.champion(name)
        assert (champion.version, champion.served) == (version, True)
        assert serving(self.models, name) == version

    def end(self, names: Iterable[str]) -> None:
        for name in names:
            assert self.stack.wait(self.keys[name]) == "success", name

    def log(self, name: str, task_id: str) -> str:
        return self.stack.log(self.keys[name], task_id)

    def kill(self, name: str) -> None:
        """Kill what a case wants dead where it waits, and note what there is at that moment."""
        case = CASES[name]
        with self.waiting(name, case.step) as task:
            self.found[name] = (self.champion(name).version, serving(self.models, name))
            victims = {SUPERVISOR: task.parent(), TASK: task}
            for who in case.dies:
                victims[who].kill()
            if case.left:
                self.stack.mark(self.keys[name], "failed")

    @contextmanager
    def waiting(self, name: str, step: str) -> Iterator[psutil.Process]:
        """Give the process of a task that waits at a step, or whose trial does."""
        if step == "gate":
            key = self.keys[name]
            until(lambda: {*self.stack.states(key, "final.trial")} == {"success"}, "final trials")
            with locked(self.stack):
                yield until(lambda: gate_of(self.stack, key), "the gate")
            return
        waits = psutil.Process(until(lambda: held(self.steps(name), step), f"{name}: {step}"))
        task = waits.parents()[1] if step == "final trial" else waits
        yield task
        if step == "final trial":
            let_go(self.steps(name), step)


@contextmanager
def locked(stack: Stack) -> Iterator[None]:
    """Keep everybody from writing to the store, as another writer would."""
    with closing(sqlite3.connect(store_file(stack), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def store_file(stack: Stack) -> str:
    return stack.embedded.store_url.removeprefix("sqlite:///")


def gate_of(stack: Stack, key: RunKey) -> psutil.Process | None:
    """Give the process of a gate that has opened the store."""
    for task in stack.tasks(key):
        if task["task_id"] != "gate" or task["state"] != "running":
            continue
        found = [p for p in psutil.process_iter() if task["id"] in " ".join(cmdline(p))]
        for process in found:
            opened = any(file.path == store_file(stack) for file in process.open_files())
            if opened and process.ppid() in {one.pid for one in found}:
                return process
    return None


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def nights(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Two nights of every experiment: a champion that serves, then a kill."""
    stack.embedded.up(lambda _: None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HPO_DEPLOYERS", HeldPackages.__module__)
        found = Nights(stack, tmp_path_factory.mktemp("nights"))
        with no_housekeeping(stack):
            # It would find runs of which Airflow knows nothing, and close them.
            found.first()
            with Users(found.models) as found.users:
                found.second()
                yield found


@pytest.mark.parametrize("name", CASES)
def test_while_it_is_killed_a_champion_serves(nights: Nights, name: str) -> None:
    assert nights.found[name] == (CASES[name].champion, CASES[name].serves)


@pytest.mark.parametrize("name", RETRIED)
def test_the_retry_brings_it_to_its_end(nights: Nights, name: str) -> None:
    nights.check(name, 2)
    found = nights.stack.store.models.of(name)
    assert [model.status for model in found] == [ModelStatus.CHAMPION, ModelStatus.RETIRED]


def test_a_task_that_outlives_its_supervisor_does_no_harm(nights: Nights) -> None:
    steps = nights.steps("trying")
    task = psutil.Process(held(steps, "try out") or 0)
    assert ended(task) is False, "the retry has overtaken it"
    let_go(steps, "try out")
    until(lambda: ended(task), "its end")
    nights.check("trying", 2)


@pytest.fixture(scope="module")
def third(nights: Nights) -> Nights:
    """A third night: of those that die in it, and of those whose second came to naught."""
    for name, step in DIE_WITH_AIRFLOW.items():
        hold(nights.steps(name), step)
        nights.begin(name, goal=0.3)
    for name in LEFT:
        nights.begin(name, goal=0.6)
    return nights


def test_the_next_run_heals_what_a_dead_one_has_left(third: Nights) -> None:
    third.end(LEFT)
    third.check("left-promoted", 2)
    assert "switched to version 2" in third.log("left-promoted", "deploy")
    third.check("left-staged", 3)


def test_all_of_airflow_may_die(third: Nights) -> None:
    for name, step in DIE_WITH_AIRFLOW.items():
        until(lambda name=name, step=step: held(third.steps(name), step), f"{name}: {step}")
    third.stack.embedded.kill()
    third.stack.embedded.up(lambda _: None)
    third.end(DIE_WITH_AIRFLOW)
    for name in DIE_WITH_AIRFLOW:
        third.check(name, 3)


def test_housekeeping_removes_what_nobody_will_deploy(third: Nights) -> None:
    """In the end everything is as it was, but for what a dead run has staged."""
    third.end([*LEFT, *DIE_WITH_AIRFLOW])
    third.stack.pause("hpo_housekeeping", False)
    third.stack.sweep()
    left = third.stack.store.models.get("left-staged", 2)
    assert (left.status, left.reason) == (
        ModelStatus.REJECTED,
        "its run ended before it was deployed",
    )
    assert not (third.models / "left-staged" / "v0002").exists()
    for name, versions in third.users.seen.items():
        third.check(name, versions[-1])


def test_users_found_a_whole_package_whenever_they_looked(third: Nights) -> None:
    """Once they have met a version, none of them meets an earlier one."""
    assert third.users.trouble == []
    assert third.users.looks > 1_000
    assert third.users.seen == {
        "gate": [1, 2, 3],
        "final": [1, 2, 3],
        "staging": [1, 2, 3],
        "trying": [1, 2],
        "switched": [1, 2],
        "left-staged": [1, 3],
        "left-promoted": [1, 2],
    }
