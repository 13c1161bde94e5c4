"""From names and numbers to a DAG: `validate`, waves of `suggest` and mapped `trial`, `report`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator, Param, TaskGroup, get_current_context, task
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import DownstreamTasksSkipped

from hpo_airflow import settings, tasks
from hpo_airflow.final_tasks import final_tasks
from hpo_airflow.retry_delay import PauseOfFailure
from hpo_lib import registry

if TYPE_CHECKING:
    from hpo_lib.runs.scheduled_files import ScheduledFile

#: Soon, and half an hour in all: as long as an engine, a cluster, a store or Airflow's API server
#: may be out of reach. hpo_lib alone says how often a trial itself is tried again.
_PATIENTLY: dict[str, Any] = {
    "retries": 20,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 1.5,
    "max_retry_delay": timedelta(minutes=2),
}
#: What a task has done until its timeout is in the store: the retry goes on from there.
_CONTROL: dict[str, Any] = {**_PATIENTLY, "execution_timeout": timedelta(hours=2)}
_TRIAL: dict[str, Any] = {**_PATIENTLY, "retry_policy": PauseOfFailure()}
#: More waves than these make the graph unreadable, and most runs need no more.
_SHOWN = 8

_DOC = """\
Tune the hyperparameters of a model with trials on the **{backend}** backend.

Trigger it with a conf JSON: a whole spec, as in `config/experiments/*.yaml`. The form shows a
working example. `hpo validate FILE` checks a spec, `hpo plan FILE` shows what it would do.

* **validate** checks the conf; nothing is started if it is wrong.
* **wave_NN / suggest** tells the sampler what is known and asks for the next trials;
  **wave_NN / trial** runs them, one mapped task each. Waves that are not needed are skipped.
* **final** trains the winner again, and the champion beside it; **gate** compares them, **approve**
  asks people if the spec wants that or the gate is unsure, **deploy** serves the better one. They
  are skipped where the spec has no `final`.
* **report** ends the run and writes `report.html` and `trials.csv`; it fails if the run failed.
"""


_HOUSEKEEPING = """\
Closes runs whose DAG run was marked or deleted, with their report, and ends processes, containers,
pods and ECS tasks that bear the store's name without a live attempt in it. Says which runs wait for
a file that was removed. What it did is in the log of **sweep** and in its return value.
`HPO_HOUSEKEEPING` is its cron expression.
"""


def conf_triggered(
    dag_id: str, *, backend: str, example: Mapping[str, Any], waves: int, team: str = ""
) -> DAG:
    """Build the DAG that runs whatever spec it is triggered with on one backend, for a team."""
    with DAG(
        dag_id,
        schedule=None,
        catchup=False,
        tags=["hpo", backend, *settings.tags(team)],
        description=f"Tune hyperparameters with trials on the {backend} backend",
        doc_md=_DOC.format(backend=backend),
        auto_register=False,
    ) as dag:
        begin = validate(partial(tasks.validate, backend=backend))
        ending(unrolled(begin, backend, waves, team=team), backend, team=team)
    # Set last: every operator is made with a deep copy of the params that its DAG has by then.
    dag.params = ParamsDict(form(example))
    return dag


def housekeeping(dag_id: str, folder: Path) -> DAG:
    """Build the DAG that looks, every few minutes, for what is left over.

    `folder` is that of the files that have a DAG each.
    """
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

        @task(task_id="sweep", **{**_CONTROL, "execution_timeout": timedelta(minutes=10)})
        def sweep() -> list[str]:
            """Say what was ended."""
            return tasks.sweep(get_current_context(), folder)

        sweep()
    return dag


def unrolled(
    before: BaseOperator,
    backend: str,
    waves: int,
    file: ScheduledFile | None = None,
    team: str = "",
) -> BaseOperator:
    """Chain the waves; those beyond the first few are drawn as one group until it is opened."""
    operator = _operator(backend, team, of_file=file is not None)
    for wave in range(1, min(waves, _SHOWN) + 1):
        before = _wave(before, wave, waves, operator, file)
    if waves > _SHOWN:
        with TaskGroup(f"waves_{_SHOWN + 1:02d}_to_{waves:02d}", prefix_group_id=False):
            for wave in range(_SHOWN + 1, waves + 1):
                before = _wave(before, wave, waves, operator, file)
    return before


def _operator(backend: str, team: str, *, of_file: bool) -> Callable[..., Any]:
    """Give a function that makes a team's mapped trials from the rest of their settings.

    The operator is imported only for the DAGs that need it. So is the backend, although the DAG
    holds only its name: a backend that cannot be imported must break the DAG, not its trials.
    """
    registry.load("backend", backend)
    operator = registry.imported(registry.backends()[backend].operator)
    placed = settings.placement(team, of_file=of_file)
    return partial(operator.partial, backend=backend, **_TRIAL, **placed)


def form(example: Mapping[str, Any]) -> dict[str, Param]:
    """Describe the trigger form: a field per part of the spec, prefilled with the example."""
    return {
        name: Param(example.get(name, default), title=title, description_md=text, **_KINDS[kind])
        for name, kind, default, title, text in _FIELDS
    }


_KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "lines": {"type": "array"},
    "mapping": {"type": "object"},
    "mapping or nothing": {"type": ["object", "null"]},
    "one or more": {"type": ["object", "array"]},
    "mappings": {"type": "array", "items": {"type": "object"}},
}
_FIELDS: tuple[tuple[str, str, Any, str, str], ...] = (
    ("name", "text", "", "Experiment", "lower-case letters, digits and `-`"),
    ("description", "text", "", "Description", "what it is for"),
    (
        "objective",
        "one or more",
        {},
        "Objective",
        "`metric`, `direction`, `target`, `reduce`; or a list of several such mappings",
    ),
    ("constraints", "lines", [], "Constraints", "such as `val_loss - loss <= 0.01`, one a line"),
    ("extra_metrics", "lines", [], "Further metrics", "recorded beside the objective, one a line"),
    ("space", "mapping", {}, "Search space", "`float`, `int`, `categorical`, `ordinal` by name"),
    ("fixed", "mapping", {}, "Fixed parameters", "handed to every trial"),
    ("initial_points", "mappings", [], "Initial points", "configurations to try first"),
    ("sampler", "mapping", {}, "Sampler", "`name` (`auto` chooses), `seed`, its own settings"),
    ("limits", "mapping", {}, "Limits", "when the run ends, and how many trials at once"),
    (
        "trial",
        "mapping",
        {},
        "Trial",
        "`image`, `command`, `timeout`, `resources`, `env`, `options`",
    ),
    ("metrics", "mapping", {}, "Metrics", "`collector`: stdout, file, jsonl, tfevents, xcom"),
    (
        "final",
        "mapping or nothing",
        None,
        "Final training",
        "`seeds`, and what `trial` has it otherwise",
    ),
    (
        "deploy",
        "mapping or nothing",
        None,
        "Deployment",
        "`to`, `min_improvement`, `guards`, `approval`",
    ),
)


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
    operator = _operator(backend, team, of_file=file is not None)
    final_tasks(before, report(file), operator, _CONTROL, at_once, file)


def report(file: ScheduledFile | None = None) -> BaseOperator:
    """Build the last task."""

    @task(task_id="report", trigger_rule="all_done", **_CONTROL)
    def end() -> dict[str, Any]:
        """End the run and write its report."""
        return tasks.report(get_current_context(), file)

    return end().operator
