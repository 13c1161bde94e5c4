"""Play nights in a place while things go wrong, and look after each round at what has to hold."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import invariants, places
from tests.chaos.experiments import Undisturbed
from tests.chaos.faults import FAULTS
from tests.chaos.journal import Done, Journal, Round
from tests.chaos.schedule import STEPS, Planned
from tests.chaos.victims import Nobody
from tests.chaos.world import Standstill, World, now, seconds

Say = Callable[[str], None]
Begun = set[tuple[str, int]]
_NOBODY = "nobody"


@dataclass
class Play:
    """The rounds of a place, until there are enough faults or it is late."""

    world: World
    journal: Journal
    say: Say
    until: float
    most: int

    def rounds(self, planned: Iterable[list[Planned]]) -> None:
        """Play one round after the other; none begins when it is late."""
        undisturbed, begun = Undisturbed(), len(self.journal.happened)
        for number, faults in enumerate(planned, start=1):
            if not self._round(number, faults, undisturbed):
                return
            if time.monotonic() > self.until or len(self.journal.happened) - begun >= self.most:
                return

    def _round(self, number: int, faults: list[Planned], undisturbed: Undisturbed) -> bool:
        """Play a round; says whether another one may follow."""
        place, began = self.world.place.name, time.monotonic()
        try:
            self.world.begin(number)
            for one in faults:
                self._tell(self._suffered(one))
            self.world.see_through()
            found = invariants.broken(self.world, undisturbed)
        except Standstill as error:
            found = {"work goes on": [f"{error}: {self._standing()}"]}
        done = Round(place, number, round(time.monotonic() - began, 1), found)
        self.journal.round(done)
        self.say(f"{place} round {number}: {_said(done)}, after {done.lasted_s:.0f} s")
        for name, problems in found.items():
            for problem in problems:
                self.say(f"  BROKEN {name}: {problem}")
        if not done.held and self.journal.path is not None:
            kept = f"{self.journal.path}-{place}-round-{number}"
            self.say(f"  kept: {shutil.make_archive(kept, 'gztar', self.world.home)}")
        return "work goes on" not in found

    def _suffered(self, one: Planned) -> Done:
        """Do a fault once a run is at its step, and wait until work goes on."""
        world, fault = self.world, FAULTS[one.fault]
        world.until(lambda: self._is_time(one) or world.over, f"step {one.step}")
        world.pass_time(one.pause_s)
        with ExitStack() as undo:
            victim = world.until(lambda: self._met(one, undo), f"somebody for {one.fault}")
            at, where = now(), world.steps()
            if victim == _NOBODY:
                return Done(one, at, "", where)
            time.sleep(fault.lasts_s(one.draw))
        over, since = now(), time.monotonic()
        (before,) = world.until(lambda: [world.begun()], "the tasks so far")
        (after,) = world.until(lambda: self._gone_on(before), "work to go on")
        goes_on_s = round(time.monotonic() - since, 1) if after > before else None
        return Done(one, at, victim, where, seconds(at, over), goes_on_s)

    def _met(self, one: Planned, undo: ExitStack) -> str | None:
        """Begin a fault and give its victim; None if there may yet be one at its step."""
        if self.world.over:
            return _NOBODY
        try:
            return undo.enter_context(FAULTS[one.fault].how(self.world, one.draw))
        except Nobody:
            return None if one.step in self.world.steps() else _NOBODY

    def _is_time(self, one: Planned) -> bool:
        """Say whether a run is at a fault's step, or all are past it; meanwhile people approve.

        Only a fault that waits for the question comes before the answer.
        """
        steps = list(STEPS)
        if one.step != "approve":
            self.world.approve()
        at = self.world.steps()
        past = all(steps.index(step) > steps.index(one.step) for step in at)
        return one.step in at or bool(at and past)

    def _gone_on(self, before: Begun) -> list[Begun]:
        """Give the tries that were begun until now, if there are new ones or none will come."""
        self.world.approve()
        after = self.world.begun() | before
        return [after] if after > before or self.world.over else []

    def _tell(self, done: Done) -> None:
        self.journal.fault(done)
        one, count = done.planned, len(self.journal.happened)
        left = max(0.0, self.until - time.monotonic()) / 60
        if not done.victim:
            what = "found nobody"
        elif done.goes_on_s is None:
            what = f"on {done.victim} for {done.lasted_s:.0f} s, the last of its round"
        else:
            what = (
                f"on {done.victim} for {done.lasted_s:.0f} s, work went on {done.goes_on_s} s later"
            )
        self.say(
            f"[{one.place} round {one.round}, {count} faults, {left:.0f} min left] "
            f"{one.fault} at {'+'.join(done.where) or 'no step'}: {what}"
        )

    def _standing(self) -> str:
        """Say what stands still."""
        waiting = [t for t in self.world.tasks() if t["state"] not in ("success", "skipped", None)]
        return "; ".join(f"{t['run_id']} {t['task_id']} is {t['state']}" for t in waiting)


def _said(done: Round) -> str:
    names = [name for name, problems in done.broken.items() if problems]
    return f"broken: {', '.join(names)}" if names else "all held"


def play(
    place: str,
    plan: Callable[[World], Iterable[list[Planned]]],
    journal: Journal,
    say: Say,
    *,
    minutes: float,
    most: int,
) -> None:
    """Play in a place for some minutes, or until so many faults were done.

    What Airflow writes is in a folder of its own, which is removed in the end.
    """
    with (
        tempfile.TemporaryDirectory(prefix=f"hpo-chaos-{place}-") as home,
        places.made(places.PLACES[place], Path(home), say) as world,
    ):
        until = time.monotonic() + 60 * minutes
        Play(world, journal, say, until, most).rounds(plan(world))
