"""A Keras classifier driven by its flags alone: usable as a trial, and by hand.

It prints a header, one line of `name=value` metrics per epoch, and last a line without a step:
the metrics of the weights that are saved. Bad input ends it with code 2 and one message.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

try:
    from hpo_lib import runtime
except ImportError:  # copied alone: the same lines and the same model, no metrics.jsonl
    runtime = None

BUILT_IN = ("breast_cancer", "digits")
SPLITS = ("train", "validation", "test")
PREFIX = {"train": "", "validation": "val_", "test": "test_"}
OPTIMIZERS = {
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "Nadam",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
}
WITH_MOMENTUM = ("rmsprop", "sgd")
ACTIVATIONS = ("elu", "gelu", "relu", "selu", "sigmoid", "silu", "tanh")
CHUNK = 4096  # rows per forward pass when measuring
SAMPLE = 5  # rows of the data that go with the model, for a first try of what serves it
DESCRIBED = 64  # features, the first ones, whose statistics go with the model
SHARES = 256  # classes, at most, whose shares go with the model
SIGTERM_CODE = 143


class BadInput(ValueError):
    """What was asked for cannot be trained; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Data:
    """Features (rows x columns, float32), class indices (rows), and what they are called."""

    features: np.ndarray
    labels: np.ndarray
    classes: list[str]
    names: list[str]
    image: tuple[int, int] | None = None


# ---------------------------------------------------------------------------------- flags


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with code 2."""
        self.exit(2, f"{self.prog}: {message} (--help lists the flags)\n")


def checked(
    kind: type[int] | type[float], holds: Callable[[Any], bool], rule: str
) -> Callable[[str], float]:
    """Make a flag's type: a number for which `holds` is true."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {rule}, got {text!r}") from None
        if not holds(value):
            raise argparse.ArgumentTypeError(f"must be {rule}, got {text}")
        return value

    return read


COUNT = checked(int, lambda value: value >= 1, "a whole number >= 1")
COUNT_OR_0 = checked(int, lambda value: value >= 0, "a whole number >= 0")
SEED = checked(int, lambda value: 0 <= value < 2**32, "a whole number >= 0 and < 2**32")
POSITIVE = checked(float, lambda value: 0 < value < math.inf, "a number > 0")
NOT_NEGATIVE = checked(float, lambda value: 0 <= value < math.inf, "a number >= 0")
SHARE = checked(float, lambda value: 0 < value < 1, "a number > 0 and < 1")
SHARE_OR_0 = checked(float, lambda value: 0 <= value < 1, "a number >= 0 and < 1")
FINITE = checked(float, math.isfinite, "a number")


def parser() -> Parser:
    """Describe every flag."""
    result = Parser(
        prog="train.py",
        allow_abbrev=False,
        description="Trains a dense Keras network on a table or on small images.",
        epilog="Names may be written with hyphens as well: --learning-rate. Metrics: accuracy, "
        "auc (macro one-vs-rest), mcc (Matthews), loss (cross-entropy), on the training part, "
        "with val_ on the validation part, and at the end with test_ on the held-out part.",
    )
    _data_flags(result.add_argument_group("data"))
    _model_flags(result.add_argument_group("model"))
    _training_flags(result.add_argument_group("training"))
    return result


def _data_flags(group: Any) -> None:
    add = group.add_argument
    add(
        "--dataset",
        default="digits",
        metavar="NAME",
        help=f"{', '.join(BUILT_IN)}, or a CSV file with a header; a relative path is looked up "
        "in the working directory, then in $HPO_DATA [%(default)s]",
    )
    add("--label", metavar="COLUMN", help="label column of a CSV file")
    add(
        "--threshold",
        type=FINITE,
        metavar="X",
        help="two classes, label < X and label >= X; without it every distinct label is a class",
    )
    add("--separator", metavar="C", help="column separator of a CSV file [, or ; by its header]")
    add(
        "--validation_split",
        type=SHARE,
        default=0.2,
        metavar="SHARE",
        help="share of all rows that early stopping and val_ metrics see [%(default)s]",
    )
    add(
        "--test_split",
        type=SHARE_OR_0,
        default=0.2,
        metavar="SHARE",
        help="share of all rows held out to the end; 0: none [%(default)s]",
    )
    add(
        "--split_seed",
        type=SEED,
        default=0,
        metavar="N",
        help="which rows go where; apart from --seed, so that trials are compared on the same "
        "rows [%(default)s]",
    )


