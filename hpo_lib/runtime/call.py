"""Calls a Python function as a trial: `python -m hpo_lib.runtime.call package.module:function`.

The trial's parameters are its keyword arguments. It returns its metrics, a mapping of name to
number, which go to `return.json` in HPO_OUTPUT, where the collector `xcom` reads them:

    def objective(rate, depth):
        return {"loss": (rate - 0.1) ** 2 + depth}

Standard library only; NumPy's numbers, and whatever else `float` takes, are numbers.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from hpo_lib.runtime import params

#: There before a container begins if its backend takes from it what the container returns.
CONTAINER_RETURNS = Path("/airflow/xcom/return.json")
_NAME = "return.json"
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class CallError(Exception):
    """The function cannot be called as it is asked for, or returns no metrics."""


def main(words: Sequence[str]) -> int:
    """Call what the first word names; the others, such as `--rate=0.1`, repeat HPO_PARAMS."""
    try:
        target = _target(words)
        function, values = found(target), params()
        check(target, function, values)
        say(metrics(target, function(**values)))
    except CallError as error:
        print(f"hpo_lib.runtime.call: {error}", file=sys.stderr)
        return 2
    return 0


def _target(words: Sequence[str]) -> str:
    strangers = [word for word in words[1:] if not word.startswith("--")]
    if not words or strangers:
        got = " ".join(words) or "nothing"
        raise CallError(f"must be given one package.module:function, got {got}")
    target = words[0]
    if not _TARGET.fullmatch(target):
        raise CallError(f"must be package.module:function, such as train:objective, got {target}")
    return target


def found(target: str) -> Callable[..., Any]:
    """Import the function that `package.module:function` names."""
    module, _, path = target.partition(":")
    try:
        place: Any = import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # what the module itself imports
        where = f"in {Path.cwd()}, PYTHONPATH or this Python's packages"
        raise CallError(f"{target}: there is no module {error.name} {where}") from None
    for name in path.split("."):
        if not hasattr(place, name):
            raise CallError(f"{target}: {module} has no {path}")
        place = getattr(place, name)
    if not callable(place):
        raise CallError(f"{target}: must be a function, got {_shown(place)}")
    function: Callable[..., Any] = place
    return function


def check(target: str, function: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Raise CallError unless a function takes these parameters, and needs no others."""
    try:
        known = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return  # one written in C does not say
    named = [one.name for one in known if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [
        one.name
        for one in known
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    if lacking := [name for name in needed if name not in values]:
        got = ", ".join(values) or "none"
        raise CallError(f"{target}: needs {', '.join(lacking)}; the trial's parameters are {got}")
    positional = [one.name for one in known if one.kind is one.POSITIONAL_ONLY]
    takes_all = any(one.kind is one.VAR_KEYWORD for one in known) and not positional
    strange = [] if takes_all else [name for name in values if name not in named]
    if strange:
        takes = ", ".join(named) or "none"
        raise CallError(
            f"{target}: takes no parameter {', '.join(strange)}; it takes {takes} by name"
        )


def metrics(target: str, returned: Any) -> dict[str, float]:
    """Give the numbers of what a function returned; what is no number is named and left out."""
    if not isinstance(returned, Mapping):
        raise CallError(
            f"{target}: must return a mapping of metric to number, such as "
            f'{{"loss": 0.5}}, got {_shown(returned)}'
        )
    numbers = {str(name): _number(value) for name, value in returned.items()}
    left = {str(name): value for name, value in returned.items() if numbers[str(name)] is None}
    for name, value in left.items():
        print(f"hpo_lib.runtime.call: {name} is no number, got {_shown(value)}", file=sys.stderr)
    kept = {name: value for name, value in numbers.items() if value is not None}
    if not kept:
        raise CallError(f"{target}: must return at least one number, got {_shown(returned)}")
    return kept


def _number(value: Any) -> int | float | None:
    if isinstance(value, str | bytes | bool) or type(value).__name__ in ("bool", "bool_"):
        return None
    try:
        number = float(value)
        return int(value) if isinstance(value, int) else number
    except (TypeError, ValueError, OverflowError):
        return None


def say(values: Mapping[str, int | float]) -> None:
    """Write metrics to where they are collected; outside a trial, to stdout."""
    finite = {name: one if math.isfinite(one) else str(one) for name, one in values.items()}
    text = json.dumps(finite, allow_nan=False)
    output = os.environ.get("HPO_OUTPUT", "").removeprefix("file://")
    if "://" in output:
        raise CallError(
            f"HPO_OUTPUT must be a folder to hold {_NAME}, got {output}: put "
            "`python -m hpo_lib.runtime.upload --` before this command"
        )
    sys.stdout.write(f"{text}\n")
    if output:
        Path(output).mkdir(parents=True, exist_ok=True)
        (Path(output) / _NAME).write_text(text, encoding="utf-8")
    if CONTAINER_RETURNS.is_file():
        CONTAINER_RETURNS.write_text(text, encoding="utf-8")


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:79] + '…'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
