"""A file in config/experiments as a DAG, and when its runs start; also of a broken file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from hpo_airflow import settings, tasks
from hpo_airflow.broken_dag import broken
from hpo_airflow.dag_factory import ending, report, searching, validate
from hpo_airflow.deadline import alert
from hpo_airflow.markdown import fenced, first_line, inline
from hpo_airflow.slot_tasks import SLOTS
from hpo_lib.core.teams import within
from hpo_lib.runs.scheduled_files import ScheduledFile, scheduled_files
from hpo_lib.spec.airflow_section import AirflowSection

if TYPE_CHECKING:
    from hpo_lib.spec import Spec
    from hpo_lib.spec.schedule import Schedule

_SCHEDULED = """\
Runs {file} as it is when a run begins, {when}. One run at a time; what a run has begun with stays
its own, whatever becomes of the file. Triggered by hand it takes no conf.
{notes}
{spec}
"""
_BROKEN = """\
**{file} is broken**: nothing runs until it is mended, which Airflow sees by itself.
`hpo validate` says the same.
"""
#: How often `validate` looks whether Airflow has taken over a file that was changed: five minutes.
_WAIT: dict[str, Any] = {"retries": 60, "retry_exponential_backoff": 0}


def files(wanted: str | None, teams: Sequence[str]) -> Iterator[ScheduledFile]:
    """Read the files that ask for a DAG, or only the one whose DAG is wanted.

    A folder that the operator names has to be there, as its DAGs would go away with it; the usual
    one may not have been made yet.
    """
    folder = settings.experiments()
    if folder.exists() or os.environ.get("HPO_EXPERIMENTS"):
        yield from scheduled_files(folder, wanted, teams)


def scheduled(file: ScheduledFile) -> DAG:
    """Build the DAG of a file: the waves or slots that it asks for, when it asks for them.

    Whatever is wrong with the file, there is a DAG: one that shows the error and fails with it.
    """
    if file.spec is None:
        return _broken(file)
    try:
        dag = _sound(file, file.spec)
        dag.validate()
    except Exception as error:
        return _broken(file.broken(f"{type(error).__name__}: {error}"))
    return dag


def _sound(file: ScheduledFile, spec: Spec) -> DAG:
    from hpo_lib.spec.yaml_file import to_yaml

    backend, when = spec.trial.backend, spec.schedule
    paused = when is None or when.paused
    rules, own = settings.placing(file.team), spec.airflow or AirflowSection()
    with DAG(
        file.dag_id,
        default_args={"owner": own.owner or rules.owner},
        deadline=alert(own.deadline or rules.deadline, within(file.team, spec.name), file.team),
        schedule=None if when is None or paused else _timetable(when),
        catchup=False,
        max_active_runs=1,
        # The trials that run at once, and a control task that was cleared.
        max_active_tasks=spec.limits.parallel_trials + 1,
        is_paused_upon_creation=False,
        tags=[
            "hpo",
            backend,
            spec.name,
            *(["paused"] if paused else []),
            *settings.tags(file.team),
        ],
        description=first_line(spec.description) or f"Tune {spec.name} by {file.name}",
        doc_md=_SCHEDULED.format(
            file=inline(file.name),
            when=inline(when.words() if when else "never"),
            notes="".join(f"\n* {inline(note)}\n" for note in spec.notes()),
            spec=fenced(to_yaml(spec), "yaml"),
        ),
        access_control=settings.access(file.team),
        auto_register=False,
    ) as dag:
        last = SLOTS if file.waves is None else f"wave_{file.waves:02d}.suggest"
        begin = validate(partial(tasks.validate_file, file=file, last=last), **_WAIT)
        searched = searching(begin, backend, file.waves, file, file.team)
        if spec.final is None:
            searched >> report(file)
        else:
            ending(searched, spec.for_final.trial.backend, file, file.team)
    return dag


def _broken(file: ScheduledFile) -> DAG:
    begin = partial(tasks.validate_file, file=file, last="report")
    return broken(
        file.dag_id, _BROKEN.format(file=inline(file.name)), file.error, begin, file, file.team
    )


def _timetable(when: Schedule) -> Any:
    """Give what Airflow calls a schedule: times, assets, or both.

    A file that is new waits for its next time. `run_immediately=False` does not mean that in
    Airflow 3.3: the last time is run if no more than a tenth of the interval has passed since. A
    minute is allowed, so that a time that has just come when the file is parsed is not missed.
    """
    assets = [Asset(name=one.name or one.uri, uri=one.uri) for one in when.assets]
    if when.cron is None:
        return assets
    cron = CronTriggerTimetable(when.cron, timezone=when.zone, run_immediately=timedelta(minutes=1))
    return AssetOrTimeSchedule(timetable=cron, assets=assets) if assets else cron
