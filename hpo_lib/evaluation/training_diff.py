"""What trains a model, as its spec and its trial say it, to see whether that has changed.

A manifest keeps it as `program`. Its values go wherever the model goes, so a long value, which may
be anything, is cut to its beginning and a digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hpo_lib.core.trial import Params
from hpo_lib.spec import Spec
from hpo_lib.validation import shown
from hpo_lib.words import line

_LONG, _BEGINNING = 200, 60
_NAMED, _MAX_VERSIONS = 5, 64


def program(spec: Spec, params: Params, versions: object) -> dict[str, Any]:
    """Describe what trains a configuration: a part of a spec, and the `versions` that a trial left.

    It leaves out what changes no result: limits of time and memory, and where it runs.
    """
    trial = spec.trial
    return {
        "command": [_short(word) for word in trial.command or ()],
        "args": [_short(word) for word in trial.args or ()],
        "image": trial.image or "",
        "env": {name: _short(value) for name, value in sorted(trial.env.items())},
        "fixed": {name: one for name, one in sorted(spec.fixed.items()) if name not in params},
        "options": _digest(trial.options) if trial.options else "",
        "versions": _versions(versions),
    }


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in words what differs, of the parts that both sides have."""
    found: list[str] = []
    for part, value in now.items():
        before = then.get(part)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            found += _inner(part, before, value)
        elif type(before) is type(value) and before != value:
            found.append(_change(part, before, value))
    rest = len(found) - _NAMED
    return [*found[:_NAMED], f"and {rest} more"] if rest > 0 else found


def _inner(part: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    if part == "versions":  # Nothing is known of a version that one side does not name.
        names = [name for name in names if name in then and name in now]
    return [_change(f"{part}.{name}", then.get(name), now.get(name)) for name in names]


def _change(name: str, then: object, now: object) -> str:
    if name == "options":
        return "trial.options has changed"
    return f"{name} was {_said(then)}, is {_said(now)}"


def _said(value: object) -> str:
    if value is None or value in ("", []):
        return "not set"
    return shown(" ".join(map(str, value))) if isinstance(value, list) else shown(value)


def _versions(found: object) -> dict[str, str]:
    """Read what a trial says of the versions that it trained with; what is no text is left out."""
    pairs: Sequence[tuple[Any, Any]] = list(found.items()) if isinstance(found, Mapping) else []
    return {
        line(str(name), _LONG): line(value, _LONG)
        for name, value in pairs[:_MAX_VERSIONS]
        if isinstance(value, str)
    }


def _short(text: str) -> str:
    """Give a text; if it is long, its beginning and its digest."""
    return text if len(text) <= _LONG else f"{text[:_BEGINNING]}… (sha256 {_digest(text)})"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
