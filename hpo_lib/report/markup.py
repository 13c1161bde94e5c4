"""HTML that is escaped by construction: only what `el` and its siblings build is markup."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hpo_lib.words import cut

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?)")
_VOID = frozenset({"br", "meta"})
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class Markup(str):
    """Text that is HTML already; other text is escaped when it becomes part of HTML."""

    __slots__ = ()


def el(tag: str, *children: str | None, **attributes: object) -> Markup:
    """Build an element; `class_` and `data_state` become class and data-state.

    None as a child or attribute is left out, True makes an attribute without a value.
    """
    words = [tag, *(_attribute(name, value) for name, value in attributes.items())]
    opening = f"<{' '.join(word for word in words if word)}>"
    if tag in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{join(children)}</{tag}>")


def join(parts: Iterable[str | None]) -> Markup:
    """Put parts one after the other, escaping those that are not markup."""
    return Markup("".join(_escaped(part) for part in parts if part is not None))


def script(code: str) -> Markup:
    """Wrap trusted JavaScript of this package."""
    return Markup(f"<script>{code}</script>")


def data(identifier: str, value: object) -> Markup:
    """Embed a value as JSON that no content can break out of; NaN and infinities become null."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    for character, escaped in _IN_SCRIPT.items():
        text = text.replace(character, escaped)
    return Markup(f'<script type="application/json" id="{identifier}">{text}</script>')


def shortened(text: object, limit: int) -> str:
    """Put text on one line of at most `limit` characters."""
    line = " ".join(clean(str(text)).split())
    return cut(line, limit)


def clean(text: str) -> str:
    """Drop what has no place in a text: colours of terminals, control characters, surrogates."""
    plain = _CONTROL.sub("", _ANSI.sub("", text))
    return plain.encode("utf-8", "replace").decode()


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(clean(text))


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    return key if value is True else f'{key}="{html.escape(clean(str(value)))}"'


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
