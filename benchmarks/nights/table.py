"""Play all worlds and print what the gate did there, beside the naive rule."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.nights import failing, weather
from benchmarks.nights.play import PLAIN, Decide, Tally, gate, naive, play
from benchmarks.nights.world import NIGHTS, THRESHOLD, WORLDS, Final, World
from benchmarks.optimizers.table import grid
from hpo_lib.words import count

SEEDS, FAST_SEEDS = 20, 2
#: What is recommended, and what the rows of the second table change in it.
FINAL, CONFIDENCE = Final(seeds=5, examples=10_000), 0.95
VARIANTS = {
    "as recommended": (FINAL, CONFIDENCE),
    "3 seeds": (Final(3, 10_000), CONFIDENCE),
    "10 seeds": (Final(10, 10_000), CONFIDENCE),
    "2 seeds": (Final(2, 10_000), CONFIDENCE),
    "confidence 0.9": (FINAL, 0.9),
    "confidence 0.99": (FINAL, 0.99),
    "5,000 examples": (Final(5, 5_000), CONFIDENCE),
    "2,000 examples": (Final(5, 2_000), CONFIDENCE),
    "10,000, metrics only": (Final(5, 10_000, detailed=False), CONFIDENCE),
    "2,000, metrics only": (Final(5, 2_000, detailed=False), CONFIDENCE),
}
RULES: dict[str, Decide] = {"gate": gate(CONFIDENCE), "naive": naive}
#: The same as a spec has them: without threshold and confidence, what scored higher is promoted.
DEPLOY: dict[str, Mapping[str, float]] = {
    "gate": {"min_improvement": THRESHOLD, "confidence": CONFIDENCE},
    "naive": {"min_improvement": 0.0, "confidence": 0.5},
}
HEAD = ["nights", "promoted", "truly worse", "worse files", "in time", "plain"]
LOST = ["failed", "torn", "stale"]


def main(*, fast: bool = False) -> None:
    """Print all tables; exit with an error if what the gate promises does not hold."""
    seeds = range(FAST_SEEDS if fast else SEEDS)
    kept = [worlds(seeds), failing_nights(seeds[:1] if fast else seeds)]
    if not fast:
        variants(seeds)
    if not all(kept):
        raise SystemExit("a model that is truly worse was promoted, or a real improvement was not")


def worlds(seeds: Sequence[int]) -> bool:
    """Print what the rules did in each world; say whether the gate did what it promises."""
    tallies = {
        (world.name, rule): tally(world, seeds, FINAL, decide)
        for world in WORLDS
        for rule, decide in RULES.items()
    }
    print(f"{NIGHTS} nights, {len(seeds)} seeds; final trials: {FINAL}\n")
    print(grid(["world", "rule", *HEAD], [[*names, *cells(one)] for names, one in tallies.items()]))
    return promised([one for (_, rule), one in tallies.items() if rule == "gate"])


def tally(world: World, seeds: Sequence[int], final: Final, decide: Decide) -> Tally:
    """Play a world with every seed."""
    return Tally.of(play(world, seed, final, decide) for seed in seeds)


def promised(tallies: Sequence[Tally]) -> bool:
    """Say whether nothing worse was promoted, and 95 % of what is better by enough was in time.

    One that was missed proves nothing where there are few.
    """
    found = [one.in_time() for one in tallies]
    taken, there = (sum(column) for column in zip(*found, strict=True))
    return not any(one.wrong for one in tallies) and there - taken <= max(1, 0.05 * there)


def cells(one: Tally) -> list[str]:
    """Write the numbers of a row."""
    numbers = [one.nights, one.promotions, one.wrong, one.wrong_files]
    return [*map(str, numbers), share(*one.in_time()), share(*one.in_time(PLAIN))]


def without_files(row: Sequence[str]) -> list[str]:
    """Leave out the column of the files, which nights that fail do not follow."""
    at = HEAD.index("worse files")
    return [*row[:at], *row[at + 1 :]]


def share(part: int, whole: int) -> str:
    """Write 19 of 20 (95 %)."""
    return f"{part} of {whole} ({part / whole:.0%})" if whole else ""


def failing_nights(seeds: Sequence[int]) -> bool:
    """Print what the rules did in nights that fail; say whether the gate did what it promises."""
    rows, kept = [], True
    for rule, settings in DEPLOY.items():
        played = _fail(seeds, settings, tuple(weather.Fault))
        one = Tally.of(run.nights for run in played)
        lost = [sum(getattr(run, name) for run in played) for name in LOST]
        rows.append([rule, *map(str, lost), *without_files(cells(one))])
        kept &= rule != "gate" or promised([one])
    print("\n" + grid(["rule", *LOST, *without_files(HEAD)], rows))
    return kept and same_with_crashes(seeds[:3])


def same_with_crashes(seeds: Sequence[int]) -> bool:
    """Print and say whether crashes and hiccups leave the champions as they are without."""
    calm, stormy = (
        [run.champions for run in _fail(seeds, DEPLOY["gate"], faults)]
        for faults in ((weather.Fault.NOTHING,), weather.HARMLESS)
    )
    same = "the same" if calm == stormy else "OTHER"
    print(
        f"\nWith crashes and hiccups, {count(len(seeds), 'seed')} had {same} champions as without."
    )
    return calm == stormy


def _fail(
    seeds: Sequence[int], rule: Mapping[str, float], faults: Sequence[weather.Fault]
) -> list[failing.Played]:
    """Play a world of failing nights per seed, on all cores."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(partial(_fail_one, rule=rule, faults=faults), seeds))


def _fail_one(
    seed: int, rule: Mapping[str, float], faults: Sequence[weather.Fault]
) -> failing.Played:
    with tempfile.TemporaryDirectory() as folder:
        return failing.play(Path(folder), seed, rule, FINAL, faults)


def variants(seeds: Sequence[int]) -> None:
    """Print what becomes of the gate with other settings, in three worlds."""
    chosen = [world for world in WORLDS if world.name in ("nothing better", "jumps", "drift")]
    rows = []
    for name, (final, confidence) in VARIANTS.items():
        found = [tally(world, seeds, final, gate(confidence)) for world in chosen]
        one = _sum(found)
        sizes = share(*one.in_time(1, PLAIN)), share(*one.in_time(PLAIN))
        rows.append([name, str(one.wrong), *sizes])
    print(
        "\n" + grid(["setting", "truly worse", f"in time: 1 to {PLAIN} thresholds", "more"], rows)
    )


def _sum(found: Sequence[Tally]) -> Tally:
    """Add up what became of several worlds."""
    return Tally(
        nights=sum(one.nights for one in found),
        promotions=sum(one.promotions for one in found),
        wrong=sum(one.wrong for one in found),
        wrong_files=sum(one.wrong_files for one in found),
        cases=[case for one in found for case in one.cases],
    )
