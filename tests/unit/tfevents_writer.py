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


#: By name: a tensor's type, the form of its numbers, and the field that lists them.
TYPES = {
    "float": (1, "<f", 5),
    "double": (2, "<d", 6),
    "int32": (3, "<i", 7),
    "uint8": (4, "<B", 7),
    "int16": (5, "<h", 7),
    "int8": (6, "<b", 7),
    "int64": (9, "<q", 10),
    "bool": (10, "<?", 11),
    "bfloat16": (14, "<f", 13),
    "uint16": (17, "<H", 7),
    "half": (19, "<e", 13),
    "uint32": (22, "<I", 16),
    "uint64": (23, "<Q", 17),
}


def typed(
    tag: str, kind: str, *values: float, shape: tuple[int, ...] = (), how: str = "content"
) -> bytes:
    """Make a Summary.Value that holds a tensor: its numbers as `content`, `packed` or `listed`."""
    number, form, field = TYPES[kind]
    whole = form[1] in "bBhHiIqQ?"
    parts = [struct.pack(form, int(value) if whole else value) for value in values]
    if kind == "bfloat16":
        parts = [part[2:] for part in parts]
    dimensions = [counted(2, varint(1 << 3) + varint(size) if size else b"") for size in shape]
    made = varint(1 << 3) + varint(number) + counted(2, b"".join(dimensions))
    if how == "content":
        made += counted(4, b"".join(parts))
    elif kind in ("float", "double"):
        wire = {"float": 5, "double": 1}[kind]
        packed = counted(field, b"".join(parts))
        made += (
            packed if how == "packed" else b"".join(varint(field << 3 | wire) + p for p in parts)
        )
    else:
        signed = kind.startswith("int")
        digits = [varint(int.from_bytes(part, "little", signed=signed)) for part in parts]
        packed = counted(field, b"".join(digits))
        made += packed if how == "packed" else b"".join(varint(field << 3) + d for d in digits)
    return counted(1, tag.encode()) + counted(8, made)


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
