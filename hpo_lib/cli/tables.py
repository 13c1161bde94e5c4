"""What the terminal shows of the REST API's answers: tables for people, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hpo_lib.cli.console import say
from hpo_lib.records.shown import Shown
from hpo_lib.records.stopped import outcome
from hpo_lib.words import cut, duration, line, number

#: So many characters of a cell are shown at most; of the last cell at least so many, if it is cut.
_LONGEST, _LEAST = 2_000, 20
_BAR = 20


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], width: int | None = None
) -> Iterator[str]:
    """Write rows below their heads, each column as wide as it needs.

    Where a line has a `width`, the last column is cut to fit, which is said below.
    """
    cells = [[line(number(value), _LONGEST) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    most = _LONGEST if width is None else max(_LEAST, width - sum(widths[:-1]) - 2 * len(heads) + 2)
    for row in ([name.upper() for name in heads], *cells):
        *padded, last = (text.ljust(size) for text, size in zip(row, widths, strict=True))
        yield "  ".join([*padded, cut(last.rstrip(), most)]).rstrip()
    if any(len(row[-1]) > most for row in cells):
        yield f"{heads[-1]}: cut to the width of the terminal; --wide shows all of it"


def width_of(*, wide: bool) -> int | None:
    """Give how long a line may be; None if it is not for a terminal, or may be as long as it is."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() and not wide else None


def show(answer: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Say an answer as JSON, or the lines that people read."""
    if as_json:
        say(json.dumps(answer))
        return
    for text in lines:
        say(text)


def runs(found: Sequence[Mapping[str, Any]], width: int | None = None) -> Iterator[str]:
    """List runs."""
    heads = ("run", "experiment", "status", "began", "took", "by", "reason")
    return table(heads, [_run(one) for one in found], width)


def _run(run: Mapping[str, Any]) -> Sequence[Any]:
    when = f"{datetime.fromisoformat(run['started_at']).astimezone():%Y-%m-%d %H:%M}"
    named = (run["id"], run["experiment"], _outcome(run))
    why = "" if run["reason"] == _outcome(run) else run["reason"] or ""
    return (*named, when, _took(run), run["triggered_by"], why)


def _outcome(run: Mapping[str, Any]) -> str:
    """Give a run's status, or who has stopped it; an older Airflow does not tell."""
    return outcome(run["status"], run.get("stopped_by"))


def _took(run: Mapping[str, Any]) -> str:
    """Say how long a run took, or has been going on; an older Airflow does not tell."""
    if (elapsed_s := run.get("elapsed_s")) is not None:
        return duration(elapsed_s)
    began = datetime.fromisoformat(run["started_at"])
    ended = datetime.fromisoformat(run["ended_at"]) if run["ended_at"] else datetime.now(UTC)
    return duration(max(0.0, (ended - began).total_seconds()))


def experiments(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """List experiments."""
    rows = [(one["name"], one["runs"], one["newest_run"]) for one in found]
    return table(("experiment", "runs", "newest"), rows)


def trials(found: Sequence[Mapping[str, Any]], width: int | None = None) -> Iterator[str]:
    """List trials, with a column for each parameter that any has, and how often each was tried."""
    names = list(dict.fromkeys(name for one in found for name in one["params"]))
    heads = ("trial", "state", "value", *names, "attempts", "reason")
    rows = [
        (
            one["number"],
            one["state"],
            one["value"],
            *(one["params"].get(name) for name in names),
            len(one["attempts"]),
            one["reason"] or _shown(one),
        )
        for one in found
    ]
    return table(heads, rows, width)


def _shown(trial: Mapping[str, Any]) -> str:
    """Say what a running trial has shown so far; an older Airflow does not tell."""
    said = Shown(trial.get("shown") or {}, trial.get("step"))
    return said.line(()) if said.values else ""


def best(found: Mapping[str, Any]) -> Iterator[str]:
    """Show the best trial, or those on the Pareto front."""
    if not found["trials"]:
        yield "no trial is complete and keeps the constraints"
    for one in found["trials"]:
        values = (f"{name} = {number(one['metrics'].get(name))}" for name in found["metrics"])
        yield f"trial {one['number']}: {', '.join(values)}"
        yield from (f"  {name} = {number(value)}" for name, value in one["params"].items())


def status(run: Mapping[str, Any], url: str) -> Iterator[str]:
    """Show where a run is."""
    so_far = f"{'after' if run['ended_at'] else 'for'} {_took(run)}"
    yield f"run {run['id']} of {run['experiment']}: {_outcome(run)} {so_far}"
    why = run["reason"] or run["stopping"]
    if why and why != _outcome(run):
        yield f"  {why}"
    yield f"  {run['line']}"
    if run.get("other_mode"):
        yield f"  {run['other_mode']}"
    yield f"  {url}"


def bar(run: Mapping[str, Any]) -> str:
    """Draw how many of a run's trials have ended."""
    most = run["max_trials"] or 1
    open_ = run["trials"]["running"] + run["trials"]["waiting"]
    done = sum(run["trials"].values()) - open_
    full = min(_BAR, _BAR * done // most)
    return f"[{'#' * full}{'.' * (_BAR - full)}]"
