"""Whether an attempt may be begun: once, and not again unseen when what was begun has vanished.

The leave to begin is a file in the attempt's folder. The task that opened the attempt makes it, and
whoever is about to create a container, a pod or the like takes it away first. So a task that takes
the attempt over, and finds neither of the two, knows that it may have run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hpo_lib.backends import Request, keep_unstarted
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.files.places import reaching

_Made = TypeVar("_Made")


class Vanished(Exception):
    """An earlier task was to begin the attempt, and nothing of it is there; `end` says so."""

    def __init__(self, end: Exit) -> None:
        """Take the end."""
        super().__init__(end.detail)
        self.end = end


def prepare(handle: Mapping[str, Any], request: Request) -> None:
    """Give leave to begin an attempt, unless it is taken over: then an earlier task has given it.

    Before a backend first asks its engine, so that a retry after an outage still has the leave.
    """
    if not request.taken_over:
        _give(handle)


def begin(
    handle: Mapping[str, Any],
    thing: str,
    create: Callable[[], _Made],
    is_refusal: Callable[[Exception], bool],
) -> _Made:
    """Create an attempt's `thing`, which is not there; Vanished, and on record, without leave.

    If `create` raises an error which says that nothing was made, the leave is given back.
    """
    _take(handle, thing)
    try:
        return create()
    except Exception as error:
        if is_refusal(error):
            _give(handle)
        raise


def _give(handle: Mapping[str, Any]) -> None:
    leave = _leave(handle)
    with reaching(leave):
        leave.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        leave.touch()


def _take(handle: Mapping[str, Any], thing: str) -> None:
    """Take the leave, which only one task can; where the end cannot be noted: TransientError."""
    leave = _leave(handle)
    try:
        with reaching(leave):
            leave.unlink()
    except (FileNotFoundError, NotADirectoryError):
        why = f"an earlier task was to begin it, and its {thing} is gone or was never made"
        end = Exit(Ending.LOST, detail=why)
        with reaching(leave):
            keep_unstarted(handle, end)
        raise Vanished(end) from None


def _leave(handle: Mapping[str, Any]) -> Path:
    return Path(handle["folder"]) / "may-begin"
