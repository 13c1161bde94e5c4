"""From a row of the table of backends to its conf-triggered DAG, also from a broken one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_airflow import settings, tasks
from hpo_airflow.broken_dag import broken, inline
from hpo_airflow.dag_factory import conf_triggered
from hpo_lib.core.teams import within
from hpo_lib.registry import backends
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


def on_demand_dags(
    examples: Path, team: str = "", wanted: str | None = None
) -> Iterator[tuple[str, DAG]]:
    """Build the DAG of every backend that a team may use, or only the one that is wanted."""
    for backend, row in backends().items():
        dag_id = dag_id_of(backend, team)
        if wanted in (None, dag_id) and installed(row) and settings.has_backend(team, backend):
            yield dag_id, on_demand(dag_id, backend, row, examples, team)


def dags_of_all(examples: Path, wanted: str | None = None) -> Iterator[tuple[str, DAG]]:
    """Build the DAGs that are no team's, and each team's.

    Where it cannot be read which teams there are, one DAG says why in place of theirs.
    """
    yield from on_demand_dags(examples, "", wanted)
    try:
        teams = settings.teams()
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        yield _TEAMS, broken(_TEAMS, _NO_TEAMS, why, partial(tasks.refuse, reason=why))
        return
    for team in teams:
        yield from on_demand_dags(examples, team, wanted)


def dag_id_of(backend: str, team: str = "") -> str:
    """Name the DAG of a team's backend: `hpo_local`, or `hpo_vision.local` for a team."""
    return f"hpo_{within(team, backend)}"


def on_demand(dag_id: str, backend: str, row: BackendRow, examples: Path, team: str = "") -> DAG:
    """Build the DAG of a team's backend, with a form that an example of that folder fills.

    Whatever is wrong with the backend, there is a DAG: one that shows the error and fails with it.
    """
    try:
        return conf_triggered(
            dag_id,
            backend=backend,
            example=_example(backend, examples / row.example),
            waves=settings.max_waves(),
            team=team,
        )
    except Exception as error:
        why = f"backend {backend}: {type(error).__name__}: {error}"
        doc = _BROKEN.format(backend=inline(backend))
        return broken(dag_id, doc, why, partial(tasks.refuse, reason=why), team=team)


def _example(backend: str, file: Path) -> dict[str, Any]:
    """Read an example, which may be that of another backend."""
    spec = operators(file.read_text(encoding="utf-8"), at=file.name)
    return {**spec, "trial": {**spec["trial"], "backend": backend}}
