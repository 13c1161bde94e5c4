"""Which trials are drawn, listed or looked at where there are too many for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo_lib.records import TrialView
from hpo_lib.report.facts import Facts


@dataclass(frozen=True)
class Drawn:
    """Trials chosen to be drawn, and what to say if they are not all."""

    views: list[TrialView]
    note: str = field(default="")


def sample(facts: Facts, views: Sequence[TrialView], limit: int) -> Drawn:
    """Choose at most `limit` trials: half of them the best, the others evenly over the run.

    The trials of a Pareto front are the first among the best.
    """
    if len(views) <= limit:
        return Drawn(list(views))
    wanted = {view.trial.number for view in views}
    ranked = [view.trial.number for view in facts.ranked if view.trial.number in wanted]
    best = set(sorted(ranked, key=lambda number: number not in facts.leading)[: limit // 2])
    others = [view.trial.number for view in views if view.trial.number not in best]
    room = limit - len(best)
    chosen = best | {others[i * len(others) // room] for i in range(room)}
    note = (
        f"{limit:,} of {len(views):,} are drawn: the best {len(best):,} and {room:,} spread evenly "
        "over the run."
    )
    return Drawn([view for view in views if view.trial.number in chosen], note)
