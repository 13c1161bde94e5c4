"""Housekeeping: what nobody looks after any more is ended, and it is said that it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hpo_lib import runs
from hpo_lib.backends import Backend
from hpo_lib.errors import HpoError
from hpo_lib.record import RunKey
from hpo_lib.runs import Deployment
from hpo_lib.store import Store


def sweep(store: Store, deployment: Deployment, is_over: Callable[[RunKey], bool]) -> Iterator[str]:
    """End what is left over, and yield a sentence for each thing done or not possible.

    That is: runs whose DAG run `is_over` (marked, deleted), with their trials and a report; then
    processes, containers and pods that bear this store's name without a live attempt in it.
    """
    going = store.running()
    for run in going:
        if is_over(run.key):
            ended = runs.finish(store, run.key, deployment)
            report = runs.write_report(store, ended, deployment)
            yield f"run {run.id}: {ended.status}, its DAG run is over: {ended.reason} ({report})"
    for name in sorted(
        {str(run.spec["trial"]["backend"]) for run in [*going, *store.runs()] if run.spec}
    ):
        try:
            yield from _leftovers(store, name, deployment.backends[name]())
        except HpoError as error:
            yield f"{name}: could not be swept: {error}"


def _leftovers(store: Store, name: str, backend: Backend) -> Iterator[str]:
    for found in list(backend.found(store.id)):
        if not store.is_live(found.run, found.trial, found.attempt):
            backend.stop(found.handle)
            backend.discard(found.handle)
            what = f"attempt {found.attempt} of trial {found.trial} of run {found.run}"
            yield f"{name}: ended what was left of {what}"
