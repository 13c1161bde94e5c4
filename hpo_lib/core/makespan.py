"""How long trials take on some slots by their durations alone, in waves and without them.

Pure arithmetic: nothing passes between trials, and they keep their order and their lengths.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence


def without_waves(durations_s: Iterable[float], slots: int) -> float:
    """Give the seconds until the last trial ends if each begins in the slot that is free first."""
    return _end_s(durations_s, slots, 0.0)


def in_waves(waves: Iterable[Sequence[float]], slots: int) -> float:
    """Give the same if no trial of a wave begins before all of the wave before have ended."""
    end_s = 0.0
    for wave in waves:
        end_s = _end_s(wave, slots, end_s)
    return end_s


def cut_into_waves(durations_s: Sequence[float], slots: int) -> list[Sequence[float]]:
    """Give the waves of trials that come in this order, each as wide as there are slots."""
    return [durations_s[first : first + slots] for first in range(0, len(durations_s), slots)]


def idle_share(durations_s: Iterable[float], took_s: float, slots: int) -> float:
    """Give the share, 0 to 1, of `slots` x `took_s` in which no trial runs."""
    room_s = slots * took_s
    return max(0.0, 1.0 - math.fsum(durations_s) / room_s) if room_s > 0 else 0.0


def share_waited(waves: Iterable[Sequence[float]]) -> float:
    """Give the share of the places of trials in which these have ended and wait for the slowest.

    A wave has as many places as trials: what a last wave lacks of them is no wait.
    """
    found = [wave for wave in waves if wave]
    room_s = math.fsum(len(wave) * max(wave) for wave in found)
    used_s = math.fsum(duration for wave in found for duration in wave)
    return max(0.0, 1.0 - used_s / room_s) if room_s > 0 else 0.0


def _end_s(durations_s: Iterable[float], slots: int, start_s: float) -> float:
    """Give when the last of trials ends on slots that are all free at a start."""
    free, end_s = [start_s] * slots, start_s
    for duration_s in durations_s:
        ends_s = free[0] + duration_s
        heapq.heapreplace(free, ends_s)
        end_s = max(end_s, ends_s)
    return end_s
