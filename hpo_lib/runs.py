"""A run from conf to report: the few functions that Airflow's tasks call.

Each may be called again at any moment, by a retried or cleared task or after a crash, and then
gives the same answer without doing anything twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpo_lib import artifacts, engine, failures, fingerprint, warmstart
from hpo_lib.backends import AttemptName, Backend, Ending, Exit, Request
from hpo_lib.collectors import Source, plain, reduce, thinned, wanted
from hpo_lib.deployers import Deployer
from hpo_lib.errors import (
    AlreadyFinished,
    HpoError,
    NotFound,
    SpecError,
    TransientError,
    TrialFailed,
)
from hpo_lib.goal import Goal
from hpo_lib.invocation import STORE, attempt_uri, invocation
from hpo_lib.places import Place, tail
from hpo_lib.record import Attempt, AttemptState, Outcome, Run, RunKey, RunStatus
from hpo_lib.registry import load as load_part
from hpo_lib.spec import Spec, load
from hpo_lib.store import Lease, Store
from hpo_lib.trial import Cause, Decision, Observation, Origin, Trial, TrialState

if TYPE_CHECKING:
    from upath import UPath

#: The module that carries outputs to object stores, and what it ends with if it could not.
_UPLOAD, _NOT_COPIED = "hpo_lib.runtime.upload", 74
_TAIL_BYTES = 8_192
_MAX_LINES, _MAX_LINE = 5_000, 2_000


def _no_deployer(spec: Spec, store: str) -> Deployer:  # noqa: ARG001 - what others are like
    raise SpecError("deploy.to: nothing can be deployed from here")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What this installation offers: folder for results, and how wide and long a DAG may be.

    `artifacts` are URIs below which a spec's artifacts may lie, with their storage options;
    `inputs` is where the data and code may lie that it declares.
    """

    home: Path
    backends: Mapping[str, Callable[[], Backend]]
    max_waves: int = 40
    max_parallel: int = 8
    artifacts: artifacts.Offers = field(default_factory=dict)
    deployers: Callable[[Spec, str], Deployer] = _no_deployer
    inputs: fingerprint.Inputs = field(default_factory=fingerprint.Inputs)

    def deployer(self, spec: Spec, store: str = "") -> Deployer:
        """Build what `deploy` asks for, for a store; SpecError if it is not there or allowed."""
        return self.deployers(spec, store)

    def backend(self, spec: Spec) -> Backend:
        """Build the backend that the spec names; HpoError if it is not there."""
        if spec.trial.backend not in self.backends:
            there = ", ".join(sorted(self.backends))
            raise HpoError(f"backend {spec.trial.backend} is not there; there are: {there}")
        return self.backends[spec.trial.backend]()


#: Sees an attempt through to its end; raises TransientError to be called again.
Launch = Callable[[Attempt, Request], Exit]


class Emit(Protocol):
    """Takes one line for the task's log."""

    def __call__(self, line: str, /) -> None: ...


def validate(conf: Any, deployment: Deployment, *, backend: str, by_file: bool = False) -> Spec:
    """Check a conf against the model, the engine and what this DAG can do, or raise SpecError.

    A DAG that was made of a file (`by_file`) has tasks for the backend that its `final` names.
    """
    spec = load(conf)
    if spec.schedule is not None:
        raise SpecError(
            "schedule: belongs to a file in config/experiments, which gets a DAG of its own; leave "
            f"it out of a conf, which runs at once, got {spec.schedule.words()}"
        )
    engine.check(spec)
    load_part("collector", spec.metrics.collector)
    if spec.trial.backend != backend:
        raise SpecError(f"trial.backend: this DAG runs {backend}, got {spec.trial.backend}")
    last = spec.for_final.trial.backend
    if last != backend and not by_file:
        raise SpecError(
            f"final.trial.backend: this DAG runs {backend}, got {last}; only a file in "
            "config/experiments, which gets a DAG of its own, may train its winner elsewhere"
        )
    if spec.limits.parallel_trials > deployment.max_parallel:
        raise SpecError(
            f"limits.parallel_trials: must be <= {deployment.max_parallel} in this deployment, "
            f"got {spec.limits.parallel_trials}; its operator can raise HPO_MAX_PARALLEL"
        )
    if engine.waves(spec) > deployment.max_waves:
        raise SpecError(
            f"limits: {spec.limits.max_trials} trials, {spec.limits.parallel_trials} in parallel, "
            f"need {engine.waves(spec)} waves, but this DAG has {deployment.max_waves}; raise "
            "parallel_trials, or let its operator raise HPO_MAX_WAVES"
        )
    _check_parts(spec, deployment)
    if spec.artifacts is not None:
        uri = spec.artifacts.uri
        artifacts.probe(uri, artifacts.options_for(uri, deployment.artifacts))
    return spec


