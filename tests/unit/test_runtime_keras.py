"""ReportCallback in real trainings with Keras: what it reports, and that it never ends one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trial_environment

from hpo_lib.collectors import Source
from hpo_lib.collectors.jsonl import JsonlCollector
from hpo_lib.collectors.stdout import StdoutCollector
from hpo_lib.collectors.summary import summary
from hpo_lib.spec.sections import Metrics, Objective

#: Each training reports to a folder of its name, and then says what Keras knows of it.
TRAININGS = """
import json, os, keras, numpy
from hpo_lib.runtime.keras import ReportCallback

keras.utils.set_random_seed(1)
x = numpy.random.rand(64, 4).astype("float32")
y = keras.utils.to_categorical(numpy.random.randint(0, 3, 64), 3)
ROOT = os.environ["HPO_OUTPUT"]


class Odd(keras.callbacks.Callback):
    # What users' own callbacks and training steps may put into the logs.
    def on_epoch_end(self, epoch, logs=None):
        logs.update(words="high", nothing=None, empty=numpy.zeros(0), pair={"a": 1}, step=epoch)
        logs.update({"two words": numpy.float32(0.5), "": 1.0, "whole": numpy.int64(3), 7: None})


class Curve(keras.callbacks.Callback):
    # Makes of val_loss what it is told, so that the best epoch is known.
    def __init__(self, *values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        if "val_loss" in logs:
            logs["val_loss"] = self.values[epoch]


def model(*metrics):
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    made.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy", metrics=list(metrics))
    return made


def fit(name, made, *callbacks, epochs=2, **options):
    os.environ["HPO_OUTPUT"] = os.path.join(ROOT, name)
    print("==", name, flush=True)
    options = {"validation_split": 0.25, "verbose": 0} | options
    past = made.fit(x, y, epochs=epochs, callbacks=list(callbacks), **options)
    known = {
        name: [float(numpy.mean(value)) for value in values]
        for name, values in past.history.items()
        if str(name).replace("val_", "") in ("loss", "f1_score", "auc", "auc_1", "PR AUC", "step")
    }
    with open(os.path.join(ROOT, name + ".json"), "w") as file:
        json.dump(known, file)


class Still(keras.callbacks.Callback):
    # Fits once more in the middle of another training.
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            model().fit(x, y, epochs=1, verbose=0)


best = lambda **more: keras.callbacks.EarlyStopping(
    "val_loss", restore_best_weights=True, patience=9, **more
)
F1, AUC = keras.metrics.F1Score, keras.metrics.AUC
fit("array", model(F1(), "accuracy"), ReportCallback(), verbose=2)
fit("blank", model(AUC(name="PR AUC", curve="PR")), ReportCallback())
fit("step", model(keras.metrics.MeanSquaredError(name="step")), ReportCallback())
fit("first", model(AUC()), ReportCallback())
fit("second", model(AUC()), ReportCallback())
fit("odd", model(), Odd(), ReportCallback())
values = (0.9, 0.3, 0.2, 0.7, 0.8)
fit("kept", model(), Curve(*values), best(), ReportCallback(), epochs=5)
fit("kept_before", model(), ReportCallback(), best(), epochs=1)
fit("order", model(), Curve(*values), ReportCallback(), best(), epochs=5)
stops = keras.callbacks.EarlyStopping("val_loss", restore_best_weights=True, patience=1)
fit("stopped", model(), Curve(*values), stops, ReportCallback(), epochs=5)
last = keras.callbacks.EarlyStopping("val_loss", patience=1)
fit("not_restored", model(), Curve(*values), last, ReportCallback(), epochs=5)
fit("best_is_last", model(), Curve(3, 2, 1), best(), ReportCallback(), epochs=3)
fit("freq", model(), Curve(*values), best(), ReportCallback(), epochs=5, validation_freq=2)
again, told, stop = model(), ReportCallback(), best()
fit("twice", again, Curve(*values), stop, told, epochs=5)
fit("twice", again, Curve(*values), stop, told, epochs=4, initial_epoch=3)
fit("inside", model(), Curve(*values), Still(), best(), ReportCallback(), epochs=5)
os.makedirs(os.path.join(ROOT, "asked", "stop"))
fit("asked", model(), Curve(*values), best(), ReportCallback(), epochs=5)
ReportCallback().on_train_end()
"""

BEST = [Objective(metric="val_loss", direction="minimize", reduce="best")]
LAST = [Objective(metric="val_loss", direction="minimize")]
VALUES = [0.9, 0.3, 0.2, 0.7, 0.8]


@dataclass
class Trainings:
    """What the trainings have printed and left, by name."""

    folder: Path
    printed: dict[str, str]

    def records(self, name: str) -> list[dict[str, Any]]:
        lines = (self.folder / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line, parse_constant=pytest.fail) for line in lines]

    def history(self, name: str) -> dict[str, list[float]]:
        return json.loads((self.folder / f"{name}.json").read_text())

    def read(self, name: str, metric: str) -> list[list[tuple[float, int | None]]]:
        """Give a metric's values and steps, as they are read from stdout and from the file."""
        log = self.folder / f"{name}.log"
        log.write_text(self.printed[name])
        source, wanted = Source(log, self.folder / name), frozenset({metric})
        readers = StdoutCollector(Metrics()), JsonlCollector(Metrics(collector="jsonl"))
        return [[(one.value, one.step) for one in r.collect(source, wanted)] for r in readers]

    def reduced(self, name: str, objectives: list[Objective]) -> dict[str, float]:
        source = Source(self.folder / "none", self.folder / name)
        reader = JsonlCollector(Metrics(collector="jsonl"))
        return summary(reader.collect(source, frozenset({"loss", "val_loss"})), objectives)[1]


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    folder = tmp_path_factory.mktemp("trainings")
    printed: dict[str, str] = {}
    name = ""
    for line in trial_environment.run(TRAININGS, folder).splitlines(keepends=True):
        if line.startswith("== "):
            name = line[3:].strip()
        else:
            printed[name] = printed.get(name, "") + line
    return Trainings(folder, printed)


def test_of_a_value_per_class_the_mean_is_reported_which_keras_prints(
    trainings: Trainings,
) -> None:
    known = trainings.history("array")["val_f1_score"]
    for found in trainings.read("array", "val_f1_score"):
        assert found == [(pytest.approx(value), step) for step, value in enumerate(known, 1)]
        for value in known:
            assert f"val_f1_score: {value:.4f}" in trainings.printed["array"]


def test_a_name_with_a_blank_is_reported_as_it_is(trainings: Trainings) -> None:
    for name in ("PR AUC", "val_PR AUC"):
        known = trainings.history("blank")[name]
        for found in trainings.read("blank", name):
            assert found == [(pytest.approx(value), step) for step, value in enumerate(known, 1)]


def test_a_metric_called_step_disturbs_no_other(trainings: Trainings) -> None:
    for name in ("loss", "val_step"):
        known = trainings.history("step")[name]
        for found in trainings.read("step", name):
            assert found == [(pytest.approx(value), step) for step, value in enumerate(known, 1)]
    for found in trainings.read("step", "step"):  # steps are called so too
        assert [value for value, _ in found] == pytest.approx(trainings.history("step")["step"])


def test_a_second_auc_keeps_the_name_that_keras_gives_it(trainings: Trainings) -> None:
    assert "val_auc" in trainings.records("first")[-1]["metrics"]
    assert "val_auc_1" in trainings.records("second")[-1]["metrics"]


def test_what_is_no_number_is_passed_over_and_named_once(trainings: Trainings) -> None:
    kinds = {
        "words": "str",
        "nothing": "NoneType",
        "empty": "ndarray",
        "pair": "dict",
        "7": "NoneType",
    }
    told = [line for line in trainings.printed["odd"].splitlines() if "no number" in line]
    assert told == [
        f"The metric {name!r} is not reported, for a value of {kind} is no number."
        for name, kind in kinds.items()
    ]
    metrics = [one["metrics"] for one in trainings.records("odd") if "loss" in one["metrics"]]
    assert [set(one) for one in metrics] == [{"loss", "val_loss", "two words", "whole"}] * 2
    assert [one["step"] for one in trainings.records("odd")] == [1, None, 2, None]


@pytest.mark.parametrize("name", ["kept", "order", "inside"])
def test_the_last_is_what_the_weights_that_are_kept_had(trainings: Trainings, name: str) -> None:
    assert trainings.records(name)[-1]["step"] is None
    assert trainings.read(name, "val_loss")[1] == [
        *[(value, step) for step, value in enumerate(VALUES, 1)],
        (0.2, None),
    ]
    third = trainings.records(name)[2]["metrics"]
    assert trainings.reduced(name, LAST) == trainings.reduced(name, BEST) == third
    assert "The model keeps the weights of epoch 3." in trainings.printed[name]


def test_a_training_that_was_stopped_early_reports_what_it_keeps(trainings: Trainings) -> None:
    found = trainings.read("stopped", "val_loss")[1]
    assert found == [(0.9, 1), (0.3, 2), (0.2, 3), (0.7, 4), (0.2, None)]


@pytest.mark.parametrize(("name", "epochs"), [("not_restored", 4), ("best_is_last", 3)])
def test_nothing_is_added_where_the_last_weights_are_kept(
    trainings: Trainings, name: str, epochs: int
) -> None:
    assert [one["step"] for one in trainings.records(name)] == list(range(1, epochs + 1))


def test_where_an_epoch_was_not_validated_its_values_are_those_it_has(
    trainings: Trainings,
) -> None:
    assert trainings.read("freq", "val_loss")[1] == [(0.3, 2), (0.7, 4), (0.3, None)]


def test_a_second_training_with_the_same_callbacks_stands_for_itself(
    trainings: Trainings,
) -> None:
    steps = [one["step"] for one in trainings.records("twice")]
    assert steps == [1, 2, 3, 4, 5, None, 4]


def test_a_trial_that_is_asked_to_stop_reports_its_epoch(trainings: Trainings) -> None:
    assert trainings.read("asked", "val_loss")[1] == [(0.9, 1)]
