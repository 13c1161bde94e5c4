"""The report of a run that goes on: written now and then, by one at a time, also elsewhere."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hpo_airflow import report_refresh
from hpo_lib.errors import TransientError
from hpo_lib.installation import Installation
from hpo_lib.records import Run, RunStatus
from hpo_lib.runs import forms, outputs
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade
from tests import clocks
from tests.integration.models_contract import SPEC, searched

AGE = timedelta(minutes=2)


@dataclass
class Desk:
    """A store with a run that has gone on for a while, and what is written of it."""

    store: Store
    run: Run
    installation: Installation

    @property
    def folder(self) -> Path:
        return outputs.report_path(self.run, self.installation).parent

    def refresh(self) -> bool:
        return outputs.refresh_report(self.store, self.run, self.installation)

    def note(self, ago_s: float, took_s: float) -> None:
        """Say when the report was last written, and how long that took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / outputs._LOCK).write_text(f"{time.time() - ago_s:.3f} {took_s:.3f}")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    kept = {"artifacts": {"uri": f"file://{tmp_path}/kept", "keep": "best"}}
    spec = load({**SPEC.dump(), **kept})
    with Store.open(url, now=lambda: datetime.now(UTC) - AGE) as store:
        offers = {f"file://{tmp_path}": dict}
        installation = Installation(tmp_path / "home", {}, artifacts=offers)
        yield Desk(store, searched(store, 1, 0.5, spec), installation)


def test_it_is_written_in_all_forms_here_and_where_artifacts_are_kept(
    desk: Desk, tmp_path: Path
) -> None:
    assert desk.refresh()
    there = next((tmp_path / "kept" / "nightly").iterdir())
    for folder in (desk.folder, there):
        written = json.loads((folder / "report.json").read_text())
        assert (written["status"], written["trials"][0]["value"]) == ("running", 0.5)
        assert "nightly" in (folder / "report.html").read_text()
        assert (folder / "trials.csv").read_text().count("\n") == 2


def test_it_is_not_written_again_within_a_minute(desk: Desk) -> None:
    assert desk.refresh()
    assert not desk.refresh()
    desk.note(ago_s=61, took_s=0.1)
    assert desk.refresh()


def test_nor_within_the_same_millisecond(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time() // 1 + 0.0007
    clocks.give(monkeypatch, outputs, time=lambda: now)
    assert desk.refresh()
    assert not desk.refresh()


def test_a_young_run_is_left_alone(desk: Desk) -> None:
    desk.run = replace(desk.run, started_at=datetime.now(UTC))
    assert not desk.refresh()
    assert not (desk.folder / "report.html").exists()


def test_what_takes_long_is_written_less_often(desk: Desk) -> None:
    desk.note(ago_s=190, took_s=10)
    assert not desk.refresh()
    desk.note(ago_s=210, took_s=10)
    assert desk.refresh()


@pytest.mark.parametrize("noted", ["", "half a no", "x y", "1 2 3"])
def test_a_note_that_cannot_be_read_counts_as_none(desk: Desk, noted: str) -> None:
    desk.folder.mkdir(parents=True)
    (desk.folder / outputs._LOCK).write_text(noted)
    assert desk.refresh()


def test_a_clock_that_was_put_back_stops_nothing(desk: Desk) -> None:
    desk.note(ago_s=-3600, took_s=1)
    assert desk.refresh()


def test_one_at_a_time_writes(desk: Desk) -> None:
    desk.folder.mkdir(parents=True)
    with (desk.folder / outputs._LOCK).open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not desk.refresh()
    assert desk.refresh()


def test_what_cannot_be_written_is_left_for_a_minute(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outputs.artifacts, "write", full)
        with pytest.raises(OSError, match="no space left"):
            desk.refresh()
    assert not desk.refresh()


def test_the_last_one_says_how_the_run_has_ended(desk: Desk, tmp_path: Path) -> None:
    assert desk.refresh()
    ended = desk.store.finish_run(desk.run.id, RunStatus.COMPLETE, "all done")
    outputs.write_report(desk.store, ended, desk.installation)
    outputs.keep_report(ended, desk.installation)
    there = next((tmp_path / "kept" / "nightly").iterdir())
    for folder in (desk.folder, there):
        written = json.loads((folder / "report.json").read_text())
        assert (written["status"], written["reason"]) == ("complete", "all done")
    desk.run = ended
    outputs.delete(desk.store, ended, desk.installation)
    assert not there.exists()
    assert not desk.folder.exists()


def test_a_run_that_keeps_no_artifacts_has_its_report_here(desk: Desk, tmp_path: Path) -> None:
    desk.run = searched(desk.store, 2, 0.25)
    assert desk.refresh()
    assert (desk.folder / "report.html").exists()
    assert not (tmp_path / "kept").exists()


def test_no_trial_fails_of_its_report(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(report_refresh, "this_installation", lambda _: desk.installation)
    monkeypatch.setattr(outputs, "refresh_report", full)
    report_refresh.refresh(desk.store, desk.run)
    assert "the report cannot be written now" in caplog.text


def test_a_slot_has_it_made_by_another_process(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    view = desk.store.view(desk.run.id)
    here, apart = dict(forms.made(view)), dict(forms.made_apart(view))
    assert here.keys() == apart.keys()
    assert here["trials.csv"] == apart["trials.csv"]
    assert here["report.json"] == apart["report.json"]
    monkeypatch.setattr(forms.apart, "words", lambda _: ["false"])
    with pytest.raises(TransientError, match="the report cannot be made now"):
        desk.refresh()
