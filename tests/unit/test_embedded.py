"""The embedded Airflow's files and environment, without starting it."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from hpo_lib.cli.embedded import Embedded
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
    with pytest.raises(HpoError, match="make up"):
        Embedded(tmp_path, tmp_path / "home", {}).client()
