"""`python -m tests.chaos`: faults at random on a real Airflow, and what has to hold after them."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from hpo_lib.cli.console import say
from tests.chaos import places
from tests.chaos.faults import FAULTS, possible
from tests.chaos.journal import Journal, summary
from tests.chaos.play import play
from tests.chaos.schedule import Planned, planned, replayed
from tests.chaos.world import World


def main() -> int:
    """Play in every place, tell what came of it, and give 1 if anything broke."""
    asked = _asked()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    journal = Journal(
        (asked.log or Path(f"chaos-{asked.seed}-{int(time.time())}.jsonl")).absolute()
    )
    known = asked.place or places.here()
    say(f"seed {asked.seed}, places {', '.join(known)}; log {journal.path}")
    journal.note({"seed": asked.seed, "places": known, "minutes": asked.minutes})
    draw = partial(_draw, asked.seed, asked.fault)
    plan = partial(_replay, asked.schedule) if asked.schedule else draw
    minutes = asked.minutes / len(known)
    try:
        for place in known:
            play(place, plan, journal, _say, minutes=minutes, most=asked.faults)
    finally:
        say(f"\n{summary(journal)}")
    if not journal.held:
        say(f"\nbroken; again with: python -m tests.chaos --schedule {journal.path}")
    return 0 if journal.held else 1


def _say(line: str) -> None:
    say(f"[{time.strftime('%H:%M:%S')}] {line}")


def _draw(seed: int, only: Sequence[str] | None, world: World) -> Iterable[list[Planned]]:
    found = possible(world)
    return planned(seed, world.place.name, {name: found[name] for name in only or found})


def _replay(log: Path, world: World) -> Iterable[list[Planned]]:
    return replayed(log.read_text(encoding="utf-8").splitlines(), world.place.name)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="for all places together (60)")
    parser.add_argument("--faults", type=int, default=10_000, help="at most so many in a place")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--fault", action="append", choices=FAULTS, help="no others")
    parser.add_argument("--schedule", type=Path, metavar="LOG", help="do what a log says again")
    parser.add_argument("--place", action="append", choices=places.PLACES, help="only there")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where to write what happens")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
