"""A JSON object as a line, as loggers write it: numbers, objects within, and a message as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpo_lib.collectors.formats import Number, Reading, step_in
from hpo_lib.collectors.numbers import number_in, to_float, whole

#: Objects whose names need no path: loggers put a record's own fields into such.
_WRAPPERS = frozenset(
    {
        *("metrics", "data", "extra", "fields", "record", "context", "values", "logs"),
        *("attributes", "jsonPayload"),
    }
)
#: Where loggers put what was to be said.
_MESSAGES = ("message", "msg", "event", "log", "text", "MESSAGE", "textPayload", "body")
_MESSAGE = frozenset(_MESSAGES)
#: A metric that is told by two fields: those of its name and of its value.
_PAIRS = (
    ("metricName", "metricValue"),
    ("MetricName", "Value"),
    ("metric", "value"),
    ("name", "value"),
    ("key", "value"),
)
_VALUED = frozenset(value for _, value in _PAIRS)
_STEPS = ("step", "global_step", "epoch", "iteration")
_DEPTH = 6


class JsonLine:
    """Reads the first object in a line; its message, or the text around it, is read as a line too.

    A line that begins as an object and is torn is not read at all.
    """

    rank, needles, marks = 0, (), ("{",)

    def __init__(self, _: frozenset[str]) -> None:
        """Take all names."""

    def read(self, line: str) -> Reading | None:
        """Read an object's numbers."""
        at = line.find("{")
        if at < 0:
            return None
        found, end = _object_at(line, at)
        if found is None:
            return Reading() if line.startswith('{"') else None
        around = f"{line[:at]} {line[end:]}".strip(" ,")
        if found.inner is not None or not around:
            return found
        return found._replace(
            step=step_in(around) if found.step is None else found.step, inner=around
        )


def object_in(text: str) -> Reading | None:
    """Read the numbers of a JSON object by name; None if it is none."""
    found, end = _object_at(text, len(text) - len(text.lstrip()))
    return found if not text[end:].strip() else None


_DECODER = json.JSONDecoder()


def _object_at(text: str, at: int) -> tuple[Reading | None, int]:
    """Read the object that begins at a place, and say where it ends."""
    try:
        record, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at
    return (_read(record), end) if isinstance(record, Mapping) else (None, at)


def _read(record: Mapping[str, Any]) -> Reading:
    values, known = _flat(record), record
    if values is None:
        by_name: dict[str, Number] = {}
        _put(by_name, record)
        values, known = list(by_name.items()), {name: one for name, (one, _) in by_name.items()}
    message, step = _message(record), _step(known)
    step = step_in(message) if message and step is None else step
    when = _number(record.get("time"))
    if isinstance(record.get("metrics"), Mapping):  # what counts and dates these is no metric
        own = record["metrics"].keys()
        values = [one for one in values if one[0] in own or one[0] not in ("step", "time")]
    return Reading(values, step, inner=message, time=when[0] if when else None)


def _flat(record: Mapping[str, Any]) -> list[tuple[str, Number]] | None:
    """Read an object that holds no other and tells no metric by two fields; None of any other."""
    if not _VALUED.isdisjoint(record):
        return None
    values: list[tuple[str, Number]] = []
    for name, value in record.items():
        if type(value) is float:
            values.append((name, (value, "")))
        elif isinstance(value, Mapping):
            return None
        elif (number := _number(value)) is not None:
            values.append((name, number))
    return values


def _step(known: Mapping[str, Any]) -> int | None:
    for name in _STEPS:
        number = _number(known[name]) if name in known else None
        step = whole(number[0]) if number else None
        if step is not None:
            return step
    return None


def _message(record: Mapping[str, Any]) -> str | None:
    if _MESSAGE.isdisjoint(record):
        return None
    messages = (record.get(name) for name in _MESSAGES)
    return next((one for one in messages if isinstance(one, str)), None)


def _put(
    values: dict[str, Number], record: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> None:
    """Note numbers by name, `val.loss` and `val/loss` within an object; the last of equals counts.

    The names in an object such as `extra` need no path, unless the record has such a name itself;
    what stands in `metrics` counts before that.
    """
    inner = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            inner.append((name, value))
        elif (number := _number(value)) is not None:
            values[f"{prefix}{name}"] = number
            if prefix:
                values[f"{prefix}{name}".replace(".", "/")] = number
    if not _VALUED.isdisjoint(record):
        values |= _told_by_two(record)
    for name, value in inner if depth < _DEPTH else ():
        if name in _WRAPPERS:
            own: dict[str, Number] = {}
            _put(own, value, prefix, depth + 1)
            values |= {n: one for n, one in own.items() if name == "metrics" or n not in values}
        else:
            _put(values, value, f"{prefix}{name}.", depth + 1)


def _told_by_two(record: Mapping[str, Any]) -> dict[str, Number]:
    """Read a name in one field and its value in another."""
    pairs = ((record.get(name), record.get(value)) for name, value in _PAIRS if value in record)
    told = {name: _number(value) for name, value in pairs if isinstance(name, str)}
    return {name: number for name, number in told.items() if number is not None}


def _number(value: object) -> Number | None:
    """Give a number, or a text that should be one."""
    if isinstance(value, float):
        return value, ""
    if isinstance(value, str):
        return number_in(value) if len(value) <= 64 else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return to_float(value), ""
