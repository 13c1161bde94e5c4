"""Metrics from TensorBoard's event files, read without TensorFlow.

A file is a sequence of records, each an `Event` as protobuf: the little of both formats that
scalars need is read here. Formats: tensorflow/core/lib/io/record_writer.h (records) and
tensorflow/core/util/event.proto, framework/summary.proto, framework/tensor.proto (messages).
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from hpo_lib.collectors import Sighting, Source
from hpo_lib.core.trial import Observation
from hpo_lib.files.places import Place, below, files, opened
from hpo_lib.spec.sections import Metrics

_DEFAULT_PATH = "tensorboard"
_KERAS, _VALIDATION = "epoch_", "validation"
#: Larger records hold images, graphs or sounds.
_MAX_RECORD = 1 << 20


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number under a tag; `folder` is where its file lies below `path`, empty for right there."""

    folder: str
    tag: str
    value: float
    step: int
    time: float


class TfeventsCollector:
    """Reads all event files below `path` (relative to the output folder), as `names` says.

    If several folders have a metric, the uppermost counts; of several such, the first by name.
    """

    def __init__(self, settings: Metrics) -> None:
        """Take the path, valid by the spec."""
        self._path = settings.path or _DEFAULT_PATH

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics; a literal name goes before a name of Keras."""
        folders: dict[tuple[str, bool], str] = {}
        from_keras: list[Observation] = []
        for scalar in self.scalars(source):
            for name in sorted(wanted & names(scalar)):
                literal = name in _literal(scalar)
                if folders.setdefault((name, literal), scalar.folder) != scalar.folder:
                    continue
                seen = Observation(name, scalar.value, step=scalar.step, time=scalar.time)
                if literal:
                    yield seen
                else:
                    from_keras.append(seen)
        left = (seen for seen in from_keras if (seen.metric, True) not in folders)
        yield from sorted(left, key=lambda seen: seen.time or 0.0)

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield every scalar, by its shortest name."""
        for scalar in self.scalars(source):
            place = f"tag {scalar.tag} in {scalar.folder or self._path}/"
            yield Sighting(min(names(scalar), key=len), True, place)

    def scalars(self, source: Source) -> Iterator[Scalar]:
        """Yield all scalars of all files."""
        top = below(source.output, self._path)
        written = [place for place in files(top) if "tfevents" in place.name] if top else []
        for place in sorted(written, key=lambda one: (len(one.parts), str(one))):
            folder = str(place.parent).removeprefix(str(top)).strip("/")
            for event, check in records(place):
                found = list(_scalars(folder, event))
                if found and checksum(event) == check:
                    yield from found


def names(scalar: Scalar) -> set[str]:
    """Give the names by which a scalar may be asked for.

    Its tag; folder and tag as a path; and for a tag `epoch_loss`, as Keras writes it, `loss`, or
    `val_loss` in the folder `validation`.
    """
    found = _literal(scalar)
    if scalar.tag.startswith(_KERAS):
        prefix = "val_" if scalar.folder.rpartition("/")[2] == _VALIDATION else ""
        found.add(prefix + scalar.tag.removeprefix(_KERAS))
    return found


def _literal(scalar: Scalar) -> set[str]:
    return {scalar.tag, f"{scalar.folder}/{scalar.tag}"}


# Records


def records(place: Place) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records of a file and their checksums, up to one that is torn.

    In the file: a record's length (8 bytes), a checksum of that (4), the record, its checksum (4).
    """
    with opened(place) as file:
        if file is None:
            return
        while (length := _length(file.read(12))) is not None:
            if length > _MAX_RECORD:
                file.seek(length + 4, os.SEEK_CUR)
                continue
            record = file.read(length + 4)
            if len(record) < length + 4:
                return
            yield record[:-4], record[-4:]


def _length(head: bytes) -> int | None:
    if len(head) < 12 or checksum(head[:8]) != head[8:]:
        return None
    return int.from_bytes(head[:8], "little")


def checksum(data: bytes) -> bytes:
    """Give the masked CRC-32C of a record: rotated and shifted, so that it can be checksummed."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return masked.to_bytes(4, "little")


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return tuple(table)


# Messages: fields by number, of which a later one replaces an earlier one unless it is repeated.

_EVENT_TIME, _EVENT_STEP, _EVENT_SUMMARY = 1, 2, 5
_SUMMARY_VALUE = 1
_VALUE_TAG, _VALUE_SIMPLE, _VALUE_TENSOR = 1, 2, 8
_TENSOR_TYPE, _TENSOR_CONTENT = 1, 4
#: By a tensor's type, float or double: its form, and the field that holds numbers one by one.
_FLOAT, _DOUBLE = "<f", "<d"
_TYPES = {1: (_FLOAT, 5), 2: (_DOUBLE, 6)}
_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5

_Fields = dict[int, list[bytes | int]]


def _scalars(folder: str, event: bytes) -> Iterator[Scalar]:
    fields = _read(event)
    time, step = _unpacked(_DOUBLE, fields.get(_EVENT_TIME)), _step(fields.get(_EVENT_STEP))
    for summary in _messages(fields, _EVENT_SUMMARY):
        for value in _messages(summary, _SUMMARY_VALUE):
            number = _value(value)
            for tag in value.get(_VALUE_TAG, []):
                if number is not None and isinstance(tag, bytes):
                    yield Scalar(folder, tag.decode(errors="replace"), number, step, time or 0.0)


def _value(value: _Fields) -> float | None:
    """Give the number of a summary: as older writers store it, or a tensor of just one."""
    simple = _unpacked(_FLOAT, value.get(_VALUE_SIMPLE))
    if simple is not None:
        return simple
    for tensor in _messages(value, _VALUE_TENSOR):
        form, field = _TYPES.get(_step(tensor.get(_TENSOR_TYPE)), ("", 0))
        return _unpacked(form, tensor.get(_TENSOR_CONTENT) or tensor.get(field))
    return None


def _unpacked(form: str, packed: list[bytes | int] | None) -> float | None:
    """Give a number if there is just one."""
    if not form or packed is None or len(packed) != 1 or not isinstance(packed[0], bytes):
        return None
    if len(packed[0]) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, packed[0])[0])


def _step(held: list[bytes | int] | None) -> int:
    """Give a whole number, 0 if it is left out; the upper half of 64 bits is negative."""
    number = held[-1] if held else 0
    if not isinstance(number, int):
        return 0
    return number - (1 << 64) if number >= 1 << 63 else number


def _messages(fields: _Fields, number: int) -> Iterator[_Fields]:
    yield from (_read(part) for part in fields.get(number, ()) if isinstance(part, bytes))


def _read(message: bytes) -> _Fields:
    """Read the fields of a message; of a broken one, those before the damage."""
    fields: _Fields = defaultdict(list)
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            fields[number].append(value)
            continue
        size, at = _size(kind, message, at)
        if at + size > len(message):
            break
        fields[number].append(message[at : at + size])
        at += size
    return fields


def _size(kind: int, message: bytes, at: int) -> tuple[int, int]:
    """Give a field's size and where it begins; one of unknown kind reaches beyond the end."""
    if kind == _COUNTED:
        return _varint(message, at)
    return {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind, len(message) + 1), at


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Give a whole number of 7 bits a byte and where it ends; at most 64 bits of it."""
    number = 0
    for index, byte in enumerate(message[at : at + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number & (1 << 64) - 1, at + index + 1
    return number & (1 << 64) - 1, len(message)
