"""The bodies of the control tasks: thin, and the one place where errors become Airflow's."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Never

from airflow.sdk.exceptions import AirflowException, DownstreamTasksSkipped

from hpo_airflow import links, metrics, report_refresh, run_note
from hpo_airflow.installation import open_store, team_of, this_installation, this_site
from hpo_airflow.labels import end_of, failed_label, label, standing
from hpo_airflow.notices import tell_end, tell_skipped, telling_refusal
from hpo_airflow.retry_delay import Ended
from hpo_airflow.trial_progress import teller
from hpo_lib.core.notices import Event
from hpo_lib.errors import SpecError, StoreError, TransientError, TrialFailed
from hpo_lib.records import Provenance, RunKey

if TYPE_CHECKING:
    from hpo_lib.backends import Backend
    from hpo_lib.core.trial import Trial
    from hpo_lib.installation import Installation
    from hpo_lib.records import Attempt, Run
    from hpo_lib.runs.scheduled_files import ScheduledFile
    from hpo_lib.spec import Spec
    from hpo_lib.store import Store
    from hpo_lib.trials.runner import Launch

log = logging.getLogger(__name__)
_PACKAGES = ("apache-airflow", "hpo-lib", "numpy", "scikit-optimize", "scipy", "SQLAlchemy")


@contextmanager
def errors() -> Iterator[None]:
    """Translate: a wrong spec or a failed trial fails at once, all else is retried by Airflow."""
    try:
        yield
    except (SpecError, TrialFailed) as error:
        raise ended(str(error)) from None
    except StoreError as error:
        raise AirflowException(str(error)) from None


def ended(reason: str) -> Ended:
    """Log, a line each, why a task fails, and make the error with which it does at once."""
    for line in reason.splitlines():
        log.error("%s", line)
    return Ended(reason)


def key_of(context: Mapping[str, Any]) -> RunKey:
    """Name our run after the DAG run."""
    return RunKey(context["dag_run"].dag_id, context["dag_run"].run_id)


def validate(context: Mapping[str, Any], backend: str, in_slots: bool = True) -> dict[str, Any]:
    """Check the conf and start the run; without a conf the DAG's example is the conf.

    `in_slots` says whether the DAG has slots, or waves.
    """
    from hpo_airflow.form import entered
    from hpo_lib.runs import admission

    dag_run = context["dag_run"]
    conf = entered(dag_run.conf or dict(context["params"]))
    with errors(), telling_refusal(context), open_store() as store:
        run = admission.begin(
            store,
            key_of(context),
            conf,
            _installation(store, context),
            backend=backend,
            triggered_by=_cause_of(dag_run),
            provenance=provenance(dag_run),
            in_slots=in_slots,
        )
    return _begun(run, context)


def validate_file(context: Mapping[str, Any], file: ScheduledFile, last: str) -> dict[str, Any]:
    """Start the run of a file's spec as it is now; later tasks read the store, not the file.

    If the file has just been changed, it waits until the run has all tasks, up to `last`.
    """
    from hpo_lib.runs import scheduled_files

    dag_run, key = context["dag_run"], key_of(context)
    if key.dag_run_id.startswith(BROKEN) and file.spec is not None:
        said = f"{file.name} was broken when this run was asked for, and is not any more"
        with errors(), open_store() as store:
            _refused(store, context, said, team_of(context))
            raise SpecError(said)
    event = Event.BROKEN if file.error else Event.FAILED
    with errors(), telling_refusal(context, event), open_store() as store:
        run = scheduled_files.begun(store, key)
        is_new = run is None
        if run is None:
            _wait_for(context["ti"], last, file.name)
            run = scheduled_files.begin(
                store,
                key,
                file,
                dag_run.conf,
                _installation(store, context),
                triggered_by=_cause_of(dag_run),
                provenance=provenance(dag_run),
            )
    if is_new and _way_of(dag_run) == "scheduled":
        tell_skipped(context, file)
    return _begun(run, context)


#: How the runs are named that only show that a file is broken.
BROKEN = "broken__"


def _installation(store: Store, context: Mapping[str, Any]) -> Installation:
    """Give what the installation offers a DAG's team; a DAG of two teams is refused."""
    try:
        return this_installation(team_of(context))
    except SpecError as error:
        _refused(store, context, str(error))
        raise


def refuse(context: Mapping[str, Any], reason: str) -> Never:
    """Refuse to start a run, whatever its conf: its DAG is broken."""
    with errors(), telling_refusal(context, Event.BROKEN), open_store() as store:
        _refused(store, context, reason, team_of(context))
        raise SpecError(reason)


def _refused(store: Store, context: Mapping[str, Any], why: str, team: str = "") -> None:
    cause, way = _cause_of(context["dag_run"]), _way_of(context["dag_run"])
    store.refuse_run(key_of(context), why, triggered_by=cause, way=way, team=team)


