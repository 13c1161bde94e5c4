"""The chaos suite, short: one round of faults from a fixed seed."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.chaos.faults import possible
from tests.chaos.journal import Journal, summary
from tests.chaos.play import play
from tests.chaos.schedule import planned, replayed

pytestmark = pytest.mark.airflow

#: Among its faults are the deaths of a trial and of all of Airflow.
SEED = 31


def test_what_has_to_hold_does_after_faults_at_random(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log")
    said: list[str] = []
    play(
        "sqlite",
        lambda world: islice(planned(SEED, "sqlite", possible(world)), 1),
        journal,
        said.append,
        minutes=60,
        most=100,
    )
    assert journal.held, "\n".join([*said, summary(journal)])
    assert len(journal.happened) >= 3, "faults were done"
    assert len(journal.rounds) == 1
    lines = (tmp_path / "log").read_text().splitlines()
    again = [fault for one in replayed(lines, "sqlite") for fault in one]
    assert again == [done.planned for done in journal.faults]
