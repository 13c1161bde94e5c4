"""Metrics from TensorBoard's event files, read without TensorFlow.

A file is a sequence of records, each an `Event` as protobuf: the little of both formats that
scalars need is read here. Formats: tensorflow/core/lib/io/record_writer.h (records) and
tensorflow/core/util/event.proto, framework/summary.proto, framework/tensor.proto (messages).
"""

from __future__ import annotations

import heapq
import math
import os
import re
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
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


@dataclass(frozen=True, slots=True)
class _File:
    """An event file: `folder` as in Scalar, and what orders it among others of one time."""

    place: Place
    folder: str

    @property
    def order(self) -> tuple[int, list[str], list[str | int]]:
        """By depth, folder and name, in which 999 comes before 1000."""
        parts = self.folder.split("/") if self.folder else []
        pieces = re.split(r"([0-9]+)", self.place.name)
        return len(parts), parts, [int(one) if one.isdecimal() else one for one in pieces]


#: A metric, and whether a scalar is literally called so; else it is by Keras's way of naming.
_Meaning = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class _Survey:
    """What a file has of the wanted metrics, and the time of the first of these values."""

    file: _File
    found: Collection[_Meaning]
    begins: float


class TfeventsCollector:
    """Reads all event files below `path` (relative to the output folder), as `names` says.

    If several folders have a metric, the uppermost counts; of several such, the first by name.
    """

    def __init__(self, settings: Metrics) -> None:
        """Take the path, valid by the spec."""
        self._path = settings.path or _DEFAULT_PATH

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics by time, each file in the order of its records.

        A literal name goes before a name of Keras. The files are read twice, for only after all of
        them is it known which folder counts; nothing is held in memory.
        """
        surveys = [_survey(file, wanted) for file in self._files(source)]
        chosen = _chosen(surveys)
        streams = [_stream(one, chosen) for one in surveys]
        for _, seen in heapq.merge(*streams, key=lambda timed: timed[0]):
            yield from seen

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield every scalar, by its shortest name."""
        for scalar in self.scalars(source):
            place = f"tag {scalar.tag} in {scalar.folder or self._path}/"
            yield Sighting(min(names(scalar), key=len), True, place)

    def scalars(self, source: Source) -> Iterator[Scalar]:
        """Yield all scalars, file by file."""
        for file in self._files(source):
            yield from _scalars_of(file)

    def _files(self, source: Source) -> list[_File]:
        top = below(source.output, self._path)
        written = [place for place in files(top) if "tfevents" in place.name]
        found = [
            _File(place, str(place.parent).removeprefix(str(top)).strip("/")) for place in written
        ]
        return sorted(found, key=lambda file: file.order)


def names(scalar: Scalar) -> set[str]:
    """Give the names by which a scalar may be asked for.

    Its tag; folder and tag as a path; and for a tag `epoch_loss`, as Keras writes it, `loss`, or
    `val_loss` in the folder `validation`.
    """
    found = {scalar.tag, f"{scalar.folder}/{scalar.tag}"}
    if scalar.tag.startswith(_KERAS):
        found.add(_keras_prefix(scalar.folder) + scalar.tag.removeprefix(_KERAS))
    return found


def _keras_prefix(folder: str) -> str:
    return "val_" if folder.rpartition("/")[2] == _VALIDATION else ""


def _meanings(folder: str, wanted: Iterable[str]) -> dict[str, list[_Meaning]]:
    """Give, by tag, the wanted metrics that a scalar of this folder is: the reverse of `names`."""
    found: dict[str, list[_Meaning]] = defaultdict(list)
    path, prefix = f"{folder}/", _keras_prefix(folder)
    for name in sorted(wanted):
        for tag in {name, name.removeprefix(path)}:
            found[tag].append((name, True))
        if name.startswith(prefix):
            found[_KERAS + name.removeprefix(prefix)].append((name, False))
    return found


def _survey(file: _File, wanted: Iterable[str]) -> _Survey:
    """Look which wanted metrics a file has; each tag is looked for until it is found."""
    meanings = _meanings(file.folder, wanted)
    found: set[_Meaning] = set()
    begins = math.inf
    for scalar in _scalars_of(file, meanings):
        begins = min(begins, scalar.time)
        found.update(meanings.pop(scalar.tag, ()))
        if not meanings:
            break
    return _Survey(file, found, begins)


def _chosen(surveys: Iterable[_Survey]) -> dict[str, tuple[str, bool]]:
    """Say, by metric, in which folder it is read, and whether by its literal name."""
    chosen: dict[str, tuple[str, bool]] = {}
    for one in surveys:
        for name, literal in one.found:
            if name not in chosen or (literal and not chosen[name][1]):
                chosen[name] = (one.file.folder, literal)
    return chosen


def _stream(
    survey: _Survey, chosen: Mapping[str, tuple[str, bool]]
) -> Iterator[tuple[float, list[Observation]]]:
    """Yield a file's values with their times; it stays closed until its first one is due."""
    folder = survey.file.folder
    due = {name for name, literal in survey.found if chosen[name] == (folder, literal)}
    if not due:
        return
    tags = {
        tag: [name for name, literal in found if chosen[name][1] == literal]
        for tag, found in _meanings(folder, due).items()
    }
    yield survey.begins, []
    for one in _scalars_of(survey.file, tags):
        seen = [
            Observation(name, one.value, step=one.step, time=one.time) for name in tags[one.tag]
        ]
        yield one.time, seen


