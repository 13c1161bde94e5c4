"""A store with a run of every kind that pages have to show, as a nasty world has filled it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from hpo_lib.core.trial import Assignment, Cause, Direction, Observation
from hpo_lib.evaluation.drift import ChampionCheck, Score
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import AttemptState, Outcome, Provenance, Run, RunKey, RunStatus
from hpo_lib.search.engine import Step
from hpo_lib.spec import load
from hpo_lib.store import Store
from hpo_lib.store.models import challenge

#: What somebody may call a choice: markup, quotes, right to left, long.
NASTY = ["<img src=x onerror=alert(1)>", 'it\'s "quoted"', "שלום עולם", "x" * 250]
LONG = "<i>" + "long " * 2_000
SPACE = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
    "units": {"type": "int", "low": 16, "high": 256, "step": 16},
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
}
SPEC: dict[str, Any] = {
    "name": "digits",
    "description": "Tunes <b>digits</b>.",
    "objective": {"metric": "val_accuracy", "direction": "maximize", "target": 0.95},
    "extra_metrics": ["val_loss", "loss"],
    "space": SPACE,
    "limits": {"max_trials": 40, "parallel_trials": 4},
    "trial": {"command": ["python", "train.py"], "resources": {"gpu": 1}},
}
TWO = [
    {"metric": "val_accuracy", "direction": "maximize"},
    {"metric": "val_loss", "direction": "minimize"},
]
_LOG = "epoch 3\nTraceback (most recent call last):\nValueError: <b>bad</b> batch\n"


class Clock:
    """Says the time, which passes as it is told."""

    def __init__(self) -> None:
        """Begin an hour ago."""
        self.now = datetime.now(UTC) - timedelta(hours=1)

    def __call__(self) -> datetime:
        """Say the time."""
        return self.now


def fill(store: Store, clock: Clock) -> dict[str, int]:
    """Make the runs, and give their numbers by what they are."""
    made = {
        "ended": run_of(store, clock, 12, end=RunStatus.COMPLETE),
        "running": run_of(store, clock, 6, running=2),
        "failed": run_of(store, clock, 3, works=0, end=RunStatus.FAILED),
        "empty": run_of(store, clock, 0),
        "one": run_of(store, clock, 1, end=RunStatus.COMPLETE),
        "front": run_of(store, clock, 8, end=RunStatus.COMPLETE, name="two", objective=TWO),
        "constrained": run_of(
            store, clock, 6, end=RunStatus.COMPLETE, name="held", constraints=["val_loss <= 0.35"]
        ),
        "nasty": run_of(
            store,
            clock,
            8,
            end=RunStatus.COMPLETE,
            name="nasty",
            space=SPACE | {"odd": {"type": "categorical", "choices": NASTY}},
        ),
    }
    key = RunKey("hpo_local", "refused <i>")
    why = f"space.x: low must be < high, got low=2, high=1\nnasty <script>: unknown key\n{LONG}"
    made["refused"] = store.refuse_run(key, why, triggered_by="eve <eve@example.org>").id
    judged(store, store.run_by_id(made["ended"]))
    return made


def run_of(
    store: Store,
    clock: Clock,
    trials: int,
    *,
    works: int | None = None,
    running: int = 0,
    end: RunStatus | None = None,
    **changes: Any,
) -> int:
    """Make a run of so many trials, of which every seventh fails, and so many still run."""
    key = RunKey("hpo_local", f"manual__{clock.now.isoformat()} {trials}")
    spec = load(SPEC | changes)
    run = store.start_run(key, spec, triggered_by="ada", provenance=Provenance())
    for number in range(1, trials + 1):
        given = Assignment(number, _params(number, run))
        slot = f"slot-{(number - 1) % 4 + 1:03d}"
        store.slots.ask(run.id, slot, lambda _, one=given: Step(assignments=[one]))
        attempt = store.open_attempt(run.id, number, lambda _: {})
        clock.now += timedelta(seconds=20 + number % 7)
        if number > trials - running:
            store.live.keep(attempt.id, _series(number)[:30])
            continue
        good = number % 7 != 0 if works is None else number <= works
        store.close_attempt(attempt.id, _outcome(number, good=good), final=True)
    if end is not None:
        store.finish_run(run.id, end, f"max trials reached: {trials} of {trials}")
    return run.id


def _params(number: int, run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {
        "learning_rate": 10 ** (-5 + 4 * (number * 0.618 % 1)),
        "units": 16 * (1 + number * 5 % 16),
        "optimizer": "sgd" if number % 3 == 0 else "adam",
    }
    if number % 3 == 0:
        found["momentum"] = number * 0.37 % 0.99
    odd = [name for name in run.document["space"] if name not in SPACE]
    return found | {name: NASTY[number % len(NASTY)] for name in odd}


def _value(number: int) -> float:
    return 0.9 - 0.2 * (number * 0.618 % 1 - 0.6) ** 2 - 0.02 * (number * 7 % 5)


def _series(number: int) -> list[Observation]:
    best = _value(number)
    found = []
    for step in range(1, 21):
        share = 1 - math.exp(-step / 5)
        told = {"val_accuracy": best * share, "val_loss": 1.3 - best * share, "loss": 1.2 - share}
        found += [Observation(name, value, step, float(step)) for name, value in told.items()]
    return found


def _outcome(number: int, *, good: bool) -> Outcome:
    if not good:
        why = f"exit code 1: ValueError: <b>bad</b> batch {LONG}"
        return Outcome(AttemptState.FAILED, why, cause=Cause.USER_ERROR, exit_code=1, log_tail=_LOG)
    series = _series(number)
    metrics = {one.metric: one.value for one in series} | {"<u>odd": math.nan, "a'b\"c": 1.0}
    return Outcome(
        AttemptState.SUCCEEDED,
        "done",
        value=metrics["val_accuracy"],
        metrics=metrics,
        observations=series,
    )


def judged(store: Store, run: Run) -> None:
    """Give a run a champion that a later night has checked."""
    with store._database.write() as connection:
        challenge(connection, run.experiment, run.id, 1, {"units": 32}, run.started_at)
    model = store.models.get(run.experiment, 1)
    verdict = Verdict(promote=True, reason="Promoted: it is better by 0.05 ± 0.01.", error=0.01)
    model = store.models.promote(store.models.judged(model, verdict), "better than nothing")
    check = ChampionCheck(
        run=run.id,
        time=run.started_at,
        version=1,
        metric="val_accuracy",
        direction=Direction.MAXIMIZE,
        then=Score(0.9),
        now=Score(0.85),
    )
    store.models.noted(model, check)
