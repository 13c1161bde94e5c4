"""Who asks, and what Airflow's auth manager lets them do: there are no rights beside its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Protocol

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException

from hpo_lib.records import Run
from hpo_lib.records.audit import Actor


class Right(Enum):
    """What Airflow calls each thing that one may do to a DAG: a method, and what of the DAG."""

    SEE_RUNS = ("GET", DagAccessEntity.RUN)
    SEE_TRIALS = ("GET", DagAccessEntity.TASK_INSTANCE)
    READ_LOGS = ("GET", DagAccessEntity.TASK_LOGS)
    START_RUNS = ("POST", DagAccessEntity.RUN)
    CHANGE_RUNS = ("PUT", DagAccessEntity.RUN)
    CHANGE_TRIALS = ("PUT", DagAccessEntity.TASK_INSTANCE)
    APPROVE = ("PUT", DagAccessEntity.HITL_DETAIL)

    def __str__(self) -> str:
        """Name it as Airflow's documentation does."""
        method, entity = self.value
        return f"{method} on {entity.name}"


class Caller(Protocol):
    """Whoever asks."""

    @property
    def name(self) -> str:
        """The name by which Airflow knows them."""
        ...

    def may(self, right: Right, dag_id: str | None) -> bool:
        """Say whether they have a right on a DAG; without one, on DAGs at all."""
        ...

    def dags(self) -> Collection[str]:
        """Name the DAGs that they may see."""
        ...


@dataclass(frozen=True)
class AirflowCaller:
    """A user of Airflow's auth manager, which decides."""

    user: Any

    @property
    def name(self) -> str:
        """The user's name."""
        return str(self.user.get_name())

    def may(self, right: Right, dag_id: str | None) -> bool:
        """Ask the auth manager, as Airflow's own routes do."""
        method, entity = right.value
        details = DagDetails(
            id=dag_id, team_name=DagModel.get_team_name(dag_id) if dag_id else None
        )
        return bool(
            get_auth_manager().is_authorized_dag(
                method=method, access_entity=entity, details=details, user=self.user
            )
        )

    def dags(self) -> Collection[str]:
        """Ask the auth manager."""
        found: set[str] = get_auth_manager().get_authorized_dag_ids(user=self.user, method="GET")
        return found


def caller(user: Annotated[Any, Depends(get_user)]) -> Caller:
    """Let nobody in whom Airflow does not know: by a bearer token, or by the cookie of its UI."""
    return AirflowCaller(user)


CallerDep = Annotated[Caller, Depends(caller)]


def actor(who: Caller) -> Actor:
    """Name who asks, for the audit trail."""
    return Actor(who.name, "api")


def require(who: Caller, right: Right, dag_id: str | None = None) -> None:
    """Refuse whoever lacks a right, and say which."""
    if who.may(right, dag_id):
        return
    where = f"DAG {dag_id}" if dag_id else "DAGs"
    raise HTTPException(403, f"{who.name} lacks Airflow's right {right} of {where}")


def require_of(who: Caller, right: Right, run: Run) -> None:
    """Do as `require` for a run; who may not see its DAG is not told which one that is."""
    if not who.may(Right.SEE_RUNS, run.key.dag_id):
        lacks = f"lacks Airflow's right {Right.SEE_RUNS} of its DAG"
        raise HTTPException(403, f"run {run.id}: {who.name} {lacks}")
    require(who, right, run.key.dag_id)
