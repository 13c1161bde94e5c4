"""What people do in Airflow's UI at the wrong moment: clear tasks, mark trials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpo_lib.errors import HpoError
from hpo_lib.runs.slots import name_of
from tests.chaos.on_processes import How
from tests.chaos.victims import Nobody, chosen
from tests.chaos.world import World

_CLEARED = {"running", "success"}


@contextmanager
def task_cleared(world: World, draw: float) -> Iterator[str]:
    """A task that runs, or has run, is cleared, with all that it was mapped to."""
    there = {(t["run_id"], t["task_id"]) for t in world.tasks() if t["state"] in _CLEARED}
    run_id, task_id = chosen(sorted(there), draw)
    run = world.run_of({"run_id": run_id})
    try:
        world.stack.clear(run.key, task_id)
    except HpoError:
        raise Nobody from None
    yield f"{run.name} {task_id}"


def trial_marked(state: str) -> How:
    """The task of a trial that runs is marked, once in a run: that ends the trial as failed.

    In slots it is the task of its slot, which takes no further trial.
    """

    @contextmanager
    def how(world: World, draw: float) -> Iterator[str]:
        found = [
            task for task in world.tasks() if task["state"] == "running" and _spared(world, task)
        ]
        task = chosen(sorted(found, key=lambda one: str(one["id"])), draw)
        run, number = world.run_of(task), _trial_of(world, task)
        if number is None:
            raise Nobody
        path = f"/dags/{run.key.dag_id}/dagRuns/{run.key.dag_run_id}/taskInstances"
        run.marked.add(number)
        try:
            where = f"{path}/{task['task_id']}/{task['map_index']}"
            world.stack.client().call("PATCH", where, {"new_state": state})
        except HpoError:
            raise Nobody from None
        yield f"{run.name} trial {number}, {task['task_id']}"

    return how


def _trial_of(world: World, task: dict[str, Any]) -> int | None:
    """Number the trial of the search that a running task has, if any."""
    run = world.run_of(task)
    if task["task_id"] == "slot":
        places = world.stack.store.slots.running(world.stack.run(run.key).id)
        name = name_of(task["map_index"] + 1)
        return next((number for number, place in places.items() if place == name), None)
    number = str(task["rendered_map_index"] or "").partition(":")[0]
    of_search = str(task["task_id"]).startswith("wave_") and number.isdigit()
    return int(number) if of_search else None


def _spared(world: World, task: dict[str, Any]) -> bool:
    """Say whether no trial of the run was marked, and its table does not depend on the moment."""
    run = world.run_of(task)
    return run.mode == "waves" and not run.marked and _trial_of(world, task) is not None