def _model_flags(group: Any) -> None:
    add = group.add_argument
    add("--layers", type=COUNT_OR_0, default=2, metavar="N", help="hidden layers [%(default)s]")
    add("--units", type=COUNT, default=64, metavar="N", help="width of the first [%(default)s]")
    add(
        "--shape",
        choices=("brick", "funnel"),
        default="brick",
        help="all layers equally wide, or each half as wide as the one before (at least 4) "
        "[%(default)s]",
    )
    add("--activation", choices=ACTIVATIONS, default="relu", help="[%(default)s]")
    add(
        "--dropout",
        type=SHARE_OR_0,
        default=0.0,
        metavar="SHARE",
        help="after every hidden layer [%(default)s]",
    )
    add(
        "--l2", type=NOT_NEGATIVE, default=0.0, metavar="X", help="penalty on weights [%(default)s]"
    )
    add(
        "--augment",
        choices=("none", "shift", "rotate", "both"),
        default="none",
        help="move training images by up to a pixel, turn them by up to 15 degrees; digits only "
        "[%(default)s]",
    )


def _training_flags(group: Any) -> None:
    add = group.add_argument
    add("--optimizer", choices=tuple(OPTIMIZERS), default="adam", help="[%(default)s]")
    add("--learning_rate", type=POSITIVE, default=0.001, metavar="X", help="[%(default)s]")
    add("--momentum", type=SHARE_OR_0, metavar="X", help="only with sgd and rmsprop [0]")
    add("--batch_size", type=COUNT, default=32, metavar="N", help="rows per step [%(default)s]")
    add(
        "--epochs",
        type=COUNT,
        default=10,
        metavar="N",
        help="at most; a trial that is given HPO_RESOURCE pauses there, and its next attempt goes "
        "on [%(default)s]",
    )
    add(
        "--patience",
        type=COUNT_OR_0,
        default=0,
        metavar="N",
        help="stop after N epochs without a better val_loss and restore the best weights; 0: "
        "train to the end and keep the last ones [%(default)s]",
    )
    add(
        "--class_weights",
        choices=("none", "balanced"),
        default="none",
        help="balanced: every class counts the same, however rare [%(default)s]",
    )
    add("--seed", type=SEED, metavar="N", help="weights, order, dropout [$HPO_SEED, else 0]")
    add(
        "--threads",
        type=COUNT_OR_0,
        default=0,
        metavar="N",
        help="CPU threads of TensorFlow; 0: its own choice [%(default)s]",
    )
    add("--output", metavar="DIR", help="where model/ and metrics.jsonl go [$HPO_OUTPUT]")


def with_underscores(argument: str) -> str:
    """Give `--batch-size=8` as `--batch_size=8`."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the flags, and refuse combinations that mean nothing."""
    flags = parser()
    args = flags.parse_args([with_underscores(argument) for argument in argv])
    if args.seed is None:
        try:
            args.seed = int(SEED(os.environ.get("HPO_SEED") or "0"))
        except argparse.ArgumentTypeError as error:
            flags.error(f"HPO_SEED {error}")
    if args.momentum is not None and args.optimizer not in WITH_MOMENTUM:
        flags.error(f"--momentum goes with {' and '.join(WITH_MOMENTUM)}, not {args.optimizer}")
    if args.validation_split + args.test_split >= 1:
        flags.error("--validation_split and --test_split must leave rows: their sum must be < 1")
    if args.dataset in BUILT_IN and (args.label or args.separator):
        flags.error(f"--label and --separator are for CSV files, not for {args.dataset}")
    if args.augment != "none" and args.dataset != "digits":
        flags.error(f"--augment is for images (digits), not for {args.dataset}")
    return args


