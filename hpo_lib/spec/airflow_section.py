"""The section `airflow` of a file: where Airflow puts its tasks, and when a run is late."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from hpo_lib.spec.units import seconds, with_unit
from hpo_lib.validation import Strict, rule, shown

_LONGEST, _MOST = 100, 1_000_000
_Priority = Annotated[int, Field(ge=1, le=_MOST)]


def _name(text: str | None) -> str | None:
    if text is not None and not (text.isprintable() and 1 <= len(text.strip()) <= _LONGEST):
        raise rule(f"must be 1 to {_LONGEST} printable characters, got {shown(text)}")
    return text


def _duration(text: str | None) -> str | None:
    if text is not None:
        seconds(text)
    return text


class AirflowSection(Strict):
    """How Airflow runs a file's DAG; None leaves it to the installation.

    `pool`, `queue`, `executor` and `priority` are those of its trials. A run that goes on for
    longer than `deadline` after it was queued is late, which is told.
    """

    owner: str | None = None
    deadline: str | None = None
    pool: str | None = None
    queue: str | None = None
    executor: str | None = None
    priority: _Priority | None = None

    _check_names = field_validator("owner", "pool", "queue", "executor")(_name)
    _with_unit = field_validator("deadline", mode="before")(with_unit)
    _check_deadline = field_validator("deadline")(_duration)

    @property
    def placed(self) -> dict[str, Any]:
        """What it says of the place of trials, in the words of Airflow's operators."""
        said = {
            "pool": self.pool,
            "queue": self.queue,
            "executor": self.executor,
            "priority_weight": self.priority,
        }
        return {name: one for name, one in said.items() if one is not None}


class AirflowRules(Strict):
    """What the operator says of all DAGs, and what a file may ask for: lists of names or patterns.

    `owner` and `deadline` hold where a file names no other.
    """

    section: ClassVar[str] = "airflow"

    owner: str = "airflow"
    deadline: str | None = None
    pools: tuple[str, ...] = Field(default=(), strict=False)
    queues: tuple[str, ...] = Field(default=(), strict=False)
    executors: tuple[str, ...] = Field(default=(), strict=False)
    max_priority: _Priority = 1

    _check_owner = field_validator("owner")(_name)
    _with_unit = field_validator("deadline", mode="before")(with_unit)
    _check_deadline = field_validator("deadline")(_duration)

    def problems_of(self, asked: AirflowSection) -> Iterator[str]:
        """Yield what a file asks for and may not have."""
        lists = {"pool": self.pools, "queue": self.queues, "executor": self.executors}
        for name, allowed in lists.items():
            value = getattr(asked, name)
            if value is not None and not any(fnmatchcase(value, one) for one in allowed):
                yield (
                    f"airflow.{name}: must be one of {shown(list(allowed))}, which config/"
                    f"deployment.yaml lists in airflow.{name}s, got {shown(value)}"
                )
        if asked.priority is not None and asked.priority > self.max_priority:
            yield (
                f"airflow.priority: must be <= {self.max_priority}, which config/deployment.yaml "
                f"says in airflow.max_priority, got {asked.priority}"
            )