def _check_parts(spec: Spec, deployment: Deployment) -> None:
    """Ask backend and deployer whether they may and can do what the spec wants of them."""
    search, last = deployment.backend(spec), deployment.backend(spec.for_final)
    search.permit(spec.trial)
    if spec.for_final is not spec:
        try:
            last.permit(spec.for_final.trial)
        except SpecError as error:
            lines = (f"final.{line}" for line in str(error).splitlines())
            raise SpecError("\n".join(lines)) from None
    if spec.metrics.collector != "stdout":
        _check_output(spec, search, f"metrics.collector: {spec.metrics.collector}")
        _check_output(spec.for_final, last, f"metrics.collector: {spec.metrics.collector}")
    if spec.deploy is not None:
        _check_output(spec.for_final, last, "deploy.to")
        deployment.deployer(spec)


def _check_output(spec: Spec, backend: Backend, needs: str) -> None:
    if not (spec.artifacts or backend.keeps_output):
        raise SpecError(
            f"{needs} reads what a trial leaves in HPO_OUTPUT; of backend "
            f"{spec.trial.backend} that needs artifacts.uri"
        )


def begin(
    store: Store,
    key: RunKey,
    conf: Any,
    deployment: Deployment,
    *,
    backend: str,
    triggered_by: str,
    provenance: Mapping[str, str],
    by_file: bool = False,
) -> Run:
    """Start the run, or give the one started before; of a bad conf only the refusal is stored.

    The champion's parameters are the first that are tried, where the run may challenge it. What
    advises the run is settled here, once. `by_file` says that the spec is an operator's, no conf.
    """
    try:
        spec = validate(conf, deployment, backend=backend, by_file=by_file)
        if spec.deploy is not None and not by_file:
            _check_champion(store, key, spec.name)
        taken, why = fingerprint.take(spec, deployment.inputs)
    except SpecError as error:
        store.refuse_run(key, str(error), triggered_by=triggered_by)
        raise
    known = {**provenance, STORE: store.id}
    spec, advice = _warmed(store, spec)
    return store.start_run(
        key,
        spec,
        triggered_by=triggered_by,
        provenance=known,
        earlier=advice.noting(why).dump(),
        fingerprint=taken,
    )


def _check_champion(store: Store, key: RunKey, experiment: str) -> None:
    """Let no conf replace a champion that another DAG has made: its name alone gives no right."""
    champion = store.models.champion(experiment)
    made = store.run_by_id(champion.run_id).key.dag_id if champion else key.dag_id
    if made != key.dag_id:
        raise SpecError(
            f"deploy: the champion of {experiment} is made by DAG {made}, which alone may replace "
            "it; leave deploy out, or take another name"
        )


def _warmed(store: Store, spec: Spec) -> tuple[Spec, warmstart.Advice]:
    """Begin with the champion's parameters, and ask earlier runs for advice."""
    asked, said = spec.warm_start, None
    champion = store.models.champion(spec.name) if spec.final else None
    if champion is not None:
        spec, said = warmstart.first_point(spec, champion.params)
    past = store.past(spec.advised_by, asked.runs) if asked else []
    return spec, warmstart.advise(spec, past).noting(said)


