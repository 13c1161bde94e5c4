"""`hpo try` on real programs: what it shows, what it records, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo_lib.backends.docker import usage_of
from hpo_lib.cli import main
from hpo_lib.cli.console import program
from hpo_lib.runs import one_trial

ROOT = Path(__file__).resolve().parents[2]
TRIAL = os.environ.get("HPO_TRIAL_PATH") or str(ROOT / ".venv-trial" / "bin")
SPEC = """\
name: mine
objective: {metric: loss, direction: minimize}
space:
  x: {type: float, low: 0.0, high: 1.0}
  opt: {type: categorical, choices: [adam, sgd, 1]}
  momentum: {type: float, low: 0.0, high: 1.0, when: {opt: [sgd]}}
fixed: {steps: 3}
sampler: {seed: 7}
limits: {max_trials: 9, parallel_trials: 3}
final: {seeds: 3}
trial:
  command: [python, train.py]
  python: PYTHON
"""
SCRIPT = """\
import argparse, os
asked = argparse.ArgumentParser()
asked.add_argument("--x", type=float)
asked.add_argument("--opt")
asked.add_argument("--momentum", type=float)
asked.add_argument("--steps", type=int)
given = asked.parse_args()
kept = bytearray(80 << 20)
kept[::4096] = b"x" * len(kept[::4096])
print("in", os.getcwd(), "seed", os.environ["HPO_SEED"], "opt", given.opt)
for step in range(given.steps):
    print(f"step={step} loss={given.x / (step + 1):.6f}")
