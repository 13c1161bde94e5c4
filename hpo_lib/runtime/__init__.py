"""Inside a trial: what it was given, where its files go, how it reports (see the trial contract).

A convenience, never required: the contract is environment variables, lines and files, in any
language. Standard library only. Outside a trial everything works and nothing stays on disk.

    from hpo_lib import runtime

    rate = runtime.params().get("rate", 0.1)
    x = 1.0
    for step in range(1, int(runtime.resource() or 10) + 1):
        if runtime.should_stop():
            break
        x -= rate * 2 * x
        runtime.report(step=step, loss=x * x)
    (runtime.model_dir() / "x.txt").write_text(str(x))
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, SupportsFloat

__all__ = [
    "checkpoint_dir",
    "model_dir",
    "params",
    "report",
    "resource",
    "resume_from",
    "seed",
    "should_stop",
    "terminated",
]

#: A name that `name=value` in a line can hold.
_WORD = re.compile(r"[A-Za-z_][\w./-]*")


def params() -> dict[str, Any]:
    """Parameters of this trial (HPO_PARAMS); empty outside a trial."""
    text = os.environ.get("HPO_PARAMS")
    if not text:
        return {}
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"HPO_PARAMS must be a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"HPO_PARAMS must be a JSON object, got {text!r}")
    return value


def seed() -> int:
    """Seed of this trial (HPO_SEED), 0 outside a trial."""
    text = os.environ.get("HPO_SEED") or "0"
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"HPO_SEED must be a whole number, got {text!r}") from None


def resource() -> int | float | None:
    """How much this attempt may use (HPO_RESOURCE), e.g. epochs; an int when it is whole."""
    text = os.environ.get("HPO_RESOURCE")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"HPO_RESOURCE must be a number, got {text!r}") from None
    return int(value) if value.is_integer() else value


def resume_from() -> str | None:
    """Where the checkpoint lies that this attempt goes on from; None to begin anew.

    A folder, or a URI of an object store: `checkpoint` below HPO_RESUME_FROM.
    """
    earlier = os.environ.get("HPO_RESUME_FROM")
    return f"{earlier.rstrip('/')}/checkpoint" if earlier else None


def report(
    step: int | None = None, *named: Mapping[str, SupportsFloat], **metrics: SupportsFloat
) -> None:
    """Say what was measured: a line on stdout and a line in `$HPO_OUTPUT/metrics.jsonl`.

    `step` counts what the trial repeats (epochs, say) from 1; without it the values belong to no
    step, such as those of the finished model. Names that Python does not take as keywords come in a
    mapping: `report(3, {"PR AUC": 0.5})`. The file is left out when HPO_OUTPUT is not set or is a
    URI. NaN and infinity are reported, not refused: the engine has to see them.
    """
    values = {
        _checked_name(name): _number(name, value)
        for given in (*named, metrics)
        for name, value in given.items()
    }
    if not values:
        raise ValueError("report needs at least one metric, as in report(step=1, loss=0.5)")
    when, of_that_name = None if step is None else _checked_step(step), values.pop("step", None)
    if values:
        _write(when, values)
    if of_that_name is not None:
        _write(None, {"step": of_that_name})  # beside others it would be taken for their step


def _write(step: int | None, values: Mapping[str, int | float]) -> None:
    words = all(map(_WORD.fullmatch, values))
    sys.stdout.write((_text_line if words else _flat_line)(step, values) + "\n")
    sys.stdout.flush()
    output = _local_output()
    if output is None:
        return
    output.mkdir(parents=True, exist_ok=True)
    with (output / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(_json_line(step, values, time.time()) + "\n")


def checkpoint_dir() -> Path:
    """Directory for checkpoints, made if it is missing; outside a trial a temporary one."""
    return _directory("checkpoint")


def model_dir() -> Path:
    """Directory for the trained model, made if it is missing; outside a trial a temporary one."""
    return _directory("model")


def should_stop() -> bool:
    """Whether to finish early: the file `$HPO_OUTPUT/stop` exists, or SIGTERM arrived.

    The first call takes over SIGTERM, so call it once before the training starts. A second
    SIGTERM ends the process as usual.
    """
    _watch_sigterm()
    if _terminated:
        return True
    output = _local_output()
    return output is not None and (output / "stop").exists()


def terminated() -> bool:
    """Whether SIGTERM arrived: end with a code other than 0, for the work was cut short."""
    return _terminated


_terminated = False


def _on_sigterm(_signum: int, _frame: FrameType | None) -> None:
    global _terminated
    _terminated = True
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@functools.cache
def _watch_sigterm() -> None:
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    try:
        signal.signal(signal.SIGTERM, _on_sigterm)
    except ValueError:  # only the main thread may set a handler
        return


def _local_output() -> Path | None:
    output = os.environ.get("HPO_OUTPUT", "").removeprefix("file://")
    if not output or "://" in output:
        return None
    return Path(output)


def _directory(name: str) -> Path:
    output = os.environ.get("HPO_OUTPUT", "")
    local = _local_output()
    if output and local is None:
        raise ValueError(
            f"HPO_OUTPUT must be a directory to hold {name}/, got {output!r}: "
            "run the command under `python -m hpo_lib.runtime.upload --`, or write to "
            f"{output.rstrip('/')}/{name} with a client of that store"
        )
    directory = (local or _scratch()) / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@functools.cache
def _scratch_holder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hpo-")


def _scratch() -> Path:
    return Path(_scratch_holder().name)  # removed when the process ends


def _checked_name(name: str) -> str:
    if not name:
        raise ValueError("a metric's name must have at least one character, got ''")
    return name


def _checked_step(step: int) -> int:
    try:
        return int(step)
    except (TypeError, ValueError):
        told = "metrics in a mapping come after it, as in report(None, {'PR AUC': 0.5})"
        raise ValueError(f"step must be a whole number, got {step!r}; {told}") from None


def _number(name: str, value: SupportsFloat) -> int | float:
    if isinstance(value, int):
        return int(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"metric {name} must be a number, got {value!r}") from None


def _text_line(step: int | None, values: Mapping[str, int | float]) -> str:
    words = [] if step is None else [f"step={step}"]
    return " ".join([*words, *(f"{name}={value!r}" for name, value in values.items())])


def _flat_line(step: int | None, values: Mapping[str, int | float]) -> str:
    """Write a line for names that are no words, which no text line can hold."""
    counted = {} if step is None else {"step": step}
    return json.dumps(counted | _finite(values), allow_nan=False)


def _json_line(step: int | None, values: Mapping[str, int | float], when: float) -> str:
    record = {"step": step, "time": when, "metrics": _finite(values)}
    return json.dumps(record, allow_nan=False)


def _finite(values: Mapping[str, int | float]) -> dict[str, int | float | str]:
    """Write as text what JSON has no number for."""
    return {name: value if math.isfinite(value) else str(value) for name, value in values.items()}