def _wait_for(ti: Any, task_id: str, file: str) -> None:
    """Fail, to be retried, until the DAG run has a task: a worker sees a file first."""
    states = ti.get_task_states(
        dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id], map_index=-1
    )
    if task_id not in states.get(ti.run_id, {}):
        raise AirflowException(
            f"{file} was changed a moment ago, and Airflow has not taken over its last task, "
            f"{task_id}, yet; the next try looks again"
        )


def _cause_of(dag_run: Any) -> str:
    """Name who triggered a DAG run, or what: scheduled, asset_triggered …"""
    return getattr(dag_run, "triggering_user_name", None) or _way_of(dag_run)


def _way_of(dag_run: Any) -> str:
    """Say how a DAG run came to be: manual, scheduled, asset_triggered …"""
    return str(dag_run.run_type.value)


#: What follows the search of a spec with `final`.
FINAL = ("final.choose", "final.trial", "gate", "approve", "deploy")


def _begun(run: Run, context: Mapping[str, Any]) -> dict[str, Any]:
    """Say what has begun, and skip what its spec has no need of."""
    log.info("run %s of experiment %s: %s", run.id, run.experiment, run.status)
    for line in run.advice.lines():
        log.info("%s", line)
    begun = {"run": run.id, "experiment": run.experiment}
    if run.document.get("final") is not None or FINAL[0] not in context["dag"].task_ids:
        return begun
    context["ti"].xcom_push(key="return_value", value=begun)
    raise DownstreamTasksSkipped(tasks=list(FINAL))


