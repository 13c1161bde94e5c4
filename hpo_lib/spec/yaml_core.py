"""YAML by the core schema of version 1.2, where `no` is text: what is no plain JSON is named.

PyYAML goes by version 1.1, where `no` is false, `1:30` is 90, and `017` is 15.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from hpo_lib.core.plain import Unreadable, problems
from hpo_lib.errors import SpecError
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


class Loader(yaml.SafeLoader):
    """Reads one document as far as it is plain JSON; aliases are refused."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - where PyYAML looks for them

    def __init__(self, stream: str) -> None:
        """Take the text; `repeated` will say which keys a mapping has twice."""
        super().__init__(stream)
        self.repeated: list[str] = []

    def document(self) -> Any:
        """Read the text, with an Unreadable wherever something is no JSON; YAMLError."""
        node = self.get_single_node()
        found = None if node is None else self._plain(node)
        if isinstance(found, Unreadable):
            raise yaml.YAMLError(found.why)
        return found

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, which may be no alias: a few of them can stand for gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"aliases are not allowed (line {mark.line + 1})")
        return super().compose_node(parent, index)

    def _plain(self, node: yaml.Node) -> Any:
        kind = _tag(node)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self._plain(inner) for inner in node.value]
        if isinstance(node, yaml.ScalarNode) and kind == "str":
            return str(node.value)
        if isinstance(node, yaml.ScalarNode) and kind in _CORE and _FORMS[kind].match(node.value):
            return _READ[kind](node.value)
        line = f"(line {node.start_mark.line + 1})"
        return Unreadable(f"must be plain JSON, got {_said(node)} {line}", _said(node))

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, inner in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else _said(key)
            line = f"(line {key.start_mark.line + 1})"
            if name in found:
                self.repeated.append(f"key {shown(name)} is repeated {line}")
            found[name] = self._plain(inner)
            if _tag(key) != "str":
                found[name] = Unreadable(f"a key must be text, got {name} {line}; put it in quotes")
        return found


class Dumper(yaml.SafeDumper):
    """Puts into quotes what a reader of YAML 1.1, or one of 1.2, would take for no text."""


class _OperatorsLoader(Loader):
    """Reads a file of the operator's, who may use aliases and merge keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - where PyYAML looks for them

    def compose_node(self, parent: Any, index: Any) -> Any:
        return yaml.SafeLoader.compose_node(self, parent, index)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        self.flatten_mapping(node)
        return super()._mapping(node)


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    """Escape the breaks of lines that PyYAML writes as they are, and then reads as blanks."""
    style = '"' if _BREAKS.search(text) else None
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


def operators(text: str, *, at: str) -> Any:
    """Read a file of the operator's; SpecError names all that is no JSON, each with `at` before."""
    found = _OperatorsLoader(text).document()
    if wrong := [f"{at}: {'.'.join(map(str, loc))}: {why}" for loc, why in problems(found)]:
        raise SpecError("\n".join(wrong))
    return found


def dumped(plain: Any, **layout: Any) -> str:
    """Write plain JSON so that every reader, of YAML 1.1 or 1.2, gives it back."""
    known = {"sort_keys": False, "allow_unicode": True, **layout}
    return str(yaml.dump(plain, Dumper=Dumper, **known))


def _said(node: yaml.Node) -> str:
    """Name a node that is no plain JSON by its tag, as a file says it."""
    kind = _tag(node)
    return f"!!{kind}" if node.tag.startswith(_TAG) else kind


def _tag(node: yaml.Node) -> str:
    return str(node.tag).removeprefix(_TAG)


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
for _kind, (_form, _first) in _CORE.items():
    for _one in (Loader, _OperatorsLoader, Dumper):
        _one.add_implicit_resolver(_TAG + _kind, _FORMS[_kind], list(_first))
_OperatorsLoader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])
Dumper.add_representer(str, _text)
