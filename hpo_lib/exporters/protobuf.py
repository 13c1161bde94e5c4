"""Fields of Protocol Buffers' messages, by their numbers, written without the library."""

from __future__ import annotations

import struct

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5


def key(number: int, kind: int) -> bytes:
    """Make what stands before a field."""
    return varint(number << 3 | kind)


def counted(number: int, content: bytes) -> bytes:
    """Make a field that is a message, or bytes."""
    return key(number, COUNTED) + varint(len(content)) + content


def text(number: int, content: str) -> bytes:
    """Make a field of text; what UTF-8 has no form for becomes a question mark."""
    return counted(number, content.encode(errors="replace"))


def double(number: int, value: float) -> bytes:
    """Make a field of a float of 64 bits."""
    return key(number, EIGHT_BYTES) + struct.pack("<d", value)


def whole(number: int, value: int) -> bytes:
    """Make a field of an integer of up to 64 bits, or a truth value."""
    return key(number, VARINT) + varint(value & (1 << 64) - 1)


def varint(number: int) -> bytes:
    """Write an integer, seven bits a byte."""
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
