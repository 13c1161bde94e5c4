"""From names and numbers to a DAG: `validate`, waves or slots, `report`.

A wave is a control task `suggest` and a mapped `trial`; slots are one mapped task for a whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    DAG,
    BaseOperator,
    TaskGroup,
    get_current_context,
    get_parsing_context,
    task,
)
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import DownstreamTasksSkipped

from hpo_airflow import housekeeping_tasks, settings, slot_tasks, tasks
from hpo_airflow.deadline import alert
from hpo_airflow.final_tasks import CHAMPIONS, final_tasks
from hpo_airflow.form import form
from hpo_airflow.links import OF_RUN
from hpo_airflow.retry_delay import AsErrorsSay
from hpo_airflow.slot_tasks import SLOT, SLOTS
from hpo_lib import registry
from hpo_lib.runs import shape

if TYPE_CHECKING:
    from hpo_lib.runs.scheduled_files import ScheduledFile

#: Soon, and half an hour in all: as long as an engine, a cluster, a store or Airflow's API server
#: may be out of reach. hpo_lib alone says how often a trial itself is tried again.
_PATIENTLY: dict[str, Any] = {
    "retries": 20,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 1.5,
    "max_retry_delay": timedelta(minutes=2),
    "retry_policy": AsErrorsSay(),
}
#: What a task has done until its timeout is in the store: the retry goes on from there.
_CONTROL: dict[str, Any] = {**_PATIENTLY, "execution_timeout": timedelta(hours=2)}
#: A slot lasts as long as its run, and each of its trials may be killed, or meet an outage: it is
#: tried again for hours, soon each time.
_LASTING: dict[str, Any] = {
    "retries": 1_000,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 0,
}
#: More waves than these make the graph unreadable, and most runs need no more.
_SHOWN = 8

_DOC = """\
Tune the hyperparameters of a model with trials on the **{backend}** backend.

Trigger it with a conf JSON: a whole spec, as in `config/experiments/*.yaml`. The form shows a
working example. `hpo validate FILE` checks a spec, `hpo plan FILE` shows what it would do.

* **validate** checks the conf; nothing is started if it is wrong.
{search}
* **final** trains the winner again, and the champion beside it; **gate** compares them, **approve**
  asks people if the spec wants that or the gate is unsure, **deploy** serves the better one. They
  are skipped where the spec has no `final`.
* **report** ends the run and writes `report.html` and `trials.csv`; it fails if the run failed.
"""


_WAVES = """\
* **wave_NN / suggest** tells the sampler what is known and asks for the next trials;
  **wave_NN / trial** runs them, one mapped task each. Waves that are not needed are skipped.
  `{other}` runs `mode: async`, and any number of waves.\
"""
_SLOTS = """\
* **slots** opens as many slots as trials run at once, and **slot** is a mapped task for each: it
  runs trial after trial until the run ends, however many there are. With `mode: async` it asks for
  the next one as soon as one has ended, with `mode: waves` when all of the wave have. Its log has a
  section for each trial. `{other}` has a task for each trial, in short runs.\
"""

_HOUSEKEEPING = """\
Looks after what no task looks after any more. It is safe to trigger at any time, never touches a
trial whose task is alive, and mostly finds nothing to do.

* **sweep** closes runs whose DAG run was marked or deleted, with their report; ends processes,
  containers, pods and ECS tasks that bear the store's name without a live attempt in it; says
  which runs wait for a file that was removed; makes every champion serve; deletes runs older than
  `retention_days` in `config/deployment.yaml`, if that is set; updates the assets of champions that
  `hpo rollback` has brought back within a day, and notifies who wants to know. What it did, a
  sentence each, is in its log and its return value: `[]` means that there was nothing to do.
* **find_broken** looks for broken files in the folder of experiments, and **start_broken** starts
  their DAGs once for each error: the run fails with what is wrong, so that the DAG is red in the
  list, and whoever wants to know is notified. It is skipped where no file is broken, or where that
  run is there already.

