"""Attempts over time: who ran in which slot when, and how much of the slots was idle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo_lib.records import AttemptState, TrialView
from hpo_lib.report.charts import ATTEMPT, LEGEND, MUTED, PAGE, Chart, Trace, axis
from hpo_lib.report.facts import Facts
from hpo_lib.words import duration, percent

_WAVE = re.compile(r"wave-0*(\d+)")
_WORDS = {AttemptState.SUCCEEDED: "complete"}
_MAX_NAMED_WAVES = 24


@dataclass(frozen=True)
class Bar:
    """One attempt, in seconds since the run's start, in a lane of its own while it lasts."""

    trial: int
    attempt: int
    state: AttemptState
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
                Bar(view.trial.number, attempt.number, attempt.state, wave_of(view), *times)
            )
    lanes: list[float] = []
    ordered = sorted(found, key=lambda bar: (bar.start_s, bar.trial))
    return [replace(bar, lane=_lane(lanes, bar)) for bar in ordered]


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


def chart(facts: Facts, placed: Sequence[Bar]) -> Chart:
    """Draw a bar per attempt, a row per slot, a band per wave."""
    end_s = max((bar.end_s for bar in placed), default=1.0)
    unit, seconds = _unit(end_s)
    rows = max(facts.slots, 1 + max((bar.lane for bar in placed), default=0))
    waves = _waves(placed)
    named = {number: ends for number, ends in waves.items() if number is not None}
    layout = {
        "barmode": "overlay",
        "bargap": 0.18,
        "xaxis": axis(title=f"{unit} since the run began", range=[0, end_s / seconds * 1.01]),
        "yaxis": axis(
            title="slot", range=[rows + 0.5, 0.5], dtick=max(1, rows // 10), tick0=1, showgrid=False
        ),
        "shapes": [_band(index, ends, seconds) for index, ends in enumerate(named.values())],
        "annotations": _wave_names(named, seconds),
        "showlegend": True,
        "legend": LEGEND | {"y": 1.12 if rows < 6 else 1.06},
        "margin": {"l": 48, "r": 12, "t": 56, "b": 44},
        "uniformtext": {"minsize": 9, "mode": "hide"},
    }
    traces = [
        _trace(state, chosen, seconds)
        for state in AttemptState
        if (chosen := [bar for bar in placed if bar.state is state])
    ]
    height = 120 + 30 * min(rows, 20)
    return Chart("timeline", "Attempts over time, a row per slot", traces, layout, height=height)


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


def _unit(end_s: float) -> tuple[str, float]:
    if end_s < 300:
        return "seconds", 1.0
    return ("minutes", 60.0) if end_s < 3 * 3600 else ("hours", 3600.0)


def _trace(state: AttemptState, chosen: Sequence[Bar], seconds: float) -> Trace:
    marker: dict[str, Any] = {"color": ATTEMPT[state], "line": {"color": PAGE, "width": 1}}
    return {
        "type": "bar",
        "orientation": "h",
        "name": _WORDS.get(state, str(state)),
        "base": [bar.start_s / seconds for bar in chosen],
        "x": [(bar.end_s - bar.start_s) / seconds for bar in chosen],
        "y": [bar.lane + 1 for bar in chosen],
        "text": [str(bar.trial) for bar in chosen],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "textfont": {"color": PAGE, "size": 11},
        "hovertext": [_hover(bar) for bar in chosen],
        "hoverinfo": "text",
        "marker": marker,
    }


def _hover(bar: Bar) -> str:
    again = f", attempt {bar.attempt}" if bar.attempt > 1 else ""
    wave = f"<br>wave {bar.wave}" if bar.wave is not None else ""
    times = f"from {duration(bar.start_s)} on, for {duration(bar.end_s - bar.start_s)}"
    return f"<b>trial {bar.trial}</b>{again} · {bar.state}{wave}<br>{times}"


def _band(index: int, ends: tuple[float, float], seconds: float) -> Trace:
    return {
        "type": "rect",
        "layer": "below",
        "yref": "paper",
        "x0": ends[0] / seconds,
        "x1": ends[1] / seconds,
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": "var(--surface)" if index % 2 else "var(--band)",
    }


def _wave_names(waves: Mapping[int, tuple[float, float]], seconds: float) -> list[Trace]:
    if len(waves) > _MAX_NAMED_WAVES:
        return []
    word = "wave " if len(waves) <= 8 else ""
    return [
        {
            "x": (start + end) / 2 / seconds,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "text": f"{word}{number}",
            "showarrow": False,
            "font": {"size": 11, "color": MUTED},
        }
        for number, (start, end) in waves.items()
    ]
