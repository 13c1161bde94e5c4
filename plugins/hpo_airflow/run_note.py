"""The note of a DAG run: how its search stands, written anew as it goes on.

Airflow 3.3 lets a task write no note: its API server alone does, for whoever may edit runs. So the
note is written by the REST API, as the user of the connection `hpo_airflow`, where there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hpo_lib.errors import HpoError
from hpo_lib.words import cut

if TYPE_CHECKING:
    from hpo_lib.cli.airflow_api import Airflow

log = logging.getLogger(__name__)
CONNECTION = "hpo_airflow"
#: Airflow keeps so many characters.
_LONGEST = 1_000


def write(context: Mapping[str, Any], text: Callable[[], str]) -> None:
    """Write the note of a task's DAG run; whatever goes wrong with that is logged and no more."""
    try:
        client = _client()
        if client is not None:
            _write(client, context["dag_run"], text())
    except Exception as error:
        log.warning("the run's note is not written: %s", error)


def _client() -> Airflow | None:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    from hpo_airflow.connections import address
    from hpo_lib.cli.airflow_api import Airflow

    try:
        found = BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        return None
    if not found.login:
        raise HpoError(f"connection {CONNECTION}: needs host, login and password")
    return Airflow(address(found), found.login, found.password or "")


def _write(client: Airflow, dag_run: Any, text: str) -> None:
    path = f"/dags/{quote(dag_run.dag_id)}/dagRuns/{quote(dag_run.run_id)}?update_mask=note"
    note = cut(text, _LONGEST)
    client.call("PATCH", path, {"note": note})
