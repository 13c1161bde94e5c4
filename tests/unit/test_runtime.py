"""`hpo_lib.runtime`: what a trial reads, and the two forms of what it reports."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib import runtime
from hpo_lib.collectors import Source
from hpo_lib.collectors.jsonl import JsonlCollector
from hpo_lib.collectors.stdout import StdoutCollector
from hpo_lib.spec.sections import Metrics

VARIABLES = ("HPO_PARAMS", "HPO_SEED", "HPO_RESOURCE", "HPO_RESUME_FROM", "HPO_OUTPUT")
ROOT = Path(runtime.__file__).parents[2]


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HPO_OUTPUT", str(tmp_path / "output"))
    return tmp_path / "output"


def records(output: Path) -> list[dict[str, object]]:
    lines = (output / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


# ------------------------------------------------------------------------ what a trial is given


def test_outside_a_trial_there_are_no_params_no_resource_and_seed_0() -> None:
    assert (runtime.params(), runtime.resource(), runtime.seed()) == ({}, None, 0)


def test_inside_a_trial_they_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_PARAMS", '{"lr": 0.01, "optimizer": "sgd"}')
    monkeypatch.setenv("HPO_SEED", "7")
    monkeypatch.setenv("HPO_RESOURCE", "2.5")
    assert runtime.params() == {"lr": 0.01, "optimizer": "sgd"}
    assert (runtime.seed(), runtime.resource()) == (7, 2.5)


def test_the_place_to_go_on_from_is_the_earlier_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime.resume_from() is None
    monkeypatch.setenv("HPO_RESUME_FROM", "s3://bucket/run/attempt-1/")
    assert runtime.resume_from() == "s3://bucket/run/attempt-1/checkpoint"


@pytest.mark.parametrize("text", ["9", "9.0", "9e0"])
def test_a_whole_resource_is_an_int(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HPO_RESOURCE", text)
    assert isinstance(runtime.resource(), int)
    assert runtime.resource() == 9


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("HPO_PARAMS", "{", runtime.params),  # cut off
        ("HPO_PARAMS", "[1]", runtime.params),  # JSON, but no object
        ("HPO_SEED", "1.5", runtime.seed),
        ("HPO_RESOURCE", "many", runtime.resource),
    ],
)
def test_a_broken_variable_is_named(monkeypatch, name, text, read) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match=f"^{name} must be a"):
        read()


# ------------------------------------------------------------------------------ reporting


def test_report_prints_a_line_and_appends_a_record(capsys, output: Path) -> None:
    before = time.time()
    runtime.report(step=3, val_accuracy=0.9612, val_loss=0.1234)
    runtime.report(step=4, val_accuracy=0.97)
    assert capsys.readouterr().out == (
        "step=3 val_accuracy=0.9612 val_loss=0.1234\nstep=4 val_accuracy=0.97\n"
    )
    first, second = records(output)
    assert before <= first.pop("time") <= time.time()
    assert first == {"step": 3, "metrics": {"val_accuracy": 0.9612, "val_loss": 0.1234}}
    assert second["step"] == 4


def test_values_without_a_step_have_none(capsys, output: Path) -> None:
    runtime.report(test_auc=0.5)
    assert capsys.readouterr().out == "test_auc=0.5\n"
    assert records(output)[0]["step"] is None


def test_what_is_not_finite_is_reported_and_stays_valid_json(capsys, output: Path) -> None:
    runtime.report(a=math.nan, b=math.inf, c=-math.inf)
    assert capsys.readouterr().out == "a=nan b=inf c=-inf\n"
    assert records(output)[0]["metrics"] == {"a": "nan", "b": "inf", "c": "-inf"}


def test_numbers_of_other_types_are_written_as_plain_ones(capsys) -> None:
    class Scalar:  # as NumPy, TensorFlow and PyTorch have them
        def __float__(self) -> float:
            return 0.25

    runtime.report(1, loss=Scalar(), count=3, right=True)
    assert capsys.readouterr().out == "step=1 loss=0.25 count=3 right=1\n"


@pytest.mark.parametrize("uri", [None, "", "s3://bucket/prefix"])
def test_without_a_local_output_report_only_prints(monkeypatch, capsys, tmp_path, uri) -> None:
    if uri is not None:
        monkeypatch.setenv("HPO_OUTPUT", uri)
    runtime.report(1, loss=1.0)
    assert capsys.readouterr().out == "step=1 loss=1.0\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["val loss", "a=b", "a\nb", "hit@10", "metrics/mAP50(B)", "µ", "0"]
)
def test_a_name_that_no_text_line_can_hold_is_a_json_line(capsys, output: Path, name: str) -> None:
    runtime.report(3, {name: 0.5}, loss=math.nan)
    printed = capsys.readouterr().out
    assert json.loads(printed, parse_constant=pytest.fail) == {"step": 3, name: 0.5, "loss": "nan"}
    assert printed.count("\n") == 1
    (record,) = records(output)
    assert record["metrics"] == {name: 0.5, "loss": "nan"}
    assert record["step"] == 3
    assert printed.isascii(), "whatever the encoding of stdout"


@pytest.mark.parametrize("name", ["val loss", "a=b", "hit@10", "metrics/mAP50(B)", "0"])
def test_what_is_printed_as_json_is_read_as_from_the_file(
    capsys, output: Path, tmp_path: Path, name: str
) -> None:
    runtime.report(3, {name: 0.5})
    log = tmp_path / "log.txt"
    log.write_text(capsys.readouterr().out)
    for collector in (StdoutCollector(Metrics()), JsonlCollector(Metrics(collector="jsonl"))):
        (seen,) = collector.collect(Source(log, output), frozenset({name}))
        assert (seen.metric, seen.value, seen.step) == (name, 0.5, 3)


def test_words_stay_a_text_line_also_if_they_come_in_a_mapping(capsys) -> None:
    runtime.report(3, {"val/loss": 0.5, "a.b-c": 2}, {"d": 3.0}, e=4)
    assert capsys.readouterr().out == "step=3 val/loss=0.5 a.b-c=2 d=3.0 e=4\n"


def test_of_two_values_of_one_name_the_last_counts(capsys) -> None:
    runtime.report(3, {"loss": 0.5}, loss=0.25)
    assert capsys.readouterr().out == "step=3 loss=0.25\n"


def test_a_metric_called_step_is_no_step_of_the_others(
    capsys, output: Path, tmp_path: Path
) -> None:
    runtime.report(3, {"step": 7.5, "loss": 0.5})
    log = tmp_path / "log.txt"
    log.write_text(capsys.readouterr().out)
    wanted = frozenset({"step", "loss"})
    for collector in (StdoutCollector(Metrics()), JsonlCollector(Metrics(collector="jsonl"))):
        seen = {one.metric: one for one in collector.collect(Source(log, output), wanted)}
        assert (seen["loss"].value, seen["loss"].step, seen["step"].value) == (0.5, 3, 7.5)


def test_a_name_without_a_character_is_refused(capsys) -> None:
    with pytest.raises(ValueError, match="metric's name must have at least one character"):
        runtime.report(1, {"": 1.0})
    assert capsys.readouterr().out == ""


def test_a_mapping_in_the_place_of_the_step_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"step must be a whole number, got .* report\(None, "):
        runtime.report({"loss": 0.5}, acc=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["high", None, [1, 2]])
def test_a_value_that_is_no_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match="metric loss must be a number"):
        runtime.report(1, loss=value)  # type: ignore[arg-type]


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one metric"):
        runtime.report(1)


NAMES = st.text("abcdefgh_/.0123", min_size=1, max_size=20)
VALUES = st.floats() | st.integers(-(2**53), 2**53)
METRICS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=5)
STEPS = st.none() | st.integers(0, 10**9)


def same(left: dict[str, float], right: dict[str, float]) -> bool:
    return left.keys() == right.keys() and all(
        left[name] == right[name] or (math.isnan(left[name]) and math.isnan(right[name]))
        for name in left
    )


@given(step=STEPS, metrics=METRICS)
def test_the_json_line_gives_the_report_back(step: int | None, metrics: dict[str, float]) -> None:
    line = runtime._json_line(step, metrics, 12.5)
    assert "\n" not in line
    record = json.loads(line, parse_constant=pytest.fail)
    assert (record["step"], record["time"]) == (step, 12.5)
    assert same({name: float(value) for name, value in record["metrics"].items()}, metrics)


@given(step=STEPS, metrics=METRICS)
def test_the_text_line_gives_the_report_back(step: int | None, metrics: dict[str, float]) -> None:
    words = dict(word.split("=") for word in runtime._text_line(step, metrics).split(" "))
    if step is not None:
        assert words.pop("step") == str(step)
    assert same({name: float(value) for name, value in words.items()}, metrics)


@given(
    step=STEPS,
    metrics=st.dictionaries(st.text(min_size=1), VALUES, min_size=1).filter(
        lambda found: "step" not in found
    ),
)
def test_whatever_the_names_the_flat_line_gives_the_report_back(
    step: int | None, metrics: dict[str, float]
) -> None:
    line = runtime._flat_line(step, metrics)
    assert len(line.splitlines()) == 1
    record = json.loads(line, parse_constant=pytest.fail)
    assert record.pop("step", None) == step
    assert same({name: float(value) for name, value in record.items()}, metrics)


# ---------------------------------------------------------------------------- directories


def test_directories_of_a_trial_are_made_under_its_output(output: Path) -> None:
    assert runtime.checkpoint_dir() == output / "checkpoint"
    assert runtime.model_dir() == output / "model"
    assert (output / "checkpoint").is_dir()
    assert (output / "model").is_dir()


def test_a_file_uri_is_a_local_directory(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HPO_OUTPUT", f"file://{tmp_path}/output")
    assert runtime.model_dir() == tmp_path / "output" / "model"


def test_outside_a_trial_directories_are_temporary(tmp_path: Path) -> None:
    script = "from hpo_lib import runtime; print(runtime.model_dir(), runtime.checkpoint_dir())"
    places = python(script, tmp_path).communicate()[0].split()
    assert [Path(place).name for place in places] == ["model", "checkpoint"]
    assert not any(Path(place).exists() for place in places)


def test_a_directory_under_an_object_store_is_refused_with_the_way_out(monkeypatch) -> None:
    monkeypatch.setenv("HPO_OUTPUT", "s3://bucket/prefix/")
    with pytest.raises(ValueError, match=r"must be a directory .* to s3://bucket/prefix/mod"):
        runtime.model_dir()


# ------------------------------------------------------------------------------- stopping


def python(script: str, output: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "HPO_OUTPUT"}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(output)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


WAIT_FOR_SIGTERM = """
import time
from hpo_lib import runtime
print(runtime.should_stop(), runtime.terminated(), flush=True)
while not runtime.should_stop():
    time.sleep(0.01)
