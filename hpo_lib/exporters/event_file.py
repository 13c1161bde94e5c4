"""TensorBoard's event files, written without TensorFlow: records, and the messages in them.

`hpo_lib.collectors.tfevents` reads them and names the formats. The messages of the HParams plugin
are in tensorboard/plugins/hparams/{plugin_data,api}.proto.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence

from hpo_lib.collectors.tfevents import checksum
from hpo_lib.core.trial import Value
from hpo_lib.exporters.protobuf import FOUR_BYTES, counted, double, key, text, whole

_PLUGIN = "hparams"
EXPERIMENT = "_hparams_/experiment"
SESSION_START, SESSION_END = "_hparams_/session_start_info", "_hparams_/session_end_info"
#: An empty tensor, which a summary has that is nothing but its metadata.
_EMPTY = bytes.fromhex("080112021200")
#: How the plugin calls what is in a column.
STRING, BOOL, FLOAT = 1, 2, 3
UNKNOWN, SUCCESS, FAILURE, RUNNING = 0, 1, 2, 3
_LARGEST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


def file(events: Iterable[bytes], time: float) -> bytes:
    """Make a file: what every file begins with, and then the events."""
    begin = double(1, time) + text(3, "brain.Event:2")
    return b"".join(record(one) for one in (begin, *events))


def record(content: bytes) -> bytes:
    """Frame a message with its length and both checksums."""
    length = struct.pack("<Q", len(content))
    return length + checksum(length) + content + checksum(content)


def event(values: Iterable[bytes], *, time: float, step: int = 0) -> bytes:
    """Make an event of values of one step; `time` is in seconds of the epoch."""
    summary = b"".join(counted(1, value) for value in values)
    return double(1, time) + whole(2, step) + counted(5, summary)


def scalar(tag: str, value: float) -> bytes:
    """Make a value; what no float has room for becomes infinite."""
    if value > _LARGEST or value < -_LARGEST:
        value = float("inf") if value > 0 else float("-inf")
    return text(1, tag) + key(2, FOUR_BYTES) + struct.pack("<f", value)


def session_start(params: Mapping[str, Value], group: str, time: float) -> bytes:
    """Make what begins a row of the HParams table; lists and mappings in it are JSON."""
    entries = (text(1, name) + counted(2, value_of(one)) for name, one in params.items())
    start = b"".join(counted(1, entry) for entry in entries) + text(4, group) + double(5, time)
    return _hparams(SESSION_START, 3, start)


def session_end(status: int, time: float) -> bytes:
    """Make what ends a row."""
    return _hparams(SESSION_END, 4, whole(1, status) + double(2, time))


def experiment(parameters: Iterable[bytes], metrics: Iterable[bytes], time: float) -> bytes:
    """Make the heads of the table."""
    heads = b"".join(counted(4, one) for one in parameters)
    heads += b"".join(counted(5, one) for one in metrics)
    return _hparams(EXPERIMENT, 2, double(3, time) + heads)


def parameter(name: str, kind: int, choices: Sequence[Value], ends: Sequence[float]) -> bytes:
    """Make a parameter's head; its domain are the choices, or the ends, if there are any."""
    domain = b""
    if choices:
        domain = counted(5, b"".join(counted(1, value_of(one)) for one in choices))
    elif len(ends) == 2:
        domain = counted(6, double(1, ends[0]) + double(2, ends[1]))
    return text(1, name) + text(2, name) + whole(4, kind) + domain


def metric(tag: str, name: str) -> bytes:
    """Make a metric's head: the value is the last one under its tag."""
    return counted(1, text(2, tag)) + text(3, name)


def value_of(value: Value) -> bytes:
    """Make a google.protobuf.Value."""
    if isinstance(value, bool):
        return whole(4, int(value))
    if isinstance(value, int | float):
        return double(2, float(value))
    return text(3, value if isinstance(value, str) else json.dumps(value))


def _hparams(tag: str, number: int, content: bytes) -> bytes:
    """Make the summary that is nothing but a message to the plugin."""
    plugin = text(1, _PLUGIN) + counted(2, counted(number, content))
    return text(1, tag) + counted(8, _EMPTY) + counted(9, counted(1, plugin))
