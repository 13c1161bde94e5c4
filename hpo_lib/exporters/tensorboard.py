"""TensorBoard: scalars per trial, and the HParams table of all runs in a folder.

    FOLDER/events.out.tfevents.…            heads of the table, of all runs below
    FOLDER/000012-wine/hparams.json         what the table has to know of the run
    FOLDER/000012-wine/trial-0003/events…   its scalars and its row

A metric's curve has the metric's name as tag. What a trial has come to, by which the table and the
parallel coordinates are drawn, has `trial/` in front: a curve's last value may be another one.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo_lib.core.trial import Origin, TrialState, Value
from hpo_lib.errors import SpecError
from hpo_lib.exporters import Exported, Series, event_file, results_of
from hpo_lib.files import artifacts
from hpo_lib.records import Run, RunView, TrialView, slug_of
from hpo_lib.report.facts import Facts
from hpo_lib.words import utc

#: One name, so that writing again replaces.
FILE = "events.out.tfevents.0000000000.hpo"
HEADS = "hparams.json"
_STATUS = {
    TrialState.RUNNING: event_file.RUNNING,
    TrialState.WAITING: event_file.RUNNING,
    TrialState.COMPLETE: event_file.SUCCESS,
    TrialState.FAILED: event_file.FAILURE,
}

#: By parameter: its `choices`, or else its `ends`, and the `kind` of its values.
Heads = Mapping[str, Any]


class TensorboardExporter:
    """Writes below a folder, which `tensorboard --logdir` shows."""

    def __init__(self, target: str) -> None:
        """Take the folder."""
        self._folder = Path(target).absolute()
        if self._folder.is_file():
            raise SpecError(f"tensorboard: must be a folder, got the file {target}")

    def export(self, run: Exported) -> str:
        """Write the run's files anew, then the heads of all runs in the folder."""
        facts = Facts.of(run.view)
        heads, here = heads_of(facts), self._folder / slug_of(run.view.run)
        kinds = {name: one["kind"] for name, one in heads["parameters"].items()}
        for one, series in run.trials():
            events = _events(run.view, one, series, kinds)
            content = event_file.file(events, _began(run.view.run, one))
            kind = "final" if one.trial.origin is Origin.FINAL else "trial"
            _write(here / f"{kind}-{one.trial.number:04d}" / FILE, content)
        _write(here / HEADS, json.dumps(heads).encode())
        self._write_heads()
        return f"{here}: tensorboard --logdir {self._folder}"

    def _write_heads(self) -> None:
        """Write the heads of the table: whoever writes last has read those of all others."""
        found = [_read(place) for place in sorted(self._folder.glob(f"*/{HEADS}"))]
        time = min((one["time"] for one in found), default=0.0)
        parameters, metrics = union(one["parameters"] for one in found), dict[str, None]()
        for one in found:
            metrics |= dict.fromkeys(one["metrics"])
        made = event_file.experiment(
            (
                event_file.parameter(name, one["kind"], one["choices"], one["ends"])
                for name, one in parameters.items()
            ),
            (event_file.metric(_result(name), name) for name in metrics),
            time,
        )
        _write(self._folder / FILE, event_file.file([event_file.event([made], time=time)], time))


def heads_of(facts: Facts) -> dict[str, Any]:
    """Give what the table has to know of a run, as plain JSON."""
    values: dict[str, list[Value]] = defaultdict(list)
    for view in facts.trials:
        for name, value in view.trial.params.items():
            values[name].append(value)
    metrics = [*(one.metric for one in facts.objectives), *facts.metrics]
    return {
        "time": utc(facts.run.started_at).timestamp(),
        "parameters": {name: _head(facts, name, values[name]) for name in facts.parameters},
        "metrics": list(dict.fromkeys(metrics)),
    }


def union(found: Iterable[Mapping[str, Heads]]) -> dict[str, Heads]:
    """Put the parameters of runs together: all choices, the widest range; else no domain."""
    whole: dict[str, Heads] = {}
    for one in found:
        for name, head in one.items():
            whole[name] = _both(whole[name], head) if name in whole else head
    return whole


def _both(one: Heads, other: Heads) -> Heads:
    if one["kind"] != other["kind"]:
        return {"kind": event_file.STRING, "choices": [], "ends": []}
    return {
        "kind": one["kind"],
        "choices": _all_choices(one["choices"], other["choices"]),
        "ends": _widest(one["ends"], other["ends"]),
    }


def _all_choices(some: Sequence[Value], others: Sequence[Value]) -> list[Value]:
    """Give the choices of two runs; none if one of them has a range."""
    return [*some, *(one for one in others if one not in some)] if some and others else []


def _widest(some: Sequence[float], others: Sequence[float]) -> list[float]:
    """Give the range that holds both; none if one has none."""
    if not (len(some) == len(others) == 2):
        return []
    return [min(some[0], others[0]), max(some[1], others[1])]


def _head(facts: Facts, name: str, values: Sequence[Value]) -> Heads:
    said = facts.dimension(name)
    kind = _kind(said.choices or values or said.ends)
    choices = [_as(kind, one) for one in said.choices]
    numbers = kind == event_file.FLOAT and not choices
    return {"kind": kind, "choices": choices, "ends": list(said.ends) if numbers else []}


def _kind(values: Sequence[Value]) -> int:
    """Say what a column holds: a mixture is text."""
    if values and all(isinstance(one, bool) for one in values):
        return event_file.BOOL
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    return event_file.FLOAT if values and numbers else event_file.STRING


def _as(kind: int, value: Value) -> Value:
    text = kind == event_file.STRING and not isinstance(value, str)
    return json.dumps(value) if text else value


def _events(
    view: RunView, one: TrialView, series: Series, kinds: Mapping[str, int]
) -> Iterator[bytes]:
    """Make the events of a trial: its row, its curves by step, what it has come to, its end."""
    trial, began = one.trial, _began(view.run, one)
    params = {
        name: _as(kinds.get(name, event_file.STRING), value) for name, value in trial.params.items()
    }
    group = f"run {view.run.id}, trial {trial.number}"
    yield event_file.event([event_file.session_start(params, group, began)], time=began)
    by_step: dict[int, list[bytes]] = defaultdict(list)
    times: dict[int, float] = {}
    for name, curve in series.items():
        for seen in curve:
            step = seen.step or 0
            by_step[step].append(event_file.scalar(name, seen.value))
            times[step] = max(times.get(step, began), _finite(seen.time, began))
    for step in sorted(by_step):
        yield event_file.event(by_step[step], time=times[step], step=step)
    ended = _ended(one, max(times.values(), default=began))
    results = [event_file.scalar(_result(name), v) for name, v in results_of(view, one).items()]
    yield event_file.event(results, time=ended, step=max(by_step, default=0))
    status = _STATUS.get(trial.state, event_file.UNKNOWN)
    yield event_file.event([event_file.session_end(status, ended)], time=ended)


def _result(metric: str) -> str:
    return f"trial/{metric}"


def _began(run: Run, one: TrialView) -> float:
    times = [utc(attempt.started_at) for attempt in one.attempts]
    return min(times, default=utc(run.started_at)).timestamp()


def _ended(one: TrialView, otherwise: float) -> float:
    times = [utc(attempt.ended_at) for attempt in one.attempts if attempt.ended_at is not None]
    return max(times).timestamp() if times else otherwise


def _finite(time: float | None, otherwise: float) -> float:
    return time if time is not None and math.isfinite(time) else otherwise


def _read(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    artifacts.write(place, content)
