"""A run under way: how many trials each wave has, one after the other, and the end."""

from __future__ import annotations

from collections.abc import Callable, Collection

from hpo_lib.backends import Backend
from hpo_lib.core.ending import Ending
from hpo_lib.core.trial import Cause, Decision, Trial, TrialState
from hpo_lib.errors import (
    HpoError,
    NotFound,
    SpecError,
)
from hpo_lib.installation import Installation
from hpo_lib.records import Attempt, AttemptState, Run, RunKey, RunStatus, TrialView, spec_of
from hpo_lib.records.audit import Actor
from hpo_lib.runs import fingerprint, quotas
from hpo_lib.search import engine
from hpo_lib.spec import Spec
from hpo_lib.store import Store
from hpo_lib.store.batches import Batch
from hpo_lib.trials.live import source_of
from hpo_lib.trials.outcome import outcome
from hpo_lib.trials.stopping import stopped_as_told


def next_wave(store: Store, key: RunKey, wave: int, installation: Installation) -> Batch:
    """Settle what earlier waves left behind, then give this wave's assignments or the stop."""
    if (why := not_begun(store, key)) is not None:
        return Batch(stop=why)
    run = store.run(key)
    known = store.settled_batch(run.id, slot_of(wave))
    if known is not None:
        return known
    settle(store, run, installation, slots={slot_of(earlier) for earlier in range(1, wave)})
    return ask_wave(store, run, wave, installation, lambda: store.run(key).spec)


def not_begun(store: Store, key: RunKey) -> Decision | None:
    """Say why there is nothing to run; None if the run has begun."""
    try:
        run = store.run(key)
    except NotFound:
        return Decision.stop("the run was never started", failed=True)
    if run.status is RunStatus.REFUSED:
        return Decision.stop(run.reason or "refused", failed=True)
    return None


def ask_wave(
    store: Store, run: Run, wave: int, installation: Installation, spec: Callable[[], Spec]
) -> Batch:
    """Give a wave's assignments or the stop, once the trials of earlier waves have ended.

    `spec` gives the run's as it is now: somebody may change it while this one is asked.
    """
    slot, capacity = slot_of(wave), run.spec.limits.parallel_trials
    if why := quotas.spent(store, run.spec, installation):
        return store.next_batch(run.id, slot, lambda _: engine.Step(stop=Decision.stop(why)))
    return store.next_batch(run.id, slot, lambda history: engine.step(spec(), history, capacity))


def slot_of(wave: int) -> str:
    """Name the slot whose batch is this wave."""
    return f"wave-{wave:02d}"


def finish(
    store: Store,
    key: RunKey,
    installation: Installation,
    strayed: Callable[[Run], str | None] = lambda _: None,
    stopped_by: Actor | None = None,
) -> Run:
    """End the run in an honest state and give it; a refused or absent run raises SpecError.

    `strayed` may say why a run got no further although nothing has stopped it; `stopped_by` names
    who has stopped it before its end.
    """
    try:
        run = store.run(key)
    except NotFound as error:
        raise SpecError(f"nothing to report: {error}") from None
    if run.status is RunStatus.REFUSED:
        raise SpecError(run.reason or "refused")
    conclusion = _concluded(store, run, installation, strayed)
    if run.status is RunStatus.RUNNING and not _stands_still(run, installation):
        store.forget_fingerprint(run.id)
    status = RunStatus.FAILED if conclusion.failed else RunStatus.COMPLETE
    return store.finish_run(run.id, status, conclusion.reason, stopped_by)


def _concluded(
    store: Store, run: Run, installation: Installation, strayed: Callable[[Run], str | None]
) -> Decision:
    """Do as `searched`; a run whose spec cannot be used any more ends as failed."""
    try:
        return searched(store, run, installation, strayed)
    except SpecError as error:
        why = " ".join(str(error).split())
        return Decision.stop(
            f"broken off, for its spec cannot be used any more: {why}", failed=True
        )


def _stands_still(run: Run, installation: Installation) -> bool:
    """Say whether data and code are known to be unchanged since the run began."""
    if run.fingerprint is None:
        return True
    try:
        return fingerprint.take(run.spec, installation.inputs)[0] == run.fingerprint
    except HpoError:
        return False


def searched(
    store: Store,
    run: Run,
    installation: Installation,
    strayed: Callable[[Run], str | None] = lambda _: None,
) -> Decision:
    """End the run's search with all trials that still run, and conclude what came of it."""
    spec = run.spec
    settle(store, run, installation)
    stop = store.stop_of(run.id)
    if stop is None:
        stop = store.next_batch(run.id, "end", lambda history: engine.step(spec, history, 0)).stop
    if stop is None and (why := strayed(run)):
        made = f"{len(store.history(run.id).trials)} of {spec.limits.max_trials} trials"
        stop = Decision.stop(f"broken off after {made}: {why}", failed=True)
    return engine.conclude(spec, store.history(run.id), stop)


def settle(
    store: Store,
    run: Run,
    installation: Installation,
    *,
    slots: Collection[str] | None = None,
    numbers: Collection[int] | None = None,
) -> None:
    """End every trial that its Airflow task left unfinished: of some slots, some trials, or all.

    The caller must know that no task of theirs still runs. Where trials run side by side without
    waves, the trials of other slots are left to their own tasks.
    """
    view = store.view(run.id)
    for one in [*view.trials, *view.finals]:
        meant = (slots is None or one.slot in slots) and (
            numbers is None or one.trial.number in numbers
        )
        if one.trial.state is TrialState.RUNNING and meant:
            attempt = _under_way(one)
            spec = spec_of(run, one.trial)
            _settle_trial(store, run, spec, one.trial, attempt, installation.backend(spec))


def _under_way(view: TrialView) -> Attempt | None:
    """Give the attempt that a running trial is left with; None before its first, or at its rung.

    A trial that was promoted, and whose task has not begun, has one that ended well: at the rung
    before.
    """
    newest = view.attempts[-1] if view.attempts else None
    return None if newest and newest.state is AttemptState.SUCCEEDED else newest


def _settle_trial(
    store: Store, run: Run, spec: Spec, trial: Trial, attempt: Attempt | None, backend: Backend
) -> None:
    told = store.told_to_stop(run.id, trial.number)
    if attempt is None and told is not None:
        store.stop_trial(run.id, trial.number, told)
        return
    if attempt is None:
        why = "its Airflow task ended before it could start"
        store.fail_trial(run.id, trial.number, Cause.LOST, why)
        return
    end = backend.poll(attempt.handle)
    if end is None:
        backend.stop(attempt.handle)
        end = backend.poll(attempt.handle)
        end = end if end and end.ending is not Ending.LOST else None
    if attempt.state is AttemptState.RUNNING and end and end.ending is not Ending.STOPPED:
        backend.fetch(attempt.handle)
        found = outcome(spec, end, source_of(backend, attempt))
        if told is not None and found.state is not AttemptState.SUCCEEDED:
            stopped_as_told(store, attempt, found, told)
        else:
            store.close_attempt(attempt.id, found, final=True)
    elif told is not None:
        store.stop_trial(run.id, trial.number, told)
    else:
        why = "its Airflow task was ended before the trial was"
        store.fail_trial(run.id, trial.number, Cause.KILLED_BY_OPERATOR, why)
    backend.discard(attempt.handle)
