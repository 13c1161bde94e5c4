"""Whether JSON has the shape of a pod: the models of Kubernetes' client know its fields and types.

The API server refuses a wrong type only when a trial is to start, and drops a field that it does
not know without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from types import SimpleNamespace
from typing import Any

from hpo_lib.errors import SpecError, nearest
from hpo_lib.validation import shown

POD, JOB = "V1PodTemplateSpec", "V1Job"

#: Python's types as the models name them, and the same in words.
_PLAIN: Mapping[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "datetime": ((str,), "text"),
    "float": ((int, float), "a number"),
    "int": ((int,), "a whole number"),
    "object": ((object,), "anything"),
    "quantity": ((int, float, str), "an amount such as 500m or 2Gi"),
    "str": ((str,), "text"),
}
#: Amounts, which are text in the models, and may be numbers in JSON.
_AMOUNTS = frozenset({"divisor", "limits", "overhead", "requests", "sizeLimit"})
#: What is merged below our own part, which has the rest.
_IN_PARTS = frozenset({"V1PodSpec"})
#: So many are told: finding the nearest known field takes time.
_MOST = 50
_INDEX = re.compile(r"\.\d+(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Misfits:
    """What does not have its shape: a line each, and the places, as paths without indices."""

    lines: Sequence[str]
    places: frozenset[str]

    @classmethod
    def of(cls, value: Any, kind: str = POD) -> Misfits:
        """Hold JSON against a model of Kubernetes' client; of many misfits give the first."""
        found = list(islice(_misfits(value, kind, ""), _MOST))
        lines = [f"{path}: {words}" if path else words for path, words in found]
        return cls(lines, frozenset(_INDEX.sub("", path) for path, _ in found))

    def hold(self, path: str) -> bool:
        """Say whether a path, without indices, is one of the places or lies below one."""
        names = path.split(".")
        return any(".".join(names[:length]) in self.places for length in range(len(names) + 1))


NONE = Misfits((), frozenset())


def fields(kind: str) -> Mapping[str, str]:
    """Give the types of a model's fields by their names in JSON."""
    return _fields(kind)[0]


def under(path: str, name: object) -> str:
    """Give the path of a key below another path; one without a name is shown as `""`."""
    named = str(name) or '""'
    return f"{path}.{named}" if path else named


def _misfits(value: Any, kind: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path of everything that does not have the shape of its kind, and what is wrong.

    A text that is a placeholder alone may stand for a number or for true and false.
    """
    outer, _, inner = kind.removesuffix("]").partition("[")
    if outer in _PLAIN:
        yield from _of_plain(value, outer, path)
    elif outer == "list":
        yield from _of_list(value, inner, path)
    elif outer == "dict":
        yield from _of_map(value, inner.removeprefix("str, "), path)
    else:
        yield from _of_model(value, kind, path)


def _of_plain(value: Any, kind: str, path: str) -> Iterator[tuple[str, str]]:
    types, words = _PLAIN[kind]
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not (fits or kind == "object" or (isinstance(value, str) and _is_placeholder(value))):
        yield path, f"must be {words}, got {shown(value)}"


def _of_list(value: Any, kind: str, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list | tuple):
        yield path, f"must be a list, got {shown(value)}"
        return
    for number, one in enumerate(value):
        yield from _misfits(one, kind, under(path, number))


def _of_map(value: Any, kind: str, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield path, f"must be a mapping, got {shown(value)}"
        return
    for name, one in value.items():
        yield from _misfits(one, kind, under(path, name))


def _of_model(value: Any, kind: str, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield path, f"must be a mapping, got {shown(value)}"
        return
    known, required = _fields(kind)
    for name, one in value.items():
        if name in known:
            yield from _misfits(one, known[name], under(path, name))
        else:
            yield under(path, name), f"there is no such field{nearest(str(name), known)}"
    for name in sorted(required - set(value)):
        yield under(path, name), "is required"


@cache
def _fields(kind: str) -> tuple[Mapping[str, str], frozenset[str]]:
    """Give the same, and which of them have to be there."""
    try:
        from kubernetes.client import models
    except ImportError:
        raise SpecError(
            "trial.options: a pod is held against Kubernetes' own models, of the package "
            "kubernetes: pip install '.[kubernetes]'"
        ) from None
    model = getattr(models, kind)
    names = model.attribute_map
    types = {names[own]: _typed(names[own], said) for own, said in model.openapi_types.items()}
    if kind in _IN_PARTS:
        return types, frozenset()
    return types, frozenset(names[own] for own in names if _is_required(model, own))


def _typed(name: str, said: str) -> str:
    """Give a field's type: amounts are text in the models, by themselves or in a mapping."""
    return re.sub(r"str(?=\]?$)", "quantity", said) if name in _AMOUNTS else said


def _is_required(model: Any, own: str) -> bool:
    """Say whether a model refuses to be without a field: only its setters know."""
    lenient, strict = (SimpleNamespace(client_side_validation=one) for one in (False, True))
    empty = model(local_vars_configuration=lenient)
    empty.local_vars_configuration = strict
    try:
        setattr(empty, own, None)
    except ValueError:
        return True
    return False


def _is_placeholder(text: str) -> bool:
    return text.startswith("${") and text.endswith("}")