def suggest(
    context: Mapping[str, Any], wave: int, file: ScheduledFile | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Give the wave's assignments for its mapped trials, and the reason to stop if there is one."""
    from hpo_lib.runs import lifecycle

    with errors(), open_store() as store:
        if why := other_backend(store, key_of(context), file):
            log.error("no further trials: %s", why)
            return [], why
        with metrics.suggesting():
            batch = lifecycle.next_wave(
                store, key_of(context), wave, this_installation(team_of(context))
            )
        if batch.assignments:
            metrics.idle(store, key_of(context), lifecycle.slot_of(wave - 1))
        run_note.write(context, lambda: standing(store, key_of(context)))
    for decided in batch.decisions:
        log.info("trial %s: %s: %s", decided.trial, decided.action, decided.reason)
    if batch.stop is not None:
        log.info("no further trials: %s", batch.stop.reason)
        return [], batch.stop.reason
    for assignment in batch.assignments:
        log.info("trial %s (%s): %s", assignment.trial, assignment.origin, assignment.params)
    for one, source in batch.reused:
        said = "trial %s (%s): %s; reused from %s, not trained"
        log.info(said, one.trial, one.origin, one.params, source)
    return [
        {
            "trial": assignment.trial,
            "slot": lifecycle.slot_of(wave),
            "label": label(assignment.trial, assignment.params, assignment.resource),
            "asked": time.time(),
        }
        for assignment in batch.assignments
    ], None


def other_backend(store: Store, key: RunKey, file: ScheduledFile | None) -> str | None:
    """Say so if the file's DAG now runs trials on another backend than the run that goes on."""
    from hpo_lib.runs.scheduled_files import begun, strayed

    run = None if file is None else begun(store, key)
    if file is None or file.spec is None or run is None:
        return None
    same = run.spec.trial.backend == file.spec.trial.backend
    return None if same else strayed(run, file)


def perform(
    context: Mapping[str, Any],
    assignment: Mapping[str, Any],
    name: str,
    backend: Backend,
    launch: Launch,
) -> dict[str, Any]:
    """See a trial through; give number, value and metrics, or fail with its cause.

    `name` is that of the backend.
    """
    from hpo_lib.core.trial import TrialState

    with errors(), open_store() as store:
        trial = see_through(store, context, assignment, name, backend, launch)
        if trial.state is TrialState.FAILED:
            context["ti"].rendered_map_index = failed_label(assignment["label"], trial)
            raise TrialFailed(f"trial {trial.number} failed: {trial.cause}: {trial.reason}")
    log.info("trial %s: %s", trial.number, trial.reason)
    return {"trial": trial.number, "value": trial.value, "metrics": dict(trial.metrics)}


def see_through(
    store: Store,
    context: Mapping[str, Any],
    assignment: Mapping[str, Any],
    name: str,
    backend: Backend,
    launch: Launch,
) -> Trial:
    """See a trial through, and give what became of it."""
    from hpo_lib.records import spec_of
    from hpo_lib.trials import runner

    run, number = store.run(key_of(context)), int(assignment["trial"])
    spec = spec_of(run, store.trial(run.id, number))
    _check_backend(spec, name)
    links.lead(context["task"], links.of_trial(run.id, number, spec.artifacts))
    metrics.trial_waited(assignment, name)
    trial = runner.perform(
        store,
        run,
        number,
        backend,
        emit,
        launch,
        slot=assignment.get("slot"),
        shares=this_site().shares,
        tell=teller(context, store, run.key, assignment, spec),
    )
    metrics.trial_ended(run, trial, name)
    report_refresh.refresh(store, run)
    return trial


def _check_backend(spec: Spec, name: str) -> None:
    """Refuse to run a trial where its spec does not want it: its file may have been changed."""
    own = spec.trial.backend
    if name != own:
        raise SpecError(
            f"this trial is for backend {own}, and this task now runs "
            f"{name}: the DAG's file was changed while the run went on"
        )


def emit(line: str) -> None:
    """Write a line to the task's log, in which no trial begins or ends a section."""
    log.info("%s", f" {line}" if line.startswith(("::group::", "::endgroup::")) else line)


def let_go(ti: Any, backend: Backend, attempt: Attempt) -> Never:
    """End the attempt of a task that is ended by hand; leave any other to the task's retry.

    The trial of a task that was marked, or whose run was deleted, has failed; a task that was
    cleared attempts it again. Raises TransientError in any case, so that the task ends.
    """
    from hpo_lib.trials import runner

    states = _states(ti)
    if states is None or states & _GOING:
        backend.release(attempt.handle)
        raise TransientError("the task was asked to end; a running trial waits for a retry")
    log.info("this task was ended by hand: its attempt ends too")
    try:
        with open_store() as store:
            runner.give_up(store, attempt, over=states <= OVER)
    finally:
        # Last, as it may take longer than the seconds that Airflow leaves to a task.
        backend.end(attempt.handle)
    raise TransientError("the task was ended by hand")


#: States of a task that nobody has touched: it runs or, after it was out of reach, is tried again.
_GOING = frozenset({"running", "up_for_retry", "scheduled", "queued"})
#: States of a task that Airflow does not run again.
OVER = frozenset({"failed", "success", "skipped", "upstream_failed", "removed"})


def _states(ti: Any) -> set[str] | None:
    """Ask Airflow for the task's state: empty if it was deleted, None if there is no answer.

    Airflow asks a task to end for many reasons (marked, cleared, a restart, an API server out of
    reach), and does not say which.
    """
    try:
        states = ti.get_task_states(
            dag_id=ti.dag_id,
            task_ids=[ti.task_id],
            run_ids=[ti.run_id],
            map_index=ti.map_index,
        )
    except Exception:
        log.exception("Airflow does not say whether this task is to end")
        return None
    return {str(state) for state in states.get(ti.run_id, {}).values()}


def report(context: Mapping[str, Any], file: ScheduledFile | None = None) -> dict[str, Any]:
    """End the run, write its report, and fail the task if the run failed."""
    from hpo_lib.records import RunStatus
    from hpo_lib.runs import exports, lifecycle, outputs, scheduled_files

    def strayed(run: Run) -> str | None:
        return scheduled_files.strayed(run, file) if file else None

    with errors(), open_store() as store:
        installation = this_installation(team_of(context))
        run = lifecycle.finish(store, key_of(context), installation, strayed)
        path = outputs.write_report(store, run, installation)
        links.lead(context["task"], links.of_run(run.id, run.spec.artifacts))
        outputs.keep_artifacts(store, run, installation)
        untrained = no_final(store, run.key, file)
        run_note.write(context, lambda: f"{standing(store, run.key)}\n\n{end_of(run, path)}")
    log.info("run %s is %s: %s", run.id, run.status, run.reason)
    log.info("report: %s", path)
    tell_end(context, run, str(path))
    exports.bring(store, run, installation)
    if run.status is RunStatus.FAILED:
        raise ended(f"the run failed: {run.reason} (report: {path})")
    if untrained:
        raise ended(f"the winner was not trained again: {untrained}")
    return summary(run, str(path))


def no_final(store: Store, key: RunKey, file: ScheduledFile | None) -> str | None:
    """Say why a file's DAG cannot do a run's final training, if that has not been asked for yet."""
    from hpo_lib.promotion import challenger
    from hpo_lib.runs import scheduled_files

    run = None if file is None else scheduled_files.begun(store, key)
    if file is None or run is None or store.batch_of(run.id, challenger.SLOT) is not None:
        return None
    return scheduled_files.strayed_final(run, file)


def summary(run: Run, path: str) -> dict[str, Any]:
    """Give what other DAGs may want to know of an ended run."""
    return {"run": run.id, "status": str(run.status), "reason": run.reason, "report": path}


def provenance(dag_run: Any) -> Provenance:
    """Say how this run came to be, and name the versions that it is made with."""
    packages = {name: version(name) for name in _PACKAGES}
    versions = {"python": platform.python_version()} | packages
    return Provenance(versions=versions, way=_way_of(dag_run))
