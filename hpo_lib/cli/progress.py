"""What a terminal shows of a run: progress while it lasts, and how it ended."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.core.failures import kinds, why
from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import History, Trial, TrialState
from hpo_lib.errors import HpoError, NotFound, TransientError
from hpo_lib.records import Run, RunKey, RunStatus, RunView, slug_of
from hpo_lib.records.shown import Shown
from hpo_lib.spec import Spec
from hpo_lib.store import Store
from hpo_lib.words import count, cut, duration

_POLL_S = 1.0
_LINE_S = 9.0
_SHOWN = 10
_WHY, _KINDS, _RUNNING = 80, 3, 3
_ETA = re.compile(r" · ETA [^·]*(?= ·)")
_OPEN = (TrialState.RUNNING, TrialState.WAITING)


def watch(
    client: Airflow,
    store: Store,
    key: RunKey,
    say: Callable[[str], None],
    alive: Callable[[], bool],
) -> Run | None:
    """Follow a DAG run until it ends; gives our run, or None if it never came to be.

    HpoError if Airflow does not answer and is not `alive`.
    """
    show = shower(say)
    state = "queued"
    while state not in DONE:
        time.sleep(_POLL_S)
        try:
            state = client.state(key.dag_id, key.dag_run_id)
            show(line_of(store, key, state))
        except TransientError as error:
            if not alive():
                raise HpoError(f"Airflow has ended before the run did: {error}") from None
            show("waiting for Airflow to answer")
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    try:
        return store.run(key)
    except NotFound:
        return None


def line_of(store: Store, key: RunKey, state: str) -> str:
    """Describe where a run is, on one line."""
    try:
        run = store.run(key)
    except NotFound:
        return f"{state}: the conf is being checked"
    if run.status is RunStatus.REFUSED:
        return "refused"
    if store.listing.trials(run.id, -1, 1, finals=True):
        far = final(run.spec, store.view(run.id))
        return " · ".join([far, *showing(run.spec, store.live.newest(run.id))])
    return so_far(store, run)


def so_far(store: Store, run: Run) -> str:
    """Say how far a run's search is, and when it will end unless it has, or is being stopped."""
    history = store.slots.history(run)
    if run.status is not RunStatus.RUNNING:
        return progress(run.spec, history)
    stop, shown = store.stop_of(run.id), showing(run.spec, store.live.newest(run.id))
    waits = store.slots.waiting(run.id)
    if stop is not None:
        far = progress(run.spec, history, waits=waits)
        return " · ".join([far, f"stopping: {stop.reason}", *shown])
    ahead = eta(run.spec, history, _since_an_end_s(store, run, history))
    return " · ".join([progress(run.spec, history, ahead, waits=waits), *shown])


def _since_an_end_s(store: Store, run: Run, history: History) -> float:
    """Give how long ago an attempt has ended last; 0 before the first."""
    last = store.listing.last_end(run.id)
    return 0.0 if last is None else history.elapsed_s - run.open_s(last)


def showing(spec: Spec, shown: Mapping[int, Shown]) -> Iterator[str]:
    """Say what running trials have shown last, those of the lowest numbers."""
    names = [name for name, _ in spec.goal.objectives]
    for number, one in list(shown.items())[:_RUNNING]:
        yield f"trial {number}: {one.line(names, most=len(names))}"
    if len(shown) > _RUNNING:
        yield f"and {len(shown) - _RUNNING} more"


def final(spec: Spec, view: RunView) -> str:
    """Say where final training, gate and deployment are."""
    states = [one.trial.state for one in view.finals]
    done = len(states) - states.count(TrialState.RUNNING)
    parts = [f"final training: {done}/{len(states)} trials done"]
    model = view.model
    if model is not None and model.verdict is not None:
        parts.append(f"model version {model.version} is {model.status}")
        if model.needs_approval(spec.deploy) and model.approved is None:
            parts.append("it waits to be approved in Airflow, under Required Actions")
    return " · ".join(parts)


def progress(spec: Spec, history: History, ahead: Sequence[str] = (), *, waits: int = 0) -> str:
    """Say trials done of total, what is `ahead`, running, failed if any, and the best so far.

    Of the running ones so many as `waits` says wait for a place, and do not run yet. What people
    wait for comes first: a terminal cuts what is too long for its line.
    """
    failed = len(history.of(TrialState.FAILED))
    running = len(history.of(TrialState.RUNNING))
    waiting, stopped = (
        len(history.of(state)) for state in (TrialState.WAITING, TrialState.STOPPED)
    )
    done = len(history.trials) - running - waiting
    parts = [
        f"{done}/{spec.limits.max_trials} trials done",
        *ahead,
        f"{max(0, running - waits)} running",
    ]
    parts += [f"{waits} {'waits' if waits == 1 else 'wait'} for a place"] if waits else []
    parts += [f"{waiting} waiting"] if waiting else []
    parts += [f"{stopped} stopped"] if stopped else []
    parts += [f"{failed} failed{_newest_failure(history)}"] if failed else []
    reused = sum(trial.reused is not None for trial in history.trials)
    parts += [f"{reused} reused"] if reused else []
    return " · ".join([*parts, *_standing(spec, history)])


