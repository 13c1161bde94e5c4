"""The benchmark of nights: what it counts, what befalls a night, and that a night heals."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.nights import failing, table
from benchmarks.nights.backend import FakeBackend
from benchmarks.nights.failing import Site
from benchmarks.nights.landscape import Landscape
from benchmarks.nights.play import Night, cases
from benchmarks.nights.weather import HARMLESS, STEPS, Fault, Weather
from benchmarks.nights.world import Final
from hpo_lib.errors import TransientError
from hpo_lib.records import ModelStatus
from hpo_lib.store import Store, upgrade

FINAL = Final(seeds=2, examples=200)
NAIVE = table.DEPLOY["naive"]


def test_the_benchmarks_worlds_are_played_as_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert table.worlds(range(2))
    assert "| nothing better  | gate  |" in capsys.readouterr().out


def night(better_by: float, promoted: bool = False) -> Night:
    return Night(better_by, promoted)


@pytest.mark.parametrize(
    ("nights", "found"),
    [
        ([], []),
        # At the threshold is not above it, and what is no improvement is no case.
        ([night(0.01), night(-0.02, True)], []),
        ([night(0.02, True)], [(2.0, True)]),
        ([night(0.02), night(0.0, True)], [(2.0, True)]),
        # Two nights are one case, the third begins another, which the last night cuts short.
        ([night(0.02), night(0.02), night(0.04)], [(2.0, False)]),
        ([night(0.02, True), night(0.03), night(0.03)], [(2.0, True), (3.0, False)]),
    ],
)
def test_improvements_are_counted_one_by_one(
    nights: list[Night], found: list[tuple[float, bool]]
) -> None:
    assert list(cases(nights)) == found


def test_the_naive_rule_is_a_gate_without_bounds() -> None:
    world = table.WORLDS[2]
    bare = table.gate(NAIVE["confidence"], NAIVE["min_improvement"])
    assert table.play(world, 0, FINAL, bare) == table.play(world, 0, FINAL, table.naive)


def test_an_outage_lasts_and_is_of_one_place() -> None:
    weather, done = Weather(Fault.STORE_DOWN), []
    weather.moments = {("begin", 3): False}
    for _ in range(2):
        weather.around("store", lambda: done.append(1))
    for _ in range(2):
        with pytest.raises(TransientError, match="store is down"):
            weather.around("store", lambda: done.append(1))
    weather.around("deployer", lambda: done.append(1))
    assert len(done) == 3


@pytest.mark.parametrize("fault", HARMLESS[1:])
def test_a_night_that_is_repeated_ends_as_if_nothing_had_happened(
    tmp_path: Path, fault: Fault
) -> None:
    played = []
    for at, one in enumerate((Fault.NOTHING, fault)):
        folder = tmp_path / str(at)
        folder.mkdir()
        played.append(failing.play(folder, 0, NAIVE, FINAL, (one,), nights=3))
    assert played[0] == played[1]
    assert len(played[0].nights) == 3


def test_nights_that_fail_keep_the_promises(tmp_path: Path) -> None:
    played = failing.play(tmp_path, 0, NAIVE, FINAL, tuple(Fault), nights=8)
    assert len(played.nights) + played.failed + played.stale == 8


@dataclass
class Bench:
    """A site with a first champion and a second night that has come to its last steps."""

    site: Site
    home: Path
    kept: Path

    def again(self) -> None:
        """Go back to there."""
        shutil.rmtree(self.home)
        shutil.copytree(self.kept, self.home)

    def killed(self, step: str, call: int, *, late: bool) -> bool:
        """Let the second night be killed at a call of its step; say whether it came to that."""
        weather = Weather(Fault.KILLED, random.Random(0))
        weather.moments = {(step, call): late}
        steps = list(STEPS)
        return not failing._do(self.site.under(weather), 1, steps[steps.index("gate") :])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("nights")
    home = folder / "home"
    home.mkdir()
    upgrade(f"sqlite:///{home}/hpo.db")
    with Store.open(f"sqlite:///{home}/hpo.db") as store:
        site = Site(store, home, FakeBackend(home, Landscape(0), FINAL), NAIVE)
        assert failing._do(site, 0, list(STEPS))
        assert failing._do(site, 1, ["begin", "search", "final"])
        shutil.copytree(home, folder / "kept")
        yield Bench(site, home, folder / "kept")


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["gate", "deploy"])
def test_killed_at_a_call_the_next_night_heals_it(bench: Bench, step: str, late: bool) -> None:
    statuses = set()
    for call in range(1, 100, 2):
        bench.again()
        if not bench.killed(step, call, late=late):
            break
        failing.deploy(bench.site, failing._key(0), 0)
        failing._check_serving(bench.site)
        failing.keep_house(bench.site)
        statuses |= {model.status for model in bench.site.store.models.of(failing.NAME)}
    else:
        pytest.fail("it never came to its end")
    assert call > 10, "there were calls to be killed at"
    failing._check_whole(bench.site, 1)
    second = bench.site.store.models.champion(failing.NAME)
    assert second is not None
    assert second.version == 2
    assert ModelStatus.REJECTED in statuses, "killed early, it is not deployed"
