"""Reading the metrics of a run's trials again, from what they left: nothing is trained again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpo_lib.backends import log_of, output_of
from hpo_lib.collectors import Source
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Decision, Trial, TrialState
from hpo_lib.errors import HpoError
from hpo_lib.files.places import files
from hpo_lib.installation import Installation
from hpo_lib.records import UNREAD, AttemptState, Outcome, Run, RunStatus, TrialView
from hpo_lib.records.audit import ITSELF, Actor
from hpo_lib.registry import load as load_part
from hpo_lib.search import engine
from hpo_lib.spec import Spec
from hpo_lib.store import Store
from hpo_lib.trials.outcome import outcome, with_metrics


@dataclass(frozen=True, slots=True)
class Reread:
    """A trial as it was, what was read of it now, and as it is."""

    before: Trial
    read: Outcome
    after: Trial


def recollect(
    store: Store,
    run: Run,
    installation: Installation,
    metrics: Mapping[str, Any] | None = None,
    *,
    everything: bool = False,
    by: Actor = ITSELF,
) -> tuple[Run, list[Reread]]:
    """Read trials again whose objective was missing or not finite; give the run as it is then.

    `metrics` replaces settings of the spec's; with `everything` complete trials are read again too.
    A trial whose objective is not found now stays as it was. Done again, it gives the same.
    HpoError while a trial of the run is running; SpecError for wrong settings.
    """
    spec = with_metrics(run.spec, metrics or {})
    load_part("collector", spec.metrics.collector)
    seen = store.view(run.id)
    views, every = seen.trials, [*seen.trials, *seen.finals]
    running = [str(view.trial.number) for view in every if view.trial.state is TrialState.RUNNING]
    if running:
        raise HpoError(
            f"run {run.id} is still running trial {', '.join(running)}; collect again when it has "
            "ended"
        )
    chosen = [view for view in views if view.attempts and _is_in_question(view.trial, everything)]
    found = [_read_again(store, spec, view, installation, by) for view in chosen]
    return _judged_again(store, store.run_by_id(run.id)), found


def _is_in_question(trial: Trial, everything: bool) -> bool:
    complete = everything and trial.state is TrialState.COMPLETE
    # Of several rungs only the newest attempt would be read, and the others' values stay.
    return (complete and len(trial.rungs) < 2) or trial.cause in UNREAD


def _read_again(
    store: Store, spec: Spec, view: TrialView, installation: Installation, by: Actor
) -> Reread:
    attempt = view.attempts[-1]
    source = Source(log_of(attempt.handle), output_of(attempt.handle, installation.artifacts))
    read = outcome(spec, Exit(Ending.EXITED, attempt.exit_code), source)
    if read.state is not AttemptState.SUCCEEDED:
        if not read.log_tail and not files(source.output):
            gone = f"nothing that it has left is here: no {source.log}, nothing in {source.output}"
            read = replace(read, reason=gone)
        return Reread(view.trial, read, view.trial)
    return Reread(view.trial, read, store.recollect(attempt.id, read, spec, by))


def _judged_again(store: Store, run: Run) -> Run:
    """Judge an ended run by its trials as they are now; where it stopped too early, say so."""
    if run.status is RunStatus.RUNNING:
        return run
    spec, history, first = run.spec, store.history(run.id), store.stop_of(run.id)
    stop = engine.step(spec, history, 0).stop
    if stop is None and first is not None:
        made = f"ended after {len(history.trials)} of {spec.limits.max_trials} trials"
        stop = Decision.stop(f"{made}, before metrics were collected again: {first.reason}")
    conclusion = engine.conclude(spec, history, stop)
    status = RunStatus.FAILED if conclusion.failed else RunStatus.COMPLETE
    return store.judge_run_again(run.id, status, conclusion.reason)