def eta(spec: Spec, history: History, passed_s: float = 0.0) -> list[str]:
    """Say how long all trials that have not ended take, if these take as long as those before.

    Nothing before the first has ended, or once all have. It is reckoned as one ends, and so much
    less when `passed_s` have passed since then.
    """
    ended = [one for one in history.trials if one.state not in _OPEN]
    took_s = [one.duration_s for one in ended if one.duration_s is not None and not one.reused]
    left = spec.limits.max_trials - len(ended)
    if not took_s or left <= 0:
        return []
    rounds = math.ceil(left / spec.limits.parallel_trials)
    left_s = rounds * math.fsum(took_s) / len(took_s) - max(0.0, passed_s)
    return [f"ETA {duration(max(0.0, left_s))}"]


def _newest_failure(history: History) -> str:
    """Say why the newest failed trial has failed, short."""
    failed = history.of(TrialState.FAILED)
    said = textwrap.shorten(why(failed[-1]), _WHY, placeholder="…")
    return f" (trial {failed[-1].number}: {said})"


def _failures(history: History) -> Iterator[str]:
    """List the ways in which trials have failed, the most frequent first."""
    found = sorted(kinds(history.trials).values(), key=len, reverse=True)
    for trials in found[:_KINDS]:
        numbers = ", ".join(str(one.number) for one in trials[:_SHOWN])
        more = f" and {len(trials) - _SHOWN} more" if len(trials) > _SHOWN else ""
        yield f"failed      trial {numbers}{more}: {why(trials[0])}"
    if len(found) > _KINDS:
        yield f"            and in {count(len(found) - _KINDS, 'other way')}: see the report"


def _standing(spec: Spec, history: History) -> list[str]:
    """Say what has been found so far, nothing before the first complete trial."""
    front = spec.goal.front(history.trials)
    if not front:
        return ["none feasible"] if history.of(TrialState.COMPLETE) else []
    if spec.goal.several:
        return [f"{len(front)} on the Pareto front"]
    return [f"best {spec.objective.metric} {front[0].value:.5g} (trial {front[0].number})"]


def ending(store: Store, run: Run, home: Path, url: str) -> str:
    """Describe how a run ended: why, what it has found, the report and Airflow's page."""
    if run.status is RunStatus.REFUSED:
        return f"run {run.id} was refused: {run.reason}\nAirflow     {url}"
    if run.status is RunStatus.RUNNING:
        return f"run {run.id} of {run.experiment} was ended from outside\nAirflow     {url}"
    why = "" if run.reason == run.outcome else f" ({run.reason})"
    lines = [f"run {run.id} of {run.experiment}: {run.outcome}{why}"]
    spec = run.spec
    front = spec.goal.front(store.history(run.id).trials)
    lines += _front(spec.goal, front) if spec.goal.several else _best(spec.goal, front)
    lines += _failures(store.history(run.id))
    model = store.models.of_run(run.id)
    if model is not None:
        lines.append(f"model       version {model.version}, {model.status}: {model.reason}")
    lines.append(f"report      {home / 'runs' / slug_of(run) / 'report.html'}")
    return "\n".join([*lines, f"Airflow     {url}"])


def _best(goal: Goal, front: Sequence[Trial]) -> Iterator[str]:
    for best in front:
        source = f" (reused from {best.reused})" if best.reused else ""
        yield f"best trial  {best.number}: {_values(goal, best)}{source}"
        yield from (f"              {name} = {value}" for name, value in best.params.items())


def _front(goal: Goal, front: Sequence[Trial]) -> Iterator[str]:
    """List the Pareto front; a long one is in the report."""
    if front:
        yield f"front       {count(len(front), 'trial')} that no other one beats"
    yield from (f"  trial {one.number:<4}{_values(goal, one)}" for one in front[:_SHOWN])
    if len(front) > _SHOWN:
        yield f"  and {len(front) - _SHOWN} more"


def _values(goal: Goal, trial: Trial) -> str:
    pairs = zip(goal.objectives, goal.values(trial) or (), strict=False)
    return ", ".join(f"{name} = {value:.6g}" for (name, _), value in pairs)


def shower(say: Callable[[str], None]) -> Callable[[str], None]:
    """Give what shows a line of progress: in place on a terminal, elsewhere a line now and then."""
    return _on_terminal(time.monotonic()) if sys.stderr.isatty() else _now_and_then(say)


def _on_terminal(began: float) -> Callable[[str], None]:
    """Draw a line with the time that has passed, cut so that the next one covers all of it."""

    def show(line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        told = cut(f"{duration(time.monotonic() - began)}  {line}", width)
        sys.stderr.write(f"\r\x1b[K{told}")
        sys.stderr.flush()

    return show


def _counts(line: str) -> str:
    """Leave out of a line what changes while trials run: the ETA, and what these have shown."""
    return _ETA.sub("", line).partition(" · trial ")[0]


def _now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say a line when its counts have changed, else every 9 seconds."""
    last, when = "", 0.0

    def show(line: str) -> None:
        nonlocal last, when
        if _counts(line) != _counts(last) or time.monotonic() - when > _LINE_S:
            say(f"[{datetime.now().astimezone():%H:%M:%S}] {line}")
            last, when = line, time.monotonic()

    return show
