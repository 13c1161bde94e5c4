"""A whole run while the clock is stepped by minutes, between any two times that are noted."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.records import RunStatus
from hpo_lib.runs import outputs
from hpo_lib.store import Store, upgrade
from tests.integration.test_runs import Bench


def stepped() -> Callable[[], datetime]:
    """Give a clock that is minutes ahead at one moment and behind at the next."""
    offsets_s = cycle([0, 180, -240, 90, -60, 240])
    return lambda: datetime.now(UTC) + timedelta(seconds=next(offsets_s))


def played(home: Path, now: Callable[[], datetime]) -> tuple[dict[int, Any], list[dict[str, str]]]:
    """Give what became of each trial of a run, and the rows of its report."""
    home.mkdir()
    url = f"sqlite:///{home}/hpo.db"
    upgrade(url)
    with Store.open(url, now=now) as store:
        bench = Bench(store, home)
        run = bench.run()
        assert (run.status, run.reason) == (RunStatus.COMPLETE, "max trials reached: 8 of 8")
        assert store.history(run.id).elapsed_s >= 0
        trials = [one.trial for one in store.view(run.id).trials]
        report = outputs.write_report(store, run, bench.installation)
    with (report.parent / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {one.number: (one.params, one.state, one.value, one.metrics) for one in trials}
    return found, rows


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    return played(tmp_path_factory.mktemp("true") / "home", lambda: datetime.now(UTC))[0]


def test_a_run_comes_to_the_same_and_no_time_is_negative(
    undisturbed: dict[int, Any], tmp_path: Path
) -> None:
    found, rows = played(tmp_path / "home", stepped())
    assert found == undisturbed
    assert all(row["attempts"] == "1" for row in rows), "none was taken for lost"
    assert all(float(row["duration_s"]) >= 0 for row in rows)
