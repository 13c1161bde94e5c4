"""What has to hold after a round of chaos: it is seen where it does not. Nights without Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.cli.embedded import Embedded
from hpo_lib.records import ModelStatus, RunKey
from hpo_lib.store import Store, upgrade
from tests.acceptance.conftest import ROOT, Stack
from tests.chaos import experiments, invariants, places
from tests.chaos.experiments import Marks, Table, Undisturbed
from tests.chaos.places import SECRETS
from tests.chaos.proxy import Proxy
from tests.chaos.world import Going, World
from tests.integration.test_promotion import Bench

MODE, NAME = "rungs", "rungs-1"


class Asked(Undisturbed):
    """Remembers what a night came to, in place of playing it once more."""

    def __init__(self, world: World) -> None:
        super().__init__()
        store = world.stack.store
        view = store.view(store.run(world.runs[0].key).id)
        self.known: tuple[Table, Any] = (experiments.table(view), store.models.champion(NAME))

    def night(self, mode: str, marks: Marks) -> tuple[Table, Any]:
        assert (mode, marks) == (MODE, (frozenset(),))
        return self.known


class Quiet(World):
    """Has no Airflow whose components could be begun again."""

    def revive(self) -> None: ...

    def state(self, key: RunKey) -> str:
        return "success"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A night that went well."""
    home = tmp_path_factory.mktemp("chaos")
    embedded = Embedded(ROOT, home, {})
    upgrade(embedded.store_url)
    with pytest.MonkeyPatch.context() as patched, Store.open(embedded.store_url) as store:
        patched.setenv("HPO_SCHEDULERS", "tests.halves")
        bench = Bench(store, embedded.results)
        conf = experiments.conf(MODE, 1, name=NAME, seconds=0, approval="none")
        bench.night(1, **conf)
        run = Going(MODE, 1, NAME, RunKey(bench.dag, "night-1"))
        proxy = Proxy(lambda: 0)
        stack = Stack(embedded, store)
        yield Quiet(stack, places.PLACES["sqlite"], proxy, runs=[run], nights={NAME: [run]})
        proxy.close()


@pytest.fixture
def asked(world: World) -> Asked:
    return Asked(world)


def broken(world: World, asked: Asked, **patience: float) -> set[str]:
    return {name for name, found in invariants.broken(world, asked).items() if found}


def a_log(world: World) -> Path:
    return sorted(world.embedded.results.glob("runs/*/trial-0001/attempt-*/log.txt"))[0]


def test_all_holds_after_a_night_that_went_well(world: World, asked: Asked) -> None:
    assert invariants.broken(world, asked) == {name: [] for name in invariants.INVARIANTS}


def test_a_report_that_is_missing_is_seen(world: World, asked: Asked) -> None:
    (report,) = world.embedded.results.glob("runs/*/report.html")
    hidden = report.rename(report.with_name("hidden"))
    assert broken(world, asked) == {"all went well"}
    hidden.rename(report)


def test_a_dag_run_that_failed_is_seen(
    world: World, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quiet, "state", lambda *_: "failed")
    monkeypatch.setattr(Quiet, "tasks", lambda _: [], raising=False)
    assert broken(world, asked) == {"all went well"}


def test_another_value_is_seen(world: World, asked: Asked) -> None:
    asked.known[0][2] = {**asked.known[0][2], "value": 0.5}
    assert broken(world, asked) == {"same trials as undisturbed"}


def test_a_lost_trial_is_seen(world: World, asked: Asked) -> None:
    asked.known[0][99] = asked.known[0][2]
    assert broken(world, asked) == {"same trials as undisturbed"}


def test_training_twice_is_seen(world: World, asked: Asked) -> None:
    log = a_log(world)
    said = log.read_text()
    end = next(line for line in said.splitlines() if line.startswith("end "))
    log.write_text(f"{said}{end}\n")
    assert broken(world, asked) == {"nothing twice"}
    log.write_text(said)


def test_a_process_that_lives_on_is_seen(
    world: World, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "_LEFT_S", 0.5)
    marked = os.environ | {"HPO_ATTEMPT_DIR": str(a_log(world).parent)}
    with subprocess.Popen([sys.executable, "-c", "input()"], env=marked, stdin=-1) as process:
        assert broken(world, asked) == {"nothing left running"}
        process.kill()


def test_another_version_that_serves_is_seen(world: World, asked: Asked) -> None:
    alias = world.embedded.results / "models" / NAME / "champion.json"
    said = alias.read_text()
    alias.write_text(said.replace('"version": 1', '"version": 2'))
    assert broken(world, asked) == {"what serves is what the store names"}
    alias.write_text(said)


@pytest.mark.parametrize("where", ["logs/task.log", "hpo/runs/output"])
def test_a_secret_is_seen_wherever_it_is(world: World, asked: Asked, where: str) -> None:
    file = world.home / where
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"x{SECRETS['variable']}x")
    assert broken(world, asked) == {"no secret anywhere"}
    file.unlink()


def test_a_champion_that_is_lost_is_seen(world: World, asked: Asked) -> None:
    """Last: it is not undone."""
    models = world.stack.store.models
    champion = models.champion(NAME)
    assert champion is not None
    models.replace(champion, ModelStatus.RETIRED, "by hand", by=None)
    assert broken(world, asked) == {"one champion", "what serves is what the store names"}
