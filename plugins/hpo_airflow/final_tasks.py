"""What follows the search: `choose`, final trials, `gate`, `approve`, `deploy`, as tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import (
    Asset,
    AssetAlias,
    BaseOperator,
    TaskGroup,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from hpo_airflow import tasks
from hpo_airflow.installation import open_store, team_of, this_installation
from hpo_airflow.labels import APPROVE, REJECT, label
from hpo_airflow.markdown import prose
from hpo_airflow.notices import tell_approval, tell_champion
from hpo_airflow.tasks import FINAL, emit, ended, errors, key_of

if TYPE_CHECKING:
    from hpo_lib.records import Model
    from hpo_lib.runs.scheduled_files import ScheduledFile

log = logging.getLogger(__name__)
#: Stands for the champion of whatever experiment a run is of: only then is its asset known, and
#: only if it has changed is there an event, which a plain asset would have at every success.
CHAMPIONS = AssetAlias("hpo_champions")


def final_tasks(
    before: BaseOperator,
    report: BaseOperator,
    operator: Callable[..., Any],
    control: Mapping[str, Any],
    at_once: int,
    file: ScheduledFile | None = None,
) -> None:
    """Put final training, gate, approval and deployment between the last wave and the end.

    No more than `at_once` final trials run together, however many seeds there are.
    All of them are skipped when the run begins if its spec has no `final`; `report` then follows
    the last wave, otherwise the gate, so that people can read it before they approve.
    """
    with TaskGroup("final"):

        @task(task_id="choose", trigger_rule="all_done", **control)
        def choose() -> list[dict[str, Any]]:
            """End the search and ask for its winner's last training."""
            context = get_current_context()
            assignments = _choose(context, file)
            if not assignments:
                context["ti"].xcom_push(key="return_value", value=[])
                raise DownstreamTasksSkipped(tasks=_left_out(context))
            return assignments

        asked = choose()
        trained = operator(
            task_id="trial",
            max_active_tis_per_dagrun=at_once,
            map_index_template="{{ task.assignment['label'] }}",
        ).expand(assignment=asked)

    @task(task_id="gate", trigger_rule="all_done", **control)
    def gate() -> dict[str, Any]:
        """Compare champion and challenger, and say in sentences which is better."""
        return _gate(get_current_context())

    @task(task_id="deploy", trigger_rule="none_failed", outlets=[CHAMPIONS], **control)
    def deploy() -> dict[str, Any]:
        """Serve the champion that the store names, which may be a new one."""
        return _deploy(get_current_context())

    decided = gate().operator
    before >> [asked.operator, report]
    trained >> decided >> [report, _approval(control)]
    report.dag.get_task("approve") >> deploy().operator


def _approval(control: Mapping[str, Any]) -> BaseOperator:
    """Build the task that asks; its retry asks again if Airflow loses an answer given at once."""
    return Approval(task_id="approve", **{**control, "execution_timeout": None})


