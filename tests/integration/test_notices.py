"""Who is told what, by a real notifier, and what other DAGs and the run's note hear."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.execution_time.context import OutletEventAccessors

from hpo_airflow import final_tasks, housekeeping_tasks, notices, run_note, tasks
from hpo_airflow.retry_delay import Ended
from hpo_lib.core.notices import Event, Notice
from hpo_lib.errors import SpecError
from hpo_lib.installation import Environment
from hpo_lib.promotion.rollout import roll_back
from hpo_lib.records import Model, ModelStatus
from hpo_lib.records.audit import Actor
from hpo_lib.runs.scheduled_files import scheduled_files
from hpo_lib.store import Store, upgrade
from tests.integration.models_contract import champion
from tests.integration.test_tasks import CONF, FakeTask, context

NOW = datetime(2026, 11, 30, tzinfo=UTC)
MODEL = Model("vision.churn", 3, 7, 4, {}, ModelStatus.CHAMPION, "it is better", NOW, NOW)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the notifier writes to; the installation tells all events."""
    file = tmp_path / "told.txt"
    rules = {"all": {"on": list(map(str, Event)), "by": "tests.notifier.FileNotifier"}}
    rules["all"]["options"] = {"file": str(file)}
    _configure(tmp_path, monkeypatch, notify=rules)
    return file


def _configure(home: Path, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
    url = f"sqlite:///{home}/hpo.db"
    upgrade(url)
    (home / "deployment.yaml").write_text(yaml.safe_dump(config))
    paths = {"HPO_CONFIG": home / "deployment.yaml", "HPO_HOME": home, "HPO_STORE": url}
    for name, value in paths.items():
        monkeypatch.setenv(name, str(value))


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def test_a_refused_conf_is_told(told: Path) -> None:
    with pytest.raises(Ended):
        tasks.validate(context(CONF | {"name": "../x"}), "local")
    assert lines(told) == ["failed|hpo_local was refused"]


def test_a_broken_file_is_told_as_broken(told: Path, tmp_path: Path) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "a.yaml").write_text("[")
    (file,) = scheduled_files(folder)
    with pytest.raises(Ended):
        tasks.validate_file(context(None), file, "report")
    with pytest.raises(Ended):
        tasks.refuse(context(None), "no module named x")
    assert lines(told) == ["broken|hpo_local is broken"] * 2


def test_the_end_of_a_run_is_told(told: Path) -> None:
    given = context(CONF | {"final": {}})
    tasks.validate(given, "local")
    with pytest.raises(Ended, match="no trial is complete"):
        tasks.report(given)
    assert lines(told) == ["failed|run 1 of run: failed"]


def test_another_champion_is_told_to_people_and_dags(told: Path) -> None:
    events = OutletEventAccessors()
    final_tasks.announce(context({}, outlet_events=events), MODEL)
    (event,) = events[final_tasks.CHAMPIONS].asset_alias_events
    assert event.source_alias_name == "hpo_champions"
    assert event.dest_asset_key.uri == "hpo://champion/vision.churn"
    assert event.extra == {"experiment": "vision.churn", "version": 3, "run": 7}
    assert lines(told) == ["champion|vision.churn: version 3 serves"]


