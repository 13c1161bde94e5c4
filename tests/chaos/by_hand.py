"""What people do in Airflow's UI at the wrong moment: clear tasks, mark trials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpo_lib.errors import HpoError
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
    """The task of a trial that runs is marked, once in a run: that ends the trial as failed."""

    @contextmanager
    def how(world: World, draw: float) -> Iterator[str]:
        found = [
            task
            for task in world.tasks()
            if task["state"] == "running" and _is_trial(task["task_id"]) and _spared(world, task)
        ]
        task = chosen(sorted(found, key=lambda one: str(one["id"])), draw)
        run, label = world.run_of(task), str(task["rendered_map_index"])
        path = f"/dags/{run.key.dag_id}/dagRuns/{run.key.dag_run_id}/taskInstances"
        run.marked.add(int(label.partition(":")[0]))
        try:
            where = f"{path}/{task['task_id']}/{task['map_index']}"
            world.stack.client().call("PATCH", where, {"new_state": state})
        except HpoError:
            raise Nobody from None
        yield f"{run.name} trial {label}"

    return how


def _is_trial(task_id: str) -> bool:
    return task_id.startswith("wave_") and task_id.endswith(".trial")


def _spared(world: World, task: dict[str, object]) -> bool:
    """Say whether no trial of the run was marked, and its table does not depend on the moment."""
    run, label = world.run_of(task), str(task["rendered_map_index"] or "")
    return run.mode == "waves" and not run.marked and label.partition(":")[0].isdigit()
