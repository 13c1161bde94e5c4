"""Which DAG runs a spec: one with slots, or one with waves, of which it has so many.

Every parse of the DAG files imports this module, so heavy imports are not for it.
"""

from __future__ import annotations

from hpo_lib.core.teams import within
from hpo_lib.search import engine
from hpo_lib.spec import Spec

#: How the name of a DAG ends that has a task for each trial.
WAVES = "_waves"


def dag_id_of(backend: str, team: str = "", *, in_slots: bool = True) -> str:
    """Name the DAG that runs confs for a backend: `hpo_local`, with waves `hpo_local_waves`.

    That of a team is `hpo_vision.local`, or `hpo_vision.local_waves`.
    """
    return f"hpo_{within(team, backend)}{'' if in_slots else WAVES}"


def same_confs(one: str, other: str) -> bool:
    """Say whether two DAGs run confs for the same backend and team, be it in different shapes."""
    return one.removesuffix(WAVES) == other.removesuffix(WAVES)


def needs_slots(spec: Spec, max_waves: int) -> bool:
    """Say whether a run of a spec needs slots: by its mode, or for more waves than are unrolled.

    Where the mode is chosen as a run begins (`auto`), its DAG is there before.
    """
    return spec.mode != "waves" or engine.waves(spec) > max_waves
