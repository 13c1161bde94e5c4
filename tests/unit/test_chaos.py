"""The schedule of faults and the sums of the chaos suite; the faults themselves need an Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import clock
from tests.chaos.faults import FAULTS as ALL
from tests.chaos.faults import possible
from tests.chaos.invariants import INVARIANTS
from tests.chaos.journal import Done, Journal, Round, summary
from tests.chaos.places import PLACES
from tests.chaos.schedule import PER_ROUND, STEPS, Planned, planned, replayed
from tests.chaos.world import World

EVERYWHERE = list(STEPS)
FAULTS = {"kill": EVERYWHERE, "stop": EVERYWHERE, "mark": ["search"], "cut": ["deploy", "gate"]}


def rounds(seed: int, place: str = "sqlite", count: int = 5) -> list[list[Planned]]:
    return list(islice(planned(seed, place, FAULTS), count))


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert rounds(3) == rounds(3)


@pytest.mark.parametrize("other", [rounds(4), rounds(3, "postgresql")])
def test_another_seed_or_place_gives_another(other: list[list[Planned]]) -> None:
    assert rounds(3) != other


def test_the_order_in_which_faults_are_listed_does_not_matter() -> None:
    listed = dict(reversed(FAULTS.items()))
    assert list(islice(planned(3, "sqlite", listed), 5)) == rounds(3)


def test_faults_take_turns() -> None:
    drawn = [fault for one in rounds(3, count=len(FAULTS)) for fault in one]
    assert Counter(fault.fault for fault in drawn) == dict.fromkeys(FAULTS, PER_ROUND)


def test_faults_come_in_the_order_of_steps_and_only_where_they_may() -> None:
    for one in rounds(3, count=50):
        at = [EVERYWHERE.index(fault.step) for fault in one]
        assert at == sorted(at)
        assert all(fault.step in FAULTS[fault.fault] for fault in one)


def test_a_log_replays_its_schedule(tmp_path: Path) -> None:
    journal, asked = Journal(tmp_path / "log"), rounds(3)
    journal.note({"seed": 3})
    for one in [*asked, *rounds(3, "postgresql")]:
        for fault in one:
            journal.fault(Done(fault, at="now", victim="it"))
    lines = (tmp_path / "log").read_text().splitlines()
    assert list(replayed(lines, "sqlite")) == asked
    assert list(replayed(lines, "docker")) == []


def done(fault: str, goes_on_s: float | None, place: str = "sqlite", victim: str = "it") -> Done:
    one = Planned(place, 1, "search", 0.5, fault, 0.25)
    return Done(one, at="now", victim=victim, goes_on_s=goes_on_s)


def test_a_summary_counts_faults_and_tells_how_long_they_held_work_up() -> None:
    journal = Journal()
    for one in [done("kill", 1.0), done("kill", 8.0), done("kill", 2.0), done("cut", None)]:
        journal.fault(one)
    journal.fault(done("cut", None, victim=""))
    assert summary(journal).splitlines()[2:5] == [
        "| cut | 1 | none followed |  |",
        "| kill | 3 | 2.0 | 8.0 |",
        "| all | 4 | 2.0 | 8.0 |",
    ]


def test_a_summary_tells_places_apart_where_there_are_several() -> None:
    journal = Journal()
    journal.fault(done("kill", 1.0))
    journal.fault(done("kill", 3.0, "postgresql"))
    said = summary(journal).splitlines()
    assert "| all on postgresql | 1 | 3.0 | 3.0 |" in said
    assert "| all on sqlite | 1 | 1.0 | 1.0 |" in said


def test_a_broken_invariant_is_counted_and_written_down(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log")
    journal.round(Round("sqlite", 1, 60.0, {"nothing twice": [], "one champion": []}))
    assert journal.held
    journal.round(Round("sqlite", 2, 60.0, {"nothing twice": ["trial 3"], "one champion": []}))
    assert not journal.held
    said = summary(journal).splitlines()
    assert "| nothing twice | 1 of 2 |" in said
    assert "| one champion | 2 of 2 |" in said
    written = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert written[1]["broken"]["nothing twice"] == ["trial 3"]


def first_cells(text: str) -> set[str]:
    """Give what is named in the first cells of the tables of a page."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return {name for row in rows for name in row.split(" | ")[0].removeprefix("| ").split(", ")}


def test_the_page_has_every_fault_and_every_invariant() -> None:
    text = Path(__file__).parents[2].joinpath("docs/chaos.md").read_text(encoding="utf-8")
    assert (ALL.keys() | INVARIANTS.keys()) - first_cells(text) == set()


@pytest.mark.parametrize("name", ALL)
def test_a_fault_lasts_as_long_as_its_row_says_whoever_it_falls_on(name: str) -> None:
    shortest, longest = ALL[name].lasts
    lasted = {ALL[name].lasts_s(hundredth / 997) for hundredth in range(997)}
    assert shortest <= min(lasted) <= max(lasted) <= longest
    assert ALL[name].steps


@pytest.mark.parametrize(
    ("place", "victims"),
    [
        ("sqlite", {"trial killed", "guard killed"}),
        ("docker", {"container killed"}),
        ("kubernetes", {"pod killed", "pod evicted"}),
    ],
)
def test_attempts_are_hit_as_what_they_are_in_a_place(place: str, victims: set[str]) -> None:
    ends = {f"{what} killed" for what in ("trial", "guard", "container", "pod")} | {"pod evicted"}
    none: Any = None
    assert possible(World(none, PLACES[place], none)).keys() & ends == victims


@pytest.mark.parametrize("seconds", [150, -150])
def test_a_stepped_clock_goes_wrong_and_comes_back_while_sleep_goes_on(
    seconds: int, tmp_path: Path
) -> None:
    if not clock.is_installed():
        pytest.skip("there is no libfaketime")
    stepped = clock.Clock(tmp_path)
    with clock.swept(), _Asked(stepped) as asked:
        assert asked.comes_to(0)
        with stepped.stepped(seconds):
            assert asked.comes_to(seconds)
        assert asked.comes_to(0)


class _Asked:
    """A process with a clock that can be stepped, which tells the time after some sleep."""

    def __init__(self, stepped: clock.Clock) -> None:
        code = "import time\nfor _ in iter(input, ''): time.sleep(0.01); print(time.time())"
        env = os.environ | stepped.settings()
        command = [sys.executable, "-u", "-c", code]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=env, **pipes)

    def comes_to(self, seconds: int) -> bool:
        """Ask until its time is about so far from ours; False if that is not soon so."""
        end = time.monotonic() + 30
        while abs(self._off_s() - seconds) >= 30:
            if time.monotonic() > end:
                return False
        return True

    def _off_s(self) -> float:
        """Ask how far its time is from ours."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("?", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline()) - time.time()

    def __enter__(self) -> _Asked:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("\n")