def _scalars_of(file: _File, tags: Collection[str] | None = None) -> Iterator[Scalar]:
    """Yield a file's scalars: all, or those of the tags that the collection has by then."""
    marks = {tag: _mark(tag) for tag in tags or ()}
    for event, check in records(file.place):
        if tags is not None and not any(mark in event for mark in marks.values()):
            continue
        found = [one for one in _scalars(file.folder, event) if tags is None or one.tag in tags]
        if not found or checksum(event) != check:
            continue
        yield from found
        if tags is not None and len(tags) < len(marks):
            marks = {tag: mark for tag, mark in marks.items() if tag in tags}


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
_TENSOR_TYPE, _TENSOR_SHAPE, _TENSOR_CONTENT = 1, 2, 4
_SHAPE_DIMENSION, _DIMENSION_SIZE = 2, 1
_FLOAT, _DOUBLE = "<f", "<d"
_FLOATS, _DOUBLES, _INTS, _HALVES = 5, 6, 7, 13
#: By a tensor's type: the form of a number, and the field that holds numbers one by one.
_TYPES = {
    1: (_FLOAT, _FLOATS),
    2: (_DOUBLE, _DOUBLES),
    3: ("<i", _INTS),
    4: ("<B", _INTS),
    5: ("<h", _INTS),
    6: ("<b", _INTS),
    9: ("<q", 10),
    10: ("<?", 11),
    14: (_FLOAT, _HALVES),
    17: ("<H", _INTS),
    19: ("<e", _HALVES),
    22: ("<I", 16),
    23: ("<Q", 17),
}
#: A bfloat16 is a float without its lower half.
_BFLOAT16, _LOWER_HALF = 14, bytes(2)
_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5

_Held = list[bytes | int]
_Fields = dict[int, _Held]


def _mark(tag: str) -> bytes:
    """Give the bytes without which an event has no scalar of this tag."""
    text, size = tag.encode(errors="replace"), b""
    length = len(text)
    while length >= 0x80:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([_VALUE_TAG << 3 | _COUNTED]) + size + bytes([length]) + text


def _scalars(folder: str, event: bytes) -> Iterator[Scalar]:
    fields = _read(event)
    time, step = _unpacked(_DOUBLE, fields.get(_EVENT_TIME)), _step(fields.get(_EVENT_STEP))
    if time is None or not math.isfinite(time):
        time = 0.0
    for summary in _messages(fields, _EVENT_SUMMARY):
        for value in _messages(summary, _SUMMARY_VALUE):
            number = _value(value)
            for tag in value.get(_VALUE_TAG, []):
                if number is not None and isinstance(tag, bytes):
                    yield Scalar(folder, tag.decode(errors="replace"), number, step, time)


def _value(value: _Fields) -> float | None:
    """Give the number of a summary: as older writers store it, or a tensor of just one."""
    simple = _unpacked(_FLOAT, value.get(_VALUE_SIMPLE))
    if simple is not None:
        return simple
    for tensor in _messages(value, _VALUE_TENSOR):
        return _element(tensor) if _has_room_for_one(tensor) else None
    return None


def _has_room_for_one(tensor: _Fields) -> bool:
    """Say whether a tensor's shape, of whatever rank, is that of just one number."""
    return all(
        _step(dimension.get(_DIMENSION_SIZE)) == 1
        for shape in _messages(tensor, _TENSOR_SHAPE)
        for dimension in _messages(shape, _SHAPE_DIMENSION)
    )


def _element(tensor: _Fields) -> float | None:
    """Give the only number of a tensor, from its content or from the field of its type."""
    kind = _step(tensor.get(_TENSOR_TYPE))
    form, field = _TYPES.get(kind, ("", 0))
    lower = _LOWER_HALF if kind == _BFLOAT16 else b""
    held = tensor.get(_TENSOR_CONTENT, [])
    if not held and field in (_FLOATS, _DOUBLES):
        held = tensor.get(field, [])
    elif not held:
        size = struct.calcsize(form) - len(lower)
        held = [_bytes(one, size) for one in tensor.get(field, [])]
    return _unpacked(form, [lower + one for one in held if isinstance(one, bytes)])


def _bytes(whole: bytes | int, size: int) -> bytes:
    """Give the bytes of a whole number, alone or packed; none if several are packed."""
    if isinstance(whole, bytes):
        number, end = _varint(whole, 0)
        if not whole or end < len(whole):
            return b""
        whole = number
    return (whole & (1 << 8 * size) - 1).to_bytes(size, "little")


def _unpacked(form: str, packed: _Held | None) -> float | None:
    """Give a number if there is just one."""
    if not form or packed is None or len(packed) != 1 or not isinstance(packed[0], bytes):
        return None
    if len(packed[0]) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, packed[0])[0])


def _step(held: _Held | None) -> int:
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
