"""Attempts over time: who ran in which slot when, and how much of the slots was idle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpo_lib.core.trial import Cause
from hpo_lib.records import Attempt, AttemptState, TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.words import duration, percent

_WAVE = re.compile(r"wave-0*(\d+)")
STOPPED = "stopped"
#: What a bar may be.
STATES = (*(state.value for state in AttemptState), STOPPED)


@dataclass(frozen=True)
class Bar:
    """One attempt, in seconds since the run's start, in a lane of its own while it lasts."""

    trial: int
    attempt: int
    state: str
    wave: int | None
    start_s: float
    end_s: float
    lane: int = 0


@dataclass(frozen=True)
class Idle:
    """The share of `slots` x `span_s` in which no attempt ran, and where waves have lost it."""

    share: float
    behind_slowest: float
    between_waves: float
    slots: int
    span_s: float
    waves: bool = True

    @property
    def meaning(self) -> str:
        """Say what the figure means."""
        said = (
            f"Idle {percent(self.share)}: {self.slots} could run at once for "
            f"{duration(self.span_s)}, and {percent(self.share)} of that room stood empty."
        )
        if self.share < 0.005 or not self.waves:
            return said
        between = round(self.between_waves, 2)
        within = round(self.share, 2) - between
        barrier = "within waves, where slots that are done wait for the slowest trial"
        lost = [(within, barrier), (between, "between waves")]
        parts = [f"{percent(share)} {where}" for share, where in lost if share >= 0.005]
        return f"{said} Lost: {'; '.join(parts)}."


def bars(facts: Facts) -> list[Bar]:
    """Lay out all attempts by start; one that has not ended lasts as long as the record does."""
    found = []
    for view in facts.trials:
        for attempt in view.attempts:
            start_s = facts.run.open_s(attempt.started_at)
            end_s = facts.run.open_s(attempt.ended_at or facts.latest)
            times = (start_s, max(start_s, end_s))
            found.append(
                Bar(view.trial.number, attempt.number, _state(attempt), wave_of(view), *times)
            )
    lanes: list[float] = []
    ordered = sorted(found, key=lambda bar: (bar.start_s, bar.trial))
    return [replace(bar, lane=_lane(lanes, bar)) for bar in ordered]


def _state(attempt: Attempt) -> str:
    """Name an attempt's state; one that was stopped on purpose has not failed."""
    return STOPPED if attempt.cause is Cause.STOPPED else attempt.state.value


def left_out(facts: Facts) -> str | None:
    """Say that the time between an end and the extension that followed is not shown."""
    shut_s = sum((until - since).total_seconds() for since, until in facts.run.closed)
    if not facts.run.closed:
        return None
    return f"The run was extended: {duration(shut_s)} in which it had ended are left out."


def idle(placed: Sequence[Bar], slots: int) -> Idle | None:
    """Work out the idle share; None if nothing has run for any time."""
    if not placed:
        return None
    first, last = min(bar.start_s for bar in placed), max(bar.end_s for bar in placed)
    room = slots * (last - first)
    if room <= 0:
        return None
    busy = sum(bar.end_s - bar.start_s for bar in placed)
    within = sum(slots * (end - start) for start, end in _waves(placed).values())
    share = min(max(1 - busy / room, 0.0), 1.0)
    behind = min(max((within - busy) / room, 0.0), share)
    in_waves = any(bar.wave is not None for bar in placed)
    return Idle(share, behind, share - behind, slots, last - first, in_waves)


def wave_of(view: TrialView) -> int | None:
    """Read the wave out of a slot key."""
    match = _WAVE.match(view.slot)
    return int(match[1]) if match else None


def _lane(lanes: list[float], bar: Bar) -> int:
    """Take the first lane that is free, or open one; `lanes` holds when each becomes free."""
    free = next((lane for lane, end_s in enumerate(lanes) if end_s <= bar.start_s), len(lanes))
    lanes[free : free + 1] = [bar.end_s]
    return free


def _waves(placed: Sequence[Bar]) -> dict[int | None, tuple[float, float]]:
    found: dict[int | None, tuple[float, float]] = {}
    for bar in placed:
        start, end = found.get(bar.wave, (bar.start_s, bar.end_s))
        found[bar.wave] = (min(start, bar.start_s), max(end, bar.end_s))
    return found
