"""The audit trail: who did what, from where, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Deed(StrEnum):
    """What is kept in the audit trail."""

    SUBMITTED = "submitted"
    REFUSED = "refused"
    CHANGED = "changed"
    STOPPED = "stopped"
    EXTENDED = "extended"
    APPROVED = "approved"
    REJECTED = "rejected"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    ANNOUNCED = "announced"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a user's name, and the way that the deed has come.

    `where` is how Airflow started the run (`manual`, `scheduled`, …), `airflow` for what people do
    there to a task or run, `api` for what is asked for over REST, or `cli`. Without a name nobody
    has told who it was.
    """

    who: str
    where: str = ""


#: This program, where it acts by rule: the gate, a rollout, housekeeping.
ITSELF = Actor("hpo")
#: Whoever has marked or deleted something in Airflow, which does not tell tasks who it was.
SOMEBODY = Actor("", "airflow")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One deed; `details` are a few plain facts about it, and never what a conf has said.

    `run` is the number of a run, which may have been deleted since.
    """

    time: datetime
    who: str
    where: str
    deed: Deed
    team: str = ""
    experiment: str = ""
    run: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by(self) -> str:
        """Say who did it, and from where."""
        who = self.who or "somebody"
        return f"{who} ({self.where})" if self.where else who

    @property
    def told(self) -> str:
        """Say the details in words."""
        return ", ".join(f"{name} {value}" for name, value in self.details.items())
