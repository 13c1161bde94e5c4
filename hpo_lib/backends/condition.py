"""Conditions on what a Kubernetes resource says of itself: `status.succeeded >= 2`.

    condition = all { "or" all }          all = test { "and" test }
    test      = path [ operator value ]   operator = == != <= >= < >
    path      = name { "." name | "[" name "=" value "]" }

`[name=value]` keeps the objects of a list whose `name` is `value`. Names and values with other
characters than letters, digits, `_`, `-` and `/` stand in double quotes. A test without operator
holds if its path leads to a value other than empty, 0 or false. A path that leads nowhere fails
every test, even `!=`. Two numbers are compared as numbers, everything else as text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hpo_lib.errors import SpecError

_MAX_LENGTH = 500
_RULE = (
    "must be a condition such as status.conditions[type=Complete].status == True, "
    "tests being joined by and, or"
)
_TOKEN = re.compile(
    r'\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<sign>==|!=|<=|>=|[<>=.\[\]])|(?P<word>[\w/+-]+))'
)
_NUMBER = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}

#: A step into an object is a key; a choice among a list is a key and a value.
Step = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Test:
    path: tuple[Step, ...]
    sign: str | None = None
    value: str = ""

    def holds(self, resource: Any) -> bool:
        found = _at(resource, self.path)
        if self.sign is None:
            return any(found)
        return any(_compared(one, self.sign, self.value) for one in found)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that has been read; `text` is how it was written."""

    text: str
    any_of: tuple[tuple[_Test, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition; SpecError says what is wrong with it."""
        return _parsed(text)

    def holds(self, resource: Mapping[str, Any]) -> bool:
        """Say whether a resource, as the API server gives it, meets the condition."""
        return any(all(test.holds(resource) for test in tests) for tests in self.any_of)


@lru_cache(maxsize=256)
def _parsed(text: str) -> Condition:
    if len(text) > _MAX_LENGTH:
        raise SpecError(f"must be at most {_MAX_LENGTH} characters, got {len(text)}")
    return Condition(text, _Reader(text).read())


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


class _Reader:
    """Reads a condition from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(reversed(list(_tokens(text))))

    def read(self) -> tuple[tuple[_Test, ...], ...]:
        """Read the whole text."""
        found = [self._all()]
        while self._take("word", "or"):
            found.append(self._all())
        if self._tokens:
            raise wrong(self._text, f"{self._tokens[-1].text!r} was not expected")
        return tuple(found)

    def _all(self) -> tuple[_Test, ...]:
        found = [self._test()]
        while self._take("word", "and"):
            found.append(self._test())
        return tuple(found)

    def _test(self) -> _Test:
        path: list[Step] = [self._word("a name")]
        while (sign := self._take("sign", ".", "[")) is not None:
            path.append(self._word("a name") if sign == "." else self._choice())
        compare = self._take("sign", *_COMPARE)
        return _Test(tuple(path), compare, self._word("a value") if compare else "")

    def _choice(self) -> tuple[str, str]:
        name = self._word("a name")
        self._expect("=")
        value = self._word("a value")
        self._expect("]")
        return name, value

    def _word(self, what: str) -> str:
        token = self._tokens.pop() if self._tokens else _Token("", "the end")
        if token.kind == "quoted":
            return _unquoted(token.text)
        if token.kind != "word":
            raise wrong(self._text, f"{token.text!r} is there where {what} is expected")
        return self._decimal(token.text)

    def _decimal(self, text: str) -> str:
        """Join the parts of 0.5, whose point is no step."""
        following = self._tokens[-2:]
        if _NUMBER.fullmatch(text) and [t.kind for t in following] == ["word", "sign"]:
            digits, point = following
            if point.text == "." and digits.text.isdigit():
                del self._tokens[-2:]
                return f"{text}.{digits.text}"
        return text

    def _take(self, kind: str, *texts: str) -> str | None:
        if self._tokens and self._tokens[-1].kind == kind and self._tokens[-1].text in texts:
            return self._tokens.pop().text
        return None

    def _expect(self, sign: str) -> None:
        if self._take("sign", sign) is None:
            seen = self._tokens[-1].text if self._tokens else "the end"
            raise wrong(self._text, f"{seen!r} is there where {sign!r} is expected")


def wrong(text: str, why: str) -> SpecError:
    """Make the error for a text that is no condition."""
    return SpecError(f"{_RULE}; {why}: {text!r}")


def _tokens(text: str) -> Iterable[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise wrong(text, f"{text[at:].split()[0]!r} cannot be read")
        at = match.end()
        yield _Token(str(match.lastgroup), match[str(match.lastgroup)])


def _at(resource: Any, path: Sequence[Step]) -> list[Any]:
    """Give what lies at a path: several things if it chooses among a list."""
    found = [resource]
    for step in path:
        if isinstance(step, str):
            found = [one[step] for one in found if isinstance(one, Mapping) and step in one]
        else:
            name, value = step
            found = [
                one
                for several in found
                for one in (several if isinstance(several, list) else [several])
                if isinstance(one, Mapping) and _compared(one.get(name), "==", value)
            ]
    return found


def _compared(found: Any, sign: str, value: str) -> bool:
    if found is None or isinstance(found, Mapping | list):
        return False
    text = str(found).lower() if isinstance(found, bool) else str(found)
    left, right = _number(text), _number(value)
    if left is not None and right is not None:
        return _COMPARE[sign](left, right)
    if isinstance(found, bool):
        value = value.lower()
    return _COMPARE[sign](text, value)


def _number(text: str) -> float | None:
    return float(text) if _DECIMAL.fullmatch(text) else None


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1])
