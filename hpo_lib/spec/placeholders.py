"""Placeholders such as `${params.units}` in what a spec says of its trials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hpo_lib.core.trial import Params
from hpo_lib.errors import nearest

#: The placeholders besides `params.…`.
FACTS = (
    "experiment",
    "run",
    "trial.number",
    "attempt",
    "seed",
    "phase",
    "output",
    "resource",
    "resume_from",
)
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_LEFT_OUT = object()


def unknown(value: Any, params: Sequence[str], *, at: str) -> Iterator[str]:
    """Yield a line for each placeholder in plain JSON that is not known, with the text's path."""
    known = [*(f"params.{name}" for name in params), *FACTS]
    for path, word in texts(value, at):
        for name in _PLACEHOLDER.findall(word):
            if name not in known:
                hint, listing = nearest(name, known), ", ".join(known)
                yield f"{path}: unknown placeholder ${{{name}}}{hint}; known: {listing}"


def words(line: Sequence[str], params: Params, facts: Mapping[str, object]) -> list[str]:
    """Fill a command's words; a word that names an inactive parameter is left out."""
    values = _values(params, facts)
    return [word for one in line if (word := _word(one, values)) is not None]


def filled(
    options: Mapping[str, Any], params: Params, facts: Mapping[str, object]
) -> dict[str, Any]:
    """Fill the texts of plain JSON.

    A text that is one placeholder becomes the value itself, such as a number. A text
    that names an inactive parameter is left out, with its key.
    """
    found: dict[str, Any] = _filled(options, _values(params, facts))
    return found


def texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Give every text in plain JSON with its path, which begins with `path`."""
    if isinstance(value, str):
        yield path, value
    for name, inner in _inner(value):
        yield from texts(inner, f"{path}.{name}")


def text(value: object) -> str:
    """Write a value as programs are told it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _inner(value: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def _values(params: Params, facts: Mapping[str, object]) -> dict[str, object]:
    return {f"params.{name}": one for name, one in params.items()} | dict(facts)


def _filled(value: Any, values: Mapping[str, object]) -> Any:
    if isinstance(value, Mapping):
        pairs = ((name, _filled(inner, values)) for name, inner in value.items())
        return {name: made for name, made in pairs if made is not _LEFT_OUT}
    if isinstance(value, list | tuple):
        made = (_filled(inner, values) for inner in value)
        return [one for one in made if one is not _LEFT_OUT]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    found = values.get(whole[1]) if whole else _word(value, values)
    return _LEFT_OUT if found is None else found


def _word(word: str, values: Mapping[str, object]) -> str | None:
    names = _PLACEHOLDER.findall(word)
    if any(values.get(name) is None for name in names):
        return None
    return _PLACEHOLDER.sub(lambda match: text(values[match[1]]), word)
