"""From a row of the table of backends to its conf-triggered DAG, also from a broken one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import TYPE_CHECKING, Any

from hpo_airflow import settings, tasks
from hpo_airflow.broken_dag import broken
from hpo_airflow.dag_factory import conf_triggered
from hpo_airflow.markdown import inline
from hpo_lib.files import shipped
from hpo_lib.registry import backends
from hpo_lib.runs.shape import dag_id_of
from hpo_lib.spec.yaml_core import operators

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from hpo_lib.registry import BackendRow

_BROKEN = """\
**Backend {backend} is broken**: it runs no trial until it can be imported, which Airflow sees by
itself.
"""
_TEAMS = "hpo_teams"
_NO_TEAMS = """\
**The teams cannot be read** from `config/deployment.yaml`: their DAGs, and those of
their files, are not there until it is mended, which Airflow sees by itself.
"""


def installed(row: BackendRow) -> bool:
    """Say whether what a backend needs is installed; without it there is no DAG."""
    try:
        return find_spec(row.needs) is not None
    except ModuleNotFoundError:
        return False
    except Exception:
        # It is installed but broken, and the DAG will say so.
        return True


def on_demand_dags(team: str = "", wanted: str | None = None) -> Iterator[tuple[str, DAG]]:
    """Build the DAGs of every backend that a team may use, or only the one that is wanted.

    A backend has two: one with slots, and one with waves.
    """
    for (backend, row), in_slots in product(backends().items(), (True, False)):
        dag_id = dag_id_of(backend, team, in_slots=in_slots)
        if wanted in (None, dag_id) and installed(row) and settings.has_backend(team, backend):
            yield dag_id, on_demand(dag_id, backend, row, team, in_slots=in_slots)


def dags_of_all(wanted: str | None = None) -> Iterator[tuple[str, DAG]]:
    """Build the DAGs that are no team's, and each team's.

    Where it cannot be read which teams there are, one DAG says why in place of theirs.
    """
    yield from on_demand_dags("", wanted)
    try:
        teams = settings.teams()
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        yield _TEAMS, broken(_TEAMS, _NO_TEAMS, why, partial(tasks.refuse, reason=why))
        return
    for team in teams:
        yield from on_demand_dags(team, wanted)


def on_demand(
    dag_id: str, backend: str, row: BackendRow, team: str = "", *, in_slots: bool = True
) -> DAG:
    """Build a DAG of a team's backend, with a form that an example fills.

    Whatever is wrong with the backend, there is a DAG: one that shows the error and fails with it.
    """
    try:
        return conf_triggered(
            dag_id,
            backend=backend,
            example=_example(backend, row.example) | ({"mode": "async"} if in_slots else {}),
            waves=None if in_slots else settings.max_waves(),
            team=team,
        )
    except Exception as error:
        why = f"backend {backend}: {type(error).__name__}: {error}"
        doc = _BROKEN.format(backend=inline(backend))
        return broken(dag_id, doc, why, partial(tasks.refuse, reason=why), team=team)


def _example(backend: str, name: str) -> dict[str, Any]:
    """Read an example, which may be that of another backend."""
    spec = operators((shipped.examples() / name).read_text(encoding="utf-8"), at=name)
    return {**spec, "trial": {**spec["trial"], "backend": backend}}
