"""A small convolutional network on scikit-learn's handwritten digits; its blocks are a parameter.

    python docker/trial/blocks.py --blocks='[{"filters": 16, "kernel": 3, "pool": true}]'

It prints a line of `name=value` metrics per epoch.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def parser() -> argparse.ArgumentParser:
    """Say which flags there are."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--blocks", type=json.loads, required=True, help="a JSON list of blocks")
    made.add_argument("--learning_rate", type=float, default=0.003)
    made.add_argument("--dense", type=int, default=0, help="units of a layer before the last")
    made.add_argument("--epochs", type=int, default=8)
    made.add_argument("--batch_size", type=int, default=32)
    made.add_argument("--seed", type=int, default=int(os.environ.get("HPO_SEED", "0")))
    return made


def build(blocks: Sequence[Mapping[str, Any]], dense: int, learning_rate: float) -> Any:
    """Make the network: for each block a convolution, perhaps a normalisation and a pooling.

    An image has 8x8 pixels: a pooling that would leave nothing of it is left out.
    """
    import keras

    layers: list[Any] = [keras.Input((8, 8, 1))]
    size = 8
    for block in blocks:
        layers.append(keras.layers.Conv2D(block["filters"], block["kernel"], padding="same"))
        if block.get("norm"):
            layers.append(keras.layers.BatchNormalization())
        layers.append(keras.layers.Activation("relu"))
        if block.get("pool") and size > 1:
            layers.append(keras.layers.MaxPooling2D())
            size //= 2
    layers.append(keras.layers.Flatten())
    if dense:
        layers.append(keras.layers.Dense(dense, activation="relu"))
    layers.append(keras.layers.Dense(10, activation="softmax"))
    model = keras.Sequential(layers)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def main() -> int:
    """Train, and print what was measured."""
    args = parser().parse_args()

    import keras
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(args.seed)
    features, labels = load_digits(return_X_y=True)
    images = features.reshape(-1, 8, 8, 1).astype("float32") / 16
    parts = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=0)
    model = build(args.blocks, args.dense, args.learning_rate)
    print(f"network: {len(args.blocks)} blocks, {model.count_params()} weights", flush=True)
    for epoch in range(1, args.epochs + 1):
        model.fit(parts[0], parts[2], batch_size=args.batch_size, epochs=1, verbose=0)
        loss, accuracy = model.evaluate(parts[1], parts[3], batch_size=512, verbose=0)
        print(f"epoch {epoch}/{args.epochs} val_loss={loss} val_accuracy={accuracy}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
