"""How much of its places a wave has left unused, waiting for its last trial."""

from __future__ import annotations

from hpo_lib.records import RunView


def idle_share(view: RunView, slot: str) -> float | None:
    """Give the share of a wave's places, 0 to 1, in which no attempt ran while the wave lasted.

    The wave lasts from its first attempt's start to its last one's end; it has a place for each
    trial that was trained. None if nothing has been, or some of it still is.
    """
    trained = [one.attempts for one in view.trials if one.slot == slot and one.attempts]
    ended = [(a.started_at, a.ended_at) for attempts in trained for a in attempts if a.ended_at]
    if not ended or len(ended) < sum(map(len, trained)):
        return None
    lasted_s = (max(end for _, end in ended) - min(start for start, _ in ended)).total_seconds()
    used_s = sum((end - start).total_seconds() for start, end in ended)
    return max(1.0 - used_s / (lasted_s * len(trained)), 0.0) if lasted_s > 0 else None
