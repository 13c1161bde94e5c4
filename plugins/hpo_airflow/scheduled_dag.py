"""From a file in config/experiments to its DAG, also from a broken one."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from hpo_airflow import tasks
from hpo_airflow.dag_factory import ending, report, unrolled, validate

if TYPE_CHECKING:
    from hpo_lib.runs.scheduled_files import ScheduledFile
    from hpo_lib.spec import Spec
    from hpo_lib.spec.schedule import Schedule

_SCHEDULED = """\
Runs {file} as it is when a run begins, {when}. One run at a time; what a run has begun with stays
its own, whatever becomes of the file. Triggered by hand it takes no conf.

{spec}
"""
_BROKEN = """\
**{file} is broken**: nothing runs until it is mended, which Airflow sees by itself.
`hpo validate` says the same.

{error}
"""
_SUMMARY = 200
#: How often `validate` looks whether Airflow has taken over a file that was changed: five minutes.
_WAIT = 60


def scheduled(file: ScheduledFile) -> DAG:
    """Build the DAG of a file: the waves and parallel trials that it asks for, when it asks for it.

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
    with DAG(
        file.dag_id,
        schedule=None if when is None or paused else _timetable(when),
        catchup=False,
        max_active_runs=1,
        # The trials of a wave, and the control task of one that was cleared.
        max_active_tasks=spec.limits.parallel_trials + 1,
        is_paused_upon_creation=False,
        tags=["hpo", backend, spec.name, *(["paused"] if paused else [])],
        description=_first_line(spec.description) or f"Tune {spec.name} by {file.name}",
        doc_md=_SCHEDULED.format(
            file=_inline(file.name),
            when=_inline(when.words() if when else "never"),
            spec=_fenced(to_yaml(spec), "yaml"),
        ),
        auto_register=False,
    ) as dag:
        last = f"wave_{file.waves:02d}.suggest"
        begin = validate(partial(tasks.validate_file, file=file, last=last), retries=_WAIT)
        searched = unrolled(begin, backend, file.waves, file)
        if spec.final is None:
            searched >> report(file)
        else:
            ending(searched, spec.for_final.trial.backend, file)
    return dag


def _broken(file: ScheduledFile) -> DAG:
    """Build a DAG that is never due; it ends, honestly, runs that were under way."""
    with DAG(
        file.dag_id,
        dag_display_name=f"{file.dag_id} (broken)",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["hpo", "broken"],
        description=f"broken: {_first_line(file.error)}",
        doc_md=_BROKEN.format(file=_inline(file.name), error=_fenced(file.error)),
        auto_register=False,
    ) as dag:
        begin = validate(partial(tasks.validate_file, file=file, last="report"))
        begin >> report(file)
    return dag


def _timetable(when: Schedule) -> Any:
    """Give what Airflow calls a schedule: times, assets, or both.

    A file that is new waits for its next time. `run_immediately=False` does not mean that in
    Airflow 3.3: the last time is run if no more than a tenth of the interval has passed since. A
    minute is left, so that a time is not missed if the file is parsed when it has just come.
    """
    assets = [Asset(name=one.name or one.uri, uri=one.uri) for one in when.assets]
    if when.cron is None:
        return assets
    cron = CronTriggerTimetable(when.cron, timezone=when.zone, run_immediately=timedelta(minutes=1))
    return AssetOrTimeSchedule(timetable=cron, assets=assets) if assets else cron


def _first_line(text: str) -> str:
    """Give the first line of a text, short."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _SUMMARY else f"{line[: _SUMMARY - 1]}…"


def _inline(text: str) -> str:
    """Write a text as Markdown code within a line."""
    return f"`{text.replace('`', chr(39))}`"


def _fenced(text: str, language: str = "") -> str:
    """Write a text as a block of Markdown code, with a fence that nothing in it can close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
