"""The state of a Keras training as arrays and JSON: what `.keras` files hold, and what they do not.

Beside weights and the optimizer's variables these are the states of all random generators, and what
callbacks have learned so far. Nothing is pickled, so reading a checkpoint runs no code of its own.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras  # type: ignore[import-not-found,unused-ignore]
import numpy as np

_ARRAYS, _FACTS = "arrays.npz", "state.json"
#: Attributes of callbacks that are no memory: Keras sets them when a training begins.
_NOT_MEMORY = {"_model", "model", "params", "monitor_op", "min_delta"}


class Unknown(Exception):
    """A value of a kind that is not carried over."""


class Packed:
    """Plain values with arrays among them, as what JSON can hold and a list of arrays."""

    def __init__(self, arrays: Sequence[Any] = ()) -> None:
        self.arrays = list(arrays)

    def pack(self, value: Any) -> Any:
        """Write a value as JSON; Unknown if it is none that is read back as it was."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        for kind, (test, write, _) in _KINDS.items():
            if test(value):
                return {kind: write(self, value)}
        raise Unknown(type(value).__name__)

    def unpack(self, written: Any) -> Any:
        """Read a value that `pack` wrote."""
        if not isinstance(written, dict):
            return written
        ((kind, content),) = written.items()
        return _KINDS[kind][2](self, content)

    def pack_array(self, value: Any) -> list[Any]:
        """Keep an array as bytes, for NumPy's files know no bfloat16."""
        plain = np.asarray(value)
        if plain.dtype.hasobject:
            raise Unknown("array of objects")
        self.arrays.append(np.frombuffer(np.ascontiguousarray(plain).tobytes(), np.uint8))
        kind = plain.dtype.name if plain.dtype.kind == "V" else plain.dtype.str
        return [len(self.arrays) - 1, kind, list(plain.shape)]

    def unpack_array(self, content: Sequence[Any]) -> Any:
        """Give an array of one's own, which may be written to."""
        index, dtype, shape = content
        return np.frombuffer(self.arrays[index].tobytes(), np.dtype(dtype)).reshape(shape).copy()


def _pack_all(packed: Packed, values: Any) -> list[Any]:
    return [packed.pack(one) for one in values]


def _pack_pairs(packed: Packed, values: Mapping[Any, Any]) -> list[Any]:
    return [[packed.pack(name), packed.pack(one)] for name, one in values.items()]


def _unpack_all(packed: Packed, content: Sequence[Any]) -> list[Any]:
    return [packed.unpack(one) for one in content]


def _is_tensor(value: Any) -> bool:
    return bool(keras.ops.is_tensor(value)) and hasattr(value, "numpy")


_Kind = tuple[Callable[[Any], bool], Callable[[Packed, Any], Any], Callable[[Packed, Any], Any]]
_KINDS: dict[str, _Kind] = {
    "list": (lambda v: type(v) is list, _pack_all, _unpack_all),
    "tuple": (lambda v: type(v) is tuple, _pack_all, lambda p, c: tuple(_unpack_all(p, c))),
    "set": (
        lambda v: type(v) is set,
        lambda p, v: _pack_all(p, sorted(v, key=repr)),
        lambda p, c: set(_unpack_all(p, c)),
    ),
    "dict": (
        lambda v: isinstance(v, dict),
        _pack_pairs,
        lambda p, c: {p.unpack(name): p.unpack(one) for name, one in c},
    ),
    "bytes": (
        lambda v: type(v) is bytes,
        lambda p, v: p.pack_array(np.frombuffer(v, np.uint8)),
        lambda p, c: p.unpack_array(c).tobytes(),
    ),
    "array": (
        lambda v: isinstance(v, np.ndarray),
        Packed.pack_array,
        Packed.unpack_array,
    ),
    "number": (
        lambda v: isinstance(v, np.generic),
        Packed.pack_array,
        lambda p, c: p.unpack_array(c)[()],
    ),
    "tensor": (
        _is_tensor,
        lambda p, v: p.pack_array(v.numpy()),
        lambda p, c: keras.ops.convert_to_tensor(p.unpack_array(c)),
    ),
}


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write facts, arrays among them, into a folder."""
    packed = Packed()
    text = json.dumps(packed.pack(dict(facts)))
    np.savez(folder / _ARRAYS, **{str(i): one for i, one in enumerate(packed.arrays)})
    (folder / _FACTS).write_text(text, encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """Read the facts that `write` wrote there."""
    with np.load(folder / _ARRAYS, allow_pickle=False) as file:
        packed = Packed([file[str(i)] for i in range(len(file.files))])
    found: dict[str, Any] = packed.unpack(json.loads((folder / _FACTS).read_text("utf-8")))
    return found


def variables(model: Any) -> list[Any]:
    """Give what a training changes: weights, seeds of layers, what the optimizer keeps."""
    own = [*model.variables, *(model.optimizer.variables if model.optimizer is not None else ())]
    return list({id(one): one for one in own}.values())


def values(model: Any) -> list[Any]:
    """Copy the values of all variables of a training."""
    return [np.array(keras.ops.convert_to_numpy(one)) for one in variables(model)]


def learning_rate(model: Any) -> float | None:
    """Give the learning rate that is set now; None where there is none, or a schedule."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    rate = None if optimizer is None else optimizer.get_config().get("learning_rate")
    return float(rate) if isinstance(rate, int | float) else None


