"""What a terminal shows of a run: progress while it lasts, and how it ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import History, Trial, TrialState
from hpo_lib.errors import HpoError, NotFound, TransientError
from hpo_lib.records import Run, RunKey, RunStatus, RunView, slug_of
from hpo_lib.spec import Spec
from hpo_lib.store import Store
from hpo_lib.words import count, duration

_POLL_S = 1.0
_LINE_S = 15.0
_SHOWN = 10


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
    show = _on_terminal if sys.stderr.isatty() else _now_and_then(say)
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
    view = store.view(run.id)
    if view.finals:
        return final(run.spec, view)
    return progress(run.spec, store.history(run.id))


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


def progress(spec: Spec, history: History) -> str:
    """Say trials done of total, running, failed, best so far and when it will end."""
    failed = len(history.of(TrialState.FAILED))
    running = len(history.of(TrialState.RUNNING))
    waiting, stopped = (
        len(history.of(state)) for state in (TrialState.WAITING, TrialState.STOPPED)
    )
    done = len(history.trials) - running - waiting
    parts = [f"{done}/{spec.limits.max_trials} trials done", f"{running} running"]
    parts += [f"{waiting} waiting"] if waiting else []
    parts += [f"{stopped} stopped"] if stopped else []
    parts.append(f"{failed} failed")
    reused = sum(trial.reused is not None for trial in history.trials)
    parts += [f"{reused} reused"] if reused else []
    parts += _standing(spec, history)
    if done > reused:
        left_s = history.elapsed_s / (done - reused) * (spec.limits.max_trials - done)
        parts.append(f"ETA {duration(left_s)}")
    return " · ".join(parts)


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
    lines = [f"run {run.id} of {run.experiment}: {run.status} ({run.reason})"]
    spec = run.spec
    front = spec.goal.front(store.history(run.id).trials)
    lines += _front(spec.goal, front) if spec.goal.several else _best(spec.goal, front)
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


def _on_terminal(line: str) -> None:
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()


def _now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say a line when its counts have changed, else every 15 seconds."""
    last, when = "", 0.0

    def show(line: str) -> None:
        nonlocal last, when
        changed = line.split(" · ETA")[0] != last.split(" · ETA")[0]
        if changed or time.monotonic() - when > _LINE_S:
            say(f"[{datetime.now().astimezone():%H:%M:%S}] {line}")
            last, when = line, time.monotonic()

    return show
