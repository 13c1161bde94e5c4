"""Record learning curves of real trainings: `.venv-trial/bin/python -m benchmarks.record_curves`.

A file a problem in benchmarks/curves/, which benchmarks/curves/README.md describes; names of
problems as arguments record only those, and --again those that are there. All data come with
scikit-learn, but for the wine quality table in the folder HPO_DATA.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

CURVES = Path(__file__).parent / "curves"
CONFIGURATIONS = 200
SAVED_EVERY = 20

Params = dict[str, Any]
Array = Any
#: Rows to learn from and their targets, then held-out rows and theirs.
Data = tuple[Array, Array, Array, Array]
Train = Callable[[Params, int], Iterator[float]]


def number(low: float, high: float, scale: str = "linear") -> Params:
    """Describe a number as a spec does."""
    return {"type": "float", "low": low, "high": high, "scale": scale}


def whole(low: int, high: int) -> Params:
    """Describe a whole number as a spec does."""
    return {"type": "int", "low": low, "high": high}


def choice(*choices: Any) -> Params:
    """Describe a choice as a spec does."""
    return {"type": "categorical", "choices": list(choices)}


RATE = number(0.003, 0.5, "log")
SCHEDULES = choice("constant", "cosine", "linear", "step")


@dataclass(frozen=True)
class Problem:
    """A training that gives a loss a step; `worst` stands for all that is above, or no number."""

    steps: int
    worst: float
    space: Params
    train: Train


def drawn(space: Params, rng: np.random.Generator) -> Params:
    """Draw a configuration uniformly, on each parameter's own scale."""
    return {name: _value(one, rng.random()) for name, one in space.items()}


def _value(one: Params, unit: float) -> Any:
    if one["type"] == "categorical":
        return one["choices"][int(unit * len(one["choices"]))]
    low, high = one["low"], one["high"]
    if one["type"] == "int":
        return int(low + unit * (high - low + 1))
    if one["scale"] == "log":
        return round(float(np.exp(np.log(low) + unit * np.log(high / low))), 9)
    return round(float(low + unit * (high - low)), 6)


@cache
def wine() -> Data:
    """Give the red wines, their quality as a number."""
    table = np.genfromtxt(
        Path(os.environ["HPO_DATA"]) / "winequality-red.csv", delimiter=",", skip_header=1
    )
    return _split(table[:, :-1], table[:, -1], 900)


@cache
def digits() -> Data:
    """Give the digits of scikit-learn, 8 x 8 points each."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _split(x[:1200], y[:1200], 700)


@cache
def few_digits() -> Data:
    """Give fewer digits, for what takes long."""
    x, y, held_x, held_y = digits()
    return x[:350], y[:350], held_x, held_y


@cache
def diabetes() -> Data:
    """Give the diabetes data; the target in units of its deviation."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return _split(x, (y - y.mean()) / y.std(), 300)


@cache
def cancer() -> Data:
    """Give the breast cancer data."""
    from sklearn.datasets import load_breast_cancer

    return _split(*load_breast_cancer(return_X_y=True), 300)


@cache
def friedman() -> Data:
    """Give a made-up regression with products, squares and noise."""
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(800, noise=2.0, random_state=0)
    return _split(x, (y - y.mean()) / y.std(), 300)


def _split(x: Array, y: Array, rows: int) -> Data:
    """Shuffle, split, and scale every column by what is learned from."""
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order].astype(np.float64), y[order]
    mean, spread = x[:rows].mean(axis=0), x[:rows].std(axis=0)
    x = (x - mean) / np.where(spread > 0, spread, 1.0)
    return x[:rows], y[:rows], x[rows:], y[rows:]


def rmse(truth: Array, told: Array) -> float:
    """Give the root of the mean squared error."""
    return float(np.sqrt(np.mean((truth - told) ** 2)))


def log_loss(truth: Array, told: Array) -> float:
    """Give the mean log loss of probabilities, a column a class."""
    of_truth = told[np.arange(len(truth)), truth.astype(int)]
    return float(-np.log(np.clip(of_truth, 1e-7, 1.0)).mean())


def error(truth: Array, told: Array) -> float:
    """Give the share of wrong labels."""
    return float((truth != told).mean())


