"""The chaos suite, short: one round of faults from a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.chaos import experiments
from tests.chaos.faults import possible
from tests.chaos.journal import Journal, summary
from tests.chaos.play import play
from tests.chaos.schedule import Planned, planned, replayed
from tests.chaos.world import World

pytestmark = pytest.mark.airflow

SEED = 31
#: All of a round, whatever else this machine could do to it.
FAULTS = ("Airflow killed", "store locked", "task cleared", "task killed", "trial killed")


def test_what_has_to_hold_does_after_faults_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a task for each trial: those in slots are killed in `runs/test_kill.py`."""
    monkeypatch.setattr(experiments, "MODES", {"waves": experiments.MODES["waves"]})
    journal = Journal(tmp_path / "log")
    said: list[str] = []

    def one_round(world: World) -> Iterator[list[Planned]]:
        steps = possible(world)
        return islice(planned(SEED, "sqlite", {name: steps[name] for name in FAULTS}), 1)

    play(
        "sqlite",
        one_round,
        journal,
        said.append,
        minutes=60,
        most=100,
    )
    assert journal.held, "\n".join([*said, summary(journal)])
    assert len(journal.happened) >= 3, "faults were done"
    assert {one.planned.fault for one in journal.faults} == set(FAULTS)
    assert len(journal.rounds) == 1
    lines = (tmp_path / "log").read_text().splitlines()
    again = [fault for one in replayed(lines, "sqlite") for fault in one]
    assert again == [done.planned for done in journal.faults]
