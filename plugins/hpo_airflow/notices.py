"""Telling people: the operator's rules, and Airflow's notifiers that they name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpo_airflow import run_note
from hpo_airflow.installation import team_of, this_site
from hpo_airflow.labels import refusal
from hpo_lib.core.notices import Event, Notice, wanting
from hpo_lib.core.teams import owner_of, within
from hpo_lib.errors import SpecError

if TYPE_CHECKING:
    from hpo_lib.core.notices import NotifyRule
    from hpo_lib.records import Model, Run
    from hpo_lib.runs.scheduled_files import ScheduledFile

#: So many times at most are looked at for one that was missed.
_MOST = 100
log = logging.getLogger(__name__)


def tell(context: Mapping[str, Any], notice: Notice, team: str | None = None) -> None:
    """Tell whoever wants to know; whatever goes wrong with that is logged and does no harm.

    A task that is tried again after this, or cleared, tells once more.
    """
    try:
        rules = this_site(_team(context) if team is None else team).notify
    except Exception:
        log.exception("nobody is notified: the rules of notify cannot be read")
        return
    for name, rule in wanting(rules, notice):
        try:
            _notifier(rule)({**context, "hpo": notice.plain()})
            log.info("notify.%s: told of %s", name, notice.event)
        except Exception:
            log.exception("notify.%s: could not tell of %s", name, notice.event)


def _team(context: Mapping[str, Any]) -> str:
    try:
        return team_of(context)
    except SpecError:
        return ""


def _notifier(rule: NotifyRule) -> Any:
    module, _, name = rule.by.rpartition(".")
    return getattr(import_module(module), name)(**rule.options)


@contextmanager
def telling_refusal(context: Mapping[str, Any], event: Event = Event.FAILED) -> Iterator[None]:
    """Tell why no run begins, if that is so."""
    try:
        yield
    except SpecError as error:
        reason = str(error)
        run_note.write(context, lambda: refusal(reason))
        tell(context, _refused(context, event, reason))
        raise


def _refused(context: Mapping[str, Any], event: Event, reason: str) -> Notice:
    dag_id = context["dag_run"].dag_id
    what = "is broken" if event is Event.BROKEN else "was refused"
    return Notice(event, dag_id, f"{dag_id} {what}", reason)


def tell_end(context: Mapping[str, Any], run: Run, report: str) -> None:
    """Tell that a run has ended, well or not."""
    from hpo_lib.records import RunStatus

    event = Event.FAILED if run.status is RunStatus.FAILED else Event.ENDED
    subject = f"run {run.id} of {run.experiment}: {run.outcome}"
    tell(context, Notice(event, run.experiment, subject, run.reason or "", report, {"run": run.id}))


def tell_approval(context: Mapping[str, Any], model: Model, question: str) -> None:
    """Tell that people are asked."""
    tell(context, _of_model(Event.APPROVAL, model, "waits to be approved", question))


def tell_champion(context: Mapping[str, Any], model: Model) -> None:
    """Tell that another model serves."""
    notice = _of_model(Event.CHAMPION, model, "serves", model.reason)
    tell(context, notice, owner_of(model.experiment))


def tell_skipped(context: Mapping[str, Any], file: ScheduledFile) -> None:
    """Tell which nights had no run before this one, which was due by itself."""
    missed = _missed(context, file)
    if not missed:
        return
    name, times = file.spec.name if file.spec else file.name, f"{missed[0]:%Y-%m-%d %H:%M %Z}"
    subject = f"{name}: no run began at {times}" + (
        f", nor at {len(missed) - 1} later times" if missed[1:] else ""
    )
    why = "its DAG was paused, Airflow was down, or the run before took too long"
    tell(context, Notice(Event.SKIPPED, within(file.team, name), subject, f"{subject}: {why}."))


def _missed(context: Mapping[str, Any], file: ScheduledFile) -> list[datetime]:
    """List the times between the run before and this one at which the file says that one is due."""
    due, when = context["dag_run"].logical_date, file.spec and file.spec.schedule
    if due is None or not when or when.cron is None:
        return []
    before = context["ti"].get_previous_dagrun()
    if before is None or before.logical_date is None:
        return []
    return [time for time in when.upcoming(before.logical_date, _MOST) if time < due]


def _of_model(event: Event, model: Model, what: str, text: str) -> Notice:
    subject = f"{model.experiment}: version {model.version} {what}"
    details = {"run": model.run_id, "version": model.version}
    return Notice(event, model.experiment, subject, text, details=details)