def xgboost(data: Callable[[], Data], steps: int, metric: str, **fixed: Any) -> Train:
    """Boost with XGBoost, its own metric of the held-out rows after each round."""

    def train(params: Params, seed: int) -> Iterator[float]:
        import xgboost as xgb

        x, y, held_x, held_y = data()
        told: dict[str, dict[str, list[float]]] = {}
        xgb.train(
            {"nthread": 1, "seed": seed, "eval_metric": metric, **fixed, **params},
            xgb.DMatrix(x, y),
            steps,
            evals=[(xgb.DMatrix(held_x, held_y), "held_out")],
            evals_result=told,
            verbose_eval=False,
        )
        yield from told["held_out"][metric]

    return train


def staged(kind: str, data: Callable[[], Data], **fixed: Any) -> Train:
    """Boost with scikit-learn, by stages: log loss of a classifier, else RMSE."""

    def train(params: Params, seed: int) -> Iterator[float]:
        from sklearn import ensemble

        x, y, held_x, held_y = data()
        model = getattr(ensemble, kind)(random_state=seed, **fixed, **params).fit(x, y)
        if kind.endswith("Classifier"):
            yield from (log_loss(held_y, told) for told in model.staged_predict_proba(held_x))
            return
        yield from (rmse(held_y, told) for told in model.staged_predict(held_x))

    return train


def linear(kind: str, data: Callable[[], Data], steps: int, **fixed: Any) -> Train:
    """Fit a linear model by stochastic gradients, an epoch a step: log loss, error or RMSE."""

    def train(params: Params, seed: int) -> Iterator[float]:
        from sklearn import linear_model

        x, y, held_x, held_y = data()
        model = getattr(linear_model, kind)(random_state=seed, **fixed, **params)
        more = {"classes": np.unique(y)} if kind.endswith("Classifier") else {}
        for _ in range(steps):
            model.partial_fit(x, y, **more)
            if fixed.get("loss") == "log_loss":
                yield log_loss(held_y, model.predict_proba(held_x))
                continue
            told = model.predict(held_x)
            yield error(held_y, told) if more else rmse(held_y, told)

    return train


def factor(schedule: str, warm_up: int, step: int, steps: int) -> float:
    """Give what the learning rate is multiplied with in a step, from 0."""
    rising = min(1.0, (step + 1) / (warm_up + 1))
    share = step / steps
    if schedule == "cosine":
        return rising * 0.5 * (1 + float(np.cos(np.pi * share)))
    if schedule == "linear":
        return rising * (1 - share)
    if schedule == "step":
        return rising * (1.0 if share < 0.6 else 0.1 if share < 0.85 else 0.01)
    return rising


def perceptron(kind: str, data: Callable[[], Data], steps: int, loss: Any, **fixed: Any) -> Train:
    """Train a perceptron of scikit-learn, an epoch a step, perhaps by a schedule of rates."""

    def train(params: Params, seed: int) -> Iterator[float]:
        from sklearn import neural_network

        x, y, held_x, held_y = data()
        asked = {**fixed, **params}
        schedule, warm_up = asked.pop("schedule", "constant"), asked.pop("warm_up", 0)
        rate = asked.pop("rate")
        layers = (asked.pop("units"),) * asked.pop("layers", 1)
        model = getattr(neural_network, kind)(
            hidden_layer_sizes=layers,
            random_state=seed,
            learning_rate_init=rate * factor(schedule, warm_up, 0, steps),
            **asked,
        )
        more = {"classes": np.unique(y)} if kind.endswith("Classifier") else {}
        for step in range(steps):
            if step:
                model._optimizer.learning_rate = rate * factor(schedule, warm_up, step, steps)
                if hasattr(model._optimizer, "learning_rate_init"):
                    model._optimizer.learning_rate_init = model._optimizer.learning_rate
            model.partial_fit(x, y, **more)
            if loss is log_loss:
                yield log_loss(np.searchsorted(model.classes_, held_y), model.predict_proba(held_x))
            else:
                yield loss(held_y, model.predict(held_x))

    return train


