"""The seam to the registry of models: what a night needs of it, and a fake that keeps it in memory.

Every method may be repeated after a crash, and then gives what it gave before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hpo_lib.gate import Verdict
from hpo_lib.record import ModelStatus


@dataclass(frozen=True)
class Entry:
    """A model: who made it, and the champion's version that it is compared `against`."""

    version: int
    run: int
    params: Mapping[str, Any]
    against: int | None
    status: ModelStatus
    reason: str = ""


class Models(Protocol):
    """The models of one experiment, at most one of them the champion."""

    def champion(self) -> Entry | None:
        """Give the champion."""
        ...

    def challenger(self, run: int) -> Entry | None:
        """Give the model that a run has registered, whatever became of it."""
        ...

    def get(self, version: int) -> Entry:
        """Give a model."""
        ...

    def register(self, run: int, params: Mapping[str, Any], against: int | None) -> Entry:
        """Add a run's challenger; the first call for a run counts."""
        ...

    def settle(self, version: int, verdict: Verdict) -> Entry:
        """Promote or reject a challenger, once; a verdict against another champion is stale."""
        ...


class InMemoryModels:
    """A fake of the store's table: nothing is kept, and there is only one process."""

    def __init__(self) -> None:
        """Begin without a model."""
        self.entries: list[Entry] = []

    def champion(self) -> Entry | None:
        """Give the champion."""
        return next((one for one in self.entries if one.status is ModelStatus.CHAMPION), None)

    def challenger(self, run: int) -> Entry | None:
        """Give the model that a run has registered."""
        return next((one for one in self.entries if one.run == run), None)

    def get(self, version: int) -> Entry:
        """Give a model."""
        return self.entries[version - 1]

    def register(self, run: int, params: Mapping[str, Any], against: int | None) -> Entry:
        """Add a run's challenger, or give the one that it has added before."""
        known = self.challenger(run)
        if known is not None:
            return known
        version = len(self.entries) + 1
        self.entries.append(Entry(version, run, params, against, ModelStatus.CHALLENGER))
        return self.entries[-1]

    def settle(self, version: int, verdict: Verdict) -> Entry:
        """Promote or reject a challenger that is still one."""
        entry = self.entries[version - 1]
        if entry.status is not ModelStatus.CHALLENGER:
            return entry
        champion = self.champion()
        if not verdict.promote:
            return self._put(entry, ModelStatus.REJECTED, verdict.reason)
        if (champion and champion.version) != entry.against:
            return self._put(entry, ModelStatus.REJECTED, "Stale: the champion has changed since.")
        if champion is not None:
            self._put(champion, ModelStatus.RETIRED, f"Version {version} was promoted.")
        return self._put(entry, ModelStatus.CHAMPION, verdict.reason)

    def _put(self, entry: Entry, status: ModelStatus, reason: str) -> Entry:
        self.entries[entry.version - 1] = replace(entry, status=status, reason=reason)
        return self.entries[entry.version - 1]
