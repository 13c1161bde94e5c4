"""A run in slots: each runs trial after trial, and asks for the next one when it is free.

A run of any length needs no more tasks than it has trials at once. In mode `async` a slot that is
free is given a trial at once; in mode `waves` it waits until all trials of the wave have ended.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from hpo_lib.core.trial import Decision, History
from hpo_lib.installation import Installation
from hpo_lib.records import Run, RunKey
from hpo_lib.runs import lifecycle, quotas
from hpo_lib.runs.turns import in_turn
from hpo_lib.search import engine
from hpo_lib.store import Store
from hpo_lib.store.slots import Turn

PREFIX = "slot-"
#: For so long a slot that has waited leaves it to another to ask for the next wave.
_OTHERS_S = 10.0
#: Runs take their turns by so many files, that none has to be deleted; two may share one.
_FILES = 64


def name_of(slot: int) -> str:
    """Name a slot, of which the first is 1."""
    return f"{PREFIX}{slot:03d}"


def number_of(name: str) -> int | None:
    """Number a slot by its name; None for any other place, such as a wave."""
    told = name.removeprefix(PREFIX)
    return int(told) if name.startswith(PREFIX) and told.isdigit() else None


@dataclass
class Asking:
    """Asks for one slot's turns; what it knows of the run saves reading it again.

    `slot` is its number. `take_turn` is called when the slot's trial has ended, or by whoever goes
    on in the place of a task that was killed.
    """

    store: Store
    key: RunKey
    slot: int
    installation: Installation
    _run: Run | None = field(default=None, init=False)
    _wave: int = field(default=0, init=False)
    #: Since when it has waited for the trials of others; None if its last turn was a trial.
    _waits_since: float | None = field(default=None, init=False)

    def take_turn(self) -> Turn:
        """Give the trial that the slot is to run, which may be under way, or why there is none."""
        if (why := lifecycle.not_begun(self.store, self.key)) is not None:
            return Turn(stop=why)
        run, name = self._current(), name_of(self.slot)
        held = self.store.slots.held(run.id, name)
        if held is not None:
            return Turn(held)
        if run.spec.mode == "waves":
            return self._of_wave(run, name)
        if spent := quotas.spent(self.store, run.spec, self.installation):
            stop = engine.Step(stop=Decision.stop(spent))
            return self.store.slots.ask(run.id, name, lambda _: stop)
        with in_turn(self.installation.home / "asking" / f"{self.store.id}-{run.id % _FILES}"):
            return self.store.slots.ask(run.id, name, self._step)

    def _step(self, history: History) -> engine.Step:
        """Ask the engine for one trial, by the spec as it is now."""
        return engine.step(self._current().spec, history, 1)

    def _current(self) -> Run:
        """Read the run; its spec is parsed again only if somebody has changed it."""
        run, before = self.store.run(self.key), self._run
        if before is None or run.document != before.document:
            self._run = before = run
        return before

    def _of_wave(self, run: Run, name: str) -> Turn:
        """Give the slot a trial of the newest wave that no slot has; when all have ended, the next.

        Without either the slot waits for the trials of others. It is the slot of the last one that
        asks for the next wave; those that wait do so only if it does not.
        """
        while True:
            self._wave = _newest_wave(self.store, run, self._wave)
            if self._wave:
                claimed = self.store.slots.claim(run.id, name, lifecycle.slot_of(self._wave))
                if claimed is not None:
                    self._waits_since = None
                    return Turn(claimed)
                if self.store.slots.running(run.id) and self.store.stop_of(run.id) is None:
                    self._waits_since = time.monotonic()
                    return Turn()
            batch = self.store.settled_batch(run.id, lifecycle.slot_of(self._wave + 1))
            if batch is None and self._leaves_it_to_others():
                return Turn()
            if batch is None:
                spec, next_one = lambda: self._current().spec, self._wave + 1
                batch = lifecycle.ask_wave(self.store, run, next_one, self.installation, spec)
            if batch.stop is not None:
                return Turn(stop=batch.stop)

    def _leaves_it_to_others(self) -> bool:
        since = self._waits_since
        return since is not None and time.monotonic() - since < _OTHERS_S


def _newest_wave(store: Store, run: Run, known: int) -> int:
    """Number the newest wave that was given trials; `known` is one of them, or 0.

    Whoever goes on in a long run for another task knows none: it does not look at each of them.
    """

    def is_given(wave: int) -> bool:
        batch = store.batch_of(run.id, lifecycle.slot_of(wave))
        return batch is not None and batch.stop is None

    newest, beyond = known, known + 1
    while is_given(beyond):
        newest, beyond = beyond, 2 * beyond
    while beyond - newest > 1:
        middle = (newest + beyond) // 2
        newest, beyond = (middle, beyond) if is_given(middle) else (newest, middle)
    return newest


def settle_left(
    store: Store, run: Run, installation: Installation, over: Collection[int]
) -> list[int]:
    """End the running trials of slots whose tasks are over; other slots' are left alone.

    Give the numbers of these trials. While they stood as running, others might wait for them.
    """
    names = {name_of(slot) for slot in over}
    left = [n for n, place in store.slots.running(run.id).items() if place in names]
    if left:
        lifecycle.settle(store, run, installation, numbers=left)
    return left
