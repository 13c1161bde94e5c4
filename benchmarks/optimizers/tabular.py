"""Recorded trainings of Keras networks (record_keras.py): a problem that looks them up."""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.optimizers.problem import Params, Problem, Spec, choice, ordinal

DATA = Path(__file__).parent / "data"
#: What every recorded combination is made of, in the order of the recorded rows.
SPACES: dict[str, Spec] = {
    "keras_mlp": {
        "units": ordinal(8, 32, 96),
        "layers": ordinal(1, 2, 3),
        "activation": choice("relu", "tanh"),
        "dropout": ordinal(0.0, 0.3),
        "optimizer": choice("adam", "sgd"),
        "learning_rate": ordinal(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
    },
    "keras_cnn": {
        "filters": ordinal(4, 8, 16),
        "kernel": ordinal(2, 3, 5),
        "pooling": choice("none", "max", "average"),
        "batch_size": ordinal(16, 64),
        "optimizer": choice("adam", "rmsprop"),
        "learning_rate": ordinal(0.0003, 0.001, 0.003, 0.01, 0.03),
    },
}


def configurations(name: str) -> list[dict[str, Any]]:
    """Give every configuration of a recorded space, in the order of the rows."""
    space = SPACES[name]
    choices = (parameter["choices"] for parameter in space.values())
    return [dict(zip(space, values, strict=True)) for values in product(*choices)]


def write(name: str, recorded: list[dict[str, list[float | None]]], about: dict[str, Any]) -> None:
    """Store one curve of `val_loss` and `val_accuracy` per configuration; None is not finite."""
    text = json.dumps({"about": about, "space": SPACES[name], "rows": recorded})
    with gzip.GzipFile(DATA / f"{name}.json.gz", "wb", mtime=0) as file:
        file.write(text.encode())


@cache
def curves(name: str) -> dict[str, dict[str, list[float | None]]]:
    """Read the recorded curves by configuration."""
    recorded = json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
    if recorded["space"] != SPACES[name]:
        raise ValueError(f"{name}: the recorded space must be that of SPACES; record it again")
    return dict(zip(map(_key, configurations(name)), recorded["rows"], strict=True))


def keras_problem(name: str) -> Problem:
    """Make the problem: the validation loss of the last epoch."""

    def loss(params: Params) -> float:
        value = curves(name)[_key(params)]["val_loss"][-1]
        return math.nan if value is None else value

    return Problem(name, SPACES[name], loss)


def _key(params: Params) -> str:
    return json.dumps({name: params[name] for name in sorted(params)})
