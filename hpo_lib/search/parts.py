"""A sampler or a scheduler that a spec names: found, built from its settings, and held to account.

It may be somebody's own class. What is wrong with it before a run is a SpecError; what goes wrong
later is a PartFailed, which stops the run with that reason.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpo_lib.errors import HpoError, PartFailed, SpecError
from hpo_lib.registry import load
from hpo_lib.schedulers.names import in_our_words
from hpo_lib.spec.hints import elsewhere
from hpo_lib.validation import MOST, Strict, as_error, parse, shown, unknown_key


def made(
    kind: str, name: str, settings: Mapping[str, Any], *given: Any, besides: Sequence[str]
) -> Any:
    """Build a part of what is given and, last, its settings; SpecError if that is not possible.

    `besides` are the keys of the spec's section that belong to every part of its kind.
    """
    built = load(kind, name)
    asked = settings_of(kind, name, settings, besides=besides)
    try:
        return built(*given, asked)
    except HpoError:
        raise
    except Exception as error:
        raise SpecError(f"{kind}.name: {name} cannot be built: {said(error)}") from error


def settings_of(
    kind: str, name: str, settings: Mapping[str, Any], *, besides: Sequence[str]
) -> Strict:
    """Read the settings of a part by its own model; SpecError names all that it does not take."""
    model = getattr(load(kind, name), "Settings", None)
    if not (isinstance(model, type) and issubclass(model, Strict)):
        raise SpecError(
            f"{kind}.name: {name} must have Settings, a model that inherits "
            f"hpo_lib.validation.Strict, got {shown(str(model))}"
        )
    if kind == "scheduler":
        settings = in_our_words(settings, model.model_fields)
    known = [*besides, *model.model_fields]
    unknown = [one for one in settings if one not in known]
    wrong = [
        f"{kind}: {unknown_key(one, known, elsewhere, known_to=f'known to {name}')}"
        for one in unknown[:MOST]
    ]
    taken = {one: value for one, value in settings.items() if one in known}
    try:
        read: Strict = parse(model, taken, at=kind)
    except SpecError as error:
        raise as_error([*wrong, *str(error).split("\n")]) from None
    if wrong:
        raise as_error(wrong)
    return read


@contextmanager
def answering(part: str) -> Iterator[None]:
    """Take whatever a part raises, when it is asked something, for its fault: PartFailed."""
    try:
        yield
    except HpoError:
        raise
    except Exception as error:
        raise PartFailed(f"{part} failed: {said(error)}") from error


def said(error: Exception) -> str:
    """Say what was raised, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}, line {frame.lineno})"
