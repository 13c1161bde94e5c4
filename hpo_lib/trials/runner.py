"""The life of a trial: attempts until one of them gives an outcome, each taken over if killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from hpo_lib.backends import AttemptName, Backend, Request, output_within
from hpo_lib.core import retry_policy
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.shares import Shares
from hpo_lib.core.trial import Assignment, Cause, Origin, Trial, TrialState
from hpo_lib.errors import (
    AlreadyFinished,
    AnotherAttempt,
    NoPlace,
    SpecError,
    TransientError,
    TrialFailed,
)
from hpo_lib.records import Attempt, AttemptState, Outcome, Run, attempt_uri, slug_of, spec_of
from hpo_lib.records.audit import SOMEBODY
from hpo_lib.registry import OF_RETURNED
from hpo_lib.search.scheduling import inherits
from hpo_lib.search.stopping import failure_budget_spent
from hpo_lib.spec import Spec
from hpo_lib.spec.command_line import invocation
from hpo_lib.store import Store
from hpo_lib.trials import resuming
from hpo_lib.trials.attempt_log import beginning
from hpo_lib.trials.judging import Judging
from hpo_lib.trials.live import Live, Tell, source_of, to_nobody, watched
from hpo_lib.trials.outcome import outcome
from hpo_lib.trials.stopping import ended_when_told, stopped_as_told

_MAX_LINES, _MAX_LINE = 5_000, 2_000
_WAIT_S = 5.0
#: Sees an attempt through to its end; raises TransientError to be called again.
Launch = Callable[[Attempt, Request], Exit]


class Emit(Protocol):
    """Takes one line for the task's log."""

    def __call__(self, line: str, /) -> None: ...


def perform(
    store: Store,
    run: Run,
    number: int,
    backend: Backend,
    emit: Emit,
    launch: Launch,
    slot: str | None = None,
    shares: Shares | None = None,
    tell: Tell = to_nobody,
) -> Trial:
    """See a trial through to its end and give it; TransientError if it has to be tried again.

    A finished trial is given as it is. A running attempt is not started again: `launch` gets the
    same attempt and takes it over. What an attempt holds is let go of only when its outcome is in
    the store. If the trial was promoted to another slot than `slot`, nothing is run. No attempt
    begins when the run's failure budget is spent: the trial is stopped. So is one that is told to
    stop, before it begins or while it runs. With `shares` it waits here until its turn comes.
    `tell` is told now and then what it shows while it runs.
    """
    trial, (place, asked) = store.trial(run.id, number), store.assignment(run.id, number)
    if slot not in (None, place):
        emit(f"trial {number} has gone on in {place}: nothing is run here")
        return trial
    if trial.state is not TrialState.RUNNING:
        emit(f"trial {number} is already {trial.state}: nothing is run again")
        return _cleared(store, run, trial, backend)
    spec, before = spec_of(run, trial), {one.id for one in store.attempts(run.id, number)}
    try:
        attempt = _opened(store, run, trial, backend, emit, shares)
    except AlreadyFinished:
        return _cleared(store, run, store.trial(run.id, number), backend)
    if isinstance(attempt, str):
        emit(f"trial {number} is stopped: {attempt}")
        return _stopped(store, run, trial, backend, attempt)
    earlier = [one for one in store.attempts(run.id, number) if one.number < attempt.number]
    _end_stopped(earlier, backend)
    alike = [one for one in earlier if one.resource == attempt.resource]  # a rung is tried anew
    emit(beginning(attempt.number, number))
    emit(str(backend.log(attempt.handle)))
    live = Live(store, spec, attempt, backend, emit, tell)
    seen_through = partial(_seen_through, store, backend, emit, launch, live)
    taken_over = attempt.id in before
    end = _launched(
        store, run, trial, asked, attempt, backend, seen_through, alike, taken_over=taken_over
    )
    found = outcome(spec, end, source_of(backend, attempt))
    trial = _closed(store, attempt, found, alike)
    _let_go(store, run, trial, attempt, backend)
    if trial.state is TrialState.RUNNING:
        raise _another(attempt, found)
    return trial


def _seen_through(
    store: Store,
    backend: Backend,
    emit: Emit,
    launch: Launch,
    live: Live,
    attempt: Attempt,
    request: Request,
) -> Exit:
    """Launch an attempt; it is ended when its trial is told to stop, or shows nothing for long."""
    try:
        judging = Judging(store, attempt, live.spec)
        with ended_when_told(store, attempt, backend, emit, judging), watched(live):
            end = launch(attempt, request)
    except TransientError:
        if live.ended is None:
            raise
        return live.ended
    return live.end(end)


