"""Load this model and predict, or check that it answers its sample as it did when it was trained.

    python load.py --check
    python load.py < inputs.json        {"instances": [...]} in, {"predictions": [...]} out

In Python: `from load import load`, then `load().predict(inputs)`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SAMPLE = HERE / "sample.json"
#: How far answers may lie from those of the training, which may have had other hardware: as a share
#: of them, or in themselves where they are below 1.
TOLERANCE = 1e-3


def load() -> Any:
    """Give the Keras model of this package."""
    import keras

    return keras.saving.load_model(HERE / "model" / "model.keras")


def predict(instances: Any) -> Any:
    """Give the predictions for a list of inputs, as plain lists."""
    import numpy as np

    return np.asarray(load()(np.asarray(instances, dtype="float32"))).tolist()


def check() -> str:
    """Compare with the sample; gives what to tell, raises ValueError if an answer differs."""
    sample = json.loads(SAMPLE.read_text(encoding="utf-8"))
    answers = predict(sample["instances"])
    worst = _difference(answers, sample["predictions"])
    if worst > TOLERANCE:
        raise ValueError(f"answers differ from those of the training by up to {worst:.3g}")
    return f"{len(answers)} answers agree within {worst:.1g}"


def _difference(one: Any, other: Any) -> float:
    if isinstance(one, list) or isinstance(other, list):
        if not (isinstance(one, list) and isinstance(other, list) and len(one) == len(other)):
            raise ValueError("answers have another shape than those of the training")
        return max((_difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    gap = abs(float(one) - float(other)) / max(1.0, abs(float(other)))
    return gap if gap == gap else math.inf  # NaN is like nothing, and max() passes it over


def main() -> int:
    """Check, or read inputs and write predictions."""
    parser = argparse.ArgumentParser(description="load this model and predict")
    parser.add_argument("--check", action="store_true", help="compare with sample.json")
    try:
        if parser.parse_args().check:
            print(check())
        else:
            print(json.dumps({"predictions": predict(json.load(sys.stdin)["instances"])}))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