def test_a_champion_that_was_brought_back_is_told_by_housekeeping(
    told: Path, tmp_path: Path
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/hpo.db") as store:
        champion(store, 1)
        second = champion(store, 2)
        roll_back(store.models, second, None, "rolled back by ada", Actor("ada", "cli"))
    events = OutletEventAccessors()
    (said,) = housekeeping_tasks.announce(context({}, outlet_events=events))
    assert said == "told that version 1 of nightly is champion again"
    (event,) = events[final_tasks.CHAMPIONS].asset_alias_events
    assert (event.dest_asset_key.uri, event.extra["version"]) == ("hpo://champion/nightly", 1)
    assert lines(told) == ["champion|nightly: version 1 serves"]
    assert housekeeping_tasks.announce(context({}, outlet_events=events)) == []


def test_housekeeping_says_what_is_wrong_in_the_operators_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else may read that part of it for weeks; all else is done before."""
    _configure(tmp_path, monkeypatch, retention_dayz=3)
    (said,) = housekeeping_tasks.sweep(context({}), tmp_path / "no files")
    assert said.startswith('config/deployment.yaml: unknown key "retention_dayz", did you mean')
    _configure(tmp_path, monkeypatch, retention_days=3)
    assert housekeeping_tasks.sweep(context({}), tmp_path / "no files") == []


def test_a_question_is_told(told: Path) -> None:
    notices.tell_approval(context({}), MODEL, "Deploy?")
    assert lines(told) == ["approval|vision.churn: version 3 waits to be approved"]


@pytest.mark.parametrize(
    ("before", "now", "missed"),
    [
        ((2026, 11, 28, 3), (2026, 11, 29, 3), ""),
        ((2026, 11, 27, 3), (2026, 11, 29, 3), "2026-11-28 03:00 UTC"),
        ((2026, 11, 25, 3), (2026, 11, 29, 3), "2026-11-26 03:00 UTC, nor at 2 later times"),
    ],
)
def test_nights_without_a_run_are_told_by_the_next(
    told: Path, tmp_path: Path, before: Any, now: Any, missed: str
) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "a.yaml").write_text(yaml.safe_dump(CONF | {"schedule": {"cron": "0 3 * * *"}}))
    (file,) = scheduled_files(folder)
    given = context(None)
    given["dag_run"].logical_date = datetime(*now, tzinfo=UTC)
    earlier = SimpleNamespace(logical_date=datetime(*before, tzinfo=UTC))
    given["ti"].get_previous_dagrun = lambda: earlier
    notices.tell_skipped(given, file)
    assert lines(told) == ([f"skipped|run: no run began at {missed}"] if missed else [])


def test_the_first_night_has_missed_none(told: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(CONF | {"schedule": {"cron": "0 3 * * *"}}))
    file = next(one for one in scheduled_files(tmp_path) if one.name == "a.yaml")
    given = context(None)
    given["dag_run"].logical_date = NOW
    given["ti"].get_previous_dagrun = lambda: None
    notices.tell_skipped(given, file)
    assert lines(told) == []


def test_what_users_write_is_no_template(told: Path, tmp_path: Path) -> None:
    notices.tell(context({}), Notice(Event.ENDED, "x", "{{ 6 * 7 }} <b>", "a <b>\n{{ 1 }}"))
    assert lines(told) == ["ended|{{ 6 * 7 }} <b>"]
    plain = Notice(Event.ENDED, "x", "", "a <b>\n{{ 1 }}").plain()
    assert plain["html"] == "a &lt;b&gt;<br>\n{{ 1 }}"


def test_a_notifier_that_fails_harms_nobody_and_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    by = "tests.notifier.FileNotifier"
    rules = {
        "gone": {"on": ["ended"], "by": "no.such.Notifier"},
        "wrong": {"on": ["ended"], "by": by, "options": {"file": f"{tmp_path}/no/folder"}},
        "well": {"on": ["ended"], "by": by, "options": {"file": f"{tmp_path}/told.txt"}},
    }
    _configure(tmp_path, monkeypatch, notify=rules)
    notices.tell(context({}), Notice(Event.ENDED, "x", "subject", "text"))
    assert lines(tmp_path / "told.txt") == ["ended|subject"]
    assert "notify.gone: could not tell of ended" in caplog.messages
    assert "notify.wrong: could not tell of ended" in caplog.messages


def test_rules_that_cannot_be_read_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _configure(tmp_path, monkeypatch, notify={"a": {"on": ["ended"]}})
    notices.tell(context({}), Notice(Event.ENDED, "x", "subject", "text"))
    assert any("rules of notify cannot be read" in one for one in caplog.messages)


def test_only_those_are_told_who_want_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = "tests.notifier.FileNotifier"
    file = {"file": f"{tmp_path}/told.txt"}
    rules = {"a": {"on": "failed", "by": by, "options": file, "experiments": ["churn-*"]}}
    _configure(tmp_path, monkeypatch, notify=rules)
    for event in Event:
        for experiment in ("churn-eu", "other"):
            notices.tell(context({}), Notice(event, experiment, experiment, ""))
    assert lines(tmp_path / "told.txt") == ["failed|churn-eu"]


def test_a_team_has_rules_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by = "tests.notifier.FileNotifier"
    of_all = {"all": {"on": "ended", "by": by}, "ops": {"on": "failed", "by": by}}
    own = {"notify": {"all": {"on": "champion", "by": by}}}
    _configure(tmp_path, monkeypatch, notify=of_all, teams={"vision": own})
    on = {name: one.on for name, one in Environment(tmp_path, team="vision").notify.items()}
    assert on == {"all": (Event.CHAMPION,), "ops": (Event.FAILED,)}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"on": "fail", "by": "a.B"}, "notify.x.on: must be of ended, failed, approval, champion"),
        ({"on": "failed", "by": "rm -rf"}, "notify.x.by: must be a notifier's class"),
        ({"on": [], "by": "a.B"}, "notify.x.on: must not be empty"),
        ({"on": "failed", "with": "a.B"}, "notify.x: unknown key"),
    ],
)
def test_a_wrong_rule_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any], message: str
) -> None:
    _configure(tmp_path, monkeypatch, notify={"x": rule})
    with pytest.raises(SpecError) as error:
        _ = Environment(tmp_path).notify
    assert message in str(error.value)


class _Server(BaseHTTPRequestHandler):
    """Plays the two answers of Airflow's API server that a note needs."""

    notes: list[tuple[str, Any]] = []  # noqa: RUF012 - of the one server of this module

    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.command == "PATCH":
            self.notes.append((self.path, body))
        text = json.dumps({"access_token": "t"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PATCH = _answer  # noqa: N815 - as http.server calls them

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """The notes that a server has been sent to which the connection leads."""
    server = HTTPServer(("127.0.0.1", 0), _Server)
    Thread(target=server.serve_forever, daemon=True).start()
    leads = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_port}
    leads |= {"login": "ada", "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_HPO_AIRFLOW", json.dumps(leads))
    _Server.notes.clear()
    yield _Server.notes
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("told")
def test_the_note_says_how_a_run_stands_and_how_it_ended(notes: list[tuple[str, Any]]) -> None:
    given = context(CONF | {"final": {}})
    tasks.validate(given, "local")
    tasks.suggest(given, 1)
    with pytest.raises(Ended):
        tasks.report(given)
    path, first = notes[0]
    assert path == "/api/v2/dags/hpo_local/dagRuns/manual?update_mask=note"
    assert first == {"note": "0/20 trials done · 1 running"}
    assert "**failed**: no trial is complete: 1 failed (lost 1)" in notes[-1][1]["note"]
    assert "report.html" in notes[-1][1]["note"]


@pytest.mark.usefixtures("told")
def test_the_note_of_a_refused_run_lists_what_is_wrong(notes: list[tuple[str, Any]]) -> None:
    given = context(CONF | {"name": "<b>", "limits": {"max_trials": 0}})
    with pytest.raises(Ended):
        tasks.validate(given, "local")
    tasks.suggest(given, 1)
    assert len(notes) == 2
    for _, body in notes:
        refused, nothing, *listed = body["note"].splitlines()
        assert (refused, nothing) == ("**refused**", "")
        assert [line[:8] for line in listed] == ["* `name:", "* `limit"], "also after a wave"


def test_a_long_note_is_cut(notes: list[tuple[str, Any]]) -> None:
    run_note.write(context({}), lambda: "x" * 2_000)
    assert len(notes[0][1]["note"]) == 1_000


def test_without_a_connection_there_is_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_HPO_AIRFLOW", raising=False)
    run_note.write(context({}), lambda: pytest.fail("asked for a text"))


def test_a_note_that_cannot_be_written_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dead = {"conn_type": "http", "host": "127.0.0.1", "port": 1, "login": "a", "password": "b"}
    monkeypatch.setenv("AIRFLOW_CONN_HPO_AIRFLOW", json.dumps(dead))
    run_note.write(context({}), lambda: "text")
    assert any(one.startswith("the run's note is not written: ") for one in caplog.messages)


def test_the_fake_task_is_asked_as_airflows_is() -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    for name in vars(FakeTask):
        if not name.startswith("_") and callable(getattr(FakeTask, name)):
            assert hasattr(RuntimeTaskInstance, name), name
