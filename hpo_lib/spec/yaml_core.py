"""YAML by the core schema of version 1.2, where `no` is text: what is no plain JSON is named.

PyYAML goes by version 1.1, where `no` is false, `1:30` is 90, and `017` is 15.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from hpo_lib.core.plain import MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_MANY, Unreadable, problems
from hpo_lib.errors import SpecError, joined
from hpo_lib.validation import shown

#: A whole number of more digits is no number that anybody means.
_MOST_DIGITS = 400
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_BREAKS = re.compile("[\x85\u2028\u2029]")
_TAG = "tag:yaml.org,2002:"
_INFINITE = r"[-+]?\.(?:inf|Inf|INF)"
#: By tag: what a scalar without quotes looks like, and the characters that it may begin with.
_CORE: Mapping[str, tuple[str, Sequence[str]]] = {
    "null": (r"~|null|Null|NULL|", ["", *"~nN"]),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        rf"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|{_INFINITE}"
        r"|\.nan|\.NaN|\.NAN",
        "-+.0123456789",
    ),
}
_FORMS = {name: re.compile(rf"(?:{form})\Z") for name, (form, _) in _CORE.items()}
#: The kinds that a scalar may be that begins with a character.
_BY_FIRST = {
    one: [name for name, (_, first) in _CORE.items() if one in first]
    for one in {one for _, first in _CORE.values() for one in first}
}
#: PyYAML's own parser takes a second for some 100 KB; libyaml is nearly always there.
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader:
    """Reads one document as far as it is plain JSON; aliases are refused.

    It follows the events of a parser, and no further than plain JSON may go.
    """

    def __init__(self, text: str) -> None:
        """Take the text; `repeated` will say which keys a mapping has twice."""
        self.repeated: list[str] = []
        self._events = yaml.parse(text, Loader=_PARSER)
        self._left = MAX_VALUES

    def document(self) -> Any:
        """Read the text, with an Unreadable wherever something is no JSON; YAMLError, SpecError."""
        self._next()
        found = None
        if isinstance(self._next(), yaml.DocumentStartEvent):
            found = self._node(self._next(), 0)
            self._next()
            if isinstance(event := self._next(), yaml.DocumentStartEvent):
                raise yaml.YAMLError(f"must be one document, got another {_line(event)}")
        if isinstance(found, Unreadable):
            raise yaml.YAMLError(found.why)
        return found

    def _next(self) -> Any:
        return next(self._events)

    def _node(self, event: Any, depth: int) -> Any:
        """Read what an event begins."""
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases are not allowed {_line(event)}")
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise SpecError(f"spec: {TOO_MANY if self._left < 0 else TOO_DEEP} {_line(event)}")
        kind = _kind(event)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(kind, event.value, _line(event))
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        found: Any = self._mapping(depth + 1) if is_mapping else self._sequence(depth + 1)
        return found if kind == ("map" if is_mapping else "seq") else _no_json(kind, _line(event))

    def _sequence(self, depth: int) -> list[Any]:
        found = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._node(event, depth))
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            self._node(event, depth)
            kind, line = _kind(event), _line(event)
            name = event.value if isinstance(event, yaml.ScalarEvent) else f"!!{kind}"
            if name in found:
                self.repeated.append(f"key {shown(name)} is repeated {line}")
            found[name] = self._node(self._next(), depth)
            if kind != "str":
                found[name] = _no_key(name, line)
        return found


class _OperatorsLoader(_PARSER):  # type: ignore[misc]
    """Reads a file of the operator's, who may use aliases and merge keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - where PyYAML looks for them

    def document(self) -> Any:
        node = self.get_single_node()
        return None if node is None else self._plain(node)

    def _plain(self, node: yaml.Node) -> Any:
        kind, line = str(node.tag).removeprefix(_TAG), _line(node)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self._plain(inner) for inner in node.value]
        return _scalar(kind, node.value if isinstance(node, yaml.ScalarNode) else None, line)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        self.flatten_mapping(node)
        found: dict[str, Any] = {}
        for key, inner in node.value:
            name, is_text = str(key.value), key.tag == f"{_TAG}str"
            found[name] = self._plain(inner) if is_text else _no_key(name, _line(key))
        return found


