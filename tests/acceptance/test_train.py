"""`docker/trial/train.py`, run for real by the trial environment's interpreter.

TensorFlow starts six times in all (fixtures of the module): bad input is refused without it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from hpo_lib.evaluation.drift import Data

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "docker" / "trial" / "train.py"
SERVE = ROOT / "docker" / "serve"
SPLITS = ("", "val_", "test_")
NAMES = {split + name for split in SPLITS for name in ("accuracy", "auc", "mcc", "loss")}


@dataclass(frozen=True)
class Ended:
    """A run that ended: its code, its words, its metric lines in order."""

    code: int
    out: str
    err: str
    output: Path

    @property
    def metrics(self) -> list[dict[str, float]]:
        lines = [line for line in self.out.splitlines() if "=" in line]
        pairs = [[word.split("=") for word in line.split(" ")] for line in lines]
        return [{name: float(value) for name, value in line} for line in pairs]

    @property
    def last(self) -> dict[str, float]:
        return self.metrics[-1]

    @property
    def metadata(self) -> dict[str, object]:
        return json.loads((self.output / "model" / "metadata.json").read_text())


def trial_python() -> str:
    """Give the interpreter of the trial environment, or skip."""
    given = os.environ.get("HPO_TRIAL_PYTHON")
    usual = ROOT / ".venv-trial" / "bin" / "python"
    if given:
        return given
    if not usual.exists():
        pytest.skip("needs the trial environment: make setup")
    return str(usual)


def run(
    arguments: list[str], output: Path, script: Path = TRAIN, env: Mapping[str, str] | None = None
) -> Ended:
    """Run a script in its output directory, in an environment with no HPO_ variable but these."""
    output.mkdir(parents=True, exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HPO_")}
    variables = {"PYTHONPATH": str(ROOT), "HPO_OUTPUT": str(output), **(env or {})}
    done = subprocess.run(
        [trial_python(), str(script), *arguments],
        cwd=output,
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr, output)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    flags = ["--dataset=digits", "--epochs=20", "--patience=3", "--units=96", "--layers=2"]
    more = ["--batch-size=16", "--augment=shift", "--learning_rate=0.003", "--threads=1"]
    return run([*flags, *more], tmp_path_factory.mktemp("digits"), env={"HPO_SEED": "1"})


@pytest.fixture(scope="module")
def cancer_flags() -> list[str]:
    flags = ["--dataset=breast_cancer", "--epochs=6", "--optimizer=sgd", "--momentum=0.9"]
    return [*flags, "--learning_rate=0.01", "--dropout=0.2", "--seed=3", "--threads=1"]


@pytest.fixture(scope="module")
def cancer(tmp_path_factory: pytest.TempPathFactory, cancer_flags: list[str]) -> Ended:
    return run(cancer_flags, tmp_path_factory.mktemp("cancer"))


@pytest.fixture(scope="module")
def cancer_alone(tmp_path_factory: pytest.TempPathFactory, cancer_flags: list[str]) -> Ended:
    """Give the same run by a copy of train.py with no hpo_lib to import and no place to save."""
    directory = tmp_path_factory.mktemp("alone")
    copy = Path(shutil.copy(TRAIN, directory))
    return run(cancer_flags, directory, copy, env={"PYTHONPATH": "", "HPO_OUTPUT": ""})


IN_RUNGS = """
import os, pathlib, runpy, sys
from hpo_lib.runtime import keras_checkpoint

