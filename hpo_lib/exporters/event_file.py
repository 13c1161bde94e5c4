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

_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
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
    begin = _double(1, time) + _text(3, "brain.Event:2")
    return b"".join(record(one) for one in (begin, *events))


def record(content: bytes) -> bytes:
    """Frame a message with its length and both checksums."""
    length = struct.pack("<Q", len(content))
    return length + checksum(length) + content + checksum(content)


def event(values: Iterable[bytes], *, time: float, step: int = 0) -> bytes:
    """Make an event of values of one step; `time` is in seconds of the epoch."""
    summary = b"".join(_counted(1, value) for value in values)
    return _double(1, time) + _whole(2, step) + _counted(5, summary)


def scalar(tag: str, value: float) -> bytes:
    """Make a value; what no float has room for becomes infinite."""
    if value > _LARGEST or value < -_LARGEST:
        value = float("inf") if value > 0 else float("-inf")
    return _text(1, tag) + _key(2, _FOUR_BYTES) + struct.pack("<f", value)


def session_start(params: Mapping[str, Value], group: str, time: float) -> bytes:
    """Make what begins a row of the HParams table; lists and mappings in it are JSON."""
    entries = (_text(1, name) + _counted(2, value_of(one)) for name, one in params.items())
    start = b"".join(_counted(1, entry) for entry in entries) + _text(4, group) + _double(5, time)
    return _hparams(SESSION_START, 3, start)


def session_end(status: int, time: float) -> bytes:
    """Make what ends a row."""
    return _hparams(SESSION_END, 4, _whole(1, status) + _double(2, time))


def experiment(parameters: Iterable[bytes], metrics: Iterable[bytes], time: float) -> bytes:
    """Make the heads of the table."""
    heads = b"".join(_counted(4, one) for one in parameters)
    heads += b"".join(_counted(5, one) for one in metrics)
    return _hparams(EXPERIMENT, 2, _double(3, time) + heads)


def parameter(name: str, kind: int, choices: Sequence[Value], ends: Sequence[float]) -> bytes:
    """Make a parameter's head; its domain are the choices, or the ends, if there are any."""
    domain = b""
    if choices:
        domain = _counted(5, b"".join(_counted(1, value_of(one)) for one in choices))
    elif len(ends) == 2:
        domain = _counted(6, _double(1, ends[0]) + _double(2, ends[1]))
    return _text(1, name) + _text(2, name) + _whole(4, kind) + domain


def metric(tag: str, name: str) -> bytes:
    """Make a metric's head: the value is the last one under its tag."""
    return _counted(1, _text(2, tag)) + _text(3, name)


def value_of(value: Value) -> bytes:
    """Make a google.protobuf.Value."""
    if isinstance(value, bool):
        return _whole(4, int(value))
    if isinstance(value, int | float):
        return _double(2, float(value))
    return _text(3, value if isinstance(value, str) else json.dumps(value))


def _hparams(tag: str, number: int, content: bytes) -> bytes:
    """Make the summary that is nothing but a message to the plugin."""
    plugin = _text(1, _PLUGIN) + _counted(2, _counted(number, content))
    return _text(1, tag) + _counted(8, _EMPTY) + _counted(9, _counted(1, plugin))


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _counted(number: int, content: bytes) -> bytes:
    return _key(number, _COUNTED) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _counted(number, text.encode(errors="replace"))


def _double(number: int, value: float) -> bytes:
    return _key(number, _EIGHT_BYTES) + struct.pack("<d", value)


def _whole(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value & (1 << 64) - 1)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
