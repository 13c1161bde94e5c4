"""The audit trail: what is written down, that it stays as it is, and how it is shown."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from hpo_lib.cli import main
from hpo_lib.core.trial import Cause
from hpo_lib.records import ModelStatus, Provenance, RunKey, RunStatus
from hpo_lib.records.audit import ITSELF, SOMEBODY, Actor, AuditEntry, Deed
from hpo_lib.report import html
from hpo_lib.store import Store, upgrade
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.models_contract import challenger, champion
from tests.integration.store_contract import (
    KEY,
    SPEC,
    Clock,
    Engineer,
    OnAClock,
    attempt_of,
    begin,
    execute,
    killed_at,
    succeeded,
    together,
)

ADA = Actor("ada", "manual")
SECRET = "hunter2-sekret"


def deeds(store: Store, experiment: str | None = None) -> list[tuple[str, str, Deed]]:
    return [(one.who, one.where, one.deed) for one in store.audit.entries(experiment)]


def last(store: Store) -> AuditEntry:
    return list(store.audit.entries())[-1]


class AuditContract(OnAClock):
    """The audit trail on whatever database is under it."""

    def test_a_run_is_written_down_once_with_who_began_it_and_how(
        self, store: Store, clock: Clock
    ) -> None:
        made = Provenance(way="manual", asked="c0ffee")
        run = store.start_run(KEY, SPEC, triggered_by="ada", provenance=made)
        assert store.start_run(KEY, SPEC, triggered_by="eve", provenance=made) == run
        told = {"dag": KEY.dag_id, "dag_run": KEY.dag_run_id, "spec": "c0ffee"}
        entry = AuditEntry(clock.time, "ada", "manual", Deed.SUBMITTED, "", "iris", run.id, told)
        assert list(store.audit.entries()) == store.view(run.id).audit == [entry]

    def test_a_refusal_is_written_down_without_what_the_conf_said(self, store: Store) -> None:
        run = store.refuse_run(KEY, f"trial.env: got {SECRET}", triggered_by="eve", way="manual")
        assert [(one.who, one.deed, one.run) for one in store.audit.entries()] == [
            ("eve", Deed.REFUSED, run.id)
        ]
        assert SECRET not in last(store).told

    def test_a_file_that_has_changed_since_its_last_run_is_told(self, store: Store) -> None:
        for night, (asked, config) in enumerate([("a", "x"), ("a", "x"), ("b", "x"), ("b", "y")]):
            made = Provenance(file="iris.yaml", way="scheduled", asked=asked, config=config)
            key = RunKey("hpo_scheduled_iris", str(night))
            store.start_run(key, SPEC, triggered_by="scheduled", provenance=made)
        changed = [one for one in store.audit.entries() if one.deed is Deed.CHANGED]
        assert [(one.who, one.run, one.details) for one in changed] == [
            ("", 3, {"file": "iris.yaml", "before": "a", "now": "b"}),
            ("", 4, {"file": "config/deployment.yaml", "before": "x", "now": "y"}),
        ]

    def test_who_stops_a_run_or_a_trial_is_told_once(self, store: Store) -> None:
        run = begin(store)
        store.next_batch(run.id, "wave-01", Engineer())
        attempt_of(store, run)
        for _ in range(2):
            store.fail_trial(run.id, 0, Cause.KILLED_BY_OPERATOR, "marked", stopped_by=SOMEBODY)
            store.finish_run(run.id, RunStatus.FAILED, "marked", ADA)
        assert deeds(store)[1:] == [
            ("", "airflow", Deed.STOPPED),
            ("ada", "manual", Deed.STOPPED),
        ]
        assert [one.details for one in store.audit.entries()][1:] == [
            {"trial": 0},
            {"reason": "marked"},
        ]

    def test_a_run_that_ends_by_itself_is_no_deed(self, store: Store) -> None:
        store.finish_run(begin(store).id, RunStatus.COMPLETE, "all trials done")
        assert [deed for *_, deed in deeds(store)] == [Deed.SUBMITTED]

    def test_metrics_that_are_read_again_are_a_change(self, store: Store) -> None:
        run = begin(store)
        store.next_batch(run.id, "wave-01", Engineer())
        attempt = attempt_of(store, run)
        store.close_attempt(attempt.id, succeeded(), final=True)
        store.recollect(attempt.id, succeeded(0.25), SPEC, ADA)
        assert (last(store).by, last(store).deed) == ("ada (manual)", Deed.CHANGED)

    def test_what_becomes_of_models_is_told_with_who_wanted_it(self, store: Store) -> None:
        first = champion(store, 1)
        second = challenger(store, 2)
        for _ in range(2):
            store.models.approved(second, "Approved by ada.", ADA)
        store.models.promote(second, "better.")
        store.models.reject(challenger(store, 3), "not approved by eve", Actor("eve", "airflow"))
        store.models.replace(second, ModelStatus.RETIRED, "slow", by=first.version, actor=ADA)
        found = [one for one in deeds(store, "nightly") if one[2] is not Deed.SUBMITTED]
        assert found == [
            (ITSELF.who, "", Deed.PROMOTED),
            ("ada", "manual", Deed.APPROVED),
            (ITSELF.who, "", Deed.PROMOTED),
            ("eve", "airflow", Deed.REJECTED),
            ("ada", "manual", Deed.ROLLED_BACK),
        ]
        assert last(store).details == {"version": 2, "reason": "slow"}
        assert deeds(store, "iris") == []

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit SET who = 'nobody'",
            "UPDATE audit SET details = '{}' WHERE id = 1",
            "DELETE FROM audit",
            "DELETE FROM audit WHERE id = 1",
        ],
    )
    def test_the_database_refuses_changes_and_deletions(
        self, url: str, store: Store, statement: str
    ) -> None:
        run = begin(store)
        before = list(store.audit.entries())
        with pytest.raises(DBAPIError, match="the audit trail is append-only"):
            execute(url, statement)
        assert list(store.audit.entries()) == before
        assert store.run_by_id(run.id) == run

    def test_a_deed_that_is_not_done_is_not_told(self, url: str, store: Store) -> None:
        killed_at("INSERT INTO audit", url, begin)
        assert list(store.audit.entries()) == []
        assert store.runs() == []

    def test_writers_at_once_lose_nothing(self, url: str, store: Store) -> None:
        def work(index: int) -> int:
            with Store.open(url) as own:
                return begin(own, RunKey("hpo_local", str(index))).id

        runs = together(4, work)
        assert sorted(one.run or 0 for one in store.audit.entries()) == sorted(runs)

    def test_a_long_trail_comes_whole_and_long_words_are_cut(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hpo_lib.store.audit._PAGE", 2)
        for number in range(5):
            begin(store, RunKey("hpo_local", str(number)))
        store.finish_run(1, RunStatus.FAILED, "x" * 10_000, ADA)
        assert [one.run for one in store.audit.entries()] == [1, 2, 3, 4, 5, 1]
        assert len(last(store).details["reason"]) == 500


class TestSqlite(AuditContract, OnSqlite):
    def test_a_row_cannot_be_replaced(self, url: str, store: Store) -> None:
        begin(store)
        with pytest.raises(DBAPIError, match="append-only"):
            execute(url, "INSERT OR REPLACE INTO audit SELECT * FROM audit")


class TestPostgresql(AuditContract, OnPostgresql):
    def test_the_table_cannot_be_emptied(self, url: str, store: Store) -> None:
        begin(store)
        with pytest.raises(DBAPIError, match="append-only"):
            execute(url, "TRUNCATE audit")


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/hpo.db"
    monkeypatch.setenv("HPO_STORE", url)
    upgrade(url)
    return url


def test_the_command_shows_and_exports_it(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["audit"]) == 1
    assert capsys.readouterr().out == "nothing in the audit trail\n"
    with Store.open(address, now=Clock()) as store:
        evil = Provenance(way="manual")
        store.start_run(KEY, SPEC, triggered_by="=cmd()\n", provenance=evil)
    assert main.main(["audit", "iris"]) == 0
    shown = capsys.readouterr().out
    head, entry = shown.splitlines()
    assert head.split() == ["TIME", "DEED", "ABOUT", "BY", "DETAILS"]
    assert entry.startswith("2031-05-06 07:08:09 UTC  submitted  iris run 1  =cmd() (manual)  dag")
    assert head.index("DETAILS") == entry.index("dag")
    assert main.main(["audit", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert (plain["who"], plain["run"], plain["details"]["dag"]) == ("=cmd()\n", 1, "hpo_local")
    assert main.main(["audit", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["who"], row["deed"], row["run"]) for row in rows] == [
        ("'=cmd()\n", "submitted", "1")
    ]


def test_the_report_tells_who_did_what_to_the_run(address: str) -> None:
    with Store.open(address, now=Clock()) as store:
        run = begin(store)
        store.finish_run(run.id, RunStatus.FAILED, "marked", Actor("eve", "airflow"))
        page = html(store.view(run.id))
    assert "<dt>stopped, 2031-05-06 07:08:09 UTC</dt><dd>eve (airflow): reason marked</dd>" in page
