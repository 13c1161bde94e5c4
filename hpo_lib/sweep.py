"""Housekeeping: what nobody looks after any more is ended, and it is said that it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hpo_lib import releases, runs
from hpo_lib.backends import Backend
from hpo_lib.record import Run, RunKey
from hpo_lib.runs import Deployment
from hpo_lib.store import Store


def sweep(store: Store, deployment: Deployment, is_over: Callable[[RunKey], bool]) -> Iterator[str]:
    """End what is left over, and yield a sentence for each thing done or not possible.

    That is: runs whose DAG run `is_over` (marked, deleted), with their trials and a report; then
    processes, containers and pods that bear this store's name without a live attempt in it; and
    models that serve although the store names another. What goes wrong with one of them keeps
    nothing from the others.
    """
    going = store.running()
    for run in going:
        try:
            if is_over(run.key):
                yield _closed(store, run, deployment)
        except Exception as error:
            yield f"run {run.id}: could not be closed: {error or repr(error)}"
    for name in sorted(
        {str(run.spec["trial"]["backend"]) for run in [*going, *store.runs()] if run.spec}
    ):
        try:
            yield from _leftovers(store, name, deployment.backends[name]())
        except Exception as error:
            yield f"{name}: could not be swept: {error or repr(error)}"
    # Last, for a deployment may take all the time that there is.
    yield from releases.heal(store, deployment, is_over)


def _closed(store: Store, run: Run, deployment: Deployment) -> str:
    ended = runs.finish(store, run.key, deployment)
    model = store.models.of_run(run.id)
    if model is not None and model.awaits_verdict:
        store.models.reject(model, "its run ended before the gate could judge it")
    report = runs.write_report(store, ended, deployment)
    runs.keep_artifacts(store, ended, deployment)
    return f"run {run.id}: {ended.status}, its DAG run is over: {ended.reason} ({report})"


def _leftovers(store: Store, name: str, backend: Backend) -> Iterator[str]:
    for found in list(backend.found(store.id)):
        if not store.is_live(found.run, found.trial, found.attempt):
            backend.stop(found.handle)
            backend.discard(found.handle)
            what = f"attempt {found.attempt} of trial {found.trial} of run {found.run}"
            yield f"{name}: ended what was left of {what}"