def next_wave(store: Store, key: RunKey, wave: int, deployment: Deployment) -> Lease:
    """Settle what earlier waves left behind, then give this wave's assignments or the stop."""
    try:
        run = store.run(key)
    except NotFound:
        return Lease((), Decision.stop("the run was never started", failed=True))
    if run.status is RunStatus.REFUSED:
        return Lease((), Decision.stop(run.reason or "refused", failed=True))
    slot = f"wave-{wave:02d}"
    known = store.leased(run.id, slot)
    if known is not None:
        return known
    stop = store.stop_of(run.id)
    if stop is not None:
        return Lease((), stop)
    spec = load(run.spec)
    settle(store, run, slot, deployment)
    slots = spec.limits.parallel_trials
    return store.lease(run.id, slot, lambda history: engine.step(spec, history, slots))


def perform(
    store: Store, run: Run, number: int, backend: Backend, emit: Emit, launch: Launch
) -> Trial:
    """See a trial through to its end and give it; TransientError if it has to be tried again.

    A finished trial is given as it is. A running attempt is taken over, not started again: that
    is for `launch` to do, which gets the same attempt. What an attempt holds is let go of only
    when its outcome is in the store.
    """
    trial = store.trial(run.id, number)
    if trial.state is not TrialState.RUNNING:
        emit(f"trial {number} is already {trial.state}: nothing is run again")
        return _cleared(store, run, trial, backend)
    spec = spec_of(run, trial)
    try:
        attempt = store.open_attempt(
            run.id,
            number,
            lambda n: backend.handle(_name(store, spec, run, number, n)),
        )
    except AlreadyFinished:
        return _cleared(store, run, store.trial(run.id, number), backend)
    _end_stopped(store, attempt, backend)
    emit(f"attempt {attempt.number} of trial {number}; everything it prints is kept in")
    emit(str(backend.log(attempt.handle)))
    output = str(backend.output(attempt.handle))
    try:
        end = launch(attempt, request(spec, run, trial, attempt.number, output, store=store.id))
    except SpecError as error:
        end = Exit(Ending.UNSTARTABLE, detail=" ".join(str(error).split()))
    backend.fetch(attempt.handle)
    found = outcome(spec, end, _source(backend, attempt))
    trial = _closed(store, attempt, found)
    backend.discard(attempt.handle)
    if trial.state is TrialState.RUNNING:
        raise _another(attempt, found)
    return trial


def give_up(store: Store, attempt: Attempt, *, over: bool) -> None:
    """Record the end of an attempt whose task was ended by hand; if `over`, of its trial with it.

    Else the trial is attempted again, by a task that first sees to it that nothing is left of this.
    """
    if over:
        why = "its Airflow task was marked, or its run deleted"
        store.fail_trial(attempt.run_id, attempt.trial, Cause.KILLED_BY_OPERATOR, why)
    else:
        found = Outcome(AttemptState.FAILED, "its Airflow task was cleared", cause=Cause.STOPPED)
        store.close_attempt(attempt.id, found, final=False)


def _end_stopped(store: Store, attempt: Attempt, backend: Backend) -> None:
    """Wait until nothing is left of earlier attempts that were told to end."""
    for one in store.attempts(attempt.run_id, attempt.trial):
        if one.number < attempt.number and one.cause is Cause.STOPPED:
            backend.stop(one.handle)
            backend.discard(one.handle)


def _name(store: Store, spec: Spec, run: Run, trial: int, attempt: int) -> AttemptName:
    """Name an attempt, and where the spec wants what it leaves."""
    uri = attempt_uri(spec.artifacts.uri, run, trial, attempt) if spec.artifacts else None
    return AttemptName(store.id, slug_of(run), trial, attempt, spec.trial.options, uri)


def follow(backend: Backend, attempt: Attempt, request: Request, emit: Emit) -> Exit:
    """Launch by the backend's own means: submit it, unless it runs, and wait for its end."""
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
    spec: Spec, run: Run, trial: Trial, attempt: int, output: str, *, store: str
) -> Request:
    """Build what an attempt runs: a pure function of its arguments."""
    made = invocation(spec, trial, run=run.id, attempt=attempt, output=output)
    resources = spec.trial.resources
    return Request(
        command=made.command,
        args=made.args,
        env=made.env,
        timeout_s=spec.trial.timeout_s,
        start_timeout_s=spec.trial.start_timeout_s,
        image=spec.trial.image,
        memory_bytes=resources.memory_bytes,
        cpu=resources.cpu,
        gpu=resources.gpu or 0,
        spot=spec.trial.spot and not failures.is_last(attempt),
        options=made.options,
        labels={
            "store": store,
            "experiment": spec.name,
            "run": str(run.id),
            "trial": str(trial.number),
            "attempt": str(attempt),
        },
    )


