"""A model as a function of JSON: the only file of the server that knows a framework.

SavedModel and Keras by TensorFlow, whatever else as a package loads it: by `loader.py`, which the
image has from `hpo_lib/deployers`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SIGNATURE = "serving_default"


class BadInstances(ValueError):
    """The model does not take what was sent; the message names field, rule and value."""


class NoModel(RuntimeError):
    """There is nothing to serve; the message says where it was looked for."""


def load(folder: Path, version: str, *, allow_pickle: bool = False) -> SavedModel | LoadedModel:
    """Load the model that training left in a folder, whole or renamed to its version; NoModel.

    A pickle runs its maker's code when it is loaded, so it is only loaded with `allow_pickle`.
    """
    places = [folder / version, folder / "saved_model" / "1", folder]
    for place in places:
        if (place / "saved_model.pb").is_file():
            return SavedModel(place)
    if (folder / "model.keras").is_file():
        return _of_keras(folder / "model.keras")
    return LoadedModel(folder, allow_pickle=allow_pickle)


def _of_keras(file: Path) -> SavedModel:
    """Export a model that only Keras reads, for inference, and load that."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(file)

    def infer(*inputs: Any) -> Any:
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    archive = keras.export.ExportArchive()
    archive.track(model)
    taken = [tf.TensorSpec(one.shape, one.dtype, one.name) for one in model.inputs]
    archive.add_endpoint("serve", infer, input_signature=taken)
    with tempfile.TemporaryDirectory() as exported:
        archive.write_out(exported, verbose=False)
        return SavedModel(Path(exported))


class SavedModel:
    """The default signature of a SavedModel; it may be asked by several threads at once."""

    def __init__(self, folder: Path) -> None:
        """Load it; what TensorFlow raises says what is wrong."""
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(folder))  # its variables live as long as this does
        if SIGNATURE not in self._loaded.signatures:
            known = ", ".join(self._loaded.signatures) or "none"
            raise NoModel(f"{folder} has no signature {SIGNATURE}; it has: {known}")
        self._function = self._loaded.signatures[SIGNATURE]
        self._inputs = self._function.structured_input_signature[1]

    def describe(self) -> dict[str, Any]:
        """Give names, types and shapes of what goes in and comes out; null is any size."""
        outputs = self._function.structured_outputs
        return {"inputs": _described(self._inputs), "outputs": _described(outputs)}

    def predict(self, instances: list[Any]) -> list[Any]:
        """Give a prediction for every row, in their order; BadInstances."""
        import tensorflow as tf

        columns = self._columns(instances)
        tensors = {
            name: tf.constant(_array(columns[name], spec, name), spec.dtype)
            for name, spec in self._inputs.items()
        }
        found = {name: value.numpy().tolist() for name, value in self._function(**tensors).items()}
        if len(found) == 1:
            (rows,) = found.values()
            return list(rows)
        return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]

    def _columns(self, instances: list[Any]) -> dict[str, list[Any]]:
        """Sort rows by inputs: rows are objects with the inputs' names, or the one input itself."""
        if not any(isinstance(row, Mapping) for row in instances) and len(self._inputs) == 1:
            return {next(iter(self._inputs)): instances}
        for number, row in enumerate(instances):
            if not isinstance(row, Mapping) or set(row) != set(self._inputs):
                got = sorted(map(str, row)) if isinstance(row, Mapping) else type(row).__name__
                names = ", ".join(self._inputs)
                raise BadInstances(
                    f"instances[{number}]: must be an object with exactly {names}, got {got}"
                )
        return {name: [row[name] for row in instances] for name in self._inputs}


class LoadedModel:
    """A model of another shape; several threads may ask it at once.

    What goes in and out is what its sample shows, if it has one.
    """

    def __init__(self, folder: Path, *, allow_pickle: bool = False) -> None:
        """Load it; what its library raises says what is wrong."""
        import loader

        try:
            self._loaded = loader.load_from(folder, trust=allow_pickle)
        except loader.NotChecked as error:
            raise NoModel(str(error)) from None
        kind = self._loaded.kind
        if kind.predict is None:
            known = "saved_model.pb, .keras, .json or .ubj of XGBoost, .onnx, .skops, .pt2, …"
            raise NoModel(f"{folder} holds no model that predicts; known are {known}")
        self._refused = loader.NotChecked
        self._inputs, self._outputs = _sampled(folder / "sample.json")

    def describe(self) -> dict[str, Any]:
        """Give types and shapes of rows and answers, as the sample shows them; null is any size."""
        return {"inputs": {"input": self._inputs}, "outputs": {"output": self._outputs}}

    def predict(self, instances: list[Any]) -> list[Any]:
        """Give a prediction for every row, in their order; BadInstances."""
        wanted = self._inputs["shape"]
        if any(isinstance(row, Mapping) for row in instances):
            raise BadInstances("instances: must be rows of numbers, got an object with names")
        try:
            got = list(np.shape(instances))
        except ValueError:
            raise BadInstances("instances: must be rows of like sizes") from None
        if wanted is not None and got[1:] != wanted[1:]:
            raise BadInstances(f"instances: must have shape {wanted}, got shape {got}")
        try:
            return list(self._loaded.predict(instances))
        except self._refused as error:
            raise BadInstances(f"instances: {error}") from None


def _sampled(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Describe what goes in and out by a sample; without one, as numbers of any shape."""
    try:
        sample = json.loads(file.read_text(encoding="utf-8"))
        rows, answers = (np.asarray(sample[side]) for side in ("instances", "predictions"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {"dtype": "float32", "shape": None}, {"dtype": None, "shape": None}
    taken = {"dtype": "float32", "shape": [None, *rows.shape[1:]]}
    return taken, {"dtype": _plain_type(answers), "shape": [None, *answers.shape[1:]]}


def _plain_type(values: np.ndarray) -> str:
    """Name the type that plain values have when they come as JSON."""
    return {"f": "float64", "i": "int64", "b": "bool"}.get(values.dtype.kind, "string")


def _described(specs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
        for name, spec in specs.items()
    }


def _array(rows: list[Any], spec: Any, name: str) -> np.ndarray:
    """Turn rows into an array of the shape and type that an input takes."""
    wanted = f"{spec.dtype.name} of shape {_shape(spec)}"
    rule = f"instances: {name} must be {wanted}"
    try:
        array = np.asarray(rows)
    except ValueError:
        raise BadInstances(f"{rule}, got rows of unlike sizes") from None
    if array.dtype.kind not in ("U" if spec.dtype.name == "string" else "biuf"):
        raise BadInstances(f"{rule}, got other values")
    if not spec.shape.is_compatible_with(array.shape):
        raise BadInstances(f"{rule}, got shape {list(array.shape)}")
    if array.dtype.kind == "U":
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(spec.dtype.as_numpy_dtype)
    if not np.isfinite(result).all() or (result.dtype.kind in "biu" and (result != array).any()):
        raise BadInstances(f"{rule}, got a number that is none")
    return result


def _shape(spec: Any) -> list[int | None] | str:
    return "any" if spec.shape.rank is None else spec.shape.as_list()
