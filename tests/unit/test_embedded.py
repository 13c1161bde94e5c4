"""The embedded Airflow's files and environment, without starting it."""

from __future__ import annotations

import json
import socket
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hpo_lib.cli.embedded import _CONNECT_ARGS, Embedded
from hpo_lib.errors import HpoError


def test_secrets_are_made_once_and_are_the_owners_alone(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path, tmp_path / "home", {})
    first, second = embedded._facts(create=True), embedded._facts(create=True)
    assert first == second
    for name in ("embedded.json", "passwords.json"):
        mode = (tmp_path / "home" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert json.loads((tmp_path / "home" / "passwords.json").read_text()) == {
        "admin": first["password"]
    }


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path, tmp_path / "home", {})
    port = embedded._facts(create=True)["port"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert embedded._facts(create=True)["port"] != port


def test_airflow_of_the_surroundings_is_not_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    embedded = Embedded(tmp_path, tmp_path / "home", {"HPO_MAX_WAVES": "3"})
    env = embedded.environment(embedded._facts(create=True))
    assert "AIRFLOW__CORE__EXECUTOR" not in env
    assert env["AIRFLOW_HOME"] == str(tmp_path / "home")
    assert env["HPO_MAX_WAVES"] == "3"
    assert env["HPO_STORE"] == f"sqlite:///{tmp_path / 'home' / 'hpo' / 'hpo.db'}"


def test_a_database_is_prepared_again_only_after_something_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, done = tmp_path / "home", []
    file = home / "airflow.db"

    def run(command: Sequence[str], env: Mapping[str, str], what: str) -> None:
        done.append(what)
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS alembic_version AS SELECT 'a' AS number")

    def prepares(**settings: str) -> bool:
        embedded = Embedded(tmp_path, home, settings)
        before = len(done)
        embedded._prepare(embedded.environment(embedded._facts(create=True)))
        return len(done) > before

    monkeypatch.setattr("hpo_lib.cli.embedded._run", run)
    assert (prepares(), prepares(), prepares(HPO_MAX_WAVES="3")) == (True, False, False)
    assert (prepares(AIRFLOW__CORE__AUTH_MANAGER="x"), prepares(), prepares()) == (
        True,
        True,
        False,
    )
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET number = 'b'")
    assert (prepares(), prepares()) == (True, False)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DELETE FROM alembic_version")
    assert prepares()
    file.write_bytes(b"")
    assert (prepares(), prepares()) == (True, False)
    file.unlink()
    assert (prepares(), prepares()) == (True, False)
    monkeypatch.setattr("hpo_lib.cli.embedded.version", lambda _: "9.9.9")
    assert (prepares(), prepares()) == (True, False)
    other = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://elsewhere"}
    assert (prepares(**other), prepares(**other)) == (True, True)


def test_airflow_is_patient_with_a_file_and_only_with_that(tmp_path: Path) -> None:
    name = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    for settings, patient in (({}, True), ({name: "postgresql://elsewhere"}, False)):
        embedded = Embedded(tmp_path, tmp_path / "home", settings)
        env = embedded.environment(embedded._facts(create=True))
        assert (f"{name}ECT_ARGS" in env) == (f"{name}ECT_ARGS_ASYNC" in env) == patient


def test_its_api_server_is_not_as_it_may_wait_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient: dict[str, list[str]] = {}

    class Started:
        pid = 1

        def __init__(self, command: Sequence[str], *, env: Mapping[str, str], **_: object) -> None:
            patient[command[3]] = sorted(name for name in env if "CONNECT_ARGS" in name)

    monkeypatch.setattr("hpo_lib.cli.embedded.subprocess.Popen", Started)
    own = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC": "my.arguments"}
    embedded = Embedded(tmp_path, tmp_path / "home", {})
    env = embedded.environment(embedded._facts(create=True))
    (tmp_path / "home" / "logs").mkdir()
    for component in "api-server", "scheduler":
        embedded._start(component, env)
    assert patient == {"api-server": [], "scheduler": sorted(_CONNECT_ARGS)}
    embedded._start("api-server", {**env, **own})
    assert patient["api-server"] == list(own), "what an operator has set stays"


def test_its_files_are_for_its_owner_or_as_a_umask_says(tmp_path: Path) -> None:
    for said, file, folder in (({}, "0o600", "0o700"), ({"HPO_UMASK": "027"}, "0o640", "0o750")):
        embedded = Embedded(tmp_path, tmp_path / "home", said)
        env = embedded.environment(embedded._facts(create=True))
        logs = "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_"
        assert env[f"{logs}FILE_PERMISSIONS"] == file
        assert env[f"{logs}FOLDER_PERMISSIONS"] == folder


@pytest.mark.parametrize("said", ["", "77", "777", "0o77", "99", "abc", "-077"])
def test_a_umask_that_would_shut_its_owner_out_is_refused(tmp_path: Path, said: str) -> None:
    embedded = Embedded(tmp_path, tmp_path / "home", {"HPO_UMASK": said})
    with pytest.raises(HpoError, match="HPO_UMASK: must be 0 and two octal digits, such as 077"):
        _ = embedded.umask


def test_down_without_anything_up_is_fine(tmp_path: Path) -> None:
    Embedded(tmp_path, tmp_path / "home", {}).down()


def test_a_client_of_nothing_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(HpoError, match="hpo up"):
        Embedded(tmp_path, tmp_path / "home", {}).client()
