"""What a collector reads of a log or an output folder, and what it passes over there."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from hpo_lib.collectors import Source, plain, wanted
from hpo_lib.collectors.formats import asked
from hpo_lib.collectors.summary import summary
from hpo_lib.core.trial import Cause, Observation
from hpo_lib.errors import SpecError
from hpo_lib.registry import COLLECTOR_SETTINGS
from hpo_lib.registry import load as load_part
from hpo_lib.spec import Spec
from hpo_lib.spec.sections import Objective
from hpo_lib.trials.near_names import names_seen, near, no_metric
from hpo_lib.trials.outcome import judged, reliable, with_metrics
from hpo_lib.words import NOTHING, count, number

_SHOWN, _TEXT = 10, 80
_STEPS = 12


@dataclass
class Series:
    """What is read of one metric; `best` stays NaN if it is no objective."""

    values: int = 0
    first: float = math.nan
    last: float = math.nan
    best: float = math.nan
    steps: tuple[int, int] | None = None
    by_step: dict[int, float] = field(default_factory=dict)

    def add(self, seen: Observation, objective: Objective | None) -> None:
        """Take the next value."""
        self.first = self.first if self.values else seen.value
        self.values, self.last = self.values + 1, seen.value
        if seen.step is not None:
            low, high = self.steps or (seen.step, seen.step)
            self.steps = min(low, seen.step), max(high, seen.step)
            if len(self.by_step) < _STEPS:
                self.by_step[seen.step] = seen.value
        if objective is None or not math.isfinite(seen.value):
            return
        if math.isnan(self.best) or objective.direction.better(seen.value, than=self.best):
            self.best = seen.value


@dataclass
class Stranger:
    """A name that stands where the collector looks, but that gives no value of a metric."""

    times: int
    line: int | None
    text: str


@dataclass(frozen=True)
class Examination:
    """What was read by metric, what a trial would get of it, and what was passed over by name.

    `unread` are metrics that are there, but not in the form that the collector reads. `formats`
    counts the values that each known format would read, `place` is where its lines stand.
    """

    spec: Spec
    series: Mapping[str, Series]
    reduced: Mapping[str, float]
    cause: Cause | None
    reason: str
    unread: Mapping[str, Stranger] = field(default_factory=dict)
    others: Mapping[str, Stranger] = field(default_factory=dict)
    formats: Mapping[str, int] = field(default_factory=dict)

    @property
    def format(self) -> str | None:
        """The format by which it was read, if there is one."""
        told = self.spec.metrics.format
        return told or (next(iter(self.formats)) if len(self.formats) == 1 else None)


def examine(spec: Spec, source: Source) -> Examination:
    """Read a source as the spec says; SpecError if its collector cannot be loaded."""
    collector = load_part("collector", spec.metrics.collector)(spec.metrics)
    objectives = {one.metric: one for one in spec.objectives}
    series = {name: Series() for name in _in_order(spec)}

    def noted() -> Iterator[Observation]:
        for seen in map(plain, collector.collect(source, wanted(spec))):
            if seen.metric in series:
                series[seen.metric].add(seen, objectives.get(seen.metric))
                yield seen

    kept, values = summary(noted(), spec.objectives)
    _, reduced, failure = reliable(collector, spec.goal, kept, values)
    cause, reason = failure or judged(spec.goal, reduced, partial(names_seen, spec, source))
    sightings = collector.sightings(source) if hasattr(collector, "sightings") else ()
    unread, others = _strangers(sightings, wanted(spec))
    tally = collector.tally(source, wanted(spec)) if hasattr(collector, "tally") else Counter()
    formats = dict(tally.most_common())
    return Examination(spec, series, reduced, cause, reason, unread, others, formats)


def _in_order(spec: Spec) -> list[str]:
    return list(dict.fromkeys([*spec.goal.metrics, *spec.extra_metrics]))


def _strangers(
    sightings: Iterable[Any], known: frozenset[str]
) -> tuple[dict[str, Stranger], dict[str, Stranger]]:
    unread: dict[str, Stranger] = {}
    others: dict[str, Stranger] = {}
    for seen in sightings:
        taken = seen.read and asked(seen.name, known)
        if taken or (seen.name not in known and no_metric(seen.name, known)):
            continue
        group = unread if seen.name in known else others
        group.setdefault(seen.name, Stranger(0, seen.line, seen.text)).times += 1
    return unread, others


def source_at(path: Path, spec: Spec) -> tuple[Source, Spec]:
    """Tell apart a log, a metrics file, an output folder and an attempt's folder.

    The spec is given back with the `path` that leads to the file. SpecError if nothing is there.
    """
    collector, path = spec.metrics.collector, path.resolve()
    if path.is_file():
        if not _takes_path(collector):
            return Source(log=path, output=path.parent), spec
        settings = {**spec.dump()["metrics"], "path": path.name}
        return Source(path, path.parent), with_metrics(spec, settings)
    if not path.is_dir():
        raise SpecError(f"{path}: no such file or folder")
    output = path / "output" if (path / "output").is_dir() else path
    return Source(log=path / "log.txt", output=output), spec


def _takes_path(collector: str) -> bool:
    return "path" in COLLECTOR_SETTINGS.get(collector, {"path"})


# The page


def page(found: Examination) -> Iterator[str]:
    """Write the examination as lines for a terminal."""
    yield from _table(found)
    yield from _by_step(found)
    yield ""
    if found.cause is None:
        yield f"a trial with these metrics is complete: {found.reason}"
    else:
        yield f"a trial with these metrics has failed, {found.cause}: {found.reason}"
    yield from _formats(found)
    yield from _unread(found)
    yield from _others(found)


def _table(found: Examination) -> Iterator[str]:
    cells = [["metric", "", "values", "first", "last", "best", "steps", "of the trial"]]
    cells += [_row(found, name, series) for name, series in found.series.items()]
    yield from _aligned(cells)


def _by_step(found: Examination) -> Iterator[str]:
    """Show what was read by step, up to the twelfth."""
    by_step = {name: one.by_step for name, one in found.series.items() if one.by_step}
    steps = sorted({step for values in by_step.values() for step in values})[:_STEPS]
    if not steps:
        return
    cells = [["step", *by_step]]
    for step in steps:
        known = (values.get(step) for values in by_step.values())
        cells.append([str(step), *(NOTHING if one is None else number(one) for one in known)])
    yield ""
    yield from _aligned(cells)
    if any(one.steps and one.steps[1] > steps[-1] for one in found.series.values()):
        yield "and so on"


def _aligned(cells: list[list[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()


def _row(found: Examination, name: str, series: Series) -> list[str]:
    seen = series.values > 0
    steps = NOTHING if series.steps is None else "{}-{}".format(*series.steps)
    best = NOTHING if math.isnan(series.best) else number(series.best)
    ends = [number(series.first), number(series.last)] if seen else [NOTHING, NOTHING]
    reduced = number(found.reduced[name]) if name in found.reduced else "missing"
    return [name, _role(found.spec, name), str(series.values), *ends, best, steps, reduced]


def _role(spec: Spec, name: str) -> str:
    for objective in spec.objectives:
        if objective.metric == name:
            return f"objective ({objective.reduce})"
    return "constraint" if name in spec.goal.metrics else "extra"


def _formats(found: Examination) -> Iterator[str]:
    """Say which known format reads the most, and how a spec names it."""
    if not found.formats:
        return
    most = next(iter(found.formats))
    yield ""
    counts = (f"{name} {count(size, 'value')}" for name, size in found.formats.items())
    yield f"by format: {', '.join(counts)}"
    if found.spec.metrics.format != most:
        yield f"to read {most} only: {_line({'metrics': {'format': most}})}"


def _line(settings: Mapping[str, Any]) -> str:
    """Write settings as one line of YAML, which a shell or a person may copy into a spec."""
    return yaml.safe_dump(settings, default_flow_style=True, width=10_000).strip()[1:-1]


def _unread(found: Examination) -> Iterator[str]:
    unread = {n: one for n, one in found.unread.items() if not found.series[n].values}
    if not unread:
        return
    yield ""
    yield "there, but not in a form that this collector reads:"
    for name, one in unread.items():
        yield f"  {_clean(name)}, {count(one.times, 'time')}, {_where(one)}"
    for name, one in unread.items():
        form = _expression(name, one.text)
        if form is not None:
            yield f"to read {_clean(name)}: {_line({'metrics': {'format': form}})}"
            return


def _expression(name: str, text: str) -> str | None:
    """Make an expression that reads a metric in a line, if it is followed by a number."""
    found = re.search(rf"(?<!\w)({re.escape(name)})(\W{{1,8}}?)(?=[-+.]?[0-9])", text)
    if found is None:
        return None
    return f"(?P<name>{re.escape(name)}){re.escape(found[2])}(?P<value>[-+.0-9eE]+)"


def _others(found: Examination) -> Iterator[str]:
    missing = [name for name, series in found.series.items() if not series.values]
    close = {name: near(name, missing) for name in found.others}
    shown = sorted(found.others, key=lambda n: (close[n] is None, -found.others[n].times))
    if not shown:
        if len(missing) == len(found.series) and not found.unread:
            yield "nothing that looks like a metric was found"
        return
    yield ""
    yield "passed over, for the spec does not name it:"
    yield from (_other(name, found.others[name], close[name]) for name in shown[:_SHOWN])
    if len(shown) > _SHOWN:
        yield f"  and {count(len(shown) - _SHOWN, 'more name')}"


def _other(name: str, one: Stranger, meant: str | None) -> str:
    hint = f", is it {meant}?" if meant else ""
    return f"  {_clean(name)}, {count(one.times, 'time')}, {_where(one)}{hint}"


def _where(one: Stranger) -> str:
    text = _clean(one.text)
    return text if one.line is None else f"line {one.line}: {text}"


def _clean(text: str) -> str:
    """Make a trial's text fit for a terminal: short, and without codes that a terminal obeys."""
    short = text if len(text) <= _TEXT else f"{text[:_TEXT]}…"
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in short
    )