# ----------------------------------------------------------------------------------- data


def load(args: argparse.Namespace) -> Data:
    """Read the dataset that the flags name; every class has a row for every part."""
    data = load_built_in(args) if args.dataset in BUILT_IN else load_csv(args)
    if len(data.classes) < 2:
        raise BadInput(f"{args.dataset} has one class only, {data.classes[0]!r}: two are needed")
    needed = 3 if args.test_split else 2
    counts = np.bincount(data.labels, minlength=len(data.classes))
    if counts.min() < needed:
        name, count = data.classes[int(counts.argmin())], counts.min()
        raise BadInput(
            f"class {name!r} of {args.dataset} has {count} row(s), at least {needed} are needed, "
            "one for each part; a numeric label can be cut in two with --threshold"
        )
    return data


def load_built_in(args: argparse.Namespace) -> Data:
    """Load a dataset that scikit-learn brings along."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{args.dataset}")()
    labels, classes = bunch.target, [str(name) for name in bunch.target_names]
    if args.threshold is not None:
        labels, classes = cut(labels, args.threshold, "label")
    return Data(
        features=bunch.data.astype(np.float32),
        labels=labels.astype(np.int32),
        classes=classes,
        names=[str(name) for name in bunch.feature_names],
        image=(8, 8) if args.dataset == "digits" else None,
    )


def load_csv(args: argparse.Namespace) -> Data:
    """Load a CSV file: the label column, and numbers in all the others."""
    path = find_csv(args.dataset)
    if args.label is None:
        raise BadInput("--label must name the label column of the CSV file")
    table = read_csv(path, args.separator)
    if args.label not in table.columns:
        known = ", ".join(map(str, table.columns))
        raise BadInput(f"{path} has no column {args.label!r} (--label); it has: {known}")
    refuse_gaps(table, path)
    labels, classes = classes_of(table.pop(args.label), args.threshold)
    features = numbers_of(table, path)
    return Data(features, labels.astype(np.int32), classes, [str(name) for name in table.columns])


def find_csv(name: str) -> Path:
    """Find the file in the working directory, else in the directory that HPO_DATA names."""
    data = os.environ.get("HPO_DATA")
    places = [Path.cwd(), *([Path(data)] if data else [])]
    for place in places:
        if (place / name).is_file():
            return place / name
    looked = f"nor a file in {places[0]}, nor in HPO_DATA ({data or 'not set'})"
    raise BadInput(f"--dataset {name!r} is neither built in ({', '.join(BUILT_IN)}), {looked}")


def read_csv(path: Path, separator: str | None) -> Any:
    """Read a table whose rows are as long as its header."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, sep=separator_of(path, separator), index_col=False)
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        raise BadInput(f"{path} cannot be read as CSV: {str(error).strip()}") from error


def separator_of(path: Path, asked: str | None) -> str:
    """Give the separator asked for, else the one of , and ; that the header has more of."""
    if asked:
        return "\t" if asked == "\\t" else asked
    with path.open(encoding="utf-8") as file:
        header = file.readline()
    return ";" if header.count(";") > header.count(",") else ","


def refuse_gaps(table: Any, path: Path) -> None:
    """Refuse a table without rows, or with a missing value."""
    if not len(table):
        raise BadInput(f"{path} has no rows")
    missing = table.isna().sum()
    missing = missing[missing > 0]
    if len(missing):
        found = ", ".join(f"{name!r} ({count})" for name, count in missing.items())
        raise BadInput(f"{path} has missing values (NaN) in {found}: fill them or drop the rows")


def classes_of(column: Any, threshold: float | None) -> tuple[np.ndarray, list[str]]:
    """Turn a label column into class indices and the classes' names."""
    import pandas as pd

    if threshold is None:
        values = column if pd.api.types.is_numeric_dtype(column) else column.astype(str)
        labels, distinct = pd.factorize(values, sort=True)
        return labels, [str(value) for value in distinct]
    if not pd.api.types.is_numeric_dtype(column):
        raise BadInput(
            f"--threshold needs numbers in column {column.name!r}, found {_sample(column)}"
        )
    return cut(column.to_numpy(), threshold, str(column.name))


