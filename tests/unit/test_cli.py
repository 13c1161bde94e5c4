"""The command line: what is printed, where errors go, and the exit codes."""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import hpo_lib
from hpo_lib.cli import airflow, console, main, plan
from hpo_lib.cli.tables import table
from hpo_lib.cli.umask import umasked
from hpo_lib.errors import HpoError
from hpo_lib.spec.model import MAX_BYTES

GOOD = """\
name: demo
objective: {metric: loss, direction: minimize}
space:
  units: {type: int, low: 1, high: 20}
  opt: {type: categorical, choices: [adam, sgd]}
  momentum: {type: ordinal, choices: [0.1, 0.9], when: {opt: [sgd]}}
initial_points: [{units: 7, opt: adam}]
sampler: {name: random}
fixed: {epochs: 3}
limits: {max_trials: 10, parallel_trials: 4}
trial: {command: [python, my train.py], timeout: 30m}
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    (tmp_path / "my train.py").touch()
    return path


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def _write(old: str, new: str, name: str = "changed.yaml") -> Path:
        assert old in GOOD
        path = tmp_path / name
        path.write_text(GOOD.replace(old, new))
        (tmp_path / "my train.py").touch()
        return path

    return _write


def test_a_good_file_is_ok(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["validate", str(good)]) == 0
    assert capsys.readouterr() == (f"{good}: ok\n", "")


def test_what_may_not_be_meant_gets_a_note_beside_the_good_news(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        "name: demo", "name: demo\nschedule: {assets: ['s3://bucket/data/']}", "noted.yaml"
    )
    note = (
        "schedule.assets.0: s3://bucket/data/ and s3://bucket/data are two assets to Airflow: it "
        "is updated only by what writes it as it is here; both have the URI s3://bucket/data, of "
        "which only one can be active"
    )
    assert main.main(["validate", str(path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [f"{path}: ok (updates of s3://bucket/data/)", f"{path}: note: {note}"]
    assert main.main(["plan", str(path)]) == 0
    assert f"\nNote: {note}.\n" in capsys.readouterr().out
    assert main.main(["plan", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [note]


FOREIGN = """\
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: random}
spec: {objective: {type: minimize, objectiveMetricName: loss}}
"""


def test_a_file_of_another_tool_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "katib.yaml"
    path.write_text(FOREIGN)
    assert main.main(["validate", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: spec: must be an experiment as in docs/spec.md, got a Katib")


TEN = """\
name: demo
objective: {metric: loss, direction: max, a1: 1}
space:
  lr: {type: double, a2: 0}
limits: {a3: 1}
sampler: {a4: 1}
scheduler: {a5: 1}
trial: {backend: docker, command: python train.py, a6: 1, options: {a7: 1}}
final: {a8: 1}
deploy: {to: mlflow, confidence: 2, a9: 1, options: {a10: 1}}
"""


def test_all_of_ten_unknown_keys_are_told_whatever_else_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ten.yaml"
    path.write_text(TEN)
    assert main.main(["validate", str(path)]) == 2
    err = capsys.readouterr().err
    places = ["objective", "space.lr", "limits", "sampler", "scheduler", "trial", "trial.options"]
    for number, place in enumerate([*places, "final", "deploy", "deploy.options"], start=1):
        assert f'{path}: {place}: unknown key "a{number}"' in err


def test_every_problem_of_every_file_gets_its_line(
    good: Path, write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = write("name: demo", "name: Demo\nmode: fast", "wrong.yaml")
    small = write("max_trials: 10", "max_trials: 61", "small.yaml")
    assert main.main(["validate", str(wrong), str(good), str(small)]) == 2
    out, err = capsys.readouterr()
    assert out == f"{good}: ok\n"
    assert err.splitlines() == [
        f"{wrong}: name: must be lower-case letters, digits and -, at most 63, not beginning or "
        'ending with -, got "Demo"',
        f'{wrong}: mode: must be waves, async or auto, got "fast"',
        f"{small}: limits.max_trials: must be <= 60, the number of configurations in the space, "
        "got 61",
    ]


MANY = """\
name: Demo
objective: {metric: loss, direction: up}
space:
  units: {type: int, low: 30, high: 20, lo: 3}
  opt: {type: categorical, choices: [a, b]}
  "b ad": {type: categorical, choices: [a, b]}
