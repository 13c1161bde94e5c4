"""KServe's open inference protocol, version 2, in JSON, as questions for rows: pure.

    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}]}
    {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [0.1, 0.9]}], …}

The first size of a shape counts rows. Data may be flat, row by row, or nested as its shape says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

#: What the protocol calls the types of numpy; text is BYTES.
DATATYPES = {
    "BOOL": "bool",
    **{f"UINT{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BYTES": "string",
}
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_SHOWN = 80
#: Bounds of a shape, by which the product of its sizes is a number soon known.
_DEPTH, _MOST = 16, 2**31

Signature = Mapping[str, Mapping[str, Any]]


class Asked(NamedTuple):
    """A request: its own name, its rows, and the outputs that it wants; none means all."""

    id: str | None
    rows: list[Any]
    outputs: tuple[str, ...]


def read(content: Any, inputs: Signature) -> Asked:
    """Read a request for a model that takes these inputs; ValueError names field, rule, value."""
    if not isinstance(content, Mapping) or not isinstance(content.get("inputs"), list):
        raise ValueError('body: must be an object with a list "inputs"')
    columns: dict[str, list[Any]] = {}
    for number, tensor in enumerate(content["inputs"]):
        name, rows = _column(tensor, f"inputs[{number}]")
        columns[name] = rows
    if set(columns) != set(inputs):
        raise ValueError(
            f"inputs: must be exactly {', '.join(inputs)}, got {_shown(list(columns))}"
        )
    if len({len(rows) for rows in columns.values()}) > 1:
        raise ValueError("inputs: must have equally many rows each")
    asked = content.get("id")
    if asked is not None and not isinstance(asked, str):
        raise ValueError(f"id: must be text, got {_shown(asked)}")
    return Asked(asked, _rows(columns), tuple(_wanted(content.get("outputs"))))


def write(asked: Asked, predictions: list[Any], outputs: Signature) -> dict[str, Any]:
    """Write predictions, one a row, as the outputs that were asked for; ValueError for others."""
    if unknown := set(asked.outputs) - set(outputs):
        known = ", ".join(outputs)
        raise ValueError(f"outputs: must be among {known}, got {_shown(sorted(unknown))}")
    several = all(isinstance(row, Mapping) for row in predictions)
    tensors = []
    for name, one in outputs.items():
        rows = [row[name] for row in predictions] if several else predictions
        if name in (asked.outputs or outputs):
            tensors.append(_tensor(name, one.get("dtype"), rows))
    return {"outputs": tensors} | ({} if asked.id is None else {"id": asked.id})


def described(signature: Signature) -> list[dict[str, Any]]:
    """Describe inputs or outputs; -1 is any size."""
    return [
        {
            "name": name,
            "datatype": _NAMES.get(one.get("dtype", ""), "FP32"),
            "shape": [-1 if size is None else size for size in one.get("shape") or [None]],
        }
        for name, one in signature.items()
    ]


def _column(tensor: Any, at: str) -> tuple[str, list[Any]]:
    """Read one input, as rows."""
    if not isinstance(tensor, Mapping):
        raise ValueError(f"{at}: must be an object, got {_shown(tensor)}")
    name, shape, datatype = (tensor.get(one) for one in ("name", "shape", "datatype"))
    if not isinstance(name, str):
        raise ValueError(f"{at}.name: must be text, got {_shown(name)}")
    if not (isinstance(datatype, str) and datatype in DATATYPES):
        raise ValueError(
            f"{at}.datatype: must be one of {', '.join(DATATYPES)}, got {_shown(datatype)}"
        )
    if not (isinstance(shape, list) and 0 < len(shape) <= _DEPTH and all(map(_is_size, shape))):
        rule = f"must list 1 to {_DEPTH} sizes > 0, rows first"
        raise ValueError(f"{at}.shape: {rule}, got {_shown(shape)}")
    if not isinstance(tensor.get("data"), list):
        raise ValueError(f"{at}.data: must be a list, got {_shown(tensor.get('data'))}")
    flat = list(_flat(tensor["data"]))
    if len(flat) != math.prod(shape):
        raise ValueError(f"{at}.data: must have {math.prod(shape)} values, got {len(flat)}")
    return name, _nested(flat, shape)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST


def _flat(data: list[Any]) -> Iterator[Any]:
    """Walk nested lists in their order, without recursion: nobody bounds their depth."""
    waiting = [iter(data)]
    while waiting:
        for one in waiting[-1]:
            if isinstance(one, list):
                waiting.append(iter(one))
                break
            yield one
        else:
            waiting.pop()


def _nested(flat: list[Any], shape: list[int]) -> list[Any]:
    """Fold values, from the last size to the second."""
    for size in reversed(shape[1:]):
        flat = [flat[start : start + size] for start in range(0, len(flat), size)]
    return flat


def _rows(columns: Mapping[str, list[Any]]) -> list[Any]:
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _wanted(outputs: Any) -> Iterator[str]:
    if outputs is None:
        return
    if not isinstance(outputs, list):
        raise ValueError(f"outputs: must be a list, got {_shown(outputs)}")
    for number, one in enumerate(outputs):
        name = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(name, str):
            raise ValueError(f"outputs[{number}].name: must be text, got {_shown(name)}")
        yield name


def _tensor(name: str, dtype: Any, rows: list[Any]) -> dict[str, Any]:
    flat = list(_flat(rows))
    return {
        "name": name,
        "datatype": _NAMES.get(dtype) or _type_of(flat),
        "shape": _shape(rows),
        "data": flat,
    }


def _type_of(flat: list[Any]) -> str:
    """Name the type of plain values, where the model does not say it."""
    if all(isinstance(one, bool) for one in flat):
        return "BOOL"
    if any(isinstance(one, str) for one in flat):
        return "BYTES"
    return "INT64" if all(isinstance(one, int) for one in flat) else "FP64"


def _shape(rows: Any) -> list[int]:
    sizes = []
    while isinstance(rows, list):
        sizes.append(len(rows))
        rows = rows[0] if rows else None
    return sizes


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN]
