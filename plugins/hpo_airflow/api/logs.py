"""The log of a trial: that of the Airflow task which runs it, over all of the task's tries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from fastapi.concurrency import run_in_threadpool

from hpo_airflow.api.airflow import Airflow, path_of
from hpo_airflow.slot_tasks import SECTION, SLOT
from hpo_lib.cli.answers import Log
from hpo_lib.core.trial import TrialState
from hpo_lib.errors import NotFound
from hpo_lib.promotion.challenger import SLOT as FINAL
from hpo_lib.records import Run
from hpo_lib.runs.slots import name_of, number_of
from hpo_lib.store import Store
from hpo_lib.trials.attempt_log import lines_of

#: States of a task to whose log nothing is added.
_OVER = ("success", "failed", "skipped", "upstream_failed", "removed")
#: What Airflow itself writes around a log.
_FRAME = ("::group::", "::endgroup::")


async def log_of(
    airflow: Airflow,
    store: Store,
    run: Run,
    number: int,
    offset: int,
    limit: int,
    *,
    attempt: int | None = None,
) -> Log:
    """Give lines of a trial's log, or of one of its attempts; none before its task has begun."""
    trial = await run_in_threadpool(store.trial, run.id, number)
    newest = await run_in_threadpool(_newest, store, run, number, attempt)
    if trial.reused is not None:
        raise NotFound(f"trial {number} was not run: it is reused from {trial.reused}")
    task_id, index = await run_in_threadpool(task_of, store, run, number)
    path = f"{path_of(run.key)}/taskInstances/{quote(task_id)}"
    try:
        task = await airflow.call("GET", f"{path}/{index}")
    except NotFound:
        return Log(lines=[], next=offset, ended=trial.state is not TrialState.RUNNING)
    lines: list[str] = []
    for one in range(1, int(task["try_number"]) + 1):
        found = await _try(airflow, path, one, index)
        own = section_of(found, number) if task_id == SLOT else _unframed(found)
        lines += own if attempt is None else lines_of(own, number, attempt)
    page = lines[offset : offset + limit]
    ended = trial.state is not TrialState.RUNNING
    over = task["state"] in _OVER or (task_id == SLOT and ended) or not newest
    last = offset + len(page) >= len(lines)
    return Log(lines=page, next=offset + len(page), ended=over and last)


def _newest(store: Store, run: Run, number: int, attempt: int | None) -> bool:
    """Say whether an attempt is a trial's newest, to which lines may be added; NotFound."""
    if attempt is None:
        return True
    known = [one.number for one in store.attempts(run.id, number)]
    if attempt not in known:
        told = ", ".join(map(str, known)) or "none"
        raise NotFound(f"trial {number} of run {run.id} has no attempt {attempt}; it has {told}")
    return attempt == known[-1]


def task_of(store: Store, run: Run, number: int) -> tuple[str, int]:
    """Name the mapped task that a trial was last given to, and its index."""
    slot, _ = store.assignment(run.id, number)
    if (place := number_of(slot)) is not None:
        return SLOT, place - 1
    batch = store.batch_of(run.id, slot)
    given = [] if batch is None else [one.trial for one in batch.assignments]
    group = FINAL if slot == FINAL else slot.replace("-", "_")
    return f"{group}.trial", given.index(number)


def trials_of_task(store: Store, run: Run, task_id: str, map_index: int) -> list[int]:
    """Number the trials that a task instance has run, in order; none for any other task."""
    if task_id == SLOT:
        return store.overview.given(run.id, name_of(map_index + 1))
    group, _, last = task_id.rpartition(".")
    if last != "trial":
        return []
    given = store.overview.given(run.id, FINAL if group == FINAL else group.replace("_", "-"))
    return given[map_index : map_index + 1] if map_index >= 0 else []


async def _try(airflow: Airflow, path: str, attempt: int, index: int) -> list[str]:
    """Read the lines of one try; none if Airflow has no log of it."""
    query = {"map_index": index, "full_content": "true"}
    try:
        found = await airflow.call("GET", f"{path}/logs/{attempt}", **query)
    except NotFound:
        return []
    said = (_text(one) for one in found.get("content") or [])
    return [line for text in said for line in text.splitlines()]


def _unframed(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if not line.startswith(_FRAME)]


def section_of(lines: Iterable[str], number: int) -> list[str]:
    """Cut a trial's lines out of the log of its slot."""
    begins, found, inside = f"{SECTION}{number}:", list[str](), False
    for line in lines:
        if line.startswith(SECTION):
            inside = line.startswith(begins)
        elif line.startswith(_FRAME):
            inside = False
        elif inside:
            found.append(line)
    return found


def _text(message: Any) -> str:
    return str(message.get("event", "")) if isinstance(message, dict) else str(message)