sampler: {name: random, sed: 1, sad: 2}
fixed: {epochs: 3, opt: c}
limits: {max_trials: 0, paralel_trials: 4, patience: 0}
trial: {command: [python, "${params.unit}", "${params.units}"], timeout: 30x, image: x}
metrics: {collector: jsonl, format: "(?P<name>.)(?P<value>.)", path: ../x, bogus: 1}
final: {seeds: 1, trial: {timeout: 9y, image: "-"}}
deploy: {to: package, confidence: 2, guards: [{metric: "1", foo: 2}], options: {foo: 1}}
schedule: {timezone: Europe/Belin}
name: other
"""


def test_a_file_of_many_mistakes_is_told_all_of_them_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(MANY)
    assert main.main(["validate", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    expected = [
        'spec: must be YAML: key "name" is repeated (line 15)',
        "objective.direction: must be minimize or maximize",
        'space.units: unknown key "lo"',
        "space.units: low must be < high",
        'space: a name must be a letter and then letters, digits, _ or - (at most 64), got "b ad"',
        "fixed.opt: must not also be in the space",
        "sampler: unknown key \"sed\", did you mean 'seed'?",
        'sampler: unknown key "sad"',
        'limits: unknown key "paralel_trials"',
        "limits.max_trials: must be greater than or equal to 1",
        "limits.patience: must be greater than or equal to 1",
        "trial.command.1: unknown placeholder ${params.unit}, did you mean 'params.units'?",
        "trial.timeout: must be a duration",
        "trial.image: backend local runs processes, it takes no image",
        'metrics: unknown key "bogus"',
        "metrics: format belongs to file, stdout",
        "metrics.path: must be a relative path",
        "final.seeds: must be >= 2 with deploy",
        "final.trial.timeout: must be a duration",
        "final.trial.image: must be an image",
        "deploy.confidence: must be less than 1",
        'deploy.options: unknown key "foo"',
        'deploy.guards.0: unknown key "foo"',
        "deploy.guards.0.metric: a metric must be",
        "deploy.guards.0: needs at_most, at_least or not_worse_than",
        "schedule.timezone: must be a time zone",
        "schedule: must have cron, assets or both",
    ]
    missing = [e for e in expected if not any(one.startswith(f"{path}: {e}") for one in lines)]
    assert missing == []
    assert len(lines) == len(expected), "and nothing that only follows from them"


CONFIG = "docker: {images: [team/*]}\nartifacts: {s3://bucket: aws_default}\n"
DOCKER = "backend: docker, image: evil/miner, timeout: 30m"


def test_a_file_is_held_against_what_the_dag_allows(
    write: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "deployment.yaml").write_text(CONFIG)
    monkeypatch.setenv("HPO_CONFIG", str(tmp_path / "deployment.yaml"))
    monkeypatch.setenv("HPO_MAX_WAVES", "2")
    monkeypatch.setenv("HPO_MAX_PARALLEL", "3")
    path = write("command: [python, my train.py], timeout: 30m", DOCKER)
    path.write_text(f"{path.read_text()}artifacts: {{uri: s3://other/x}}\n")
    said = [
        "limits.parallel_trials: must be <= 3 in this installation, got 4; its operator can raise "
        "HPO_MAX_PARALLEL",
        "trial.image: must match one of team/* in this installation, got evil/miner; its operator "
        "can list others under images in config/deployment.yaml",
        "artifacts.uri: must lie below one of s3://bucket, got s3://other/x; the operator can "
        "name others in config/deployment.yaml",
    ]
    for command in ("validate", "plan", "run", "demo"):
        assert main.main([command, str(path)]) == 2
        assert capsys.readouterr().err.splitlines() == [f"{path}: {line}" for line in said]


def test_a_place_that_a_connection_leads_to_is_not_visited(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deployment.yaml").write_text(CONFIG)
    monkeypatch.setenv("HPO_CONFIG", str(tmp_path / "deployment.yaml"))
    good.write_text(f"{GOOD}artifacts: {{uri: s3://bucket/x}}\n")
    assert main.main(["validate", str(good)]) == 0


def test_the_bounds_of_confs_are_not_those_of_a_file_with_a_schedule(
    write: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_MAX_PARALLEL", "3")
    nightly = write("name: demo", NIGHTLY, "nightly.yaml")
    assert main.main(["validate", str(nightly)]) == 0
    assert main.main(["run", str(nightly)]) == 2, "which is triggered with a conf"
    assert "limits.parallel_trials: must be <= 3" in capsys.readouterr().err


def test_a_wrong_scheduler_hides_no_other_problem_of_a_file_with_a_schedule(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "scheduler: {name: fifo, rungs: 3}\nmetrics: {collector: jsonl, path: /x}"
    nightly = write("name: demo", f"{NIGHTLY}\n{wrong}", "nightly.yaml")
    for command in ("validate", "run"):
        assert main.main([command, str(nightly)]) == 2
        assert capsys.readouterr().err.splitlines() == [
            f'{nightly}: metrics.path: must be a relative path without .., got "/x"',
            f'{nightly}: scheduler: unknown key "rungs"; known to fifo: name',
        ]


def test_a_winner_that_is_trained_elsewhere_needs_a_dag_of_its_own(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    final = "fixed: {epochs: 3}\nfinal: {trial: {backend: docker, image: hpo-trial:1}}"
    said = "final.trial.backend: this DAG runs local, got docker; only a file in config/experiments"
    for command in ("validate", "run"):
        assert main.main([command, str(write("fixed: {epochs: 3}", final))]) == 2
        assert said in capsys.readouterr().err
    nightly = write("fixed: {epochs: 3}", f"{final}\n{NIGHTLY.partition(chr(10))[2]}", "n.yaml")
    assert main.main(["validate", str(nightly)]) == 0


class FakeAirflow:
    """One that has the DAGs of some backends."""

    url, user, password = "http://airflow", "admin", "hush"

    def __init__(self, *dags: str) -> None:
        self.dags, self.triggered = dags, []

    def has(self, dag_id: str) -> bool:
        return dag_id in self.dags

    def trigger(self, dag_id: str, conf: Any) -> str:
        self.triggered.append((dag_id, conf["trial"]["backend"]))
        return "manual"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeAirflow:
    made = FakeAirflow("hpo_local", "hpo_docker")
    own = SimpleNamespace(running=lambda: True, client=lambda: made, up=lambda say: made)
    own.passwords = Path("passwords.json")
    monkeypatch.setattr(airflow, "embedded", lambda: own)
    monkeypatch.setattr(airflow, "follow", lambda own, client, key: True)
    monkeypatch.setattr(airflow, "_KNOWN_S", 0.0)
    return made


@pytest.mark.parametrize("command", ["run", "demo"])
def test_the_dag_of_the_files_backend_is_triggered(
    write: Any, fake: FakeAirflow, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    change = "command: [python, my train.py], timeout: 30m"
    assert main.main([command, str(write(change, "backend: docker, image: hpo-trial:1"))]) == 0
    assert main.main([command, str(write("timeout: 30m", "timeout: 1h"))]) == 0
    assert fake.triggered == [("hpo_docker", "docker"), ("hpo_local", "local")]
    assert main.main([command, str(write(change, "backend: kubernetes, image: hpo-trial:1"))]) == 1
    assert capsys.readouterr().err == (
        "the Airflow at http://airflow has no DAG hpo_kubernetes, which runs trial.backend "
        "kubernetes: it needs airflow.providers.cncf.kubernetes.operators there, of hpo-lib "
        "the extra docker, kubernetes or amazon, and a section kubernetes in "
        "config/deployment.yaml; then `hpo down` and `hpo up`\n"
    )


def test_a_file_is_run_as_the_team_that_is_named(
    good: Path,
    fake: FakeAirflow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    fake.dags = ("hpo_local", "hpo_vision.local")
    (tmp_path / "deployment.yaml").write_text("teams: {vision: {backends: [local]}, nlp: {}}")
    monkeypatch.setenv("HPO_CONFIG", str(tmp_path / "deployment.yaml"))
    monkeypatch.setenv("HPO_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.setenv("HPO_TRIAL_DIR", str(tmp_path))
    theirs = tmp_path / "experiments" / "vision" / "churn.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(GOOD)
    assert main.main(["run", str(good)]) == 0
    assert capsys.readouterr().err == ""
    assert main.main(["run", str(theirs)]) == 0
    note = "note: churn.yaml is of team vision; --team vision runs it as theirs\n"
    assert capsys.readouterr().err == note
    assert main.main(["run", str(theirs), "--team", "vision"]) == 0
    assert capsys.readouterr().err == ""
    assert [dag for dag, _ in fake.triggered] == ["hpo_local", "hpo_local", "hpo_vision.local"]
    assert main.main(["run", str(theirs), "--team", "nope"]) == 1
    assert capsys.readouterr().err == "there is no team nope; known: nlp, vision\n"


def test_what_a_team_may_not_have_is_refused_before_its_run(
    write: Any, fake: FakeAirflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "deployment.yaml").write_text(
        "docker: {images: ['*']}\nteams: {vision: {docker: {images: [own/*]}}}"
    )
    monkeypatch.setenv("HPO_CONFIG", str(tmp_path / "deployment.yaml"))
    path = str(write("command: [python, my train.py], timeout: 30m", DOCKER))
    assert main.main(["run", path]) == 0
    assert main.main(["run", path, "--team", "vision"]) == 2


@pytest.mark.parametrize("command", ["up", "run", "demo"])
def test_a_home_that_would_not_count_is_refused(
    good: Path,
    fake: FakeAirflow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    up = SimpleNamespace(running=lambda: True, client=lambda: fake, results=Path("/y"))
    up.up, up.passwords = (lambda say: fake), Path("passwords.json")
    down = SimpleNamespace(running=lambda: False, results=Path("/y"))  # it cannot be started
    words = [command] if command == "up" else [command, str(good)]
    monkeypatch.setenv("HPO_HOME", "/x")
    monkeypatch.setattr(airflow, "embedded", lambda: down)
    assert main.main(words) == 2
    assert capsys.readouterr().err == (
        "HPO_HOME: must not be set where an Airflow of this folder is to start, which has its "
        "attempts and reports in /y, got /x; to have them on another disk, call this in a folder "
        "there\n"
    )
    monkeypatch.setattr(airflow, "embedded", lambda: up)
    monkeypatch.setenv("HPO_TRIAL_ROOTS", "/")
    assert main.main(words) == 0, "one that is up keeps to its own"


def test_a_run_starts_an_airflow_where_none_is_up_and_leaves_it_up(
    good: Path,
    fake: FakeAirflow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def up(say: Any) -> FakeAirflow:
        say("preparing")
        return fake

    # It has no `down`: it is not stopped.
    own = SimpleNamespace(running=lambda: False, up=up, passwords=Path("passwords.json"))
    monkeypatch.setattr(airflow, "embedded", lambda: own)
    assert main.main(["run", str(good)]) == 0
    assert fake.triggered == [("hpo_local", "local")]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("no Airflow runs here: starting one")
    assert said[1:] == [
        "preparing",
        "Airflow is up: http://airflow   user admin   password hush",
        "it stays up for the next run; hpo down stops it",
    ]


def test_a_password_is_shown_once_unless_it_is_asked_for(
    fake: FakeAirflow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "passwords.json"
    up = SimpleNamespace(running=lambda: True, passwords=file)
    up.up = lambda say: (file.touch(), fake)[1]
    monkeypatch.setattr(airflow, "embedded", lambda: up)
    said = []
    for words in (["up"], ["up"], ["up", "--show-password"]):
        assert main.main(words) == 0
        said.append(capsys.readouterr().out.rpartition("   password ")[2].strip())
    assert said == ["hush", f"in {file}, which hpo up --show-password shows", "hush"]


def test_an_airflow_that_does_not_come_up_is_stopped(
    good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def up(_: Any) -> None:
        raise HpoError("it did not come up")

    stopped: list[str] = []
    own = SimpleNamespace(running=lambda: False, up=up, down=lambda: stopped.append("down"))
    own.passwords = Path("passwords.json")
    monkeypatch.setattr(airflow, "embedded", lambda: own)
    assert main.main(["run", str(good)]) == 1
    assert (capsys.readouterr().err, stopped) == ("it did not come up\n", ["down"])


def test_a_line_moves_on_a_terminal_and_makes_room_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[str] = []
    terminal = SimpleNamespace(isatty=lambda: True, write=drawn.append, flush=lambda: None)
    monkeypatch.setattr(console, "_MOVES_S", 0.01)
    monkeypatch.setattr(console.sys, "stderr", terminal)
    with console.moving("it runs", drawn.append) as show:
        while len(drawn) < 3:
            time.sleep(0.01)
        show("a line")
    assert drawn[0] == "\r\x1b[Kit runs: 0.0s"
    at = drawn.index("a line")
    assert drawn[at - 1] == "\r\x1b[K"
    assert "it runs" not in "".join(drawn[-1:]), "nothing of it is left"


def test_a_command_that_takes_its_time_says_on_stderr_that_it_goes_on(
    good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard, read_file = threading.Event(), plan.read_file

    def slow(path: Path) -> Any:
        assert heard.wait(60)
        return read_file(path)

    def remark(text: str) -> None:
        console.remark(text)
        heard.set()

    monkeypatch.setattr(console, "_SILENT_S", 0.01)
    monkeypatch.setattr(main, "remark", remark)
    monkeypatch.setattr(plan, "read_file", slow)
    assert main.main(["plan", str(good), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["experiment"] == "demo"
    assert err.startswith("hpo plan: ")


def test_a_table_is_cut_to_the_terminal_and_says_so() -> None:
    rows = [(1, "a reason " * 9), (2, "short")]
    assert [*table(("n", "reason"), rows)][1] == f"1  {('a reason ' * 9).strip()}"
    head, first, second, note = table(("n", "reason"), rows, 30)
    assert (len(first), first[-1], second) == (30, "…", "2  short")
    assert head == "N  REASON"
    assert "--wide" in note


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "GOOD", "--suggestions", "9999"],
        ["validate", "GOOD"],
        ["--help"],
        ["plan", "--help"],
    ],
)
def test_a_reader_that_has_had_enough_ends_a_command_quietly(good: Path, words: list[str]) -> None:
    words = [str(good) if word == "GOOD" else word for word in words]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hpo_lib.cli", *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    finally:
        os.close(writing)
    said = [one for one in done.stderr.splitlines() if not one.startswith("hpo ")]
    assert (done.returncode, said) == (141, []), "but that it goes on, on a slow machine"


NIGHTLY = "name: demo\nschedule: {cron: '30 3 * * *', timezone: Asia/Tokyo}"


def test_a_file_with_a_schedule_says_when(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    nightly = write("name: demo", NIGHTLY, "nightly.yaml")
    assert main.main(["validate", str(nightly)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{nightly}: ok (cron 30 3 * * * in Asia/Tokyo, ")
    assert main.main(["plan", str(nightly)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "schedule     cron 30 3 * * * in Asia/Tokyo" in lines
    (times,) = (line for line in lines if line.startswith("next runs"))
    assert times.count("03:30 JST") == 3
    assert main.main(["plan", str(nightly), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["schedule"], len(facts["next_runs"])) == ("cron 30 3 * * * in Asia/Tokyo", 3)


def test_a_file_that_can_have_no_dag_is_refused(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    spaced = write("name: demo", NIGHTLY, "my file.yaml")
    assert main.main(["validate", str(spaced)]) == 2
    said = f"{spaced}: the file's name must be letters, digits, _ and -"
    assert capsys.readouterr().err.startswith(said)


def test_options_that_a_backend_does_not_have_are_refused(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "backend: kubernetes, image: hpo-trial:1, options: {namespaec: x}"
    wrong = write("timeout: 30m", other)
    assert main.main(["validate", str(wrong)]) == 2
    said = "trial.options: unknown key \"namespaec\", did you mean 'namespace'?"
    assert capsys.readouterr().err.startswith(f"{wrong}: {said}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\xff\xfe", "spec: must be a text file in UTF-8"),
        (b"a: \x00", "spec: must be YAML: "),
        (b"", "spec: must be a mapping, got null"),
        (b"x" * (MAX_BYTES + 9), f"spec: must be at most {MAX_BYTES:,} bytes, got "),
        # A character cut in two by the limit is no reason to call it binary.
        (b"x" + "é".encode() * MAX_BYTES, f"spec: must be at most {MAX_BYTES:,} bytes, got "),
    ],
)
def test_a_file_that_is_no_spec_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    assert main.main(["plan", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{path}: {message}")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "x", "No such file or directory")):
        assert main.main([command, str(path)]) == 2
        assert capsys.readouterr().err == f"{path}: spec: must be a readable file: {why}\n"


def test_the_plan_says_what_a_run_would_do(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["plan", str(good), "--suggestions", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:13] == [
        "experiment   demo",
        "objective    minimize loss",
        "trials       10 in 3 waves, 4 at once",
        "tasks        4 slots, each of which runs trial after trial, in hpo_local",
        "failures     3 failed trials tolerated, one more ends the run",
        "space        60 configurations",
        "sampler      random, seed 0",
        "duplicates   none: 10 trials of 60 configurations, a configuration that was tried is "
        "never tried again",
        "at most      1h 30m (trial.timeout x waves)",
        "trial 1      python 'my train.py' --epochs=3 --units=7 --opt=adam",
        f"runs in      {good.parent}",
        f"runs by      {console.program('python')}",
        "",
    ]
    assert [line.split()[:3] for line in lines[13:]] == [
        ["trial", "origin", "units"],
        ["1", "initial", "7"],
        ["2", "sampler", lines[15].split()[2]],
    ]


def test_a_mistake_in_the_operators_file_is_told_beside_a_file_that_is_right(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text("retention_days: a week")
    monkeypatch.setenv("HPO_CONFIG", str(file))
    assert main.main(["validate", str(good)]) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"{good}: ok")
    assert err.startswith("config/deployment.yaml: retention_days: must be a whole number from 1")


def test_a_program_that_is_not_there_is_noted(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("command: [python, my train.py]", "command: [pyhton, my train.py]")
    assert main.main(["validate", str(path)]) == 0
    said = "trial.command: there is no program pyhton on this machine, to run trials by"
    assert f"{path}: note: {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ("{max_trials: 10, parallel_trials: 4}", "bayesian (later trials learn from earlier ones"),
        ("{max_trials: 10, parallel_trials: 10}", "sobol (all 10 trials start at once, so that"),
        ("{max_trials: 60, parallel_trials: 60}", "grid (one wave of 60 trials holds all 60"),
    ],
)
def test_what_auto_chose_is_told_and_why(
    write: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    limits: str,
    line: str,
) -> None:
    monkeypatch.setenv("HPO_MAX_PARALLEL", "60")
    old = (
        "sampler: {name: random}\nfixed: {epochs: 3}\nlimits: {max_trials: 10, parallel_trials: 4}"
    )
    path = write(old, f"limits: {limits}")
    main.main(["plan", str(path), "--suggestions", "1"])
    out = capsys.readouterr().out
    assert f"\nsampler      auto: {line}" in out
    assert "), seed 0\n" in out
    facts = _plan(path, capsys, 1)
    assert facts["sampler"] == line.split()[0]
    assert facts["sampler_chosen_because"]
    main.main(["validate", str(path)])
    assert capsys.readouterr().out.startswith(f"{path}: ok (sampler auto: {line.split()[0]}, ")


@pytest.mark.parametrize(
    ("limits", "trials", "tasks"),
    [
        (
            "{max_trials: 10, parallel_trials: 4}\nmode: async",
            "10, 4 at once, the next one as soon as one has ended",
            "4 slots, each of which runs trial after trial, in hpo_local",
        ),
        (
            "{max_trials: 12}",
            "12 in 12 waves, 1 at once",
            "1 slot, each of which runs trial after trial, in hpo_local",
        ),
    ],
)
def test_the_plan_says_which_runs_have_slots(
    write: Any, capsys: pytest.CaptureFixture[str], limits: str, trials: str, tasks: str
) -> None:
    path = write("limits: {max_trials: 10, parallel_trials: 4}", f"limits: {limits}")
    assert main.main(["plan", str(path), "--suggestions", "0"]) == 0
    out = capsys.readouterr().out
    assert f"\ntrials       {trials}\n" in out
    assert f"\ntasks        {tasks}\n" in out


def test_the_plan_tells_which_runs_would_advise(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("sampler: {name: random}", "warm_start: {from: [a, b], weight: 0.5}")
    main.main(["plan", str(path), "--suggestions", "1"])
    line = (
        "10 trials of each of the newest 5 complete runs of a, b, weight 0.5, half after 7d; not "
        "in the suggestions below"
    )
    assert f"\nwarm start   {line}\n" in capsys.readouterr().out
    assert _plan(path, capsys, 1)["warm_start"] == line


def test_the_plan_tells_every_objective_and_constraint(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    several = "objective: [{metric: loss, direction: minimize}, {metric: auc, direction: maximize}]"
    path = write(
        "objective: {metric: loss, direction: minimize}",
        f"{several}\nconstraints: [val_loss - loss <= 0.01, auc >= 0.5]",
    )
    main.main(["plan", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [
        "objective    minimize loss, maximize auc",
        "constraints  val_loss - loss <= 0.01, auc >= 0.5",
    ]
    facts = _plan(path, capsys)
    assert facts["constraints"] == ["val_loss - loss <= 0.01", "auc >= 0.5"]


def _plan(path: Path, capsys: pytest.CaptureFixture[str], count: int = 99) -> dict[str, Any]:
    assert main.main(["plan", str(path), "--json", "--suggestions", str(count)]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_the_plan_as_json_shows_every_trial_once(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = _plan(good, capsys)
    assert facts["space_size"] == facts["configurations"] == 60
    assert facts["worst_case_s"] == 5400
    assert facts["results_matter_after"] is None
    assert [row["trial"] for row in facts["suggestions"]] == list(range(1, 11))
    assert len({json.dumps(row["params"]) for row in facts["suggestions"]}) == 10


def test_the_plan_stops_where_results_begin_to_matter(
    write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("name: random", "name: bayesian, initial: 5")
    facts = _plan(path, capsys)
    assert facts["results_matter_after"] == len(facts["suggestions"]) == 5
    main.main(["plan", str(path)])
    assert capsys.readouterr().out.endswith(
        "\nTrials after 5 depend on the results of those before them.\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("type: int, low: 1, high: 20", "type: float, low: 0.0, high: 20.0", "continuous (units)"),
        (
            "name: random",
            "name: grid, fraction: 0.5",
            "60 configurations, of which 3[01] can be tried",
        ),
    ],
)
def test_the_plan_says_how_large_the_space_is(
    write: Any, capsys: pytest.CaptureFixture[str], old: str, new: str, line: str
) -> None:
    main.main(["plan", str(write(old, new)), "--suggestions", "0"])
    out = capsys.readouterr().out
    found = next(text for text in out.splitlines() if text.startswith("space"))
    assert found.split(maxsplit=1)[1] in {
        line,
        line.replace("3[01]", "30"),
        line.replace("3[01]", "31"),
    }
    assert "trial 1" not in out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"hpo {hpo_lib.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["plan"], ["paln", "x"], ["plan", "x", "--suggestions", "-1"]]
)
def test_a_wrong_call_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    assert caught.value.code == 2
    assert "usage: hpo" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["validate"], ["plan"]])
def test_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([*command, "--help"])
    assert caught.value.code == 0
    assert f"example: hpo {(command or ['plan'])[0]} " in capsys.readouterr().out


def test_it_runs_as_a_module_without_a_traceback(good: Path) -> None:
    call = [sys.executable, "-m", "hpo_lib.cli", "validate", str(good), "nowhere.yaml"]
    done = subprocess.run(
        call, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 2
    assert done.stdout == f"{good}: ok\n"
    assert (
        done.stderr.splitlines()[-1]
        == "nowhere.yaml: spec: must be a readable file: No such file or directory"
    )


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ({}, 0o600),
        ({"HPO_UMASK": "027"}, 0o640),
        ({"HPO_HOME": "/shared"}, 0o644),
        ({"HPO_HOME": "/shared", "HPO_UMASK": "0077"}, 0o600),
    ],
)
def test_files_are_for_their_owner_or_as_a_umask_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], mode: int
) -> None:
    for name in ("HPO_HOME", "HPO_UMASK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with umasked(0o022):
        assert main.main(["store", "upgrade", "--url", f"sqlite:///{tmp_path}/hpo.db"]) == 0
        assert os.umask(0o022) == 0o022, "what it was is given back"
    assert stat.S_IMODE((tmp_path / "hpo.db").stat().st_mode) == mode


def test_a_wrong_umask_is_told(
    good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPO_UMASK", "u=rwx")
    assert main.main(["validate", str(good)]) == 1
    assert "HPO_UMASK: must be 0 and two octal digits, such as 077" in capsys.readouterr().err


def test_the_docs_list_every_command_in_the_words_of_its_help() -> None:
    actions = main.parser()._actions
    (commands,) = (one for one in actions if isinstance(one, argparse._SubParsersAction))
    told = {one.dest: one.help for one in commands._choices_actions}
    assert told.keys() == commands.choices.keys(), "every command has a help"
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert dict(re.findall(r"^\| `hpo ([a-z-]+)` \| (.+) \|$", page, re.MULTILINE)) == told


@pytest.mark.parametrize(
    "words", ["models", "audit", "rollback iris", "collect 1", "tensorboard 1"]
)
def test_a_store_that_is_not_there_is_not_made(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HPO_STORE", "AIRFLOW_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "nowhere"))
    assert main.main(words.split()) == 2
    assert capsys.readouterr().err.startswith(
        f"there is no store at {tmp_path / 'nowhere' / 'hpo.db'}: say which by --url or HPO_STORE"
    )
    assert not (tmp_path / "nowhere").exists()