def _opened(
    store: Store, run: Run, trial: Trial, backend: Backend, emit: Emit, shares: Shares | None
) -> Attempt | str:
    """Open the trial's attempt once its turn has come, or say why none may begin any more."""
    spec, number, waits = spec_of(run, trial), trial.number, False
    while True:
        why = store.told_to_stop(run.id, number) or _not_begun(store, run, trial)
        if why is not None:
            return why
        try:
            return store.open_attempt(
                run.id,
                number,
                lambda n: backend.handle(_name(store, spec, run, number, n)),
                shares,
            )
        except NoPlace as error:
            if not waits and shares is not None:
                emit(f"{error}: {store.slots.why_waits(run.team, shares)}")
            waits = True
            time.sleep(_WAIT_S)


def _launched(
    store: Store,
    run: Run,
    trial: Trial,
    asked: Assignment,
    attempt: Attempt,
    backend: Backend,
    launch: Launch,
    earlier: Sequence[Attempt],
    *,
    taken_over: bool,
) -> Exit:
    """Launch an attempt, or take it over, and give its end, with what it printed at hand."""
    spec = spec_of(run, trial)
    try:
        wanted = request(
            spec,
            run,
            trial,
            asked,
            attempt=attempt.number,
            earlier=earlier,
            output=output_within(backend, attempt.handle),
            resume_from=_resumed(store, run, trial.number, asked, backend, spec),
            store=store.id,
            taken_over=taken_over,
        )
        end = launch(attempt, wanted)
    except SpecError as error:
        end = Exit(Ending.UNSTARTABLE, detail=" ".join(str(error).split()))
    backend.fetch(attempt.handle)
    return end


def _stopped(store: Store, run: Run, trial: Trial, backend: Backend, why: str) -> Trial:
    """End a trial that is stopped on purpose, and what still runs of it."""
    tried = store.attempts(run.id, trial.number)
    for attempt in tried[-1:]:
        if attempt.state is AttemptState.RUNNING:
            backend.stop(attempt.handle)
    _end_stopped(tried, backend)
    return _cleared(store, run, store.stop_trial(run.id, trial.number, why), backend)


def _not_begun(store: Store, run: Run, trial: Trial) -> str | None:
    """Say why no attempt of a trial may begin; None if one may, or runs already.

    Final trials come after a search that has ended, whatever its failures.
    """
    tried = store.attempts(run.id, trial.number)
    if trial.origin is Origin.FINAL or (tried and tried[-1].state is AttemptState.RUNNING):
        return None
    spent = failure_budget_spent(run.spec, store.failed(run.id))
    return f"not begun{' again' if tried else ''}: {spent.reason}" if spent else None


def _resumed(
    store: Store, run: Run, number: int, asked: Assignment, backend: Backend, spec: Spec
) -> str | None:
    """Name the output of the attempt whose checkpoint a trial goes on from, if there is one."""
    if not _keeps(backend, spec):
        return None
    source = number if asked.resume_from is None else asked.resume_from
    tried = store.attempts(run.id, source)
    if source != number:
        tried = [one for one in tried if _is_before(one.resource, asked.resource)]
    found = resuming.goes_on_from(asked, tried, backend)
    return None if found is None else str(backend.output(found.handle))


def _keeps(backend: Backend, spec: Spec) -> bool:
    return bool(backend.keeps_output or spec.artifacts)


def _let_go(store: Store, run: Run, trial: Trial, attempt: Attempt, backend: Backend) -> None:
    """Let go of what an ended attempt holds, and of checkpoints that no attempt goes on from.

    A checkpoint that cannot be deleted now goes with the run.
    """
    backend.discard(attempt.handle)
    if not _keeps(backend, spec_of(run, trial)) or inherits(run.spec):
        return
    with suppress(TransientError, TrialFailed):
        resuming.forget(trial, store.attempts(run.id, trial.number), backend)


def _is_before(reached: float | None, aim: float | None) -> bool:
    """Say whether there is more to train to an aim; another trial may have gone beyond it."""
    return reached is None or aim is None or reached < aim


