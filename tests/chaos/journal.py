"""The log of a chaos run, a JSON object a line, and the tables that sum it up."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.schedule import Planned


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was done: on whom, when, and when work went on.

    `goes_on_s` counts from the end of the fault to the next task that Airflow began; None if all
    runs ended before there was one. `victim` is empty if there was nobody to do it to.
    """

    planned: Planned
    at: str
    victim: str
    where: Sequence[str] = ()
    lasted_s: float = 0.0
    goes_on_s: float | None = None

    def dump(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Round:
    """What was found after a round: what is broken, by invariant."""

    place: str
    number: int
    lasted_s: float
    broken: Mapping[str, Sequence[str]]

    @property
    def held(self) -> bool:
        return not any(self.broken.values())

    def dump(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Journal:
    """What has happened so far; `path` is where it is written down at once."""

    path: Path | None = None
    faults: list[Done] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    def note(self, event: Mapping[str, Any]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")

    def fault(self, done: Done) -> None:
        self.faults.append(done)
        self.note(done.dump())

    def round(self, one: Round) -> None:
        self.rounds.append(one)
        self.note(one.dump())

    @property
    def happened(self) -> list[Done]:
        """The faults that had a victim."""
        return [done for done in self.faults if done.victim]

    @property
    def held(self) -> bool:
        return all(one.held for one in self.rounds)


def summary(journal: Journal) -> str:
    """Tell in two tables what was done, and what held."""
    return "\n".join([*_faults(journal.happened), "", *_invariants(journal.rounds)])


def _faults(done: Sequence[Done]) -> list[str]:
    names = sorted({one.planned.fault for one in done})
    places = sorted({one.planned.place for one in done})
    return [
        "| fault | times | seconds until work went on: median | longest |",
        "|---|---|---|---|",
        *(_row(name, [one for one in done if one.planned.fault == name]) for name in names),
        *(_row(f"all on {place}", _on(done, place)) for place in places if places[1:]),
        _row("all", done),
    ]


def _on(done: Sequence[Done], place: str) -> list[Done]:
    return [one for one in done if one.planned.place == place]


def _row(name: str, done: Iterable[Done]) -> str:
    alike = list(done)
    waited = [one.goes_on_s for one in alike if one.goes_on_s is not None]
    median = f"{statistics.median(waited):.1f}" if waited else "none followed"
    longest = f"{max(waited):.1f}" if waited else ""
    return f"| {name} | {len(alike)} | {median} | {longest} |"


def _invariants(rounds: Sequence[Round]) -> list[str]:
    lines = ["| invariant | held, of rounds |", "|---|---|"]
    for name in dict.fromkeys(name for one in rounds for name in one.broken):
        asked = [one.broken[name] for one in rounds if name in one.broken]
        lines.append(f"| {name} | {asked.count([]) + asked.count(())} of {len(asked)} |")
    return lines
