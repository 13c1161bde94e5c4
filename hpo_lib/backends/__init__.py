"""Backends: where an attempt runs. One file each, registered in `hpo_lib.registry`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class Ending(StrEnum):
    """How an attempt's process came to its end."""

    EXITED = "exited"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    LOG_TOO_LARGE = "log_too_large"
    STOPPED = "stopped"
    ABANDONED = "abandoned"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of an attempt; a negative code is the signal that ended it, as in subprocess."""

    ending: Ending
    code: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What to run, built purely and sent separately; `memory_bytes` None means no limit."""

    command: Sequence[str]
    env: Mapping[str, str]
    timeout_s: float
    memory_bytes: int | None = None


class Backend(Protocol):
    """Every method is idempotent and may be called from a process that did not launch."""

    def handle(self, run: str, trial: int, attempt: int) -> dict[str, Any]:
        """Name the place of an attempt: plain JSON, the same for the same arguments."""
        ...

    def output(self, handle: Mapping[str, Any]) -> Path:
        """Give the folder that the trial knows as HPO_OUTPUT."""
        ...

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the file with everything the attempt printed."""
        ...

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Start the attempt unless it was started before; TransientError if that fails."""
        ...

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Wait for the end: yields lines as they are printed and, last, the Exit."""
        ...

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """Give the Exit, or None while the attempt runs."""
        ...

    def release(self, handle: Mapping[str, Any]) -> None:
        """Let the attempt end by itself soon unless `follow` is called again, as by a retry."""
        ...

    def stop(self, handle: Mapping[str, Any]) -> None:
        """End the attempt and everything it started; returns when nothing of it is left."""
        ...