def set_values(model: Any, saved: Sequence[Any]) -> None:
    """Give all variables the values that they had; ValueError if they are another model's."""
    there = variables(model)
    if len(there) != len(saved):
        raise ValueError(
            f"the checkpoint must be of this model and optimizer: it holds {len(saved)} "
            f"variables, they have {len(there)}"
        )
    for variable, value in zip(there, saved, strict=True):
        if tuple(variable.shape) != value.shape:
            raise ValueError(
                f"the checkpoint must be of this model: {variable.path} has the shape "
                f"{tuple(variable.shape)}, got {value.shape}"
            )
    for variable, value in zip(there, saved, strict=True):
        variable.assign(value)


def generators() -> dict[str, Any]:
    """Give the states of the random generators of Python, NumPy, Keras and TensorFlow."""
    found = {"python": random.getstate(), "numpy": np.random.get_state()}  # noqa: NPY002, RUF100
    if (of_keras := _keras_generator()) is not None:
        found["keras"] = np.array(keras.ops.convert_to_numpy(of_keras.state))
    if (of_tensorflow := _tensorflow_generator()) is not None:
        found["tensorflow"] = of_tensorflow.getstate()
    return found


def set_generators(saved: Mapping[str, Any], *, only_of_keras: bool) -> None:
    """Set the random generators to what they were; those of Python and NumPy only if all are."""
    if "keras" in saved:
        if _keras_generator() is None:
            from keras.src.random.seed_generator import (  # type: ignore[import-not-found,unused-ignore]
                global_seed_generator,
            )

            global_seed_generator()
        _keras_generator().state.assign(saved["keras"])
    if "tensorflow" in saved and (of_tensorflow := _tensorflow_generator()) is not None:
        of_tensorflow.setstate(saved["tensorflow"])
    if only_of_keras:
        return
    np.random.set_state(saved["numpy"])  # noqa: NPY002, RUF100
    random.setstate(saved["python"])


def is_unseeded() -> bool:
    """Say whether TensorFlow draws, and so shuffles, without a seed."""
    if "tensorflow" not in sys.modules:
        return False
    from tensorflow.python.eager import context  # type: ignore[import-not-found,unused-ignore]

    return context.global_seed() is None


def _keras_generator() -> Any:
    from keras.src.backend.common import (  # type: ignore[import-not-found,unused-ignore]
        global_state,
    )

    return global_state.get_global_attribute("global_seed_generator")


def _tensorflow_generator() -> Any:
    """Give what TensorFlow draws the seeds of single operations from; None without a seed."""
    if "tensorflow" not in sys.modules:
        return None
    from tensorflow.python.eager import context  # type: ignore[import-not-found,unused-ignore]

    return getattr(context.context(), "_rng", None)


class Memory:
    """What callbacks have learned since their training began: plain attributes that have changed.

    Settings, which do not change, stay those of the program. A callback with `state_dict` and
    `load_state_dict` is asked instead.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self.callbacks = list(callbacks)
        self._at_first = [dict(_digests(one)) for one in callbacks]
        self.passed_over: set[str] = set()

    def take(self) -> list[Any]:
        """Copy the memory of each callback, with its class."""
        return [
            [type(one).__name__, *self._taken(one, first)]
            for one, first in zip(self.callbacks, self._at_first, strict=True)
        ]

    def _taken(self, callback: Any, first: Mapping[str, str | None]) -> list[Any]:
        if hasattr(callback, "state_dict"):
            return ["state", callback.state_dict()]
        changed: dict[str, Any] = {}
        for name, digest in _digests(callback):
            if digest is None:
                self._pass_over(callback, name)
            elif digest != first.get(name):
                changed[name] = getattr(callback, name)
        return ["changed", changed]

    def _pass_over(self, callback: Any, name: str) -> None:
        if not type(callback).__module__.startswith(("keras.", "hpo_lib.")):
            self.passed_over.add(f"{type(callback).__name__}.{name}")

    def give(self, saved: Sequence[Any]) -> list[str]:
        """Give callbacks their memory back; name those that are new, which have none."""
        left, new = list(saved), []
        for one in self.callbacks:
            kind = type(one).__name__
            found = next((memory for memory in left if memory[0] == kind), None)
            if found is None:
                new.append(kind)
                continue
            left.remove(found)
            if found[1] == "state":
                one.load_state_dict(found[2])
            else:
                vars(one).update(found[2])
        return new


def _digests(callback: Any) -> Iterator[tuple[str, str | None]]:
    """Give for each attribute what changes when its value does; None if it cannot be carried."""
    for name, value in vars(callback).items():
        if name in _NOT_MEMORY or callable(value):
            continue
        packed = Packed()
        try:
            text = json.dumps(packed.pack(value))
        except Unknown:
            yield name, None
            continue
        digest = hashlib.sha256(text.encode())
        for array in packed.arrays:
            digest.update(array)
        yield name, digest.hexdigest()
