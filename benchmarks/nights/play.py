"""Play nights in a world whose truth is known, and count what a rule did with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.nights.world import METRIC, NIGHTS, THRESHOLD, Final, Truth, World
from hpo_lib.core.trial import Direction
from hpo_lib.evaluation.gate import Rule, Scores, judge
from hpo_lib.evaluation.verdict import Verdict

Decide = Callable[[Scores, Scores | None], Verdict]
#: A real improvement has to be promoted within so many nights.
PATIENCE = 2
#: From here on, in thresholds, an improvement is plain.
PLAIN = 1.5


@dataclass(frozen=True)
class Night:
    """What was true of a night's challenger and what was decided.

    `better_by`: by how much it is better than the champion on fresh data, as configurations.
    `files_better_by`: the same of the model whose files would serve and the one whose files do.
    """

    better_by: float
    promoted: bool
    files_better_by: float = 0.0


def gate(confidence: float = 0.95, min_improvement: float = THRESHOLD) -> Decide:
    """Decide by the real gate, which has nobody to ask."""
    rule = Rule(METRIC, Direction.MAXIMIZE, min_improvement, confidence, approval="none")
    return lambda challenger, champion: judge(rule, challenger, champion)


def naive(challenger: Scores, champion: Scores | None) -> Verdict:
    """Promote whatever scored higher on the same final trials."""
    return Verdict(champion is None or _total(challenger) > _total(champion), "It scored higher.")


def _total(scores: Scores) -> float:
    return sum(one[METRIC] for one in scores.metrics)


def play(world: World, seed: int, final: Final, decide: Decide) -> list[Night]:
    """Play a world's nights with one rule; the same seed gives the same nights to every rule."""
    truth, held, nights = Truth(world, seed), 0, []
    files = 0.0  # How far the files that serve are off what their configuration is worth.
    for _ in range(NIGHTS):
        truth.advance()
        tried = truth.search(held)
        challenger = truth.shows(tried, final)
        verdict = decide(challenger.scores, truth.shows(held, final).scores)
        better_by = truth.quality(tried) - truth.quality(held)
        scored = [one[METRIC] for one in challenger.scores.metrics]
        off = challenger.models[scored.index(max(scored))] - truth.quality(tried)
        nights.append(Night(better_by, verdict.promote, better_by + off - files))
        if verdict.promote:
            held, files = tried, off
    return nights


@dataclass(frozen=True)
class Tally:
    """What became of many nights.

    `wrong`: promoted, though truly worse; `wrong_files`: promoted, though the files that were put
    in service are worse than those that were. `cases`: real improvements above the threshold that
    were there to be promoted, each with its size in thresholds and whether it was in time.
    """

    nights: int
    promotions: int
    wrong: int
    wrong_files: int
    cases: Sequence[tuple[float, bool]]

    @classmethod
    def of(cls, runs: Iterable[Sequence[Night]]) -> Tally:
        """Count."""
        listed = list(runs)
        every = [night for run in listed for night in run]
        promoted = [night for night in every if night.promoted]
        return cls(
            len(every),
            len(promoted),
            sum(night.better_by < 0 for night in promoted),
            sum(night.files_better_by < 0 for night in promoted),
            [case for run in listed for case in cases(run)],
        )

    def in_time(self, least: float = 1.0, most: float = float("inf")) -> tuple[int, int]:
        """Count the improvements of a size, in thresholds, that were in time, and all of them."""
        found = [good for size, good in self.cases if least <= size < most]
        return sum(found), len(found)


def cases(nights: Sequence[Night]) -> Iterable[tuple[float, bool]]:
    """Give the real improvements of one run of nights, one after the other.

    A case begins on a night whose challenger is truly better by more than the threshold, and ends
    with a promotion or after `PATIENCE` nights; one that the last night cuts short does not count.
    """
    at = 0
    while at < len(nights):
        window = nights[at : at + PATIENCE]
        size = window[0].better_by / THRESHOLD
        if size <= 1:
            at += 1
            continue
        taken = next((n for n, night in enumerate(window) if night.promoted), None)
        if taken is None and len(window) < PATIENCE:
            return
        yield size, taken is not None
        at += PATIENCE if taken is None else taken + 1
