"""A spec as YAML: text or file to spec, and back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from hpo_lib.errors import SpecError
from hpo_lib.spec.draft import Draft, draft
from hpo_lib.spec.model import MAX_BYTES, Spec
from hpo_lib.validation import shown


def from_yaml(text: str) -> Spec:
    """Read a spec from YAML (or JSON) text; SpecError as for `load`, or with the line."""
    return draft_of(text).checked()


def draft_of(text: str) -> Draft:
    """Read YAML as far as it can be read; SpecError if it is no YAML, or no mapping."""
    if len(text.encode()) > MAX_BYTES:
        raise SpecError(f"spec: must be at most {MAX_BYTES:,} bytes, got {len(text.encode()):,}")
    try:
        loader = _Loader(text)
        made = draft(loader.get_single_data())
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"spec: must be YAML: {' '.join(str(error).split())}") from None
    repeated = [f"spec: must be YAML: {one}" for one in loader.repeated]
    return replace(made, problems=(*repeated, *made.problems))


def to_yaml(spec: Spec) -> str:
    """Write a spec so that `from_yaml` gives it back."""
    return yaml.safe_dump(spec.dump(), sort_keys=False, allow_unicode=True)


def draft_file(path: Path) -> Draft:
    """Read a spec file without the checks that import samplers and backends."""
    return draft_of(_text(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode()
    except UnicodeDecodeError as error:
        if error.start >= MAX_BYTES - 3:
            return "#" * (MAX_BYTES + 1)
        raise SpecError("spec: must be a text file in UTF-8") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"spec: must be a readable file: {_why(error)}") from None


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-5 as a number, refuses aliases and notes repeated keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"aliases are not allowed (line {mark.line + 1})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            name = str(key_node.value)
            if name in seen:
                line = key_node.start_mark.line + 1
                self.repeated.append(f"key {shown(name)} is repeated (line {line})")
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+0123456789."),
)