open(os.path.join(os.environ["HPO_OUTPUT"], "left"), "w").close()
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec and its script, in a folder far from the checkout."""
    kept = tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kept))
    (tmp_path / "train.py").write_text(SCRIPT)
    path = tmp_path / "mine.yaml"
    path.write_text(SPEC.replace("PYTHON", sys.executable))
    return path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_trial_is_run_recorded_and_measured(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["try", str(file), "--params", "x=0.5", "opt=adam"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "trial       x=0.5, opt=adam"
    assert lines[1].endswith(f" train.py --steps=3 --x=0.5 --opt=adam in {file.parent}")
    assert f"in {file.parent} seed {7 * 1_000_003 + 1} opt adam" in lines, "that of trial 1"
    assert [line.split() for line in lines if re.match(r"\d ", line)] == [
        ["0", "0.5"], ["1", "0.25"], ["2", "0.16667"],
    ]  # fmt: skip
    assert "recorded    complete: loss = 0.166667" in lines
    assert "            exit code 0, 3 observations, loss = 0.16667" in lines
    used = re.fullmatch(r"used .*CPU ([\d.]+)s, memory at most (\d+) MiB", lines[-2])
    assert used, lines[-2]
    assert lines[-1] == "left        left in HPO_OUTPUT"
    assert float(used[1]) > 0
    assert 80 <= int(used[2]) < 400
    assert list((file.parent / "temporary").iterdir()) == [], "nothing is kept"


def test_a_trial_that_leaves_no_model_is_told_how(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = file.parent / "train.py"
    script.write_text("".join(SCRIPT.splitlines(keepends=True)[:-1]))
    assert main.main(["try", str(file)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "left nothing: a model is kept if the program saves it in the folder" in out


def test_what_is_kept_is_where_it_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["try", str(file), "--keep", "--params", '{"x": 0.5, "steps": 1}']) == 0
    home = Path(capsys.readouterr().out.splitlines()[-1].split()[1])
    (left,) = home.glob("runs/*/trial-0001/attempt-1-*/output/left")
    assert "loss=0.5" in (left.parents[1] / "log.txt").read_text()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("asked = ", "1 / 0", "recorded    failed, user_error: exit code 1"),
        ("loss={", "cost={", "recorded    failed, objective_missing: exit code 0, but "),
        ("loss={", "loss={'nan'}{", "recorded    failed, objective_"),
        ("kept = ", "os.kill(os.getpid(), 9)\nkept = ", "recorded    running, lost: killed from"),
    ],
)
def test_a_trial_that_fails_says_why(
    file: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    change(file.parent / "train.py", old, new)
    assert main.main(["try", str(file)]) == 1
    assert told in capsys.readouterr().out


def test_limits_of_a_trial_hold(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(file.parent / "train.py", "kept = ", "import time; time.sleep(60)\nkept = ")
    change(file, "  command:", "  timeout: 2s\n  command:")
    assert main.main(["try", str(file)]) == 1
    assert "recorded    failed, timeout: still running after 2 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["y=1"], "--params y: is no parameter"),
        (["x=2"], "--params x: must be within [0.0, 1.0], got 2"),
        (["opt=rmsprop"], "--params opt: must be one of"),
        (["opt=sgd"], "--params momentum: is required"),
        (["x"], "--params: must be NAME=VALUE, got x"),
        (["{"], "--params: must be JSON or NAME=VALUE"),
        (["[1]", "x=1"], "--params: must be NAME=VALUE, got [1]"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(
    file: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main.main(["try", str(file), "--params", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, told in err) == ("", True), err


def load_of(file: Path) -> Any:
    from hpo_lib.spec.yaml_file import from_yaml

    return from_yaml(file.read_text())


def test_a_choice_is_said_as_a_program_is_told_it(file: Path) -> None:
    spec = load_of(file)
    assert one_trial.said(spec, {"opt": "1", "x": "1", "steps": "2"}) == {
        "opt": 1, "x": 1, "steps": 2,
    }  # fmt: skip
    made = one_trial.alone(spec, {"opt": 1, "steps": 2, "momentum": 0.5})
    (point,) = made.initial_points
    assert (point["opt"], "momentum" in point, made.fixed) == (1, False, {"steps": 2})
    assert (made.final, made.for_final, made.limits.max_trials) == (None, made, 1)
    assert made.trial.options == {"fork": False}


def test_an_environment_without_the_module_is_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(file, f"  python: {sys.executable}\n", "")
    (file.parent / "train.py").write_text("import nowhere_to_be_found")
    assert main.main(["try", str(file)]) == 1
    out = capsys.readouterr().out
    assert f"runs        {program('python')} train.py" in out
    assert "trial.venv: FOLDER in the spec names the environment" in out


def test_a_cluster_is_left_to_airflow(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(file, f"  command: [python, train.py]\n  python: {sys.executable}",
           "  backend: kubernetes\n  image: hpo-trial:1")  # fmt: skip
    change(file, "final: {seeds: 3}\n", "")
    assert main.main(["try", str(file)]) == 2
    assert "hpo try runs a trial on this machine" in capsys.readouterr().err


def test_who_interrupts_it_leaves_no_process(file: Path) -> None:
    change(file.parent / "train.py", "kept = ", "import time; print('up'); time.sleep(600)\nkept=")
    words = [sys.executable, "-u", "-m", "hpo_lib.cli", "try", str(file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as trying:
        assert trying.stdout is not None
        assert any("up\n" in line for line in trying.stdout)
        trials = [one for one in psutil.process_iter(["cmdline"]) if _is_of(one, file)]
        assert trials
        trying.send_signal(signal.SIGTERM)
        trying.communicate(timeout=60)
    end = time.monotonic() + 30
    while any(one.is_running() and one.status() != "zombie" for one in trials):
        assert time.monotonic() < end
        time.sleep(0.1)


def _is_of(process: psutil.Process, file: Path) -> bool:
    try:
        return process.cwd() == str(file.parent) and "train.py" in process.info["cmdline"]
    except psutil.Error:
        return False


def test_a_silent_trial_shows_that_it_goes_on(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_lib.cli.console._SILENT_S", 0.5)
    change(file.parent / "train.py", "kept = ", "import time; time.sleep(3)\nkept = ")
    assert main.main(["try", str(file)]) == 0
    assert capsys.readouterr().out.count("the trial runs: ") >= 3


@pytest.mark.skipif(not Path(TRIAL, "python").exists(), reason="needs the trial environment")
def test_the_readmes_script_is_tried_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(import argparse\n.*?)```", readme, re.DOTALL)
    (line,) = re.findall(
        r"hpo init (train\.py .*?)\n(?!    )", readme.replace("\\\n", ""), re.DOTALL
    )
    (tmp_path / "train.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_TRIAL_PATH", TRIAL)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    assert main.main(["init", *line.split()]) == 0
    assert main.main(["try", "train.yaml"]) == 0
    assert "recorded    complete: val_accuracy = 0." in capsys.readouterr().out


def test_the_engines_figures_leave_out_cached_files() -> None:
    stats = {
        "memory_stats": {"usage": 300, "stats": {"inactive_file": 100}},
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
    }
    assert (usage_of(stats).memory_bytes, usage_of(stats).cpu_s) == (200, 2.5)
    assert usage_of({"memory_stats": {}, "cpu_stats": {}}).memory_bytes == 0