train, *sys.argv = sys.argv[1:]
sys.argv.insert(0, train)
home = pathlib.Path(os.environ["HPO_OUTPUT"])
for resource, earlier in (("2", ""), ("6", "2")):
    os.environ |= {"HPO_RESOURCE": resource, "HPO_OUTPUT": str(home / resource)}
    if earlier:
        os.environ["HPO_RESUME_FROM"] = str(home / earlier)
    keras_checkpoint._begun.clear()  # as in a process of its own
    try:
        runpy.run_path(train, run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
"""


@pytest.fixture(scope="module")
def in_rungs(tmp_path_factory: pytest.TempPathFactory, cancer_flags: list[str]) -> Ended:
    """Give the same in two attempts of a trial that may take longer: to epoch 2, and on to 6."""
    directory = tmp_path_factory.mktemp("rungs")
    script = directory / "in_rungs.py"
    script.write_text(IN_RUNGS)
    flags = [one.replace("epochs=6", "epochs=9") for one in cancer_flags]
    return run([str(TRAIN), *flags], directory, script)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Give a run on a CSV file in HPO_DATA: a score that a line through two columns decides."""
    data = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    rows = ["width;height;constant;score"]
    for _ in range(600):
        width, height = rng.uniform(0, 1000), rng.uniform(-0.01, 0.01)
        rows.append(f"{width};{height};5;{round(width / 100 + height * 300)}")
    (data / "table.csv").write_text("\n".join(rows) + "\n")
    flags = ["--dataset=table.csv", "--label=score", "--threshold=8", "--class_weights=balanced"]
    more = ["--epochs=15", "--layers=3", "--units=16", "--shape=funnel", "--learning_rate=0.01"]
    output = tmp_path_factory.mktemp("table")
    return run([*flags, *more, "--l2=0.0001"], output, env={"HPO_DATA": str(data)})


USE_MODEL = """
import json, os, pathlib, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import keras, numpy as np
from sklearn.datasets import load_digits
from hpo_lib.runtime.keras import ReportCallback

model = keras.models.load_model(sys.argv[1])
data = load_digits()
predicted = model.predict(data.data, verbose=0)
print(json.dumps({"accuracy": float((predicted.argmax(axis=1) == data.target).mean())}))

sys.path.insert(0, sys.argv[2])
import model as serving
served = {}
for name in ("saved_model", "model.keras"):
    folder = pathlib.Path(name + ".folder")
    folder.mkdir()
    (folder / name).symlink_to(pathlib.Path(sys.argv[1]).with_name(name))
    found = serving.load(folder, "7")
    sample = json.loads(pathlib.Path(sys.argv[1]).with_name("sample.json").read_text())
    served[name] = {"predictions": found.predict(sample["instances"]), **found.describe()}
wrong = {
    "shape": [[1.0, 2.0]],
    "unlike": [[1.0] * 64, [1.0]],
    "text": [["a"] * 64],
    "null": [[None] * 64],
    "huge": [[1e300] * 64],
    "names": [{"colour": 1}],
}
for name, rows in wrong.items():
    try:
        found.predict(rows)
    except serving.BadInstances as error:
        served[name] = str(error)
print(json.dumps(served))
sys.stdout.flush()

small = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, "softmax")])
small.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
stop = os.path.join(os.environ["HPO_OUTPUT"], "stop")
ask = keras.callbacks.LambdaCallback(
    on_epoch_begin=lambda epoch, logs: open(stop, "w").close() if epoch == 1 else None
)
split = {"validation_split": 0.2, "verbose": 0}
small.fit(data.data, data.target, epochs=5, callbacks=[ask, ReportCallback()], **split)
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, digits: Ended) -> Ended:
    """Give a run of code that loads the saved model, and trains another with ReportCallback."""
    directory = tmp_path_factory.mktemp("user")
    script = directory / "use_model.py"
    script.write_text(USE_MODEL)
    return run([str(digits.output / "model" / "model.keras"), str(SERVE)], directory, script)


# ------------------------------------------------------------------------------- training


def test_digits_are_learned(digits: Ended) -> None:
    assert digits.code == 0, digits.err
    assert digits.last["val_accuracy"] >= 0.95
    assert digits.last["test_accuracy"] >= 0.93
    assert digits.last["val_auc"] >= 0.99


def test_every_epoch_has_a_line_and_the_last_line_has_no_step(digits: Ended) -> None:
    *epochs, last = digits.metrics
    assert [line.pop("step") for line in epochs] == list(range(1, len(epochs) + 1))
    assert all(set(line) == {name for name in NAMES if "test" not in name} for line in epochs)
    assert set(last) == NAMES
    assert "=" in digits.out.splitlines()[-1]


def test_the_last_line_is_of_the_best_weights(digits: Ended) -> None:
    *epochs, last = digits.metrics
    assert last["val_loss"] == min(line["val_loss"] for line in epochs)


def test_the_file_holds_what_was_printed(digits: Ended) -> None:
    lines = (digits.output / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    steps = [{} if record["step"] is None else {"step": record["step"]} for record in records]
    merged = [step | record["metrics"] for step, record in zip(steps, records, strict=True)]
    assert merged == digits.metrics


def test_the_model_comes_with_its_metadata(digits: Ended) -> None:
    metadata = digits.metadata
    assert metadata["metrics"] == digits.last
    assert metadata["classes"] == list("0123456789")
    assert len(metadata["features"]) == 64
    assert metadata["params"]["batch_size"] == 16
    assert metadata["params"]["seed"] == 1  # HPO_SEED
    assert {"python", "keras", "tensorflow", "train.py"} <= set(metadata["versions"])


def test_the_model_comes_with_what_its_data_was_like(digits: Ended, table: Ended) -> None:
    left = digits.metadata["data"]
    assert isinstance(left, dict)
    data = Data.read(left)
    assert data.fingerprint == "a8a3b9611f3446d761b0c804e22c96046ca47db111067b65b5cb711edc5cc2f4"
    assert (data.rows, len(data.classes), len(data.features)) == (1797, 10, 64)
    assert left["classes"]["0"] == round(178 / 1797, 7)
    assert left["features"]["pixel_0_0"] == {"mean": 0, "std": 0, "missing": 0}
    assert left["left_out"] == 0
    other = Data.read(table.metadata["data"])
    assert set(other.features) == {"width", "height", "constant"}
    assert other.fingerprint != data.fingerprint


def test_the_header_is_readable_and_has_no_metric(digits: Ended) -> None:
    header = digits.out.partition("step=")[0]
    assert "dataset: digits, 1797 rows, 64 features" in header
    assert "network: 64-96-96-10, 16522 weights" in header
    assert "=" not in header


def test_the_saved_model_takes_raw_features(digits: Ended, user: Ended) -> None:
    assert user.code == 0, user.err
    shares = {"": 1079, "val_": 359, "test_": 359}
    right = sum(round(digits.last[f"{split}accuracy"] * rows) for split, rows in shares.items())
    reloaded = json.loads(user.out.splitlines()[0])["accuracy"]
    assert reloaded == pytest.approx(right / 1797)


def test_the_model_is_saved_as_tensorflow_serving_reads_it(digits: Ended) -> None:
    saved = digits.output / "model" / "saved_model" / "1"
    assert (saved / "saved_model.pb").exists()
    assert (saved / "variables" / "variables.index").exists()


def test_the_hold_out_is_scored_row_by_row(digits: Ended) -> None:
    scores = json.loads((digits.output / "holdout.json").read_text())
    metrics = json.loads((digits.output / "model" / "metadata.json").read_text())["metrics"]
    assert set(scores) == {"test_accuracy", "test_loss"}
    for name, rows in scores.items():
        assert sum(rows) / len(rows) == pytest.approx(metrics[name], abs=1e-5)


@pytest.mark.parametrize("kind", ["saved_model", "model.keras"])
def test_what_is_served_answers_the_sample_as_training_did(
    digits: Ended, user: Ended, kind: str
) -> None:
    """Also with augmentation, of which nothing may be left when the model is asked."""
    sample = json.loads((digits.output / "model" / "sample.json").read_text())
    assert len(sample["instances"]) == len(sample["predictions"]) == 5
    served = json.loads(user.out.splitlines()[1])[kind]
    for row, wanted in zip(served["predictions"], sample["predictions"], strict=True):
        assert row == pytest.approx(wanted, abs=1e-5)
    (taken,) = served["inputs"].values()
    assert taken == {"dtype": "float32", "shape": [None, 64]}


def test_the_server_says_what_is_wrong_with_rows(user: Ended) -> None:
    served = json.loads(user.out.splitlines()[1])
    (name,) = served["model.keras"]["inputs"]
    rule = f"instances: {name} must be float32 of shape [None, 64], got "
    wrong = {
        "shape": "shape [1, 2]",
        "unlike": "rows of unlike sizes",
        "text": "other values",
        "null": "other values",
        "huge": "a number that is none",
    }
    assert {key: served[key] for key in wrong} == {key: rule + got for key, got in wrong.items()}
    assert served["names"] == f"instances[0]: must be an object with exactly {name}, got ['colour']"


def test_the_callback_reports_epochs_and_stops_when_asked(user: Ended) -> None:
    names = {"step", "accuracy", "loss", "val_accuracy", "val_loss"}
    assert [line["step"] for line in user.metrics] == [1, 2]
    assert all(set(line) == names for line in user.metrics)


def test_two_classes_are_learned(cancer: Ended) -> None:
    assert cancer.code == 0, cancer.err
    assert cancer.last["test_auc"] >= 0.97
    assert cancer.metadata["classes"] == ["malignant", "benign"]


def test_without_patience_the_last_line_repeats_the_last_epoch(cancer: Ended) -> None:
    *_, epoch, last = cancer.metrics
    assert epoch["step"] == 6
    assert epoch.items() - {("step", 6.0)} <= last.items()


def test_copied_alone_it_gives_the_same_numbers_for_the_same_seed(
    cancer: Ended, cancer_alone: Ended
) -> None:
    assert cancer_alone.code == 0, cancer_alone.err
    assert cancer_alone.metrics == cancer.metrics


def test_with_no_place_to_save_it_says_so(cancer_alone: Ended) -> None:
    assert "model: not saved" in cancer_alone.out
    assert [path.name for path in cancer_alone.output.iterdir()] == ["train.py"]


def reported(output: Path) -> list[tuple[int | None, dict[str, float]]]:
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["metrics"]) for line in lines]


def test_in_two_rungs_it_is_trained_as_in_one_and_no_epoch_twice(
    cancer: Ended, in_rungs: Ended
) -> None:
    assert in_rungs.code == 0, in_rungs.err
    first, second = (in_rungs.output / name for name in ("2", "6"))
    assert [step for step, _ in reported(first)] == [1, 2, None]
    assert reported(second) == reported(cancer.output)
    answers = [(one / "model/sample.json").read_text() for one in (second, cancer.output)]
    assert answers[0] == answers[1], "bit for bit"
    resumed = in_rungs.out.partition("The training goes on after epoch 2")[2]
    trained = [line.split()[0] for line in resumed.splitlines() if line.startswith("step=")]
    assert trained == ["step=3", "step=4", "step=5", "step=6"]


def test_a_table_with_a_threshold_is_learned(table: Ended) -> None:
    assert table.code == 0, table.err
    assert "network: 3-16-8-4-2" in table.out
    assert table.metadata["classes"] == ["score < 8", "score >= 8"]
    assert table.metadata["features"] == ["width", "height", "constant"]
    assert table.last["test_auc"] >= 0.97


# ------------------------------------------------------------------------------ bad input

TABLES = {
    "fine.csv": "a,b,y\n" + "1,2,0\n3,4,1\n" * 5,
    "text.csv": "a,b,y\n" + "1,red,0\n3,4,1\n" * 5,
    "gap.csv": "a,b,y\n1,,0\n" + "3,4,1\n" * 5,
    "one.csv": "a,y\n" + "1,0\n" * 5,
    "rare.csv": "a,y\n" + "1,0\n" * 5 + "2,1\n",
    "long.csv": "a,y\n" + "1,0,7\n" * 5,
    "empty.csv": "",
    "header.csv": "a,y\n",
    "label.csv": "y\n0\n1\n",
}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--dropuot=0.1", "unrecognized arguments: --dropuot=0.1"),
        ("--drop=0.1", "unrecognized arguments: --drop=0.1"),  # no abbreviations
        ("--units=0", "argument --units: must be a whole number >= 1, got 0"),
        ("--dropout=nan", "must be a number >= 0 and < 1, got nan"),
        ("--momentum=0.9 --optimizer=adam", "--momentum goes with rmsprop and sgd, not adam"),
        ("--dataset=breast_cancer --augment=shift", "--augment is for images"),
        ("--label=y", "--label and --separator are for CSV files, not for digits"),
        ("--validation_split=0.5 --test-split=0.5", "their sum must be < 1"),
        ("--dataset=absent.csv --label=y", "nor a file in {here}, nor in HPO_DATA (not set)"),
        ("--dataset=fine.csv", "--label must name the label column"),
        ("--dataset=fine.csv --label=z", "has no column 'z' (--label); it has: a, b, y"),
        ("--dataset=fine.csv --label=y --threshold=2", "must be > 0 and <= 1 to cut 'y' in two"),
        ("--dataset=text.csv --label=y", "not numeric: 'b' (found 'red')"),
        ("--dataset=text.csv --label=b --threshold=1", "needs numbers in column 'b', found 'red'"),
        ("--dataset=gap.csv --label=y", "missing values (NaN) in 'b' (1)"),
        ("--dataset=one.csv --label=y", "has one class only, '0'"),
        ("--dataset=rare.csv --label=y", "class '1' of rare.csv has 1 row(s), at least 3"),
        ("--dataset=long.csv --label=y", "cannot be read as CSV"),
        ("--dataset=empty.csv --label=y", "cannot be read as CSV"),
        ("--dataset=header.csv --label=y", "has no rows"),
        ("--dataset=label.csv --label=y", "has no column beside the label"),
    ],
)
def test_bad_input_ends_with_code_2_and_one_line(flags: str, message: str, tmp_path: Path) -> None:
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)
    ended = run(flags.split(), tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert message.format(here=tmp_path) in ended.err
    assert ended.err.startswith("train.py: ")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "model").exists()
