"""What trials have left: over the REST API, without Airflow, and to a folder by `hpo model`."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_lib.cli.main import main
from hpo_lib.core.trial import Cause
from hpo_lib.errors import NotFound
from hpo_lib.records import AttemptState, Outcome
from hpo_lib.runs import trial_files
from hpo_lib.runs.trial_files import left_by
from tests.integration.api_client import ApiClient
from tests.integration.test_api import begun, done, wave
from tests.integration.test_cli_remote import URL, api, said

__all__ = ["api"]
FILES = "/runs/1/trials/1/files"
LARGE = os.urandom(200_000)


@pytest.fixture
def output(api: ApiClient, tmp_path: Path) -> Path:
    """What the first trial of a run has left; the attempt before had left something else."""
    run = begun(api.store)
    assert wave(api.store, run, 1) == [1, 2]
    for number in (1, 2):
        left = tmp_path / f"attempt-{number}" / "output"
        (left / "model" / "deep").mkdir(parents=True)
        (left / "model" / "model.keras").write_bytes(LARGE)
        (left / "model" / "deep" / "a b?#%.json").write_text("{}")
        (left / "holdout.json").write_text(f"{number}")
    lost = Outcome(AttemptState.FAILED, "lost", cause=Cause.LOST)
    first = api.store.open_attempt(run.id, 1, lambda _: {"folder": str(tmp_path / "attempt-1")})
    api.store.close_attempt(first.id, lost, final=False)
    second = {"folder": str(tmp_path / "attempt-2")}
    attempt = api.store.open_attempt(run.id, 1, lambda _: second)
    good = Outcome(AttemptState.SUCCEEDED, "done", value=0.5, metrics={"loss": 0.5})
    api.store.close_attempt(attempt.id, good, final=True)
    return tmp_path / "attempt-2" / "output"


def test_the_files_of_the_attempt_that_went_well_are_listed_a_page_at_a_time(
    api: ApiClient, output: Path
) -> None:
    found = api.get(FILES)
    assert (found["trial"], found["attempt"], found["place"]) == (1, 2, str(output))
    names = ["holdout.json", "model/deep/a b?#%.json", "model/model.keras"]
    assert [one["name"] for one in found["files"]] == names
    assert [one["size"] for one in found["files"]] == [1, 2, len(LARGE)]
    page = api.get(FILES, limit=2)
    assert [one["name"] for one in page["files"]] == names[:2]
    assert [one["name"] for one in api.get(FILES, after=page["next"])["files"]] == names[2:]


def test_a_file_is_sent_as_it_is_and_never_as_a_page(api: ApiClient, output: Path) -> None:
    answer = api.ask("GET", f"{FILES}/model/model.keras")
    assert (answer.status_code, answer.content) == (200, LARGE)
    assert answer.headers["content-length"] == str(len(LARGE))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''model.keras"
    assert answer.headers["content-security-policy"] == "sandbox"
    assert api.ask("GET", f"{FILES}/model/deep/a%20b%3F%23%25.json").text == "{}"


@pytest.mark.parametrize(
    "name",
    ["nothing", "model", "model/", "../output/holdout.json", "%2e%2e/log.txt", "/etc/passwd",
     "//etc/passwd", "model//model.keras", "leads-out", "folder/passwd", "pipe",
     "%00"],
)  # fmt: skip
def test_what_is_no_file_of_the_trials_is_not_there(
    api: ApiClient, output: Path, name: str
) -> None:
    (output / "leads-out").symlink_to("/etc/passwd")
    (output / "folder").symlink_to("/etc")
    os.mkfifo(output / "pipe")
    answer = api.ask("GET", f"{FILES}/{name}")
    assert answer.status_code == 404, answer.text
    assert "root:" not in answer.text
    assert len(api.get(FILES)["files"]) == 3


@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.lists(st.sampled_from(["..", ".", "", "model", "log.txt", "holdout.json", "\0"]), max_size=6)
)
def test_no_name_leads_out(api: ApiClient, output: Path, parts: list[str]) -> None:
    (output.parent / "log.txt").write_text("secret")
    left = left_by(api.store, api.store.run_by_id(1), 1, {})
    try:
        _, pieces = left.read("/".join(parts))
    except NotFound:
        return
    assert b"".join(pieces) == b"2"


def test_a_link_to_a_folder_in_the_outputs_place_is_not_followed(
    api: ApiClient, output: Path, tmp_path: Path
) -> None:
    output.rename(tmp_path / "elsewhere")
    output.symlink_to(tmp_path / "elsewhere")
    assert api.ask("GET", FILES).status_code == 404
    assert api.ask("GET", f"{FILES}/holdout.json").status_code == 404


def test_a_file_that_grows_is_sent_as_far_as_it_was(api: ApiClient, output: Path) -> None:
    size, pieces = left_by(api.store, api.store.run_by_id(1), 1, {}).read("holdout.json")
    with (output / "holdout.json").open("a") as file:
        file.write("more")
    assert (size, b"".join(pieces)) == (1, b"2")


def test_a_file_that_is_too_large_is_fetched_from_where_it_lies(
    api: ApiClient, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_files, "MOST_BYTES", 10_000)
    answer = api.ask("GET", f"{FILES}/model/model.keras")
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        f"model/model.keras: must be of at most 10,000 bytes to be sent, got 200,000; it is in "
        f"{output}"
    )


def test_what_a_trial_has_not_left_itself_is_said(api: ApiClient, output: Path) -> None:
    for path, why in (
        ("/runs/1/trials/2/files", "trial 2 has not begun"),
        ("/runs/1/trials/9/files", "9"),
    ):
        answer = api.ask("GET", path)
        assert (answer.status_code, why in answer.json()["detail"]) == (404, True)
    api.store.open_attempt(1, 2, lambda _: {})
    told = api.ask("GET", "/runs/1/trials/2/files").json()["detail"]
    assert told == "the backend of trial 2 keeps no files"


# The command


@pytest.fixture(params=["api", "store"])
def where(
    request: pytest.FixtureRequest, output: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[list[str]]:
    """The same over the REST API, and from the store of an Airflow that is down."""
    if request.param == "store":
        monkeypatch.setenv("HPO_ROOT", str(tmp_path))
        monkeypatch.setenv("HPO_STORE", f"sqlite:///{tmp_path}/hpo.db")
        yield []
    else:
        yield ["--airflow", URL]


def test_what_the_best_trial_has_left_is_listed(
    where: list[str], output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*where, "model", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"trial 1, attempt 2: {output}",
        "  FILE                    SIZE",
        "  holdout.json            1 byte",
        "  model/deep/a b?#%.json  2 bytes",
        "  model/model.keras       195 KiB",
        "hpo model 1 --trial 1 -o FOLDER copies what is in model/, with --all all of it",
    ]
    assert main([*where, "model", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][2]["size"] == len(LARGE)


def test_a_model_is_copied_to_a_folder(
    where: list[str], output: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "got" / "it"
    assert main([*where, "model", "-o", str(target)]) == 0
    out, err = capsys.readouterr()
    assert "run 1 of iris, the newest:" in err
    assert out.splitlines()[-1] == f"wrote {target}/model.keras  195 KiB"
    assert (target / "model.keras").read_bytes() == LARGE
    assert (target / "deep" / "a b?#%.json").read_text() == "{}"
    assert sorted(one.name for one in target.iterdir()) == ["deep", "model.keras"]
    assert main([*where, "model", "1", "--trial", "1", "--all", "--json", "-o", f"{target}2"]) == 0
    assert json.loads(capsys.readouterr().out)["written"][0] == f"{target}2/holdout.json"
    assert Path(f"{target}2", "model", "model.keras").read_bytes() == LARGE


@pytest.mark.parametrize("name", ["a\x1b]0;owned\x07", "a\nwrote b", "a\x9bH"])
def test_a_name_with_control_characters_is_left_out(
    where: list[str], output: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    """All else is copied, and nothing is said to the terminal."""
    (output / "model" / name).write_text("x")
    assert main([*where, "model", "1"]) == 0
    assert main([*where, "model", "1", "-o", str(tmp_path / "got")]) == 0
    out = capsys.readouterr().out
    assert all(told.isprintable() for told in out.splitlines())
    assert "wrote b" not in out
    assert sorted(one.name for one in (tmp_path / "got").iterdir()) == ["deep", "model.keras"]


def test_what_is_there_is_replaced_only_by_force(
    where: list[str], output: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    there, outside = tmp_path / "got" / "model.keras", tmp_path / "outside"
    there.parent.mkdir()
    outside.write_text("precious")
    there.symlink_to(outside)
    words = [*where, "model", "1", "-o", str(there.parent)]
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"{there}: is there already; --force replaces what is there, -o names another folder"
    )
    assert [one.name for one in there.parent.iterdir()] == ["model.keras"]
    assert main([*words, "--force"]) == 0
    assert there.read_bytes() == LARGE
    assert (there.is_symlink(), outside.read_text()) == (False, "precious")


def test_no_link_in_the_folder_is_followed(
    where: list[str], output: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "got").mkdir()
    (tmp_path / "got" / "deep").symlink_to(tmp_path)
    assert main([*where, "model", "1", "--force", "-o", str(tmp_path / "got")]) == 2
    assert "nothing is written there" in capsys.readouterr().err
    assert not (tmp_path / "a b?#%.json").exists()


def test_what_cannot_be_copied_is_said(
    where: list[str], output: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert main([*where, "model", "1", "-o", str(tmp_path / "file")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert main([*where, "model", "1", "--trial", "2"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "trial 2 has not begun"
    for one in sorted(output.rglob("*"), reverse=True):
        one.rmdir() if one.is_dir() else one.unlink()
    assert main([*where, "model", "1"]) == 1
    assert f"trial 1 has left no files in {output}, or they are gone" in capsys.readouterr().err


def test_of_several_best_trials_one_has_to_be_named(
    api: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [{"metric": one, "direction": "minimize"} for one in ("loss", "size")]
    run = begun(api.store, objective=both)
    wave(api.store, run, 1)
    done(api.store, run, 1, 0.5, size=1.0)
    done(api.store, run, 2, 0.25, size=2.0)
    said(capsys, "model", "1", code=2)
    assert main(["--airflow", URL, "model", "1"]) == 2
    told = "run 1 has several best trials: name one by --trial, of 1, 2\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("name", ["../up", "model/../../../up", "model/", "/up/", ".."])
def test_names_that_a_server_makes_up_stay_below_the_folder(
    api: ApiClient,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
) -> None:
    from hpo_lib.cli.airflow_api import Airflow

    true = Airflow.hpo

    def hpo(self: Airflow, method: str, path: str, *words: Any, **query: Any) -> Any:
        found = true(self, method, path, *words, **query)
        if path.endswith("/files"):
            found["files"] = [{"name": name, "size": 1}]
        return found

    monkeypatch.setattr(Airflow, "hpo", hpo)
    monkeypatch.setattr(Airflow, "download", lambda *_: iter([b"x"]))
    got = tmp_path / "a" / "got"
    main(["--airflow", URL, "model", "1", "-o", str(got)])
    assert [one for one in tmp_path.rglob("up*") if not one.is_relative_to(got)] == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_what_somebody_asks_for_follows_their_umask(
    where: list[str],
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mask: int,
    mode: int,
) -> None:
    for name in ("HPO_HOME", "HPO_UMASK"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "train.py").write_text("import argparse")
    before = os.umask(mask)
    try:
        for words in (
            ["init", "train.py", "--metric", "loss", "--minimize", "lr=0.1..1", "--python", "true"],
            [*where, "report", "1", "-o", "report.html"],
            [*where, "export", "1", "-o", "trials.csv"],
            [*where, "model", "1", "-o", "got"],
            ["context", "add", "x", "http://localhost"],
            ["context", "use", "-"],
        ):
            assert main(words) == 0
    finally:
        os.umask(before)
    for name in ("train.yaml", "report.html", "trials.csv", "got/model.keras"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    kept = tmp_path / "settings" / "contexts.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert main([*where, "report", "1", "-o", "no/where.html"]) == 2
    told = f"{tmp_path}/no/where.html: cannot be written: No such file or directory\n"
    assert capsys.readouterr().err.endswith(told)
