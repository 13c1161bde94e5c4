"""What there is to read of runs, answered from a store, for the REST API and for those without."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from hpo_lib.cli import answers
from hpo_lib.cli.progress import line_of, so_far
from hpo_lib.core.trial import TrialState
from hpo_lib.errors import NotFound, SpecError
from hpo_lib.records import Run, RunView
from hpo_lib.runs.trial_files import Left
from hpo_lib.store import Store
from hpo_lib.store.listing import Wanted

#: No run has more trials.
_ALL = 100_000


def experiments(store: Store, dags: Collection[str], after: str, limit: int) -> answers.Experiments:
    """List experiments of these DAGs by name, a page at a time."""
    rows = [answers.Experiment.of(row) for row in store.listing.experiments(dags, after, limit)]
    return answers.Experiments(experiments=rows, next=next_of([one.name for one in rows], limit))


def runs(store: Store, wanted: Wanted, before: int | None, limit: int) -> answers.Runs:
    """List runs, the newest first, a page at a time."""
    rows = [answers.Run.of(one) for one in store.listing.runs(wanted, before, limit)]
    return answers.Runs(runs=rows, next=next_of([one.id for one in rows], limit))


def run(store: Store, found: Run) -> answers.RunDetail:
    """Give a run with how far it is."""
    stop, history = store.stop_of(found.id), store.history(found.id)
    finals = store.listing.trials(found.id, -1, 1000, finals=True)
    return answers.RunDetail.of(
        found,
        max_trials=_max_trials(found),
        trials={state: len(history.of(state)) for state in TrialState},
        finals=len(finals),
        line=line_of(store, found.key, str(found.status)) if finals else _line(store, found),
        stopping=None if stop is None else stop.reason,
        other_mode=_other_mode(store, found),
    )


def trials(store: Store, of: Run, after: int, limit: int, *, finals: bool) -> answers.Trials:
    """List the trials of a run's search by number, or those of its final training."""
    found = store.listing.trials(of.id, after, limit, finals=finals)
    rows = [answers.Trial.of(view) for view in found]
    return answers.Trials(trials=rows, next=next_of([one.number for one in rows], limit))


def best(store: Store, of: Run) -> answers.Best:
    """Give the best trial so far; of several objectives, the trials on the Pareto front."""
    view = store.view(of.id)
    leading = [answers.Trial.of(one) for one in view.trials if one.trial.number in view.front]
    names = [] if view.goal is None else [name for name, _ in view.goal.objectives]
    return answers.Best(metrics=names, trials=leading)


def files(left: Left, after: str, limit: int) -> answers.Files:
    """List what a trial has left, by name, a page at a time."""
    names = [(name, size) for name, size in left.files() if name > after][:limit]
    rows = [answers.File(name=name, size=size) for name, size in names]
    return answers.Files(
        trial=left.trial,
        attempt=left.attempt,
        place=str(left.folder),
        files=rows,
        next=next_of([one.name for one in rows], limit),
    )


def spec(of: Run) -> answers.Spec:
    """Give the spec that a run has; NotFound of one that was refused."""
    if not of.document:
        raise NotFound(f"run {of.id} was refused, the store has no spec of it: {of.reason}")
    return answers.Spec(dict(of.document))


def next_of(keys: Sequence[Any], limit: int) -> Any:
    """Give where the next page begins; None if this one is not full."""
    return keys[-1] if len(keys) == limit else None


def _max_trials(of: Run) -> int | None:
    """Give how many trials a run has at most; None if its spec cannot be read."""
    try:
        return of.spec.limits.max_trials
    except SpecError:
        return None


def _other_mode(store: Store, of: Run) -> str | None:
    """Say what the other mode would have cost a run that has ended."""
    from hpo_lib.report import modes

    if of.ended_at is None:
        return None
    return modes.told_of(RunView(of, store.listing.trials(of.id, -1, _ALL)))


def _line(store: Store, of: Run) -> str:
    """Say how far a run is, or why that cannot be said."""
    try:
        return so_far(store, of)
    except SpecError as error:
        return str(error)
