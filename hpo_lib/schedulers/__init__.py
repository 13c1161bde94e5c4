"""Schedulers: who runs, at which resource, and who stops early. Registered in `registry`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hpo_lib.core.trial import Assignment, Decision, History, Suggestion, Trial

#: Gives up to so many new configurations for a history.
Suggest = Callable[[History, int], list[Suggestion]]


class Scheduler(Protocol):
    """Built anew for every call; all state is in the history."""

    def admit(self, history: History, suggest: Suggest, slots: int) -> list[Assignment]:
        """Fill up to `slots` places; new trials are numbered from len(history.trials) + 1."""
        ...

    def judge(self, trial: Trial, history: History) -> Decision:
        """Say whether a running trial goes on or stops, and why."""
        ...
