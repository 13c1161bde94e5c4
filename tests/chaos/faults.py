"""All faults, one row each: what does and undoes it, what it needs, how long and at which steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpo_lib.cli.embedded import COMPONENTS
from tests.chaos import by_hand, on_containers, on_pods, on_processes, on_store, on_surroundings
from tests.chaos.on_processes import How
from tests.chaos.schedule import STEPS
from tests.chaos.world import World

_EVERYWHERE = tuple(STEPS)
_TRAINS = ("search", "final")
_WITH_ARTIFACTS = ("final", "gate", "approve", "deploy")


def _always(_: World) -> bool:
    return True


def _on_local(world: World) -> bool:
    return world.place.backend == "local"


def _on_docker(world: World) -> bool:
    return world.place.backend == "docker"


def _on_kubernetes(world: World) -> bool:
    return world.place.backend == "kubernetes"


def _on_postgresql(world: World) -> bool:
    return world.server is not None


def _has_s3(world: World) -> bool:
    return world.s3 is not None


def _has_disk(world: World) -> bool:
    return world.has_disk


def _may_be_read_only(world: World) -> bool:
    return world.has_disk or world.server is not None


def _has_clock(world: World) -> bool:
    return world.clock is not None


@dataclass(frozen=True)
class Fault:
    """A row of the table; `lasts` is between how many seconds it lasts, nothing for a blow."""

    how: How
    lasts: tuple[float, float] = (0.0, 0.0)
    steps: Sequence[str] = _EVERYWHERE
    possible: Callable[[World], bool] = _always

    def lasts_s(self, draw: float) -> float:
        """Give how long it lasts by digits of a number that choose no victim."""
        shortest, longest = self.lasts
        return round(shortest + (longest - shortest) * (draw * 100 % 1), 1)


FAULTS: dict[str, Fault] = {
    "trial killed": Fault(on_processes.trial_killed, steps=_TRAINS, possible=_on_local),
    "guard killed": Fault(on_processes.guard_killed, steps=_TRAINS, possible=_on_local),
    "task killed": Fault(on_processes.task_killed),
    "task and supervisor killed": Fault(on_processes.supervisor_killed),
    "Airflow killed": Fault(on_processes.airflow_killed),
    **{f"{one} killed": Fault(on_processes.component_killed(one)) for one in COMPONENTS},
    "trial stopped": Fault(on_processes.trial_stopped, (3, 12), _TRAINS, _on_local),
    "guard stopped": Fault(on_processes.guard_stopped, (3, 12), _TRAINS, _on_local),
    "container killed": Fault(on_containers.container_killed, steps=_TRAINS, possible=_on_docker),
    "container paused": Fault(on_containers.container_paused, (3, 12), _TRAINS, _on_docker),
    "pod killed": Fault(on_pods.pod_killed, steps=_TRAINS, possible=_on_kubernetes),
    "pod evicted": Fault(on_pods.pod_evicted, steps=_TRAINS, possible=_on_kubernetes),
    "task stopped": Fault(on_processes.task_stopped, (3, 12)),
    **{f"{one} stopped": Fault(on_processes.component_stopped(one), (3, 12)) for one in COMPONENTS},
    "store locked": Fault(on_store.store_locked, (3, 12)),
    "store slow": Fault(on_store.store_slow, (5, 12)),
    "store read-only": Fault(on_store.store_read_only, (3, 12), possible=_may_be_read_only),
    "PostgreSQL restarted": Fault(on_store.server_restarted, (2, 8), possible=_on_postgresql),
    "disk full": Fault(on_surroundings.disk_full, (3, 12), possible=_has_disk),
    "API server cut off": Fault(on_surroundings.api_cut, (3, 12)),
    "S3 cut off": Fault(on_surroundings.s3_cut, (5, 12), _WITH_ARTIFACTS, _has_s3),
    "clock stepped": Fault(on_surroundings.clock_stepped, (5, 12), possible=_has_clock),
    "DAG file touched": Fault(on_surroundings.dag_file_touched),
    "DAG file edited": Fault(on_surroundings.dag_file_edited),
    "DAG file broken": Fault(on_surroundings.dag_file_broken, (3, 12)),
    "task cleared": Fault(by_hand.task_cleared),
    "trial marked failed": Fault(by_hand.trial_marked("failed"), steps=("search",)),
    "trial marked success": Fault(by_hand.trial_marked("success"), steps=("search",)),
}


def possible(world: World) -> dict[str, Sequence[str]]:
    """Give the faults that are possible in a place, with the steps at which each may happen."""
    return {name: fault.steps for name, fault in FAULTS.items() if fault.possible(world)}
