"""`hpo check-metrics`: what is read, what a trial would get of it, and what was passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_tfevents import REAL

from hpo_lib.cli import main
from hpo_lib.collectors import Source, format_guard, own_format
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.spec.yaml_file import draft_file
from hpo_lib.trials.check_metrics import examine
from hpo_lib.trials.near_names import no_metric
from hpo_lib.trials.outcome import outcome

SPEC = """\
name: demo
objective: {metric: val_loss, direction: minimize, reduce: best}
constraints: [size <= 9]
extra_metrics: [loss]
space: {lr: {type: float, low: 0.1, high: 1.0}}
trial: {command: [python, train.py]}
"""
LOG = """\
size=3
step=1 loss=0.5 val_loss=0.75
step=2 loss=0.25 val_loss=0.5
step=4 loss=nan val_loss=1
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "demo.yaml"
    path.write_text(SPEC)
    return str(path)


def check(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[str]]:
    code = main.main(["check-metrics", *map(str, words)])
    return code, capsys.readouterr().out.splitlines()


def test_the_table_shows_what_a_trial_would_get(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text(LOG)
    assert check(capsys, spec, log) == (
        0,
        [
            f"{log} by collector stdout, format name=value",
            "metric                      values  first  last  best  steps  of the trial",
            "val_loss  objective (best)  3       0.75   1     0.5   1-4    0.5",
            "size      constraint        1       3      3     –     –      3",
            "loss      extra             3       0.5    NaN   –     1-4    0.25",
            "",
            "step  val_loss  loss",
            "1     0.75      0.5",
            "2     0.5       0.25",
            "4     1         NaN",
            "",
            "a trial with these metrics is complete: val_loss = 0.5",
            "",
            "by format: name=value 7 values",
            "to read name=value only: metrics: {format: name=value}",
        ],
    )


def test_what_is_missing_is_looked_for_among_what_is_there(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text("step=1 size=2 val_los=3\nval_loss -> 0.5\n\x1b[1mval_loss -> 1\x1b[0m lr=1\n")
    code, lines = check(capsys, spec, log)
    assert code == 1
    at = lines.index("there, but not in a form that this collector reads:")
    assert lines[at:] == [
        "there, but not in a form that this collector reads:",
        "  val_loss, 2 times, line 2: val_loss -> 0.5",
        r"to read val_loss: metrics: {format: '(?P<name>val_loss)\ \->\ (?P<value>[-+.0-9eE]+)'}",
        "",
        "passed over, for the spec does not name it:",
        "  val_los, 1 time, line 1: step=1 size=2 val_los=3, is it val_loss?",
        "  lr, 1 time, line 3: val_loss -> 1 lr=1",
    ]


def test_names_of_files_are_no_metrics(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text("main.py:23 seen\nsaved out/model.keras: 12 MB\naccuracy.top: 1\n")
    _, lines = check(capsys, spec, log)
    at = lines.index("passed over, for the spec does not name it:")
    assert lines[at + 1 :] == ["  accuracy.top, 1 time, line 3: accuracy.top: 1"]


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("val_loss -> 0.5", [0.5]),
        ("val_loss => 0.5", [0.5]),
        ("Epoch 2/3\n3/3 - 1s - 2ms/step - loss: 0.9 - val_loss: 0.5 - size: 1", [0.5]),
        ("[3]\tval_loss:0.5\tsize:1", [0.5]),
        ("val_loss: 0.5 size: 1", [0.5]),
    ],
)
def test_the_line_to_paste_reads_the_log(
    spec: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    reads: list[float],
) -> None:
    log = tmp_path / "train.log"
    log.write_text(f"{text}\n")
    _, lines = check(capsys, spec, log)
    (paste,) = (line[line.index("metrics: ") :] for line in lines if line.startswith("to read "))
    pasted = tmp_path / "pasted.yaml"
    pasted.write_text(f"{SPEC}{paste}\n")
    found = examine(draft_file(pasted).checked(), Source(log, tmp_path)).series["val_loss"]
    assert [found.first] * found.values == reads


def test_a_format_can_be_tried_without_touching_the_spec(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text("val_loss -> 0.5 size -> 1\n")
    form = r"(?P<name>\w+) -> (?P<value>\S+)"
    assert check(capsys, spec, log)[0] == 1
    assert check(capsys, spec, log, "--format", form)[0] == 0
    assert main.main(["check-metrics", spec, str(log), "--format", "x"]) == 2
    assert "metrics.format: must have the groups" in capsys.readouterr().err


def test_a_number_that_is_none_is_told_with_its_line(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text("size=1\nval_loss=0.7\nval_loss=0,532\n")
    code, lines = check(capsys, spec, log)
    assert code == 1
    told = "val_loss must be wholly a number, got '0,532' in line 3: val_loss=0,532"
    assert f"a trial with these metrics has failed, objective_missing: {told}" in lines


def test_a_format_without_end_is_told(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_format, "LINE_S", 0.1)
    log = tmp_path / "train.log"
    log.write_text(f"val_loss {'a' * 4_000}\n" * format_guard.MOST_ENDLESS)
    words = ["check-metrics", spec, str(log), "--format", "(?P<name>(a+)+)=(?P<value>b)"]
    assert main.main(words) == 1
    assert "metrics.format: must match a line within 0.1 s" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["metrics.jsonl", "", "output"])
def test_a_file_an_output_folder_and_an_attempts_folder_are_taken_for_what_they_are(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    folder = tmp_path / "attempt-1"
    (folder / "output").mkdir(parents=True)
    line = json.dumps({"step": 1, "val_loss": 0.5, "size": 1, "\x1b[2J": 3})
    (folder / "output" / "metrics.jsonl").write_text(f"{line}\n")
    path = folder if not place else folder / "output" / place.removeprefix("output")
    code, lines = check(capsys, spec, path, "--collector", "jsonl")
    assert code == 0
    assert lines[2].split() == ["val_loss", "objective", "(best)", "1", *["0.5"] * 3, "1-1", "0.5"]
    assert "\x1b" not in "".join(lines)


def test_event_files_are_shown_with_their_tags(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = check(capsys, spec, REAL, "--collector", "tfevents", "--path", "keras")
    assert code == 1  # size is nowhere
    assert lines[4].split()[2:] == ["3", "1.6197", "1.3006", "–", "0-2", "1.3006"]
    assert "  mae, 3 times, tag epoch_mae in train/" in lines


def test_where_nothing_is_that_is_said(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    code, lines = check(capsys, spec, tmp_path / "empty")
    assert (code, lines[-1]) == (1, "nothing that looks like a metric was found")
    assert main.main(["check-metrics", spec, str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'none'}: no such file or folder\n"


def test_a_missing_metric_is_told_as_the_trial_tells_it_and_no_variable_is_offered(
    tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.txt"
    log.write_text("TF_ENABLE_ONEDNN_OPTS=0\nVALLOSS=1 size=3\n")
    _, lines = check(capsys, spec, log)
    checked = draft_file(Path(spec)).checked()
    judged = outcome(checked, Exit(Ending.EXITED, 0), Source(log, tmp_path))
    assert "only VALLOSS, size where val_loss was expected; is it VALLOSS?" in judged.reason
    assert f"a trial with these metrics has failed, objective_missing: {judged.reason}" in lines
    assert not [line for line in lines if "TF_ENABLE" in line]


def test_a_metric_in_capitals_is_offered_where_it_is_near() -> None:
    assert no_metric("TF_ENABLE_ONEDNN_OPTS", ["val_loss"])
    assert not no_metric("VAL_LOSS", ["val_loss"])
    assert not no_metric("BLEU", ["val_loss"])