def cut(values: np.ndarray, threshold: float, name: str) -> tuple[np.ndarray, list[str]]:
    """Make two classes of numbers."""
    labels = values >= threshold
    if labels.all() or not labels.any():
        raise BadInput(
            f"--threshold must be > {values.min()} and <= {values.max()} to cut {name!r} in two, "
            f"got {threshold:g}: one class only"
        )
    return labels, [f"{name} < {threshold:g}", f"{name} >= {threshold:g}"]


def numbers_of(table: Any, path: Path) -> np.ndarray:
    """Give the features as float32; a column that is not numeric is refused by name."""
    import pandas as pd

    if not len(table.columns):
        raise BadInput(f"{path} has no column beside the label (is --separator right?)")
    wrong = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    if wrong:
        found = ", ".join(f"{name!r} (found {_sample(table[name])})" for name in wrong)
        raise BadInput(f"{path} has columns that are not numeric: {found}; encode or drop them")
    with np.errstate(over="ignore"):
        features = table.to_numpy(dtype=np.float32)
    bad = table.columns[~np.isfinite(features).all(axis=0)]
    if len(bad):
        raise BadInput(f"{path} has numbers too large for float32 in {', '.join(map(repr, bad))}")
    return features


def _sample(column: Any) -> str:
    import pandas as pd

    text = column[pd.to_numeric(column, errors="coerce").isna()]
    return repr(str((text if len(text) else column).iloc[0]))