print(runtime.terminated(), flush=True)
if {again}:
    time.sleep(60)
"""


def test_a_trial_stops_when_the_stop_file_appears(output: Path) -> None:
    assert not runtime.should_stop()
    output.mkdir()
    (output / "stop").touch()
    assert runtime.should_stop()
    assert not runtime.terminated()


def test_sigterm_asks_to_stop(tmp_path: Path) -> None:
    process = python(WAIT_FOR_SIGTERM.format(again=False), tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "False False\n"
    process.terminate()
    assert process.communicate(timeout=30)[0] == "True\n"
    assert process.returncode == 0


def test_a_second_sigterm_ends_the_process(tmp_path: Path) -> None:
    process = python(WAIT_FOR_SIGTERM.format(again=True), tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.stdout.readline() == "True\n"
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_a_handler_that_the_trial_set_itself_is_left_alone(tmp_path: Path) -> None:
    script = """
import signal
from hpo_lib import runtime
signal.signal(signal.SIGTERM, signal.SIG_IGN)
runtime.should_stop()
print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)
"""
    assert python(script, tmp_path).communicate(timeout=30)[0] == "True\n"


def test_importing_the_runtime_imports_nothing_but_the_standard_library(tmp_path: Path) -> None:
    script = """
import sys
before = set(sys.modules)
from hpo_lib import runtime
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - sys.stdlib_module_names))
"""
    assert python(script, tmp_path).communicate(timeout=30)[0] == "['hpo_lib']\n"