@cache
def keras_model(shape: str, units: int, activation: str, optimizer: str) -> Any:
    """Build a network and its epoch once: configurations of the same shape share them.

    An epoch is one graph, for tiny networks lose most of their time between batches. What is left
    over of the rows after whole batches is left out.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    layers = keras.layers
    stack: list[Any] = [layers.Dense(units, activation)]
    if shape == "conv":
        stack = [
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(units, 3, strides=2, activation=activation),
            layers.Flatten(),
            layers.Dense(2 * units, activation),
        ]
    model = keras.Sequential([keras.Input((64,)), *stack, layers.Dense(10, "softmax")])
    model.optimizer = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[optimizer](0.01)
    model.optimizer.build(model.trainable_variables)

    rows = tf.TensorSpec((None, None, 64), tf.float32)

    @tf.function(input_signature=[rows, tf.TensorSpec((None, None), tf.int32)])
    def epoch(x: Any, y: Any) -> None:
        for batch in tf.range(tf.shape(x)[0]):
            with tf.GradientTape() as tape:
                told = model(x[batch], training=True)
                loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y[batch], told))
            slopes = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply(slopes, model.trainable_variables)

    return model, epoch


def keras_network(shape: str, steps: int, shown: str) -> Train:
    """Train a Keras network on the digits; `shown` is `error` or `loss` of the held-out rows."""

    def train(params: Params, seed: int) -> Iterator[float]:
        x, y, held_x, held_y = digits()
        shape_of = (params["units"], params["activation"], params["optimizer"])
        model, epoch = keras_model(shape, *shape_of)
        rng = np.random.default_rng(seed)
        gain = params.get("gain", 1.0)
        for weight in model.weights:
            width = weight.shape[0] if len(weight.shape) < 4 else 9
            spread = gain / np.sqrt(width) if len(weight.shape) > 1 else 0.0
            weight.assign(rng.normal(0.0, spread, weight.shape))
        for state in model.optimizer.variables:
            state.assign(np.zeros(state.shape, state.dtype))
        batch = params["batch_size"]
        batches = len(y) // batch
        for step in range(steps):
            now = factor(params.get("schedule", "constant"), params.get("warm_up", 0), step, steps)
            model.optimizer.learning_rate.assign(params["rate"] * now)
            order = rng.permutation(len(y))[: batches * batch]
            of_x = x[order].astype(np.float32).reshape(batches, batch, 64)
            epoch(of_x, y[order].astype(np.int32).reshape(batches, batch))
            told = np.asarray(model(held_x.astype(np.float32)))
            yield log_loss(held_y, told) if shown == "loss" else error(held_y, told.argmax(1))

    return train


TREES = {"max_depth": whole(2, 7), "subsample": number(0.4, 1.0)}
HIDDEN = {"units": choice(8, 16, 32, 64), "batch_size": choice(32, 64, 128, 256)}
RATES = number(0.0003, 0.3, "log")
NETWORK = {"activation": choice("relu", "tanh"), "batch_size": choice(32, 64, 128)}

#: The cheap ones first.
PROBLEMS = {
    "xgb_wine": Problem(
        100,
        10.0,
        {
            "eta": RATE,
            **TREES,
            "colsample_bytree": number(0.3, 1.0),
            "min_child_weight": number(1.0, 20.0, "log"),
            "lambda": number(0.1, 10.0, "log"),
        },
        xgboost(wine, 100, "rmse", objective="reg:squarederror", base_score=5.0),
    ),
    "sgd_wine": Problem(
        81,
        10.0,
        {
            "eta0": number(0.0001, 0.1, "log"),
            "alpha": number(1e-6, 0.1, "log"),
            "learning_rate": choice("constant", "invscaling"),
            "power_t": number(0.1, 0.6),
            "loss": choice("squared_error", "huber", "epsilon_insensitive"),
        },
        linear("SGDRegressor", wine, 81),
    ),
    "sgd_digits": Problem(
        27,
        1.0,
        {
            "eta0": number(1e-5, 0.3, "log"),
            "alpha": number(1e-6, 0.1, "log"),
            "learning_rate": choice("constant", "invscaling", "optimal"),
            "power_t": number(0.1, 0.6),
            "loss": choice("hinge", "log_loss", "modified_huber"),
            "penalty": choice("l2", "l1"),
            "average": choice(False, True),
        },
        linear("SGDClassifier", few_digits, 27),
    ),
    "sgd_cancer": Problem(
        54,
        5.0,
        {
            "eta0": number(1e-5, 1.0, "log"),
            "alpha": number(1e-6, 0.1, "log"),
            "learning_rate": choice("constant", "invscaling"),
            "power_t": number(0.1, 0.6),
            "penalty": choice("l2", "l1"),
            "average": choice(False, True),
        },
        linear("SGDClassifier", cancer, 54, loss="log_loss"),
    ),
    "hgb_diabetes": Problem(
        64,
        10.0,
        {
            "learning_rate": RATE,
            "max_leaf_nodes": whole(3, 31),
            "min_samples_leaf": whole(2, 40),
            "l2_regularization": number(0.001, 10.0, "log"),
            "max_features": number(0.2, 1.0),
        },
        staged("HistGradientBoostingRegressor", diabetes, max_iter=64, early_stopping=False),
    ),
    "gbm_cancer": Problem(
        81,
        5.0,
        {"learning_rate": RATE, **TREES, "max_features": number(0.1, 1.0)},
        staged("GradientBoostingClassifier", cancer, n_estimators=81),
    ),
    "gbm_friedman": Problem(
        100,
        10.0,
        {
            "learning_rate": RATE,
            **TREES,
            "max_features": number(0.2, 1.0),
            "loss": choice("squared_error", "huber"),
        },
        staged("GradientBoostingRegressor", friedman, n_estimators=100),
    ),
    "xgb_digits": Problem(
        36,
        5.0,
        {"eta": RATE, **TREES, "colsample_bytree": number(0.2, 1.0)},
        xgboost(digits, 36, "mlogloss", objective="multi:softprob", num_class=10),
    ),
    "mlp_diabetes": Problem(
        60,
        10.0,
        {**HIDDEN, "rate": RATES, "alpha": number(1e-5, 1.0, "log"), "momentum": number(0.0, 0.98)},
        perceptron("MLPRegressor", diabetes, 60, rmse, solver="sgd"),
    ),
    "mlp_digits_schedule": Problem(
        40,
        1.0,
        {
            **HIDDEN,
            "rate": number(0.001, 1.0, "log"),
            "schedule": SCHEDULES,
            "warm_up": whole(0, 10),
            "momentum": number(0.0, 0.95),
        },
        perceptron("MLPClassifier", digits, 40, error, solver="sgd"),
    ),
    "mlp_wine": Problem(
        50,
        5.0,
        {
            **HIDDEN,
            "layers": whole(1, 2),
            "rate": number(0.0001, 0.1, "log"),
            "alpha": number(1e-5, 10.0, "log"),
            "activation": choice("relu", "tanh"),
        },
        perceptron("MLPClassifier", wine, 50, log_loss, solver="adam"),
    ),
    "keras_dense_digits": Problem(
        27,
        10.0,
        {
            **NETWORK,
            "units": choice(8, 32, 96),
            "optimizer": choice("adam", "sgd"),
            "rate": number(0.0001, 0.3, "log"),
            "gain": number(0.3, 3.0, "log"),
        },
        keras_network("dense", 27, "loss"),
    ),
    "keras_conv_schedule": Problem(
        27,
        1.0,
        {
            **NETWORK,
            "units": choice(4, 8),
            "optimizer": choice("adam", "sgd"),
            "rate": number(0.0003, 0.5, "log"),
            "schedule": SCHEDULES,
            "warm_up": whole(0, 6),
        },
        keras_network("conv", 27, "error"),
    ),
}


def record(name: str) -> None:
    """Record one problem, going on where its file ends."""
    problem, path = PROBLEMS[name], CURVES / f"{name}.npz"
    rng = np.random.default_rng(sum(name.encode()))
    params = [drawn(problem.space, rng) for _ in range(CONFIGURATIONS)]
    losses, seconds = _so_far(path)
    for index in range(len(losses), CONFIGURATIONS):
        begun = time.process_time()
        told = np.array(list(problem.train(params[index], index)), dtype=np.float32)
        seconds.append((time.process_time() - begun) / problem.steps)
        losses.append(np.fmin(np.where(np.isfinite(told), told, problem.worst), problem.worst))
        if (index + 1) % SAVED_EVERY == 0:
            _save(path, name, problem, params[: index + 1], losses, seconds)
            print(f"{name} {index + 1} of {CONFIGURATIONS}: {seconds[-1]:.4f} s", flush=True)


def _so_far(path: Path) -> tuple[list[Array], list[float]]:
    if not path.exists() or "--again" in sys.argv:
        return [], []
    with np.load(path) as held:
        return list(held["loss"]), list(held["seconds"])


def _save(
    path: Path, name: str, problem: Problem, params: list[Params], losses: Any, seconds: Any
) -> None:
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        path,
        name=np.array(name),
        params=np.array(json.dumps(params)),
        space=np.array(json.dumps(problem.space)),
        loss=np.stack(losses).astype(np.float32),
        seconds=np.array(seconds, dtype=np.float32),
    )


def main() -> None:
    """Record the problems named on the command line, or all."""
    for name in [one for one in sys.argv[1:] if one != "--again"] or PROBLEMS:
        record(name)


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    main()
