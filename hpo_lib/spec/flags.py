"""How a program is told true and false: every parser of command lines has a way of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

from hpo_lib.core.trial import Value
from hpo_lib.validation import shown


class Spelling(StrEnum):
    """A way to tell a boolean, with the words of a spec."""

    TRUE_FALSE = "true_false"
    ZERO_ONE = "0_1"
    TRUE_EMPTY = "true_empty"
    PRESENCE = "presence"
    NO_PREFIX = "no_prefix"

    @property
    def alone(self) -> bool:
        """Whether the argument itself is told or not, so that there is no text of a value."""
        return self in (Spelling.PRESENCE, Spelling.NO_PREFIX)


#: Gives the spelling of a parameter by its name.
Spelled = Callable[[str], Spelling]
#: The texts of false and of true, where these are not `false` and `true`.
_TEXTS: Mapping[Spelling, tuple[str, str]] = {
    Spelling.ZERO_ONE: ("0", "1"),
    Spelling.TRUE_EMPTY: ("", "true"),
}


def text(value: object, spelling: Spelling = Spelling.TRUE_FALSE) -> str:
    """Write a value as programs are told it: lists and mappings as JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    if not isinstance(value, bool):
        return str(value)
    return _TEXTS.get(spelling, ("false", "true"))[value]


def argument(flag: str, value: object, spelling: Spelling) -> str | None:
    """Write the argument of a flag such as `--name`; None if it is left out."""
    if not (isinstance(value, bool) and spelling.alone):
        return f"{flag}={text(value, spelling)}"
    if value:
        return flag
    return f"--no-{flag.lstrip('-')}" if spelling is Spelling.NO_PREFIX else None


def alike(choices: Sequence[Value], spelling: Spelling) -> Iterator[str]:
    """Yield every choice that a program is told as another one before it, and how."""
    before: dict[str | None, Value] = {}
    for choice in choices:
        told = argument("", choice, spelling)
        if told in before:
            yield (
                f"choices must differ in what programs are told, got {shown(before[told])} and "
                f"{shown(choice)}, both {shown(text(choice, spelling))}"
            )
        before.setdefault(told, choice)
