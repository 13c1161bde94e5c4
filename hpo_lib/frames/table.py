"""Rows become a DataFrame whose columns have the same names and dtypes whatever is in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

from hpo_lib.errors import HpoError, needs

if TYPE_CHECKING:
    from pandas import DataFrame, Series

#: The dtype of a moment.
UTC = "datetime64[us, UTC]"
PARAM, METRIC = "param_", "metric_"
#: By the kinds of its values, the dtype of a parameter's column; `object` for any others.
_DTYPES: Mapping[frozenset[type], str] = {
    frozenset({bool}): "boolean",
    frozenset({int}): "Int64",
    frozenset({float}): "float64",
    frozenset({int, float}): "float64",
    frozenset({str}): "string",
}
_LARGEST = 2**63


def needs_pandas() -> None:
    """Raise HpoError if pandas is not there."""
    _needs("pandas")


def writes_parquet() -> bool:
    """Say whether what Parquet needs is there."""
    return find_spec("pandas") is not None and find_spec("pyarrow") is not None


def table(
    fixed: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    parameters: Iterable[str] = (),
    metrics: Iterable[str] = (),
) -> DataFrame:
    """Make a frame: the `fixed` columns with their dtypes, then `param_…`, then `metric_…`.

    A row has its parameters and metrics under these names, too; what it lacks is missing.
    """
    from pandas import DataFrame

    columns = {name: column([row.get(name) for row in rows], fixed[name]) for name in fixed}
    for name in (f"{PARAM}{parameter}" for parameter in parameters):
        values = [row.get(name) for row in rows]
        columns[name] = column(values, dtype_of(values))
    for name in (f"{METRIC}{metric}" for metric in metrics):
        columns[name] = column([row.get(name) for row in rows], "float64")
    return DataFrame(columns)


def column(values: Sequence[Any], dtype: str) -> Series:
    """Make a column; None is what its dtype has for a missing value."""
    import pandas

    if dtype != UTC:
        return pandas.Series(values, dtype=dtype)
    unit = "s" if any(isinstance(value, float) for value in values) else None
    moments = pandas.Series(values, dtype="float64" if unit else "object")
    return pandas.to_datetime(moments, unit=unit, utc=True, errors="coerce").astype(UTC)


def dtype_of(values: Iterable[Any]) -> str:
    """Give the dtype of a parameter's column: the narrowest that has all of its values.

    Lists, mappings, mixtures, and integers beyond 64 bits stay the objects that they are.
    """
    found = [value for value in values if value is not None]
    if any(isinstance(value, int) and not -_LARGEST <= value < _LARGEST for value in found):
        return "object"
    return _DTYPES.get(frozenset(map(type, found)), "object")


def parquet(frame: DataFrame) -> bytes:
    """Write a frame as Parquet, objects as JSON; HpoError without pyarrow."""
    _needs("pyarrow")
    out = BytesIO()
    objects = frame.columns[frame.dtypes == "object"]
    frame.assign(**{name: _json(frame[name]) for name in objects}).to_parquet(
        out, engine="pyarrow", index=False
    )
    return out.getvalue()


def _json(column: Series) -> Series:
    return column.map(lambda one: None if one is None else json.dumps(one)).astype("string")


def _needs(package: str) -> None:
    if find_spec(package) is None:
        raise HpoError(f"this {needs(package, 'results')}")
