"""What people ask of a run: that it stops, tries a point of theirs, or goes on with more trials.

Whoever asks twice gets the same answer, and each change is one transaction: a caller that was
killed asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_lib.core.space import key as params_key
from hpo_lib.core.trial import Decision, History, Params, Trial
from hpo_lib.errors import AlreadyFinished, SpecError, TransientError
from hpo_lib.records import Run, RunStatus
from hpo_lib.records.audit import Actor, Deed
from hpo_lib.records.stopped import cancelled, stopped
from hpo_lib.runs.lifecycle import slot_of
from hpo_lib.search import engine
from hpo_lib.search.suggesting import used_keys
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store


def stop(store: Store, run: Run, by: Actor) -> Run:
    """Let a run end now: it begins no more trials, those that run are stopped, a report follows."""
    store.interventions.stop_run(run.id, Decision.stop(stopped(by.who)), by)
    return store.run_by_id(run.id)


def cancel(store: Store, run: Run, by: Actor) -> Run:
    """Do as `stop` for a run whose DAG run is going to be ended: it has failed."""
    why = Decision.stop(cancelled(by.who), failed=True)
    store.interventions.stop_run(run.id, why, by)
    return store.run_by_id(run.id)


def stop_trial(store: Store, run: Run, number: int, by: Actor) -> Trial:
    """Stop one trial, which is no failure; NotFound."""
    return store.interventions.stop_trial(run.id, number, stopped(by.who), by)


def add_point(store: Store, run: Run, params: Mapping[str, Any], by: Actor) -> Run:
    """Let a run try a configuration of somebody's before the sampler's next ones.

    One that was tried, or is going to be, changes nothing. AlreadyFinished if no trial is left.
    """
    before, history = run.spec, store.history(run.id)
    space, point = before.search_space, _point(run, params)
    wanted = {params_key(space.canonical(one)) for one in before.initial_points}
    used = used_keys(space, history)
    if params_key(point) in wanted | used:
        return run
    _check_goes_on(store, run)
    left = before.limits.max_trials - len(history.trials) - len(wanted - used)
    if left < 1:
        raise AlreadyFinished(
            f"run {run.id} has no trial left for another point, of "
            f"{before.limits.max_trials} limits.max_trials: extend it first"
        )
    points = [*(run.document.get("initial_points") or []), dict(params)]
    spec = load({**run.document, "initial_points": points})
    engine.check(spec)
    told = {"initial_points": len(points)}
    made = len(history.trials)
    return store.interventions.change_spec(run, spec, Deed.CHANGED, by, told, made=made)


def _point(run: Run, params: Mapping[str, Any]) -> Params:
    """Check a configuration as if it were the only initial point; SpecError names what is wrong."""
    try:
        spec = load({**run.document, "initial_points": [dict(params)]})
    except SpecError as error:
        raise SpecError(str(error).replace("initial_points.0", "params")) from None
    return spec.search_space.canonical(spec.initial_points[0])


def extend(store: Store, run: Run, max_trials: int, by: Actor, *, waves: int | None) -> Run:
    """Let a run have `max_trials` in all, with its history, also if it has ended.

    `waves` is how many its DAG has, None if it has slots. AlreadyFinished says why a run cannot go
    on.
    """
    before, history = run.spec, store.history(run.id)
    spec = _longer(run, before, max_trials)
    if waves is not None:
        _check_waves(store, run, spec, max_trials - len(history.trials), waves)
    told = {"max_trials": max_trials, "before": before.limits.max_trials}
    if run.status is RunStatus.RUNNING:
        _check_goes_on(store, run)
        if max_trials == before.limits.max_trials:
            return run
        made = len(history.trials)
        return store.interventions.change_spec(run, spec, Deed.EXTENDED, by, told, made=made)
    _check_can_go_on(store, run, spec, history)
    return store.interventions.reopen(run, spec, by, told)


def _longer(run: Run, before: Spec, max_trials: int) -> Spec:
    if max_trials < before.limits.max_trials:
        raise SpecError(
            f"max_trials: must be >= {before.limits.max_trials}, which run {run.id} has, "
            f"got {max_trials}"
        )
    limits = {**(run.document.get("limits") or {}), "max_trials": max_trials}
    spec = load({**run.document, "limits": limits})
    engine.check(spec)
    return spec


def _check_waves(store: Store, run: Run, spec: Spec, left: int, waves: int) -> None:
    """Raise SpecError if the DAG is too short for the trials that are left."""
    if left < 1:
        return
    limits = spec.limits.model_copy(update={"max_trials": left})
    needed = next_wave(store, run) - 1 + engine.waves(spec.model_copy(update={"limits": limits}))
    if needed > waves:
        raise SpecError(
            f"max_trials: {spec.limits.max_trials} trials, of which {left} are left, need "
            f"{needed} waves, and the DAG {run.key.dag_id} has {waves}"
        )


def next_wave(store: Store, run: Run) -> int:
    """Number the first wave that has no trials and was not told to have none."""
    wave = 1
    while (batch := store.batch_of(run.id, slot_of(wave))) is not None and batch.stop is None:
        wave += 1
    return wave


def _check_goes_on(store: Store, run: Run) -> None:
    """Raise AlreadyFinished if a run has ended, and TransientError if it is about to."""
    if run.status is not RunStatus.RUNNING:
        raise AlreadyFinished(f"run {run.id} is {run.status}: {run.reason}")
    if (stopping := store.stop_of(run.id)) is not None:
        raise TransientError(f"run {run.id} is about to end: {stopping.reason}")


def _check_can_go_on(store: Store, run: Run, spec: Spec, history: History) -> None:
    """Raise AlreadyFinished if a run that has ended is not to go on with a longer spec."""
    if store.listing.trials(run.id, -1, 1, finals=True):
        raise AlreadyFinished(
            f"run {run.id} cannot go on: it has trained its winner for the last time; submit its "
            "spec again, with warm_start"
        )
    stops = engine.step(spec, history, 1).stop
    if stops is not None:
        mend = "; mend what made its trials fail, and run its spec anew"
        hint = f"{mend}: `hpo spec {run.id}` gives it" if stops.failed else ""
        raise AlreadyFinished(f"run {run.id} cannot go on: {stops.reason}{hint}")
