"""Housekeeping: end what nobody looks after any more, and say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hpo_lib.backends import Backend
from hpo_lib.installation import Installation, backend_of
from hpo_lib.promotion.deployment import heal
from hpo_lib.records import AttemptState, Run, RunKey
from hpo_lib.records.audit import ITSELF, SOMEBODY, Actor
from hpo_lib.runs import exports, lifecycle, outputs, retention
from hpo_lib.store import Store

#: For how many seconds after its start a run may wait for a file that was removed.
_WAIT_S = 24 * 3_600.0
#: So long a run's exports may take: housekeeping has ten minutes for everything.
_EXPORT_S = 120.0


def sweep(
    store: Store,
    installation: Installation,
    is_over: Callable[[RunKey], bool],
    orphaned: Callable[[Run], str | None] = lambda _: None,
) -> Iterator[str]:
    """End what is left over, and yield a sentence for each thing done or not possible.

    First it ends runs whose DAG run `is_over` (marked, deleted), with their trials and a report,
    unless they were extended a moment ago; and runs that have no DAG any more, for the reason that
    `orphaned` gives. Then it ends processes, containers and pods that bear this store's name
    without a live attempt in it. Then it makes every champion serve in place of any other model.
    Then it deletes runs that are older than the operator keeps them, and brings those that it has
    ended to where ended runs are exported. One failure does not stop the rest.
    """
    going = store.running()
    for run in going:
        try:
            if is_over(run.key) and not store.interventions.just_extended(run.id):
                yield _closed(store, run, installation, "its DAG run is over", by=SOMEBODY)
            elif why := orphaned(run):
                yield _left(store, run, installation, why)
        except Exception as error:
            yield f"run {run.id}: could not be closed: {error or repr(error)}"
    used = {(run.team, name) for run in [*going, *store.runs()] for name in run.outline.backends}
    for team, name in sorted(used):
        try:
            # A team may have had a backend that it may not use any more.
            build = installation.of(team).backends.get(name) or installation.backends[name]
            yield from _leftovers(store, name, build())
        except Exception as error:
            yield f"{name}: could not be swept: {error or repr(error)}"
    # Late, because a deployment may use up all the time.
    yield from heal(store, installation, is_over)
    # Last, because nobody waits for it.
    yield from retention.forget_old(store, installation, is_over)
    _export(store, going, installation)


def _left(store: Store, run: Run, installation: Installation, why: str) -> str:
    """Close a run that has no DAG any more, unless a trial runs or its file may yet come back."""
    if store.history(run.id).elapsed_s < _WAIT_S or _goes_on(store, run, installation):
        return (
            f"run {run.id} waits: {why}; it goes on when the file is back, and is closed when its "
            "DAG run is marked failed, or a day after it began"
        )
    return _closed(store, run, installation, "it has waited for a day", why)


def _goes_on(store: Store, run: Run, installation: Installation) -> bool:
    """Say whether a trial of a run still runs, whatever has become of its Airflow task."""
    view = store.view(run.id)
    tried = [one for one in [*view.trials, *view.finals] if one.attempts]
    live = [one for one in tried if one.attempts[-1].state is AttemptState.RUNNING]
    return any(
        backend_of(run, one.trial, installation).poll(one.attempts[-1].handle) is None
        for one in live
    )


def _closed(
    store: Store,
    run: Run,
    installation: Installation,
    because: str,
    why: str | None = None,
    by: Actor = ITSELF,
) -> str:
    installation = installation.of(run.team)
    ended = lifecycle.finish(store, run.key, installation, lambda _: why, by)
    model = store.models.of_run(run.id)
    if model is not None and model.awaits_verdict:
        store.models.reject(model, "its run ended before the gate could judge it")
    report = outputs.write_report(store, ended, installation)
    outputs.keep_artifacts(store, ended, installation)
    return f"run {run.id}: {ended.status}, {because}: {ended.reason} ({report})"


def _export(store: Store, going: Iterable[Run], installation: Installation) -> None:
    """Export the runs that have ended since they were `going`."""
    still = {run.id for run in store.running()}
    for run in going:
        if run.id not in still:
            of_team = installation.of(run.team)
            exports.bring(store, run, of_team, patience_s=_EXPORT_S)


def _leftovers(store: Store, name: str, backend: Backend) -> Iterator[str]:
    for found in list(backend.found(store.id)):
        if not store.is_live(found.run, found.trial, found.attempt):
            backend.stop(found.handle)
            backend.discard(found.handle)
            what = f"attempt {found.attempt} of trial {found.trial} of run {found.run}"
            yield f"{name}: ended what was left of {what}"
