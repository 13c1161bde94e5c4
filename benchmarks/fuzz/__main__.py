"""`python -m benchmarks.fuzz [CASES] [--seed N] [--only CASE]`: fuzzed confs, and what was wrong.

A case is a number, from which with the seed its conf comes: `--only` replays it, and shows it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.fuzz import border, confs, places, rights

#: What a case is, by the remainder of its number.
KINDS: tuple[tuple[str, Callable[[Random], Any]], ...] = (
    ("conf", confs.conf),
    ("text", confs.text),
    ("conf", confs.conf),
    ("rights", rights.conf),
    ("places", lambda random: places.conf(random, border.folder())),
)


def case(seed: int, number: int) -> tuple[str, Any]:
    """Make a case: its kind, and the conf or the text of a file."""
    kind, make = KINDS[number % len(KINDS)]
    return kind, make(Random(f"{seed}-{number}"))


def run(seed: int, numbers: range) -> list[str]:
    """Judge cases, print how it goes, and give what was wrong."""
    faults: list[str] = []
    told: dict[str, list[int]] = {kind: [0, 0] for kind, _ in KINDS}
    slowest, dearest = (0.0, 0), (0.0, 0)
    border.warm()
    for number in numbers:
        kind, given = case(seed, number)
        found = border.judged(given)
        told[kind][0] += 1
        told[kind][1] += found.accepted
        slowest = max(slowest, (found.cpu_s, number))
        dearest = max(dearest, (found.cpu_per_size_s, number))
        for one in found.faults:
            faults.append(f"case {number} ({kind}): {one}")
            print(faults[-1], flush=True)
        if (number + 1) % 5_000 == 0:
            print(f"{number + 1:,} cases, {len(faults)} faults", flush=True)
    for kind, (made, accepted) in told.items():
        print(f"{kind}: {made:,} cases, {accepted:,} accepted")
    print(f"slowest: {slowest[0]:.3f} s of CPU (case {slowest[1]})")
    print(f"most per 256 KB beyond {border.START_S} s: {dearest[0]:.3f} s (case {dearest[1]})")
    return faults


def main() -> int:
    """Run what the command line asks for; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("cases", nargs="?", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=Random().randrange(2**31))
    parser.add_argument("--only", type=int, metavar="CASE")
    asked = parser.parse_args()
    if asked.only is not None:
        print(case(asked.seed, asked.only)[1])
        return bool(run(asked.seed, range(asked.only, asked.only + 1)))
    print(f"seed {asked.seed}, {asked.cases:,} cases", flush=True)
    faults = run(asked.seed, range(asked.cases))
    print(f"{len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