def outcome(spec: Spec, end: Exit, source: Source) -> Outcome:
    """Read an ended attempt's metrics and say what became of it."""
    failed = _failure(spec, end)
    found, trouble = _collected(spec, source)
    metrics = reduce(found, spec.objectives)
    cause, reason = failed or trouble or judged(spec.goal, metrics)
    return Outcome(
        state=AttemptState.SUCCEEDED if cause is None else AttemptState.FAILED,
        reason=reason,
        value=metrics[spec.objective.metric] if cause is None else None,
        cause=cause,
        exit_code=end.code,
        metrics=metrics,
        observations=found,
        log_tail=tail(source.log, _TAIL_BYTES).decode(errors="replace"),
    )


def _collected(
    spec: Spec, source: Source
) -> tuple[Sequence[Observation], tuple[Cause, str] | None]:
    """Read the metrics that the spec names, or say why its collector could not."""
    name, names = spec.metrics.collector, wanted(spec)
    collector = load_part("collector", name)(spec.metrics)
    try:
        found = (plain(one) for one in collector.collect(source, names) if one.metric in names)
        return thinned(found, spec.objectives), None
    except TrialFailed as error:
        return (), (Cause.OBJECTIVE_MISSING, str(error))
    except HpoError:
        raise
    except Exception as error:
        why = f"the collector {name} failed: {type(error).__name__}: {error}"
        return (), (Cause.OBJECTIVE_MISSING, why)


def with_metrics(spec: Spec, settings: Mapping[str, Any]) -> Spec:
    """Change how metrics are read: another collector begins anew, else the rest stays."""
    if not settings:
        return spec
    kept = {} if "collector" in settings else spec.dump()["metrics"]
    return load(spec.dump() | {"metrics": kept | dict(settings)})


def spec_of(run: Run, trial: Trial) -> Spec:
    """Give the spec as one of the run's trials has it."""
    spec = load(run.spec)
    return spec.for_final if trial.origin is Origin.FINAL else spec


def backend_of(run: Run, trial: Trial, deployment: Deployment) -> Backend:
    """Build the backend that one of the run's trials is run by."""
    return deployment.backend(spec_of(run, trial))


def slug_of(run: Run) -> str:
    """Name a run's folder: its number and its experiment's name, which the spec has checked."""
    return f"{run.id:06d}-{run.experiment}"


def finish(
    store: Store,
    key: RunKey,
    deployment: Deployment,
    strayed: Callable[[Run], str | None] = lambda _: None,
) -> Run:
    """End the run in an honest state and give it; a refused or absent run raises SpecError.

    `strayed` says why a run that nothing has stopped got no further, if it knows.
    """
    try:
        run = store.run(key)
    except NotFound as error:
        raise SpecError(f"nothing to report: {error}") from None
    if run.status is RunStatus.REFUSED:
        raise SpecError(run.reason or "refused")
    verdict = searched(store, run, deployment, strayed)
    if run.status is RunStatus.RUNNING and not _stands_still(run, deployment):
        store.forget_fingerprint(run.id)
    status = RunStatus.FAILED if verdict.failed else RunStatus.COMPLETE
    return store.finish_run(run.id, status, verdict.reason)


def _stands_still(run: Run, deployment: Deployment) -> bool:
    """Say whether data and code are known to be what they were when the run began."""
    if run.fingerprint is None:
        return True
    try:
        return fingerprint.take(load(run.spec), deployment.inputs)[0] == run.fingerprint
    except HpoError:
        return False


