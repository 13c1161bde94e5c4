"""Commands about runs elsewhere: over the REST API on a real store, in a fake Airflow."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_airflow.api import PREFIX
from hpo_lib.cli import contexts, remote, submitting
from hpo_lib.cli.airflow_api import Airflow
from hpo_lib.cli.main import main
from hpo_lib.core.trial import Cause, TrialState
from hpo_lib.records import AttemptState, Outcome, Run, RunStatus
from hpo_lib.spec import load
from hpo_lib.trials.attempt_log import beginning
from tests import clocks
from tests.integration.api_client import ApiClient, FakeCaller, new_store
from tests.integration.test_api import SPEC, begun, done, wave

URL = "https://airflow.example.org"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiClient]:
    """An API that the commands reach by URL and token alone."""
    monkeypatch.chdir(tmp_path)
    for name in ("HPO_AIRFLOW", "HPO_CONTEXT", "HPO_USER", "HPO_PASSWORD", "HPO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HPO_CONTEXTS", str(tmp_path / "settings" / "contexts.json"))
    monkeypatch.setenv("HPO_TOKEN", "sekret")
    monkeypatch.setattr(remote, "_POLL_S", 0.0)
    monkeypatch.setattr(remote, "_AGAIN_S", 0.0)
    with new_store(tmp_path) as store:
        made = ApiClient(store)

        def answer(request: httpx.Request) -> httpx.Response:
            assert request.headers["authorization"] == "Bearer sekret"
            assert str(request.url).startswith(URL)
            path, asked = request.url.path, request.url.raw_path.decode().partition("?")[0]
            inner = asked.removeprefix(PREFIX)
            if asked == inner:
                found = made.airflow.answers.get(
                    (request.method, path.removeprefix("/api/v2")), (404, {})
                )
                status, told = found if isinstance(found, tuple) else (200, found)
                return httpx.Response(status, json=told)
            query = dict(request.url.params)
            body = {"content": request.content, "headers": {"content-type": "application/json"}}
            told = made.ask(request.method, inner, params=query, **body)
            return httpx.Response(told.status_code, content=told.content)

        def connected(self: Airflow, *_: Any, **__: Any) -> None:
            original(self, *_, **__)
            self._client = httpx.Client(transport=httpx.MockTransport(answer))

        original = Airflow.__init__
        monkeypatch.setattr(Airflow, "__init__", connected)
        yield made


@pytest.fixture
def run(api: ApiClient) -> Run:
    """A run of two trials, one of which is complete."""
    run = begun(api.store)
    assert wave(api.store, run, 1) == [1, 2]
    done(api.store, run, 1, 0.5)
    return run


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Run a command on that Airflow, and give what it prints."""
    assert main(["--airflow", URL, *words]) == code
    return capsys.readouterr().out


