"""A spec as YAML: text or file to spec, and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from hpo_lib.core.plain import TOO_DEEP
from hpo_lib.errors import SpecError
from hpo_lib.spec.draft import Draft, draft
from hpo_lib.spec.model import MAX_BYTES, Spec
from hpo_lib.spec.yaml_core import Loader, dumped, whole
from hpo_lib.validation import refusal, shown


def from_yaml(text: str) -> Spec:
    """Read a spec from YAML (or JSON) text; SpecError as for `load`, or with the line."""
    return draft_of(text).checked()


def draft_of(text: str) -> Draft:
    """Read YAML as far as it can be read; SpecError if it is no YAML, or no mapping."""
    size = len(text.encode(errors="replace"))
    if size > MAX_BYTES:
        raise SpecError(f"spec: must be at most {MAX_BYTES:,} bytes, got {size:,}")
    try:
        data, repeated = _json(text) or _yaml(text)
        made = draft(data)
    except RecursionError:
        raise SpecError(f"spec: {TOO_DEEP}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise refusal([f"spec: must be YAML: {' '.join(str(error).split())}"]) from None
    told = [f"spec: must be YAML: {one}" for one in repeated]
    return replace(made, problems=(*told, *made.problems))


def to_yaml(spec: Spec) -> str:
    """Write a spec so that `from_yaml` gives it back."""
    return dumped(spec.dump())


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


def _yaml(text: str) -> tuple[Any, Sequence[str]]:
    loader = Loader(text)
    return loader.document(), loader.repeated


def _json(text: str) -> tuple[Any, Sequence[str]] | None:
    """Read JSON as JSON: YAML takes its tabs and halves of characters amiss; None if it is none."""
    repeated: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        times = Counter(name for name, _ in pairs)
        repeated.extend(f"key {shown(name)} is repeated" for name, n in times.items() if n > 1)
        return dict(pairs)

    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text, object_pairs_hook=mapping, parse_int=whole), repeated
    except ValueError:
        return None