`HPO_HOUSEKEEPING` is its cron expression, every ten minutes by default. While it is paused, what
killed tasks have left stays where it is; it makes up for that when it goes on.
"""


def conf_triggered(
    dag_id: str, *, backend: str, example: Mapping[str, Any], waves: int | None, team: str = ""
) -> DAG:
    """Build the DAG that runs whatever spec it is triggered with on one backend, for a team.

    It has so many waves; slots with None.
    """
    rules, in_slots = settings.placing(team), waves is None
    other = shape.dag_id_of(backend, team, in_slots=not in_slots)
    with DAG(
        dag_id,
        schedule=None,
        catchup=False,
        default_args={"owner": rules.owner},
        deadline=alert(rules.deadline, dag_id, team),
        tags=["hpo", backend, *settings.tags(team)],
        description=f"Tune hyperparameters with trials on the {backend} backend",
        doc_md=_DOC.format(
            backend=backend, search=(_SLOTS if in_slots else _WAVES).format(other=other)
        ),
        # The trials of a run, and a control task that was cleared.
        max_active_tasks=settings.max_parallel() + 1,
        access_control=settings.access(team),
        auto_register=False,
    ) as dag:
        begin = validate(partial(tasks.validate, backend=backend, in_slots=in_slots))
        ending(searching(begin, backend, waves, team=team), backend, team=team)
    # Set last: every operator is made with a deep copy of the params that its DAG has by then.
    dag.params = _params(example)
    return dag


def _params(example: Mapping[str, Any]) -> ParamsDict:
    """Give the form that an example fills; none to a task, which reads the conf by itself.

    The conf was checked by the form's schemas when the run was triggered. A task of a DAG that has
    them checks the conf by them twice more (Airflow 3.3.2), which took most of its CPU time.
    """
    is_for_a_task = get_parsing_context().task_id is not None
    return ParamsDict() if is_for_a_task else ParamsDict(form(example))


def housekeeping(dag_id: str, folder: Path) -> DAG:
    """Build the DAG that looks, every few minutes, for what is left over.

    `folder` is that of the files that have a DAG each.
    """
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

    with DAG(
        dag_id,
        schedule=settings.housekeeping(),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["hpo"],
        description="End pods, containers, processes and runs that nobody looks after any more",
        doc_md=_HOUSEKEEPING,
    ) as dag:
        limited = {**_CONTROL, "execution_timeout": timedelta(minutes=10)}

        @task(task_id="sweep", outlets=[CHAMPIONS], **limited)
        def sweep() -> list[str]:
            """Say what was ended, and which champions were told of."""
            context = get_current_context()
            done = housekeeping_tasks.sweep(context, folder)
            return [*done, *housekeeping_tasks.announce(context)]

        @task(task_id="find_broken", **limited)
        def find_broken() -> list[dict[str, str]]:
            """Name the DAGs of broken files."""
            return housekeeping_tasks.broken_files(get_current_context(), folder)

        sweep()
        start = TriggerDagRunOperator.partial(
            task_id="start_broken",
            skip_when_already_exists=True,
            map_index_template="{{ task.trigger_dag_id }}",
            **_PATIENTLY,
        )
        start.expand_kwargs(find_broken())
    return dag


def searching(
    before: BaseOperator,
    backend: str,
    waves: int | None,
    file: ScheduledFile | None = None,
    team: str = "",
) -> BaseOperator:
    """Build the tasks of a search after `before`: so many waves, or slots with None."""
    if waves is None:
        return slots(before, backend, file, team)
    return unrolled(before, backend, waves, file, team)


def slots(
    before: BaseOperator, backend: str, file: ScheduledFile | None = None, team: str = ""
) -> BaseOperator:
    """Build the control task that opens the slots, and the task that it maps: one for each."""
    operator = _operator(backend, team, file)

    @task(task_id=SLOTS, trigger_rule="all_done", **_CONTROL)
    def opened() -> list[dict[str, Any]]:
        """Say how many slots there are."""
        context = get_current_context()
        found, stop = slot_tasks.opened(context, file)
        if stop is not None:
            context["ti"].xcom_push(key="return_value", value=[])
            raise DownstreamTasksSkipped(tasks=[SLOT])
        return found

    asked = opened()
    before >> asked.operator
    named = "{{ task.assignment['label'] }}"
    made: BaseOperator = operator(task_id=SLOT, map_index_template=named, **_LASTING).expand(
        assignment=asked
    )
    return made


def unrolled(
    before: BaseOperator,
    backend: str,
    waves: int,
    file: ScheduledFile | None = None,
    team: str = "",
) -> BaseOperator:
    """Chain the waves; those beyond the first few are drawn as one group until it is opened."""
    operator = _operator(backend, team, file)
    for wave in range(1, min(waves, _SHOWN) + 1):
        before = _wave(before, wave, waves, operator, file)
    if waves > _SHOWN:
        with TaskGroup(f"waves_{_SHOWN + 1:02d}_to_{waves:02d}", prefix_group_id=False):
            for wave in range(_SHOWN + 1, waves + 1):
                before = _wave(before, wave, waves, operator, file)
    return before


def _operator(backend: str, team: str, file: ScheduledFile | None) -> Callable[..., Any]:
    """Give a function that makes a team's mapped trials from the rest of their settings.

    The operator is imported only for the DAGs that need it. So is the backend, although the DAG
    holds only its name: a backend that cannot be imported must break the DAG, not its trials.
    """
    registry.load("backend", backend)
    operator = registry.imported(registry.backends()[backend].operator)
    asked = file.spec.airflow if file and file.spec else None
    placed = settings.placement(team, of_file=file is not None, asked=asked)
    return partial(operator.partial, backend=backend, **_PATIENTLY, **placed)


def validate(begin: Callable[[Any], dict[str, Any]], **retried: Any) -> BaseOperator:
    """Build the first task, whose body is `begin`; `retried` is how, if not as the others are."""

    @task(task_id="validate", **{**_CONTROL, **retried})
    def check() -> dict[str, Any]:
        """Check the spec and start the run."""
        return begin(get_current_context())

    return check().operator


def _wave(
    before: BaseOperator,
    wave: int,
    waves: int,
    operator: Callable[..., Any],
    file: ScheduledFile | None,
) -> BaseOperator:
    """Build one wave: the control task, and the trials that it maps."""
    with TaskGroup(f"wave_{wave:02d}"):

        @task(task_id="suggest", trigger_rule="all_done", **_CONTROL)
        def suggest() -> list[dict[str, Any]]:
            """Settle the last wave, decide, and ask the sampler for this one."""
            context = get_current_context()
            assignments, stop = tasks.suggest(context, wave, file)
            if stop is not None:
                context["ti"].xcom_push(key="return_value", value=[])
                raise DownstreamTasksSkipped(tasks=_rest(wave, waves))
            return assignments

        asked = suggest()
        trial = operator(
            task_id="trial",
            map_index_template="{{ task.assignment['label'] }}",
        ).expand(assignment=asked)
    before >> asked.operator
    return trial


def _rest(wave: int, waves: int) -> list[str]:
    """Name what a stop in the control task of `wave` skips."""
    later = [f"wave_{n:02d}.{name}" for n in range(wave + 1, waves + 1) for name in _NAMES]
    return [f"wave_{wave:02d}.trial", *later]


_NAMES = ("suggest", "trial")


def ending(
    before: BaseOperator, backend: str, file: ScheduledFile | None = None, team: str = ""
) -> None:
    """Build what follows the last wave: final training, gate, deployment, report."""
    own = file.spec.limits.parallel_trials if file and file.spec else None
    at_once = own or settings.max_parallel()
    operator = _operator(backend, team, file)
    final_tasks(before, report(file), operator, _CONTROL, at_once, file)


def report(file: ScheduledFile | None = None) -> BaseOperator:
    """Build the last task."""

    @task(task_id="report", trigger_rule="all_done", **_CONTROL)
    def end() -> dict[str, Any]:
        """End the run and write its report."""
        return tasks.report(get_current_context(), file)

    made = end().operator
    made.operator_extra_links = OF_RUN
    return made