def test_people_read_tables_and_programs_json(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    head, line = said(capsys, "runs").splitlines()
    assert head.split() == ["RUN", "EXPERIMENT", "STATUS", "BEGAN", "TOOK", "BY", "REASON"]
    assert line.split()[:3] == ["1", "iris", "running"]
    assert json.loads(said(capsys, "runs", "iris", "--json"))[0]["id"] == 1
    assert json.loads(said(capsys, "runs", "--status", "failed", "--json")) == []
    assert said(capsys, "experiments").splitlines()[1].split() == ["iris", "1", "1"]
    head, first, second = said(capsys, "trials", "1").splitlines()
    assert head.split() == ["TRIAL", "STATE", "VALUE", "X", "ATTEMPTS", "REASON"]
    assert (first.split()[:2], second.split()[:2]) == (["1", "complete"], ["2", "running"])
    assert (first.split()[4], second.split()[4]) == ("1", "0")
    assert json.loads(said(capsys, "trials", "1", "--json"))[0]["value"] == 0.5
    assert said(capsys, "best", "1").splitlines()[0] == "trial 1: loss = 0.5"
    assert json.loads(said(capsys, "best", "1", "--json"))["metrics"] == ["loss"]
    lines = said(capsys, "status", "1").splitlines()
    assert lines[0].startswith("run 1 of iris: running for ")
    assert lines[-1].strip() == f"{URL}/dags/hpo_local/runs/manual__1"
    assert json.loads(said(capsys, "status", "1", "--json"))["max_trials"] == 4


def test_without_a_number_it_is_the_newest_run_which_is_said(
    api: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--airflow", URL, "best"]) == 1
    assert capsys.readouterr().err == "there is no run yet\n"
    run = begun(api.store)
    wave(api.store, run, 1)
    done(api.store, run, 1, 0.5)
    api.store.stop_trial(run.id, 2, "no more")
    api.store.finish_run(run.id, RunStatus.COMPLETE, "stopped by ada")
    for words in (["best"], ["trials"], ["export"], ["report"], ["watch"]):
        assert main(["--airflow", URL, *words]) == 0
        out, told = capsys.readouterr()
        assert told.splitlines()[0] == "run 1 of iris, the newest:"
        assert main(["--airflow", URL, *words, "1"]) == 0
        assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    "words",
    [["runs"], ["runs", "iris", "--status", "complete"], ["runs", "other"], ["experiments"],
     ["status", "1"], ["trials", "1"], ["trials", "1", "--final"], ["best", "1"], ["best"],
     ["spec", "1"], ["spec", "1", "--json"], ["report", "1"], ["export", "1"],
     ["export", "1", "--json"], ["status", "9"]],
    ids=" ".join,
)  # fmt: skip
def test_what_only_reads_is_answered_by_the_store_where_airflow_is_down(
    api: ApiClient,
    run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
) -> None:
    """It is answered as it is by that Airflow, but for the page, which nobody serves."""
    api.store.stop_trial(run.id, 2, "no more")
    api.store.finish_run(run.id, RunStatus.COMPLETE, "stopped by ada")
    monkeypatch.setenv("HPO_ROOT", str(tmp_path))

    def shown(*where: str) -> tuple[int, str]:
        code = main([*where, *words])
        out, err = capsys.readouterr()
        page = Path("hpo-run-1.html").read_text() if words[0] == "report" else ""
        told = re.sub(r"^  (http|hpo_local ).*manual__1.*", "", out, flags=re.MULTILINE)
        return code, f"{told}{page}{err.removeprefix(REMARK)}"

    for form in ([], ["--json"]):
        words = [*words, *form]
        by_airflow = shown("--airflow", URL)
        monkeypatch.setenv("HPO_STORE", f"sqlite:///{tmp_path}/hpo.db")
        assert shown() == by_airflow
        monkeypatch.delenv("HPO_STORE")
    assert main(words) == 1, "this folder has no store of its own"
    assert "no Airflow runs here; `hpo up` starts one" in capsys.readouterr().err


REMARK = "no Airflow runs here; this is what its store knows:\n"


@pytest.mark.parametrize(
    "words", [["stop", "1"], ["watch", "1"], ["log", "1", "1"], ["extend", "1", "--trials", "2"]]
)
def test_what_needs_airflow_says_how_to_start_it(
    api: ApiClient,
    run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
) -> None:
    monkeypatch.setenv("HPO_ROOT", str(tmp_path))
    monkeypatch.setenv("HPO_STORE", f"sqlite:///{tmp_path}/hpo.db")
    monkeypatch.setattr(remote, "_TRIES", 1)
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("no Airflow runs here; `hpo up` starts one")


def test_a_list_longer_than_a_page_is_whole(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PAGE", 1)
    found = json.loads(said(capsys, "trials", "1", "--json"))
    assert [one["number"] for one in found] == [1, 2]


def test_a_spec_comes_back_as_the_file_that_it_was(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from hpo_lib.spec.yaml_file import from_yaml

    assert from_yaml(said(capsys, "spec", "1")) == load(SPEC)
    (tmp_path / "mine.json").write_text(json.dumps(SPEC))
    assert main(["--airflow", "http://elsewhere", "conf", "mine.json"]) == 0
    assert load(json.loads(capsys.readouterr().out)) == load(SPEC)
    assert main(["conf", "mine.json"]) == 0
    placed = SPEC | {"trial": SPEC["trial"] | {"dir": str(tmp_path)}}
    assert load(json.loads(capsys.readouterr().out)) == load(placed)


def test_trials_are_exported(
    api: ApiClient, run: Run, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    assert main(["--airflow", URL, "export", "1", "--csv"]) == 0
    assert len(capsysbinary.readouterr().out.splitlines()) == 3
    assert main(["export", "1", "--json", "--airflow", URL]) == 0
    assert len(json.loads(capsysbinary.readouterr().out)) == 2
    assert main(["export", "1", "-o", "trials.csv", "--airflow", URL]) == 0
    assert (tmp_path / "trials.csv").read_text().startswith("number,slot,state")
    assert capsysbinary.readouterr() == (b"", b"wrote trials.csv\n")


def test_parquet_has_a_type_for_each_column(
    api: ApiClient, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    said(capsys, "export", "1", "--parquet", "-o", "trials.parquet")
    table = parquet.read_table(tmp_path / "trials.parquet").to_pylist()
    assert [(one["trial"], one["metric_loss"]) for one in table] == [(1, 0.5), (2, None)]


def test_the_report_is_saved_and_opened(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    place = Path(said(capsys, "report", "1", "--open").strip())
    assert "iris" in place.read_text()
    assert opened == [place.as_uri()]


def test_a_log_is_followed_to_its_end(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    task = "/dags/hpo_local/dagRuns/manual__1/taskInstances/wave_01.trial"
    api.airflow.answers = {
        ("GET", f"{task}/0"): {"try_number": 1, "state": "success"},
        ("GET", f"{task}/logs/1"): {"content": [{"event": f"line {n}"} for n in range(1500)]},
    }
    begins = "attempt 1 of trial 1; everything it prints is kept in"
    api.airflow.answers["GET", f"{task}/logs/1"]["content"].insert(0, {"event": begins})
    lines = [begins, *(f"line {n}" for n in range(1500))]
    assert said(capsys, "log", "1", "1", "-f").splitlines() == lines


def test_a_log_is_that_of_the_newest_attempt_or_of_the_one_that_is_named(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first attempt was taken over by a second try of its task, the second begins in that."""
    task = "/dags/hpo_local/dagRuns/manual__1/taskInstances/wave_01.trial"
    first, second = (beginning(n, 2) for n in (1, 2))
    tries = {
        1: ["wheels turn", first, "one", "two"],
        2: ["wheels turn", first, "three", "it failed", second, "four"],
    }
    api.airflow.answers = {
        ("GET", f"{task}/1"): {"try_number": 2, "state": "success"},
        **{
            ("GET", f"{task}/logs/{number}"): {"content": [{"event": one} for one in lines]}
            for number, lines in tries.items()
        },
    }
    failed = Outcome(AttemptState.FAILED, "lost", cause=Cause.LOST)
    attempt = api.store.open_attempt(run.id, 2, lambda _: {})
    api.store.close_attempt(attempt.id, failed, final=False)
    done(api.store, run, 2, 0.25)
    for words in ([], ["-f"], ["--attempt", "2"]):
        assert said(capsys, "log", "1", "2", *words).splitlines() == [second, "four"]
    of_first = said(capsys, "log", "1", "2", "--attempt", "1").splitlines()
    assert of_first == [first, "one", "two", first, "three", "it failed"]
    assert main(["--airflow", URL, "log", "1", "2"]) == 0
    assert capsys.readouterr().err == "attempt 2; --attempt N shows another\n"
    assert main(["--airflow", URL, "log", "1", "2", "--attempt", "3"]) == 1
    assert capsys.readouterr().err == "trial 2 of run 1 has no attempt 3; it has 1, 2\n"


def test_who_follows_a_trial_sees_the_attempt_that_comes(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (beginning(n, 2) for n in (1, 2))
    attempt = api.store.open_attempt(run.id, 2, lambda _: {})

    class Answers(dict[Any, Any]):
        """Once the first attempt has been read to its end, it fails, and the second goes well."""

        asked = 0

        def get(self, key: Any, default: Any = None) -> Any:
            if not key[1].endswith("/logs/1"):
                return {"try_number": 1, "state": "running" if self.asked < 3 else "success"}
            self.asked += 1
            if self.asked == 2:
                failed = Outcome(AttemptState.FAILED, "lost", cause=Cause.LOST)
                api.store.close_attempt(attempt.id, failed, final=False)
                done(api.store, run, 2, 0.25)
            lines = [first, "one"] + ([second, "two"] if self.asked > 1 else [])
            return {"content": [{"event": one} for one in lines]}

    api.airflow.answers = Answers()
    assert said(capsys, "log", "1", "2", "-f").splitlines() == [first, "one", second, "two"]


def test_what_people_ask_of_a_run_is_done(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "add-point", "1", "x=0.75")
    assert api.store.run_by_id(1).document["initial_points"] == [{"x": 0.75}]
    assert (
        said(capsys, "stop-trial", "1", "2").strip()
        == "run 1, trial 2 has ended: stopped (stopped by ada)"
    )
    assert api.store.trial(1, 2).state is TrialState.STOPPED
    assert said(capsys, "stop", "1").strip() == "run 1 is being stopped (stopped by ada)"
    api.store.finish_run(1, RunStatus.COMPLETE, "stopped by ada")
    assert json.loads(said(capsys, "stop", "1", "--json"))["state"] == "complete"
    assert said(capsys, "status", "1").startswith("run 1 of iris: stopped by ada after ")
    line = said(capsys, "runs").splitlines()[1]
    assert line.startswith("1    iris        stopped by ada  ")
    assert line.count("stopped by ada") == 1
    (listed,) = json.loads(said(capsys, "runs", "--json"))
    assert (listed["status"], listed["stopped_by"]) == ("complete", "ada")


def test_a_run_is_extended_by_so_many(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    airflows = "/dags/hpo_local/dagRuns/manual__1"
    names = [f"wave_{n:02d}.suggest" for n in range(1, 9)]
    api.airflow.answers = {
        ("GET", airflows): {"state": "running"},
        ("GET", "/dags/hpo_local/tasks"): {"tasks": [{"task_id": name} for name in names]},
        ("GET", f"{airflows}/taskInstances/wave_02.suggest"): {"state": None},
    }
    said(capsys, "extend", "1", "--trials", "6")
    assert api.store.run_by_id(1).spec.limits.max_trials == 10


def test_a_run_is_watched_to_its_end(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    api.store.stop_trial(run.id, 2, "no more")
    api.store.finish_run(run.id, RunStatus.COMPLETE, "stopped by ada")
    out = said(capsys, "watch", "1")
    assert "run 1 of iris: stopped by ada after " in out
    assert "trial 1: loss = 0.5" in out
    assert out.splitlines()[-1] == "report: hpo report 1 --open"
    api.store.judge_run_again(run.id, RunStatus.FAILED, "it is bad")
    assert json.loads(said(capsys, "watch", "1", "--json", code=1))["reason"] == "it is bad"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("status", "9"), 1, "the store has no run 9"),
        (("add-point", "1", "x=7"), 2, "params: x: must be within [0.0, 1.0], got 7.0"),
        (("add-point", "1", "x"), 2, "a parameter must be NAME=VALUE, got x"),
    ],
)
def test_a_refusal_is_told_in_words_and_by_the_exit_code(
    api: ApiClient,
    run: Run,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    assert main(["--airflow", URL, *words]) == code
    assert capsys.readouterr().err.strip() == told


def test_a_missing_right_is_named(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    from hpo_airflow.api.rights import Right

    api.who = FakeCaller("vera", rights=(Right.SEE_RUNS,))
    assert main(["--airflow", URL, "stop", "1"]) == 1
    told = "vera lacks Airflow's right PUT on RUN of DAG hpo_local"
    assert capsys.readouterr().err.strip() == told


def test_a_token_that_is_over_is_told(api: ApiClient, capsys: pytest.CaptureFixture[str]) -> None:
    api.who = None
    assert main(["--airflow", URL, "runs"]) == 1
    assert capsys.readouterr().err.strip() == (
        f"Airflow at {URL} refused the token: it may have expired"
    )


def test_ctrl_c_leaves_a_run_to_itself_and_a_second_one_stops_it(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Airflow(URL, "", "", token="sekret")

    def interrupted(*_: Any) -> int:
        raise KeyboardInterrupt

    clocks.give(monkeypatch, submitting, sleep=lambda _: None)
    assert submitting.interruptible(client, run.key, interrupted) == 130
    assert "run 1 goes on: `hpo watch 1` follows it, `hpo stop 1` stops" in capsys.readouterr().out
    assert api.store.stop_of(1) is None
    clocks.give(monkeypatch, submitting, sleep=interrupted)
    assert submitting.interruptible(client, run.key, interrupted) == 130
    assert "run 1 stops: stopped by ada; a report follows" in capsys.readouterr().out
    assert api.store.stop_of(1) is not None


def test_a_file_is_run_on_any_airflow_once_its_dag_is_not_paused(
    api: ApiClient,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(SPEC))

    pauses = [True, True, False]

    class Answers(dict[Any, Any]):
        """Begins the run, and ends it, when the DAG run's state is asked for.

        Its DAG is paused when it is looked at first, and whoever waits for that looks again.
        """

        def get(self, key: Any, default: Any = None) -> Any:
            method, path = key
            if path == "/dags/hpo_local":
                return {"is_paused": pauses.pop(0)}
            if method == "POST" or pauses:
                return {"state": "queued"}
            name = path.rpartition("/")[2]
            from hpo_lib.records import Provenance, RunKey

            made = api.store.start_run(
                RunKey("hpo_local", name),
                load(SPEC),
                triggered_by="ada",
                provenance=Provenance(),
            )
            api.store.finish_run(made.id, RunStatus.COMPLETE, "done")
            return {"state": "running"}

    api.airflow.answers = Answers()
    monkeypatch.setattr(submitting, "_POLL_S", 0.0)
    assert main(["--airflow", URL, "run", "mine.json"]) == 0
    out, told = capsys.readouterr()
    assert "triggered hpo_local" in out
    assert "run 1 of iris: complete after " in out
    assert (
        "hpo_local is paused in Airflow: nothing starts until it is unpaused "
        "(airflow dags unpause hpo_local, or the switch in the UI)"
    ) in told.splitlines()


@pytest.mark.parametrize(
    ("trial", "told"),
    [
        ({"command": ["python", "train.py"]}, True),
        ({"command": ["python", "train.py"], "dir": "mine"}, True),
        ({"command": ["python", "train.py"], "dir": "/srv/mine"}, False),
        ({"command": ["python", "other.py"]}, False),
        ({"command": ["python", "-m", "train"]}, False),
        ({"command": ["python", "train.py"], "backend": "docker", "image": "mine:1"}, False),
    ],
)
def test_a_script_that_is_not_sent_along_is_told_before_the_run_begins(
    api: ApiClient,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    trial: dict[str, Any],
    told: bool,
) -> None:
    (tmp_path / "train.py").write_text("")
    (tmp_path / "mine.json").write_text(json.dumps(SPEC | {"trial": trial}))
    api.who = FakeCaller("vera", on=())
    assert main(["--airflow", URL, "run", "mine.json"]) == 1, "it has no right on the DAG"
    said = (
        "mine.json: note: train.py is not sent along: it has to be where trials of that Airflow "
        "run (trial.dir); see docs/spec.md#a-files-own-paths"
    )
    assert (said == capsys.readouterr().err.splitlines()[0]) == told


def test_a_file_is_run_elsewhere_as_the_team_that_is_named(
    api: ApiClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(SPEC))
    assert main(["--airflow", URL, "run", "mine.json", "--team", "nope"]) == 1
    assert capsys.readouterr().err == "there is no team nope; known: none\n"


def test_contexts_are_saved_for_their_owner_and_hold_no_secret(
    api: ApiClient, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["context", "add", "prod", URL, "--user", "ada"]) == 0
    assert main(["context", "add", "other", "http://localhost:8080"]) == 0
    assert main(["context", "use", "prod"]) == 0
    assert stat.S_IMODE(contexts.path().stat().st_mode) == 0o600
    assert "sekret" not in contexts.path().read_text()
    capsys.readouterr()
    assert main(["context", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"* prod  {URL}  ada",
        "  other  http://localhost:8080",
    ]
    assert main(["runs"]) == 0, "the context says where"
    assert main(["context", "remove", "prod"]) == 0
    assert json.loads(contexts.path().read_text())["current"] is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("context", "use", "prot"),
            "there is no context 'prot', did you mean 'prod'?; known: prod",
        ),
        (("context", "add", "bad", "airflow:8080"), "bad.airflow: must look like https://"),
        (("--airflow", "ftp://x", "runs"), "--airflow.airflow: must look like https://"),
        (("--airflow", "https://ada:pw@x", "runs"), "--airflow.airflow: must look like https://"),
    ],
)
def test_a_wrong_address_or_name_is_refused(
    api: ApiClient, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    main(["context", "add", "prod", URL])
    capsys.readouterr()
    assert main(list(words)) != 0
    assert capsys.readouterr().err.strip().startswith(told)


def test_without_a_terminal_nobody_is_asked_for_a_password(
    api: ApiClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HPO_TOKEN")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert main(["--airflow", URL, "--user", "ada", "runs"]) == 2
    assert capsys.readouterr().err.startswith("no password: set HPO_TOKEN, or HPO_USER and")


def test_without_any_address_it_is_the_checkouts_own_airflow(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from argparse import Namespace

    assert contexts.chosen(Namespace()) is None
    monkeypatch.setenv("HPO_AIRFLOW", URL)
    assert contexts.chosen(Namespace()) == contexts.Context(airflow=URL)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("argcomplete")
    assert main(["completion", shell]) == 0
    assert "hpo" in capsys.readouterr().out
