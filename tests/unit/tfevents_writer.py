"""Event files as TensorFlow writes them, made by hand: scalars of both kinds, and what is odd."""

from __future__ import annotations

import struct

from hpo_lib.collectors.tfevents import checksum


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    digits = []
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def counted(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def float32(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def simple(tag: str, value: float) -> bytes:
    """Make a Summary.Value as PyTorch and TensorFlow 1 do."""
    return counted(1, tag.encode()) + float32(2, value)


def tensor(tag: str, value: float, *, form: str = "<f", listed: bool = False) -> bytes:
    """Make a Summary.Value as TensorFlow 2 does: in the content, or `listed` by itself."""
    kind, field = {"<f": (1, 5), "<d": (2, 6)}[form]
    content = counted(field if listed else 4, struct.pack(form, value))
    made = varint(1 << 3) + varint(kind) + counted(2, b"") + content
    about = counted(9, counted(1, counted(1, b"scalars")))
    return counted(1, tag.encode()) + about + counted(8, made)


def event(*values: bytes, step: int = 0, time: float = 0.0) -> bytes:
    made = varint(1 << 3 | 1) + struct.pack("<d", time) + varint(2 << 3) + varint(step)
    return made + counted(5, b"".join(counted(1, value) for value in values))


def record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + checksum(length) + content + checksum(content)


def written(*events: bytes) -> bytes:
    """Make a file: what every file begins with, and then the events."""
    version = varint(1 << 3 | 1) + struct.pack("<d", 1.5) + counted(3, b"brain.Event:2")
    return b"".join(record(one) for one in (version, *events))
