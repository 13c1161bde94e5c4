"""A store that the version before has filled: upgraded, it tells the same, and it goes on.

`data/store_0005.sql` has its rows, `data/store_0005.json` what that version told of them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import make_url

from hpo_lib.core.trial import Assignment, Reused
from hpo_lib.promotion import challenger
from hpo_lib.records import AttemptState, Outcome, Run, RunStatus
from hpo_lib.runs import lifecycle, outputs
from hpo_lib.spec import load
from hpo_lib.store import Store, database, revision, upgrade
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.loop import Loop
from tests.integration.store_contract import Answer, handle_for
from tests.integration.told import told

DATA = Path(__file__).with_name("data")
FORMER = "0005"
TOLD = json.loads((DATA / f"store_{FORMER}.json").read_text(encoding="utf-8"))
#: When the version before was asked.
LATER = datetime(2026, 3, 5, 3, tzinfo=UTC)
RUNS = [one["run"]["id"] for one in TOLD["runs"]]
RUNNING, REUSABLE = 7, 3
#: Tables whose next row is numbered by a sequence of PostgreSQL.
_NUMBERED = ("runs", "attempts", "leases", "model_events")


def fill(url: str) -> None:
    """Make the tables of the version before, and put in what it had there."""
    made = database.Database.at(url, 30.0)
    with made.write() as connection:
        command.upgrade(database.configuration(connection), FORMER)
    rows = (DATA / f"store_{FORMER}.sql").read_text(encoding="utf-8")
    if made.is_sqlite:
        with closing(sqlite3.connect(make_url(url).database or "")) as connection:
            connection.executescript(rows)
        return
    numbered = (
        f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table};"
        for table in _NUMBERED
    )
    with psycopg.connect(url) as connection:
        connection.execute("".join(["SET TIME ZONE 'UTC';", rows, *numbered]).encode())


def as_of_now(run: dict[str, Any]) -> dict[str, Any]:
    """Write a run's spec as this version does, which may know more settings than the former."""
    spec = run["run"]["spec"]
    return run | {"run": run["run"] | {"spec": load(spec).dump() if spec else {}}}


class UpgradeContract:
    """The store of the version before, on whatever database `url` names."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        fill(url)
        upgrade(url)
        with Store.open(url, now=lambda: LATER) as store:
            yield store

    @pytest.fixture
    def loop(self, store: Store, tmp_path: Path) -> Loop:
        return Loop(store, tmp_path)

    def test_the_version_before_left_what_is_upgraded(self, url: str) -> None:
        fill(url)
        assert revision(url) == FORMER
        assert upgrade(url) == revision(url) == database.HEAD

    def test_every_run_reads_as_it_did(self, store: Store) -> None:
        found = json.loads(json.dumps(told(store), allow_nan=False))
        assert [one["run"]["id"] for one in found["runs"]] == RUNS
        for one, before in zip(found["runs"], TOLD["runs"], strict=True):
            assert as_of_now(one) == as_of_now(before)

    def test_models_and_all_else_read_as_they_did(self, store: Store) -> None:
        found = json.loads(json.dumps(told(store), allow_nan=False))
        for part in TOLD.keys() - {"runs"}:
            assert found[part] == TOLD[part]

    def test_nothing_is_a_teams_and_nobody_has_done_anything_yet(self, store: Store) -> None:
        assert {run.team for run in store.runs(1000)} == {""}
        assert list(store.audit.entries()) == []

    @pytest.mark.parametrize("number", RUNS)
    def test_a_report_can_be_written(self, loop: Loop, number: int) -> None:
        run = loop.store.run_by_id(number)
        page = outputs.write_report(loop.store, run, loop.installation)
        assert f"run {number} · {run.status}" in page.read_text(encoding="utf-8")
        rows = page.with_name("trials.csv").read_text(encoding="utf-8").splitlines()
        assert len(rows) == 1 + len(loop.store.view(number).trials)

    def test_a_live_attempt_is_taken_over(self, store: Store) -> None:
        before = next(one for one in TOLD["runs"] if one["run"]["id"] == RUNNING)
        *_, live = before["trials"][1]["attempts"]
        taken = store.open_attempt(RUNNING, 2, handle_for)
        assert (taken.id, taken.number, dict(taken.handle)) == (live["id"], 2, live["handle"])
        assert taken.state is AttemptState.RUNNING

    def test_the_running_run_goes_on_to_its_end(self, loop: Loop) -> None:
        run = loop.store.run_by_id(RUNNING)
        assert lifecycle.next_wave(loop.store, run.key, 1, loop.installation).assignments
        for number in (2, 3):
            self.complete(loop.store, run, number)
        wave = lifecycle.next_wave(loop.store, run.key, 2, loop.installation)
        assert ([one.trial for one in wave.assignments], wave.stop) == ([4], None)
        self.complete(loop.store, run, 4)
        assert lifecycle.next_wave(loop.store, run.key, 3, loop.installation).stop
        final = challenger.choose(loop.store, run.key, loop.installation)
        assert [one.trial for one in final.assignments] == [5, 6, 7, 8]
        model = loop.store.models.of_run(run.id)
        assert model is not None
        assert (model.version, model.against) == (4, 3)
        for number in (5, 6, 7, 8):
            self.complete(loop.store, run, number)
        ended = lifecycle.finish(loop.store, run.key, loop.installation)
        assert ended.status is RunStatus.COMPLETE

    def complete(self, store: Store, run: Run, number: int) -> None:
        attempt = store.open_attempt(run.id, number, handle_for)
        value = 0.9 + number / 128
        outcome = Outcome(AttemptState.SUCCEEDED, "done", value, metrics={"val_auc": value})
        store.close_attempt(attempt.id, outcome, final=True)

    def test_its_results_are_reused(self, store: Store) -> None:
        source = store.run_by_id(REUSABLE)
        params = store.trial(REUSABLE, 4).params
        spec = load(TOLD["runs"][REUSABLE - 1]["run"]["spec"])
        key = type(source.key)("wine", "tonight")
        run = store.start_run(
            key,
            spec,
            triggered_by="ada",
            provenance=source.provenance,
            fingerprint=source.fingerprint,
        )
        asked = Answer((Assignment(1, params),))
        batch = store.next_batch(run.id, "wave-01", lambda _: asked)
        assert [source for _, source in batch.reused] == [Reused(REUSABLE, 4)]


class TestSqlite(UpgradeContract, OnSqlite):
    """A file."""


class TestPostgresql(UpgradeContract, OnPostgresql):
    """A server."""
