"""What the other mode would have cost: the same trials, as long as they were, in waves or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo_lib.core.makespan import cut_into_waves, idle_share, in_waves, without_waves
from hpo_lib.records import AttemptState, RunView
from hpo_lib.report.facts import Facts
from hpo_lib.report.timeline import Bar, bars
from hpo_lib.words import duration, percent

#: Two times that differ by less than this share of the longer one are told as one.
_ALIKE = 0.005


@dataclass(frozen=True, slots=True)
class Cost:
    """How long a mode takes if nothing passes between trials, and the idle share of its slots."""

    took_s: float
    idle: float

    @property
    def told(self) -> str:
        """Say both."""
        return f"{duration(self.took_s)} (idle {percent(self.idle)})"


@dataclass(frozen=True, slots=True)
class Modes:
    """Both modes beside what a run took, `took_s`, which was in `waves` or not."""

    waves: bool
    in_waves: Cost
    without: Cost
    took_s: float

    @property
    def meaning(self) -> str:
        """Say what the other mode would have cost."""
        mine, other = (self.in_waves, self.without) if self.waves else (self.without, self.in_waves)
        names = ("waves", "mode async") if self.waves else ("mode async", "waves")
        if abs(mine.took_s - other.took_s) <= _ALIKE * max(mine.took_s, other.took_s):
            return f"With the same durations {names[1]} would have taken as long."
        return (
            f"With the same durations {names[1]} would have taken {other.told}, {names[0]} "
            f"{mine.told}, were there nothing between trials; this run took {duration(self.took_s)}"
            "."
        )


def told_of(view: RunView) -> str | None:
    """Say of a run that has ended what the other mode would have cost, None if they are the same.

    They are where one trial runs at a time, or where all run at once.
    """
    facts = Facts.of(view)
    found = compared(bars(facts), facts.slots)
    return found.meaning if found and view.run.ended_at is not None else None


def compared(placed: Sequence[Bar], slots: int) -> Modes | None:
    """Reckon both modes from a run's attempts; None if it had one slot, or no more work than slots.

    A trial's attempts follow each other in its slot; where it waits at a rung, it leaves the slot.
    """
    work = _work(placed)
    if not len(work) > slots > 1:
        return None
    durations = [lasted_s for _, lasted_s in work]
    waves_s, free_s = in_waves(_waves(placed, work, slots), slots), without_waves(durations, slots)
    return Modes(
        waves=any(bar.wave is not None for bar in placed),
        in_waves=Cost(waves_s, idle_share(durations, waves_s, slots)),
        without=Cost(free_s, idle_share(durations, free_s, slots)),
        took_s=max(bar.end_s for bar in placed) - min(bar.start_s for bar in placed),
    )


def _work(placed: Sequence[Bar]) -> list[tuple[int | None, float]]:
    """Give the wave and the seconds of all that a slot does at a stretch, by start."""
    waves: list[int | None] = []
    lasted_s: list[float] = []
    going: dict[int, int] = {}
    for bar in placed:
        if bar.trial not in going:
            going[bar.trial] = len(waves)
            waves.append(bar.wave)
            lasted_s.append(0.0)
        lasted_s[going[bar.trial]] += bar.end_s - bar.start_s
        if bar.state == AttemptState.SUCCEEDED:
            del going[bar.trial]
    return list(zip(waves, lasted_s, strict=True))


def _waves(
    placed: Sequence[Bar], work: Sequence[tuple[int | None, float]], slots: int
) -> list[Sequence[float]]:
    """Give the waves that the run had, else those that it would have had.

    Of a trial that has gone on after a rung, only the last wave is known.
    """
    found: dict[int | None, list[float]] = {}
    for wave, lasted_s in work:
        found.setdefault(wave, []).append(lasted_s)
    if None in found or len(work) > len({bar.trial for bar in placed}):
        return cut_into_waves([lasted_s for _, lasted_s in work], slots)
    return list(found.values())
