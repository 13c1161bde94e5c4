"""Placeholders such as `${params.units}` in what a spec says of its trials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hpo_lib.core.trial import Params
from hpo_lib.errors import nearest
from hpo_lib.spec import flags
from hpo_lib.spec.flags import Spelled, Spelling
from hpo_lib.validation import shown

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
#: An argument that tells a parameter and nothing else: `--name=${params.name}`.
_SWITCH = re.compile(r"(?P<flag>--?[^\s=]+)=\$\{params\.(?P<name>[^}]*)\}")
_LEFT_OUT = object()


def as_ever(_: str) -> Spelling:
    """Spell every boolean as `true` or `false`."""
    return Spelling.TRUE_FALSE


def unknown(value: Any, params: Sequence[str], *, at: str) -> Iterator[str]:
    """Yield a line for each placeholder in plain JSON that is not known, with the text's path."""
    known = dict.fromkeys([*(f"params.{name}" for name in params), *FACTS])
    for path, word in texts(value, at):
        for name in _named(word):
            if name not in known:
                hint, listing = nearest(name, known), ", ".join(known)
                yield f"{path}: unknown placeholder ${{{name}}}{hint}; known: {listing}"


def misplaced(value: Any, alone: Mapping[str, Spelling], *, at: str) -> Iterator[str]:
    """Yield a line for each text in plain JSON that asks for more of a boolean than `alone` tells.

    `alone` has the spelling of booleans that are an argument or none, by name. They can stand in
    an argument of their own, and where an option takes true or false itself.
    """
    for path, word in texts(value, at):
        itself = "options" in path and _PLACEHOLDER.fullmatch(word) and not _is_argument(path)
        if itself or _SWITCH.fullmatch(word):
            continue
        for name in _named(word):
            if name.startswith("params.") and (spelling := alone.get(name[7:])):
                yield (
                    f"{path}: must be --NAME=${{{name}}} alone, as trial.flags tells it by "
                    f"{spelling}, got {shown(word)}"
                )


def words(
    line: Sequence[str],
    params: Params,
    facts: Mapping[str, object],
    spelled: Spelled = as_ever,
) -> list[str]:
    """Fill a command's words; a word that names an inactive parameter is left out."""
    values = _values(params, facts)
    return [word for one in line if (word := _word(one, values, spelled)) is not None]


def filled(
    options: Mapping[str, Any],
    params: Params,
    facts: Mapping[str, object],
    spelled: Spelled = as_ever,
) -> dict[str, Any]:
    """Fill the texts of plain JSON.

    A text that is one placeholder becomes the value itself, such as a number. A text
    that names an inactive parameter is left out, with its key.
    """
    found: dict[str, Any] = _filled(options, _values(params, facts), spelled)
    return found


def texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Give every text in plain JSON with its path, which begins with `path`."""
    if isinstance(value, str):
        yield path, value
    for name, inner in _inner(value):
        yield from texts(inner, f"{path}.{name}")


def _inner(value: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def _values(params: Params, facts: Mapping[str, object]) -> dict[str, object]:
    return {f"params.{name}": one for name, one in params.items()} | dict(facts)


def _filled(value: Any, values: Mapping[str, object], spelled: Spelled, at: str = "") -> Any:
    if isinstance(value, Mapping):
        pairs = ((n, _filled(inner, values, spelled, f"{at}.{n}")) for n, inner in value.items())
        return {name: made for name, made in pairs if made is not _LEFT_OUT}
    if isinstance(value, list | tuple):
        made = (_filled(inner, values, spelled, f"{at}.0") for inner in value)
        return [one for one in made if one is not _LEFT_OUT]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    found = values.get(whole[1]) if whole else _word(value, values, spelled)
    if isinstance(found, bool | list | dict) and _is_argument(at):
        found = _word(value, values, spelled)
    return _LEFT_OUT if found is None else found


def _is_argument(path: str) -> bool:
    """Say whether a text of options is a word of a command line, such as a container's."""
    return path.rpartition(".")[0].rpartition(".")[2] in ("command", "args")


def _word(word: str, values: Mapping[str, object], spelled: Spelled) -> str | None:
    if any(values.get(name) is None for name in _named(word)):
        return None
    if switch := _SWITCH.fullmatch(word):
        name = switch["name"]
        return flags.argument(switch["flag"], values[f"params.{name}"], spelled(name))
    end = _end(word)
    return _PLACEHOLDER.sub(lambda match: _text(match[1], values, spelled), word[:end]) + word[end:]


def _named(word: str) -> list[str]:
    """Name a text's placeholders."""
    return _PLACEHOLDER.findall(word, 0, _end(word))


def _end(word: str) -> int:
    """Say where a text's last placeholder ends at the latest.

    Each `${` before it is closed. Those behind it would all be followed to the end of the text.
    """
    return word.rfind("}") + 1


def _text(name: str, values: Mapping[str, object], spelled: Spelled) -> str:
    return flags.text(values[name], spelled(name.removeprefix("params.")))
