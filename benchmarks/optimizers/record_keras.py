"""Train every configuration of the recorded spaces once: `.venv-trial/bin/python -m` this module.

Small Keras networks on the digits data, one thread; some minutes of CPU time. What it writes is
in the repository, so that the benchmark needs no TensorFlow.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing import get_context
from typing import Any

from benchmarks.optimizers import tabular

ROWS, HELD_OUT, EPOCHS = 900, 400, 5
IMAGE = (8, 8, 1)


def network(name: str, params: dict[str, Any]) -> Any:
    """Build and compile one configuration."""
    import keras

    layers = keras.layers
    stack: list[Any] = [keras.Input(IMAGE)]
    if name == "keras_cnn":
        stack.append(layers.Conv2D(params["filters"], params["kernel"], activation="relu"))
        if params["pooling"] != "none":
            pool = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
            stack.append(pool[params["pooling"]](2))
    stack.append(layers.Flatten())
    for _ in range(params.get("layers", 0)):
        stack.append(layers.Dense(params["units"], params["activation"]))
        stack.append(layers.Dropout(params["dropout"]))
    model = keras.Sequential([*stack, layers.Dense(10, "softmax")])
    kinds = {"adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}
    model.compile(getattr(keras.optimizers, kinds[params["optimizer"]])(params["learning_rate"]))
    return model


@cache
def trainer() -> Callable[[str, dict[str, Any]], dict[str, list[float | None]]]:
    """Give the function that trains a configuration and gives its curves."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import numpy as np
    import tensorflow as tf
    from sklearn.datasets import load_digits

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = (images[order] / 16).astype(np.float32).reshape(-1, *IMAGE)
    labels = labels[order]
    fit, held_out = slice(ROWS), slice(ROWS, ROWS + HELD_OUT)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy()

    def train(name: str, params: dict[str, Any]) -> dict[str, list[float | None]]:
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = network(name, params)
        model.loss = cross_entropy
        batch = params.get("batch_size", 32)
        weights, optimizer = model.trainable_weights, model.optimizer

        @tf.function  # type: ignore[untyped-decorator,unused-ignore]
        def epoch(x: Any, y: Any) -> None:
            for start in tf.range(0, ROWS, batch):
                with tf.GradientTape() as tape:
                    value = cross_entropy(
                        y[start : start + batch], model(x[start : start + batch], training=True)
                    )
                optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))

        optimizer.build(weights)
        curves: dict[str, list[float | None]] = {"val_loss": [], "val_accuracy": []}
        for number in range(EPOCHS):
            shuffled = np.random.default_rng(number).permutation(ROWS)
            epoch(tf.constant(images[fit][shuffled]), tf.constant(labels[fit][shuffled]))
            predicted = model(images[held_out], training=False).numpy()
            of_label = np.maximum(predicted[np.arange(HELD_OUT), labels[held_out]], 1e-7)
            curves["val_loss"].append(finite(-np.log(of_label).mean()))
            curves["val_accuracy"].append(
                finite((predicted.argmax(axis=1) == labels[held_out]).mean())
            )
        return curves

    return train


def trained(task: tuple[str, dict[str, Any]]) -> dict[str, list[float | None]]:
    """Train one configuration, in a process of the pool."""
    return trainer()(*task)


def finite(value: float) -> float | None:
    """Round for the file; None if it is not finite."""
    return round(float(value), 5) if math.isfinite(value) else None


def main() -> None:
    """Record the spaces named on the command line, or all."""
    import keras

    for name in sys.argv[1:] or tabular.SPACES:
        rows = []
        with get_context("spawn").Pool(1, maxtasksperchild=45) as pool:  # what is traced stays
            tasks = [(name, params) for params in tabular.configurations(name)]
            for row in pool.imap(trained, tasks):
                rows.append(row)
                print(f"{name} {len(rows)} of {len(tasks)}: {row['val_loss'][-1]}", flush=True)
        about = {
            "keras": keras.__version__,
            "data": "digits of scikit-learn",
            "rows": [ROWS, HELD_OUT],
            "epochs": EPOCHS,
        }
        tabular.write(name, rows, about)


if __name__ == "__main__":
    main()
