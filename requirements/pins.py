"""Files of pins: a package an entry, with the hashes of its files on further lines."""

from __future__ import annotations

import re

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?"
)


def entries(text: str) -> list[str]:
    """Give the entries as they stand there, each with all of its lines."""
    return re.split(r"\n(?=\S)", text.strip("\n"))


def pin(entry: str) -> re.Match[str] | None:
    """Give name, version and marker of an entry; None if it is no pin."""
    head = entry.replace("\\\n", " ").partition(" --hash")[0]
    return _PIN.fullmatch(head.strip())