class Approval(HITLOperator):
    """Asks people for approval, where spec or gate wants it; no answer in time means no.

    The question is put together from the store when it is asked: it is never a template.
    """

    template_fields = ()

    def __init__(self, **kwargs: Any) -> None:
        """Offer the two answers."""
        super().__init__(
            subject="Deploy?",
            options=[APPROVE, REJECT],
            defaults=[REJECT],
            trigger_rule="none_failed",
            **kwargs,
        )

    def execute(self, context: Any) -> Any:
        """Ask, unless there is nothing to ask."""
        question = _question(context)
        if question is None:
            raise AirflowSkipException("nothing to approve")
        model, self.subject, self.body, self.response_timeout = question
        tell_approval(context, model, self.body)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Write the answer down."""
        answer = super().execute_complete(context, event)
        _answered(context, answer)
        return answer


def _choose(context: Mapping[str, Any], file: ScheduledFile | None) -> list[dict[str, Any]]:
    from hpo_lib.promotion import challenger

    with errors(), open_store() as store:
        if why := tasks.no_final(store, key_of(context), file):
            log.error("no final training: %s", why)
            return []
        batch = challenger.choose(store, key_of(context), this_installation(team_of(context)))
        _log_drift(store, context)
    if batch.stop is not None:
        log.info("no final training: %s", batch.stop.reason)
    return [
        {"trial": one.trial, "label": f"{label(one.trial, one.params)} (seed {one.repeat})"}
        for one in batch.assignments
    ]


def _left_out(context: Mapping[str, Any]) -> list[str]:
    """Name the tasks to skip without final trials: `deploy` still runs, if the spec has one."""
    with errors(), open_store() as store:
        return list(FINAL[1:-1] if _deploys(store, context) else FINAL[1:])


def _deploys(store: Any, context: Mapping[str, Any]) -> bool:
    from hpo_lib.runs.scheduled_files import begun

    run = begun(store, key_of(context))
    return run is not None and run.spec.deploy is not None


def _gate(context: Mapping[str, Any]) -> dict[str, Any]:
    from hpo_lib.promotion import challenger

    with errors(), open_store() as store:
        model = challenger.decide(store, key_of(context), this_installation(team_of(context)))
        _log_drift(store, context)
    if model is None:
        raise AirflowSkipException("there is no challenger")
    reason = model.verdict_reason
    log.info("version %s of %s: %s", model.version, model.experiment, reason)
    return {"version": model.version, "status": str(model.status), "reason": reason}


def _log_drift(store: Any, context: Mapping[str, Any]) -> None:
    """Log what the run has seen of the champion, if it has checked it."""
    from hpo_lib.promotion import monitoring

    for sentence in monitoring.said(store, key_of(context)):
        log.info("%s", sentence)


def _question(context: Mapping[str, Any]) -> tuple[Model, str, str, timedelta] | None:
    """Give the model that is to be approved, and the question's subject, text and time limit."""
    from hpo_lib.runs.outputs import report_path

    with errors(), open_store() as store:
        run = store.run(key_of(context))
        model = store.models.of_run(run.id)
        deploy = run.spec.deploy
    if model is None or deploy is None or not model.needs_approval(deploy):
        return None
    lines = [
        prose(model.verdict_reason),
        "",
        f"* Model: version {model.version} of {model.experiment}, by trial {model.source}",
        f"* Parameters: `{str(dict(model.params)).replace('`', chr(39))}`",
        f"* Report: `{report_path(run, this_installation(run.team))}`",
        f"* Without an answer within {deploy.approval_timeout} it is not deployed.",
    ]
    limit = timedelta(seconds=deploy.approval_timeout_s)
    subject = f"Deploy {model.experiment} version {model.version}?"
    return model, subject, "\n".join(lines), limit


def _answered(context: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    from hpo_lib.promotion import challenger
    from hpo_lib.records.audit import ITSELF, Actor

    by = (answer.get("responded_by_user") or {}).get("name")
    approved = answer["chosen_options"] == [APPROVE]
    refused = f"not approved by {by}" if by else "nobody approved it in time"
    reason = f"Approved by {by or 'somebody'}." if approved else refused
    log.info("%s", reason)
    with errors(), open_store() as store:
        who = Actor(by or "", "airflow") if by or approved else ITSELF
        challenger.approve(store, key_of(context), approved=approved, reason=reason, by=who)


def _deploy(context: Mapping[str, Any]) -> dict[str, Any]:
    from hpo_lib.promotion import deployment
    from hpo_lib.records import ModelStatus
    from hpo_lib.runs import exports, outputs

    with errors(), open_store() as store:
        installation = this_installation(team_of(context))
        run = store.run(key_of(context))
        if not _deploys(store, context):
            raise AirflowSkipException("the spec names no deployment")
        waited = _waits(store, run.id)
        model = deployment.deploy(store, run.key, installation, emit)
        champion = store.models.champion(run.experiment)
        outputs.write_report(store, run, installation)
        outputs.keep_report(run, installation)
    if waited and model is not None and model.status is ModelStatus.CHAMPION:
        announce(context, model)
    exports.bring(store, run, installation)
    if waited and model is not None and model.status is ModelStatus.REJECTED:
        raise ended(f"version {model.version} was not deployed: {model.reason}")
    log.info("champion: %s", f"version {champion.version}" if champion else "none")
    return {"champion": champion.version if champion else None}


def announce(context: Mapping[str, Any], model: Model) -> None:
    """Say that another model serves: to DAGs that wait for its asset, and to people."""
    name = champion_uri(model.experiment)
    facts = {"experiment": model.experiment, "version": model.version, "run": model.run_id}
    context["outlet_events"][CHAMPIONS].add(Asset(name=name, uri=name), extra=facts)
    tell_champion(context, model)


def champion_uri(experiment: str) -> str:
    """Name the asset that is updated when another model of an experiment serves."""
    return f"hpo://champion/{experiment}"


def _waits(store: Any, run_id: int) -> bool:
    """Say whether a run's challenger is still to be deployed."""
    from hpo_lib.records import ModelStatus

    model = store.models.of_run(run_id)
    return model is not None and model.status is not ModelStatus.REJECTED