def searched(
    store: Store,
    run: Run,
    deployment: Deployment,
    strayed: Callable[[Run], str | None] = lambda _: None,
) -> Decision:
    """End the run's search, what is left running included, and give the verdict on it."""
    spec = load(run.spec)
    settle(store, run, "end", deployment)
    stop = store.stop_of(run.id)
    if stop is None:
        stop = store.lease(run.id, "end", lambda history: engine.step(spec, history, 0)).stop
    if stop is None and (why := strayed(run)):
        made = f"{len(store.history(run.id).trials)} of {spec.limits.max_trials} trials"
        stop = Decision.stop(f"broken off after {made}: {why}", failed=True)
    return engine.final(spec, store.history(run.id), stop)


def write_report(store: Store, run: Run, deployment: Deployment) -> Path:
    """Write report.html and trials.csv into the run's folder, each at once, and give the first.

    The tasks `report` and `deploy` write it at the same time: whoever comes last looks again.
    """
    from hpo_lib import report

    view, path = store.view(run.id), report_path(run, deployment)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        artifacts.write(path.with_name("trials.csv"), report.csv(view).encode())
        artifacts.write(path, report.html(view).encode())
        written, view = view, store.view(run.id)
        if (view.run, view.model) == (written.run, written.model):
            return path


def report_path(run: Run, deployment: Deployment) -> Path:
    """Say where a run's report is, or will be."""
    return deployment.home / "runs" / slug_of(run) / "report.html"


def keep_artifacts(
    store: Store, run: Run, deployment: Deployment, protected: Collection[int] = ()
) -> None:
    """Bring an ended run's artifacts to what its spec keeps; TransientError, nothing is lost.

    What is kept and lies on a disk is uploaded, what is not kept is deleted from the object store;
    every attempt's record stays there. `protected` are trials that are kept whatever the spec says.
    """
    spec = load(run.spec)
    if spec.artifacts is None:
        return
    view = store.view(run.id)
    search, last = deployment.backend(spec), deployment.backend(spec.for_final)
    found = [(one, search) for one in view.trials] + [(one, last) for one in view.finals]
    of = {one.trial.number: (one, backend) for one, backend in found}
    kept, doomed = artifacts.retain(view, spec.artifacts.keep, protected)
    for attempt in [*kept, *doomed]:
        trial, backend = of[attempt.trial]
        folder = _folder(spec.artifacts.uri, run, attempt, deployment)
        if attempt in doomed:
            artifacts.delete(folder)
        else:
            _upload(backend.output(attempt.handle), folder)
        artifacts.write_record(folder, artifacts.record_of(run, trial, attempt))


def keep_output(store: Store, run: Run, number: int, deployment: Deployment) -> None:
    """Bring what a trial's last attempt has left to where the spec keeps it; TransientError."""
    spec = load(run.spec)
    if spec.artifacts is None:
        return
    attempt = store.attempts(run.id, number)[-1]
    backend = backend_of(run, store.trial(run.id, number), deployment)
    _upload(backend.output(attempt.handle), _folder(spec.artifacts.uri, run, attempt, deployment))


def _folder(uri: str, run: Run, attempt: Attempt, deployment: Deployment) -> UPath:
    options = artifacts.options_for(uri, deployment.artifacts)
    name = attempt_uri(uri, run, attempt.trial, attempt.number)
    return artifacts.open_folder(name, options)


def _upload(output: Place, folder: UPath) -> None:
    if isinstance(output, Path):
        artifacts.upload(output, folder)


def settle(store: Store, run: Run, slot: str, deployment: Deployment) -> None:
    """End every trial of other slots that its Airflow task left unfinished."""
    view = store.view(run.id)
    for one in [*view.trials, *view.finals]:
        if one.trial.state is TrialState.RUNNING and one.slot != slot:
            attempt = one.attempts[-1] if one.attempts else None
            spec = spec_of(run, one.trial)
            _settle_trial(store, run, spec, one.trial, attempt, deployment.backend(spec))


def _settle_trial(
    store: Store, run: Run, spec: Spec, trial: Trial, attempt: Attempt | None, backend: Backend
) -> None:
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
        found = outcome(spec, end, _source(backend, attempt))
        store.close_attempt(attempt.id, found, final=True)
    else:
        why = "its Airflow task was ended before the trial was"
        store.fail_trial(run.id, trial.number, Cause.KILLED_BY_OPERATOR, why)
    backend.discard(attempt.handle)