def split(labels: np.ndarray, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Give the rows of each part, sorted; every class is spread alike, with a row in each."""
    rng = np.random.default_rng(args.split_seed)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        n_test = share_of(len(members), args.test_split, keep=2)
        n_validation = share_of(len(members), args.validation_split, keep=1 + n_test)
        test, validation, train = np.split(members, [n_test, n_test + n_validation])
        for name, part in zip(SPLITS, (train, validation, test), strict=True):
            rows[name].append(part)
    return {name: np.sort(np.concatenate(parts)) for name, parts in rows.items()}


def share_of(count: int, share: float, *, keep: int) -> int:
    """Give how many of `count` rows the share is: at least 1, and `keep` rows are left."""
    return min(max(1, round(count * share)), count - keep) if share else 0


# ---------------------------------------------------------------------------------- model


def widths(layers: int, units: int, shape: str) -> list[int]:
    """Give the hidden layers' widths."""
    if shape == "brick":
        return [units] * layers
    return [max(units >> depth, min(units, 4)) for depth in range(layers)]


def build(args: argparse.Namespace, data: Data, train_rows: np.ndarray) -> Any:
    """Build and compile a network that takes raw features and gives class probabilities."""
    import keras

    penalty = keras.regularizers.L2(args.l2) if args.l2 else None
    stack = [keras.Input((data.features.shape[1],)), *augmentation(args.augment, data.image)]
    stack.append(normalization(data, train_rows))
    for width in widths(args.layers, args.units, args.shape):
        stack.append(keras.layers.Dense(width, args.activation, kernel_regularizer=penalty))
        if args.dropout:
            stack.append(keras.layers.Dropout(args.dropout))
    stack.append(keras.layers.Dense(len(data.classes), "softmax", kernel_regularizer=penalty))
    model = keras.Sequential(stack)
    momentum = {} if args.momentum is None else {"momentum": args.momentum}
    optimizer = getattr(keras.optimizers, OPTIMIZERS[args.optimizer])
    model.compile(optimizer(args.learning_rate, **momentum), "sparse_categorical_crossentropy")
    return model


def normalization(data: Data, train_rows: np.ndarray) -> Any:
    """Standardise by the training rows; pixels all alike, a constant column is only centred."""
    import keras

    axis = None if data.image else 0
    features = data.features[train_rows]
    mean = features.mean(axis=axis, dtype=np.float64)
    variance = features.var(axis=axis, dtype=np.float64)
    variance = np.where(variance < 1e-12 * (1 + mean**2), 1.0, variance)
    return keras.layers.Normalization(
        axis=None if data.image else -1, mean=mean.tolist(), variance=variance.tolist()
    )


def augmentation(kind: str, image: tuple[int, int] | None) -> list[Any]:
    """Give layers that move and turn images while training, and do nothing afterwards."""
    import keras

    if kind == "none" or image is None:
        return []
    stack = [keras.layers.Reshape((*image, 1))]
    if kind in ("shift", "both"):
        stack.append(
            keras.layers.RandomTranslation(1 / image[0], 1 / image[1], fill_mode="constant")
        )
    if kind in ("rotate", "both"):
        stack.append(keras.layers.RandomRotation(15 / 360, fill_mode="constant"))
    return [*stack, keras.layers.Flatten()]


# -------------------------------------------------------------------------------- metrics


def measure(model: Any, features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Give accuracy, auc, mcc and loss; all NaN when the network gives NaN."""
    from sklearn.metrics import matthews_corrcoef

    probabilities = answers(model, features)
    if not np.isfinite(probabilities).all():
        return dict.fromkeys(("accuracy", "auc", "mcc", "loss"), math.nan)
    predicted = probabilities.argmax(axis=1)
    of_label = probabilities[np.arange(len(labels)), labels]
    values = {
        "accuracy": (predicted == labels).mean(),
        "auc": macro_auc(labels, probabilities),
        "mcc": matthews_corrcoef(labels, predicted),
        "loss": -np.log(np.maximum(of_label, 1e-7)).mean(),
    }
    return {name: round(float(value), 6) for name, value in values.items()}


def answers(model: Any, features: np.ndarray) -> np.ndarray:
    """Give the probabilities of every class, a row per row."""
    chunks = [features[start : start + CHUNK] for start in range(0, len(features), CHUNK)]
    outputs = [np.asarray(model(chunk, training=False)) for chunk in chunks]
    return np.concatenate(outputs).astype(np.float64)


def holdout(model: Any, features: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """Give the metrics that are means over the rows, row by row: what the gate compares."""
    probabilities = answers(model, features)
    of_label = probabilities[np.arange(len(labels)), labels]
    return {
        "test_accuracy": (probabilities.argmax(axis=1) == labels).astype(int).tolist(),
        "test_loss": (-np.log(np.maximum(of_label, 1e-7))).round(6).tolist(),
    }


def macro_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Give the mean over classes of the area under the ROC curve, each against the rest.

    By ranks (Mann-Whitney), for all classes at once: cheap enough for every epoch.
    """
    from scipy.stats import rankdata

    if probabilities.shape[1] == 2:
        probabilities, positive = probabilities[:, 1:], labels[:, None] == 1
    else:
        positive = labels[:, None] == np.arange(probabilities.shape[1])
    n_positive = positive.sum(axis=0)
    ranks = (rankdata(probabilities, axis=0) * positive).sum(axis=0)
    areas = ranks - n_positive * (n_positive + 1) / 2
    return float((areas / (n_positive * (len(labels) - n_positive))).mean())


def measure_parts(
    model: Any, data: Data, rows: Mapping[str, np.ndarray], parts: Sequence[str]
) -> dict[str, float]:
    """Measure on each of the parts that has rows, with its prefix."""
    return {
        PREFIX[part] + name: value
        for part in parts
        if len(rows[part])
        for name, value in measure(
            model, data.features[rows[part]], data.labels[rows[part]]
        ).items()
    }


def report(step: int | None, metrics: Mapping[str, float]) -> None:
    """Report through `hpo_lib.runtime`, or without it print the same line."""
    if runtime:
        runtime.report(step, **metrics)
        return
    words = [] if step is None else [f"step={step}"]
    print(*words, *(f"{name}={value!r}" for name, value in metrics.items()), flush=True)


# ------------------------------------------------------------------------------- training


def prepare(args: argparse.Namespace) -> None:
    """Import TensorFlow quietly, seeded, and with no more threads or GPU memory than it needs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras
    import tensorflow as tf

    if args.threads:
        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    keras.utils.set_random_seed(args.seed)


def fit(model: Any, args: argparse.Namespace, data: Data, rows: Mapping[str, np.ndarray]) -> None:
    """Train, with a report after every epoch; afterwards the model has the weights to keep."""
    import keras

    def epoch_ended(epoch: int, logs: dict[str, float]) -> None:
        metrics = measure_parts(model, data, rows, ("train", "validation"))
        logs.update(metrics)  # early stopping, which comes next, reads them
        report(epoch + 1, metrics)
        diverged = math.isnan(metrics["val_loss"])
        if diverged or (runtime and runtime.should_stop()):
            model.stop_training = True

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=epoch_ended)]
    if args.patience:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_loss", patience=args.patience, mode="min", restore_best_weights=True
            )
        )
    callbacks += checkpointing()
    features, labels = data.features[rows["train"]], data.labels[rows["train"]]
    model.fit(
        features,
        labels,
        batch_size=min(args.batch_size, len(labels)),
        epochs=args.epochs,
        class_weight=balanced(labels) if args.class_weights == "balanced" else None,
        callbacks=callbacks,
        verbose=0,
    )


def checkpointing() -> list[Any]:
    """Give what ends a trial at HPO_RESOURCE, and lets its next attempt go on after that epoch.

    By hand there is none: a folder that somebody trains into again would be gone on from.
    """
    remote = "://" in os.environ.get("HPO_OUTPUT", "").removeprefix("file://")
    stays = "HPO_TRIAL" in os.environ and not remote
    if runtime is None and "HPO_RESOURCE" in os.environ:
        raise BadInput("HPO_RESOURCE is set: to end there, hpo_lib must be installed beside Keras")
    if runtime is None or not (stays or runtime.resource()):
        return []
    from hpo_lib.runtime.keras_checkpoint import CheckpointCallback

    return [CheckpointCallback()]


def balanced(labels: np.ndarray) -> dict[int, float]:
    """Give weights under which every class counts the same and a row counts 1 on average."""
    counts = np.bincount(labels)
    return {label: len(labels) / (len(counts) * count) for label, count in enumerate(counts)}


def print_header(
    args: argparse.Namespace, data: Data, rows: Mapping[str, np.ndarray], model: Any
) -> None:
    """Say in a few lines what is trained on what."""
    n_rows, n_features = data.features.shape
    counts = np.bincount(data.labels)
    hidden = widths(args.layers, args.units, args.shape)
    n_weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    print(f"dataset: {args.dataset}, {n_rows} rows, {n_features} features")
    print(f"classes: {len(counts)}, {counts.min()} to {counts.max()} rows each")
    print("split: " + ", ".join(f"{len(rows[part])} {part}" for part in SPLITS))
    print(f"network: {'-'.join(map(str, [n_features, *hidden, len(counts)]))}, {n_weights} weights")
    sys.stdout.flush()


# --------------------------------------------------------------------------------- saving


def save(
    model: Any,
    args: argparse.Namespace,
    data: Data,
    test: np.ndarray,
    metrics: Mapping[str, float],
) -> str:
    """Save the model and its metadata where they belong; gives what to tell the user.

    `model.keras` is for Keras, `saved_model/1` for TensorFlow Serving and whatever else reads its
    layout.
    """
    output = os.environ.get("HPO_OUTPUT", "").removeprefix("file://")
    if not output:
        return "not saved: neither --output nor HPO_OUTPUT is set"
    if "://" in output:
        return f"not saved: HPO_OUTPUT is {output}, not a directory"
    if not all(map(math.isfinite, metrics.values())):
        return "not saved: the training diverged"
    directory = runtime.model_dir() if runtime else Path(output) / "model"
    directory.mkdir(parents=True, exist_ok=True)
    model.save(directory / "model.keras")
    export(model, directory / "saved_model" / "1")
    write(directory / "metadata.json", metadata(args, data, metrics))
    write(directory / "sample.json", sample(model, data))
    if len(test):
        scores = holdout(model, data.features[test], data.labels[test])
        (Path(output) / "holdout.json").write_text(json.dumps(scores), encoding="utf-8")
    return f"saved in {directory}"


def export(model: Any, directory: Path) -> None:
    """Write what TensorFlow Serving reads; `model.export` would leave augmentation turned on."""
    import keras
    import tensorflow as tf

    (taken,) = model.inputs
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda features: model(features, training=False),
        input_signature=[tf.TensorSpec(taken.shape, taken.dtype, "features")],
    )
    archive.write_out(directory, verbose=False)


def write(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sample(model: Any, data: Data) -> dict[str, object]:
    """Give a few rows, evenly taken, and what the model says of them."""
    rows = np.linspace(0, len(data.features) - 1, SAMPLE).astype(int)
    features = data.features[rows]
    predictions = np.asarray(model(features, training=False))
    return {"instances": features.tolist(), "predictions": predictions.tolist()}


def metadata(
    args: argparse.Namespace, data: Data, metrics: Mapping[str, float]
) -> dict[str, object]:
    """Describe the model: what goes in and out, how it was made and how good it is."""
    import keras
    import sklearn
    import tensorflow as tf

    return {
        "params": {name: value for name, value in vars(args).items() if name != "output"},
        "metrics": dict(metrics),
        "classes": data.classes,
        "features": data.names,
        "rows": len(data.labels),
        "data": described(data),
        "versions": {
            "train.py": hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16],
            "python": platform.python_version(),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def described(data: Data) -> dict[str, object]:
    """Summarise all rows, by which drift is seen from one night to another."""
    columns = data.features[:, :DESCRIBED].astype(np.float64)
    known = np.ma.masked_invalid(columns)
    means, stds = (part.filled(0.0) for part in (known.mean(axis=0), known.std(axis=0)))
    missing = np.ma.getmaskarray(known).mean(axis=0)
    shares = np.bincount(data.labels, minlength=len(data.classes)) / len(data.labels)
    rows = zip(data.names, means, stds, missing, strict=False)
    return {
        "fingerprint": fingerprint(data),
        "rows": len(data.labels),
        "classes": dict(zip(data.classes, map(short, shares), strict=True))
        if len(data.classes) <= SHARES
        else {},
        "features": {
            name: {"mean": short(mean), "std": short(std), "missing": short(share)}
            for name, mean, std, share in rows
        },
        "left_out": max(len(data.names) - DESCRIBED, 0),
    }


def fingerprint(data: Data) -> str:
    """Hash what the rows are and are called: the same on every machine, in whatever byte order."""
    named = json.dumps([data.features.shape, data.names, data.classes])
    found = hashlib.sha256(named.encode())
    found.update(np.ascontiguousarray(data.features, "<f4").tobytes())
    found.update(np.ascontiguousarray(data.labels, "<i4").tobytes())
    return found.hexdigest()


def short(value: float) -> float:
    """Round to six digits: what another machine's sums differ by is gone."""
    return float(f"{value:.6g}")


def run(args: argparse.Namespace) -> int:
    """Train as the flags say; gives the exit code."""
    if args.output:
        os.environ["HPO_OUTPUT"] = args.output
    data = load(args)  # before TensorFlow is imported: bad input is found in no time
    rows = split(data.labels, args)
    if runtime:
        runtime.should_stop()  # from here on SIGTERM ends the training, not the process
    prepare(args)
    model = build(args, data, rows["train"])
    print_header(args, data, rows, model)
    fit(model, args, data, rows)
    metrics = measure_parts(model, data, rows, SPLITS)
    print(f"model: {save(model, args, data, rows['test'], metrics)}")
    report(None, metrics)
    return SIGTERM_CODE if runtime and runtime.terminated() else 0


def main() -> int:
    """Run, and turn bad input into one line and code 2."""
    try:
        return run(parse(sys.argv[1:]))
    except BadInput as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
