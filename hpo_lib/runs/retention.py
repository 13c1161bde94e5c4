"""Retention: what is left of ended runs that an operator no longer keeps is deleted.

Files go first, rows last and all at once: whoever is killed in between leaves a run that is there
and still old, so the next visit deletes what is left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hpo_lib.core.teams import Retention
from hpo_lib.errors import TransientError
from hpo_lib.installation import Installation
from hpo_lib.records import ModelStatus, Run, RunKey
from hpo_lib.runs import outputs
from hpo_lib.store import Store

#: So many runs of a team are deleted at a visit, so that a visit ends.
MOST = 50


def forget_old(
    store: Store, installation: Installation, is_over: Callable[[RunKey], bool]
) -> Iterator[str]:
    """Delete old runs, each team's by its own rule; a sentence for each, or why it cannot be.

    Left alone are runs whose DAG run is not over, as somebody may have cleared its tasks.
    """
    for team in store.old_runs.teams():
        try:
            here = installation.of(team)
            if (retention := here.retention()) is not None:
                yield from _forget_team(store, here, retention, is_over)
        except Exception as error:
            yield f"retention{f' of {team}' if team else ''}: {error or repr(error)}"


def _forget_team(
    store: Store,
    installation: Installation,
    retention: Retention,
    is_over: Callable[[RunKey], bool],
) -> Iterator[str]:
    """Delete a team's old runs; a place out of reach ends the visit, what is wrong does not."""
    gone = 0
    for number in store.old_runs.due(installation.team, retention):
        if gone == MOST:
            return
        try:
            run = store.run_by_id(number)
            if is_over(run.key) and not _awaits_deployment(store, run):
                outputs.delete(store, run, installation)
                if store.old_runs.forget(number, retention):
                    gone += 1
                    yield f"run {number} of {run.experiment} is deleted ({retention})"
        except TransientError:
            raise
        except Exception as error:
            yield f"run {number}: could not be deleted: {error or repr(error)}"


def _awaits_deployment(store: Store, run: Run) -> bool:
    """Say whether a run's challenger may yet be staged somewhere: housekeeping rejects it first."""
    model = store.models.of_run(run.id)
    waits = model is not None and model.status is ModelStatus.CHALLENGER
    return waits and bool(run.outline.deploy)