def _closed(store: Store, attempt: Attempt, found: Outcome) -> Trial:
    """Record an attempt's end; one that was stopped leaves the verdict to whoever stopped it."""
    tried = store.attempts(attempt.run_id, attempt.trial)
    before = [one.cause for one in tried if one.number < attempt.number]
    return store.close_attempt(attempt.id, found, final=not failures.again(found.cause, before))


def _another(attempt: Attempt, found: Outcome) -> TransientError:
    """Ask for the next attempt, if a trial is not done with: after its cause's pause."""
    rule = failures.RULES[found.cause or Cause.LOST]
    said = f"attempt {attempt.number} failed: {found.cause}: {found.reason}; there is another"
    return TransientError(said, after_s=rule.delay_s)


def _cleared(store: Store, run: Run, trial: Trial, backend: Backend) -> Trial:
    """Let go of what the last attempt of an ended trial held, if a killed task could not."""
    for attempt in store.attempts(run.id, trial.number)[-1:]:
        backend.discard(attempt.handle)
    return trial


def _source(backend: Backend, attempt: Attempt) -> Source:
    return Source(log=backend.log(attempt.handle), output=backend.output(attempt.handle))


_CAUSES = {
    Ending.TIMEOUT: Cause.TIMEOUT,
    Ending.OUT_OF_MEMORY: Cause.OUT_OF_MEMORY,
    Ending.LOG_TOO_LARGE: Cause.USER_ERROR,
    Ending.FAILED: Cause.USER_ERROR,
    Ending.UNSTARTABLE: Cause.USER_ERROR,
    Ending.STOPPED: Cause.STOPPED,
    Ending.ABANDONED: Cause.STOPPED,
    Ending.IMAGE_NOT_PULLABLE: Cause.IMAGE_NOT_PULLABLE,
    Ending.UNSCHEDULABLE: Cause.UNSCHEDULABLE,
    Ending.PREEMPTED: Cause.PREEMPTED,
    Ending.EVICTED: Cause.EVICTED,
    Ending.NODE_LOST: Cause.NODE_LOST,
    Ending.LOST: Cause.LOST,
}
#: SIGHUP, SIGINT, SIGKILL, SIGTERM: signals that come from outside, also when seen by a shell.
_OUTSIDE = frozenset({-1, -2, -9, -15, 129, 130, 137, 143})


def _failure(spec: Spec, end: Exit) -> tuple[Cause, str] | None:
    if end.ending is not Ending.EXITED:
        return _CAUSES[end.ending], end.detail
    if end.code in _OUTSIDE:
        signal = -end.code if end.code < 0 else end.code - 128
        return Cause.LOST, f"killed from outside by signal {signal}"
    if end.code == _NOT_COPIED and _UPLOAD in (spec.trial.command or ()):
        return Cause.LOST, "its output could not be copied to the object store"
    if end.code != 0:
        said = f": {end.detail}" if end.detail else ""
        return Cause.USER_ERROR, f"exit code {end.code}{said}"
    return None


def judged(goal: Goal, metrics: Mapping[str, float]) -> tuple[Cause | None, str]:
    """Say what becomes of a trial that ended well with these metrics: a cause if it failed."""
    missing = [name for name in goal.metrics if name not in metrics]
    if missing:
        seen = f"only {', '.join(sorted(metrics))}" if metrics else "no metric at all"
        lack = f"{', '.join(missing)} {'was' if len(missing) == 1 else 'were'} expected"
        return Cause.OBJECTIVE_MISSING, f"exit code 0, but {seen} where {lack}"
    for name in goal.metrics:
        if not math.isfinite(metrics[name]):
            return Cause.OBJECTIVE_NOT_FINITE, f"{name} must be finite, got {metrics[name]}"
    values = [f"{name} = {metrics[name]:.6g}" for name, _ in goal.objectives]
    return None, "; ".join([", ".join(values), *goal.broken(metrics)])
