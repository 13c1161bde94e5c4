"""The settings that a class of another library takes, read from its signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from hpo_lib.errors import SpecError
from hpo_lib.validation import Strict

_MOST = 10_000


@cache
def settings_of(kind: type, parts: Any = None) -> type[Strict]:
    """Make the model of what `kind` takes and a spec can hold: numbers, text, true or false.

    Callables and objects are left out, unless `parts` (a module) has classes of the type wanted:
    then the name of one stands for an object of it. Left out, too, are the seed, which is ours,
    and switches for warnings. SpecError names what is left out and has no default.
    """
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(kind).parameters.values():
        taken = _type(parameter, parts)
        if taken is not None:
            fields[parameter.name] = (taken, parameter.default)
        elif parameter.default is parameter.empty and parameter.kind not in _GATHERED:
            raise SpecError(
                f"sampler: {kind.__name__} needs {parameter.name}, which a spec cannot hold"
            )
    model: type[Strict] = create_model(f"{kind.__name__}Settings", __base__=Strict, **fields)
    return model


def objects(kind: type, options: Mapping[str, Any], parts: Any) -> dict[str, Any]:
    """Turn the names of classes in `parts` into objects of them where `kind` takes such."""
    known = inspect.signature(kind).parameters
    return {
        name: getattr(parts, value)() if value in _classes(known[name], parts) else value
        for name, value in options.items()
    }


_GATHERED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _type(parameter: inspect.Parameter, parts: Any) -> Any:
    """Give the type to validate against; None for what is left out."""
    if parameter.name == "seed" or parameter.name.startswith("warn_"):
        return None
    names = _annotated(parameter)
    types = [_plain(name, parameter, parts) for name in names if name != "None"]
    if not types or None in types:
        return None
    taken = types[0]
    for other in types[1:]:
        taken |= other
    return taken | None if "None" in names else taken


def _plain(name: str, parameter: inspect.Parameter, parts: Any) -> Any:
    if name == "int":
        least = 0 if "startup" in parameter.name else 1
        return Annotated[int, Field(ge=least, le=_MOST)]
    if name == "float":
        return Annotated[float, Field(ge=0, le=_MOST)]
    if name in ("bool", "str"):
        return {"bool": bool, "str": str}[name]
    return _one_of(getattr(parts, name, None), parts)


def _one_of(base: Any, parts: Any) -> Any:
    """Give the literal type of the names of the classes that extend `base`."""
    return Literal[tuple(sorted(_extending(base, parts)))] if inspect.isclass(base) else None


def _classes(parameter: inspect.Parameter, parts: Any) -> set[str]:
    """Name the classes of which a parameter takes objects."""
    bases = (getattr(parts, name, None) for name in _annotated(parameter))
    return {name for base in bases if inspect.isclass(base) for name in _extending(base, parts)}


def _extending(base: type, parts: Any) -> set[str]:
    found = {name for name in parts.__all__ if issubclass(getattr(parts, name), base)}
    return {name for name in found if not inspect.isabstract(getattr(parts, name))}


def _annotated(parameter: inspect.Parameter) -> list[str]:
    """List the types of a parameter as they are written."""
    written = parameter.annotation
    text = written if isinstance(written, str) else inspect.formatannotation(written)
    return re.split(r"\s*\|\s*", text)