class Dumper(yaml.SafeDumper):
    """Puts into quotes what a reader of YAML 1.1, or one of 1.2, would take for no text."""


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    """Escape the breaks of lines that PyYAML writes as they are, and then reads as blanks."""
    style = '"' if _BREAKS.search(text) else None
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


def operators(text: str, *, at: str) -> Any:
    """Read a file of the operator's; SpecError names all that is no JSON, each with `at` before."""
    found = _OperatorsLoader(text).document()
    if wrong := [f"{at}: {'.'.join(map(str, loc))}: {why}" for loc, why in problems(found)]:
        raise SpecError(joined(wrong))
    return found


def dumped(plain: Any, **layout: Any) -> str:
    """Write plain JSON so that every reader, of YAML 1.1 or 1.2, gives it back."""
    known = {"sort_keys": False, "allow_unicode": True, **layout}
    return str(yaml.dump(plain, Dumper=Dumper, **known))


def _kind(event: Any) -> str:
    """Name what an event begins by its tag: its own, or the one that its look implies."""
    if event.tag not in (None, "!"):
        tag = str(event.tag)
        return tag.removeprefix(_TAG)
    if not isinstance(event, yaml.ScalarEvent):
        return "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
    looks = _BY_FIRST.get(event.value[:1], ()) if event.implicit[0] else ()
    return next((kind for kind in looks if _FORMS[kind].match(event.value)), "str")


def _line(place: Any) -> str:
    return f"(line {place.start_mark.line + 1})"


def _scalar(kind: str, text: str | None, line: str) -> Any:
    """Read a scalar of a kind; None for what is no scalar."""
    if text is not None and kind == "str":
        return text
    if text is not None and kind in _CORE and _FORMS[kind].match(text):
        return _READ[kind](text)
    return _no_json(kind, line)


def _no_json(kind: str, line: str) -> Unreadable:
    """Stand for what is no JSON, named by its tag as a file says it."""
    said = kind if kind.startswith("!") else f"!!{kind}"
    return Unreadable(f"must be plain JSON, got {said} {line}", said)


def _no_key(name: str, line: str) -> Unreadable:
    return Unreadable(f"a key must be text, got {name} {line}; put it in quotes")


def whole(text: str) -> int | Unreadable:
    """Read a whole number of not too many digits; one such as 017 is 17, 15 or text, who knows."""
    if _LEADING_ZERO.match(text):
        rule = "a whole number must have no 0 in front"
        return Unreadable(f"{rule}, got {text}; put it in quotes if it is text", text)
    if len(text) > _MOST_DIGITS:
        most = f"a whole number must have at most {_MOST_DIGITS} digits"
        return Unreadable(f"{most}, got {len(text):,}")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def formerly(text: str) -> bool | int | float | None:
    """Give the number or boolean that YAML 1.1 took a text for, which has no quotes."""
    if any(form.match(text) for form in _FORMS.values()):
        return None
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if tag.removeprefix(_TAG) not in ("bool", "int", "float"):
        return None
    try:
        found: bool | int | float = loader.construct_object(yaml.ScalarNode(tag, text))
    except (ValueError, OverflowError):
        return None
    return found


def _real(text: str) -> float:
    special = text.strip("+-").lower() in (".inf", ".nan")
    return float(text.replace(".", "") if special else text)


_READ: Mapping[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": whole,
    "float": _real,
}
for _name, (_form, _first) in _CORE.items():
    for _one in (_OperatorsLoader, Dumper):
        _one.add_implicit_resolver(_TAG + _name, _FORMS[_name], list(_first))
_OperatorsLoader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])
Dumper.add_representer(str, _text)