def give_up(store: Store, attempt: Attempt, *, over: bool) -> None:
    """Record the end of an attempt whose task was ended by hand; if `over`, of its trial with it.

    Otherwise a task attempts the trial again, once it has made sure that nothing is left of this.
    """
    if over:
        why = "its Airflow task was marked, or its run deleted"
        cause = Cause.KILLED_BY_OPERATOR
        store.fail_trial(attempt.run_id, attempt.trial, cause, why, stopped_by=SOMEBODY)
    else:
        found = Outcome(AttemptState.FAILED, "its Airflow task was cleared", cause=Cause.STOPPED)
        store.close_attempt(attempt.id, found, final=False)


def _end_stopped(earlier: Sequence[Attempt], backend: Backend) -> None:
    """Wait until nothing is left of earlier attempts that were told to end."""
    for one in earlier:
        if one.cause is Cause.STOPPED:
            backend.stop(one.handle)
            backend.discard(one.handle)


def _name(store: Store, spec: Spec, run: Run, trial: int, attempt: int) -> AttemptName:
    """Name an attempt, and the place where the spec keeps its output."""
    uri = attempt_uri(spec.artifacts.uri, run, trial, attempt) if spec.artifacts else None
    return AttemptName(store.id, slug_of(run), trial, attempt, spec.trial.options, uri)


def follow(backend: Backend, attempt: Attempt, request: Request, emit: Emit) -> Exit:
    """Submit an attempt to the backend, unless it runs, and wait for its end."""
    backend.submit(attempt.handle, request)
    for count, item in enumerate(backend.follow(attempt.handle), start=1):
        if isinstance(item, Exit):
            return item
        if count <= _MAX_LINES:
            emit(item[:_MAX_LINE])
        if count == _MAX_LINES:
            emit(f"… more than {_MAX_LINES} lines: the rest is in the file named above only")
    raise TransientError("the backend gave no end")


def request(
    spec: Spec,
    run: Run,
    trial: Trial,
    asked: Assignment,
    *,
    attempt: int,
    output: str,
    store: str,
    earlier: Sequence[Attempt] = (),
    resume_from: str | None = None,
    taken_over: bool = False,
) -> Request:
    """Build what an attempt runs: a pure function of its arguments."""
    made = invocation(
        spec,
        trial,
        run=run.id,
        attempt=attempt,
        output=output,
        resource=asked.resource,
        resume_from=resume_from,
    )
    resources = spec.trial.resources
    return Request(
        command=made.command,
        args=made.args,
        env=made.env,
        timeout_s=spec.trial.timeout_s,
        start_timeout_s=spec.trial.start_timeout_s,
        stop_grace_s=spec.trial.stop_grace_s,
        image=spec.trial.image,
        memory_bytes=resources.memory_bytes,
        cpu=resources.cpu,
        gpu=resources.gpu or 0,
        spot=spec.trial.spot and not retry_policy.is_last(len(earlier) + 1),
        options=made.options,
        resume_from=resume_from,
        returns=spec.metrics.collector in OF_RETURNED,
        taken_over=taken_over,
        dir=spec.trial.dir,
        python=spec.trial.interpreter,
        labels={
            "store": store,
            "experiment": spec.name,
            "run": str(run.id),
            "trial": str(trial.number),
            "attempt": str(attempt),
        },
    )


def _closed(store: Store, attempt: Attempt, found: Outcome, earlier: Sequence[Attempt]) -> Trial:
    """Record an attempt's end, and the trial's if its cause allows no further attempt.

    A trial that was told to stop, and has not ended well before, is stopped.
    """
    told = store.told_to_stop(attempt.run_id, attempt.trial)
    if told is not None and found.state is not AttemptState.SUCCEEDED:
        return stopped_as_told(store, attempt, found, told)
    before = [one.cause for one in earlier]
    return store.close_attempt(attempt.id, found, final=not retry_policy.again(found.cause, before))


def _another(attempt: Attempt, found: Outcome) -> AnotherAttempt:
    """Make the error that asks for a trial's next attempt, after the pause for its cause."""
    rule = retry_policy.RULES[found.cause or Cause.LOST]
    said = f"attempt {attempt.number} failed: {found.cause}: {found.reason}; there is another"
    return AnotherAttempt(said, after_s=rule.delay_s)


def _cleared(store: Store, run: Run, trial: Trial, backend: Backend) -> Trial:
    """Let go of what an ended trial's last attempt holds, in case a killed task did not."""
    for attempt in store.attempts(run.id, trial.number)[-1:]:
        backend.discard(attempt.handle)
    return trial
