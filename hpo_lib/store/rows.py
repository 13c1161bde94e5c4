"""How a row of the store becomes a record, and a record a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hpo_lib.core.trial import (
    Action,
    Assignment,
    Cause,
    Decision,
    Observation,
    Origin,
    Reused,
    Trial,
)
from hpo_lib.core.trial import TrialState as State
from hpo_lib.evaluation.drift import ChampionCheck
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import (
    Advice,
    Attempt,
    AttemptState,
    Manifest,
    Model,
    ModelEvent,
    ModelStatus,
    Provenance,
    Run,
    RunKey,
    RunStatus,
    TrialDecision,
)
from hpo_lib.records.audit import AuditEntry, Deed

if TYPE_CHECKING:
    from sqlalchemy import Row

_LARGEST_STEP = 2**63 - 1
#: Keys of the column `verdict` besides the verdict's: the approval, and later runs' checks.
_APPROVED, _CHECKS = "approved", "nights"


def run_of(row: Row[Any]) -> Run:
    """Read a row of `runs`."""
    return Run(
        id=row.id,
        key=RunKey(row.dag_id, row.dag_run_id),
        experiment=row.experiment or "",
        status=RunStatus(row.status),
        document=row.spec or {},
        reason=row.reason,
        triggered_by=row.triggered_by,
        provenance=Provenance.read(row.provenance),
        started_at=row.started_at,
        ended_at=row.ended_at,
        advice=Advice.read(row.earlier or {}),
        fingerprint=row.fingerprint,
        team=row.team,
        closed=tuple((_time(since), _time(until)) for since, until in row.closed or ()),
    )


def closed_row(closed: Sequence[tuple[datetime, datetime]]) -> dict[str, Any]:
    """Write from when to when a run had ended before it was extended."""
    return {"closed": [[since.isoformat(), until.isoformat()] for since, until in closed]}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def trial_of(
    row: Row[Any],
    duration_s: float | None,
    rungs: Mapping[float, float] | None = None,
    curve: Mapping[int, float] | None = None,
) -> Trial:
    """Read a row of `trials`, with the rungs that it has reached, and its curve if one is asked."""
    return Trial(
        number=row.number,
        params=row.params,
        state=State(row.state),
        value=row.value,
        cause=None if row.cause is None else Cause(row.cause),
        reason=row.reason,
        origin=Origin(row.origin),
        metrics=row.metrics,
        duration_s=duration_s,
        rungs=dict(rungs or {}),
        curve=dict(curve or {}),
        repeat=row.repeat,
        reused=reused_of(row),
        digest="" if row.repeat else row.params_hash,
    )


def reused_of(row: Row[Any]) -> Reused | None:
    """Read which trial's result a row of `trials` has; None if its own."""
    return None if row.reused_run is None else Reused(row.reused_run, row.reused_trial)


def model_of(row: Row[Any]) -> Model:
    """Read a row of `models`."""
    values = dict(row._mapping) | judgement_of(row.verdict)
    values |= {"status": ModelStatus(row.status), "manifest": Manifest(row.manifest)}
    return Model(**values)


def judgement_of(plain: Mapping[str, Any] | None) -> dict[str, Any]:
    """Read the column `verdict` of a row of `models`: all that was said of the model."""
    found = plain or {}
    by, checks = found.get(_APPROVED), found.get(_CHECKS)
    read = [ChampionCheck.read(one) for one in checks] if isinstance(checks, list) else []
    return {
        "verdict": Verdict.read(plain),
        "approved": None if by is None else str(by),
        "checks": tuple(one for one in read if one is not None),
    }


def judgement_row(model: Model) -> dict[str, Any] | None:
    """Write the column `verdict` of a row of `models`; None if nothing was said of the model."""
    plain: dict[str, Any] = {} if model.verdict is None else model.verdict.dump()
    if model.approved is not None:
        plain[_APPROVED] = model.approved
    if model.checks:
        plain[_CHECKS] = [check.dump() for check in model.checks]
    return plain or None


def event_of(row: Row[Any]) -> ModelEvent:
    """Read a row of `model_events`."""
    return ModelEvent(row.version, ModelStatus(row.status), row.reason, row.time)


def audit_entry_of(row: Row[Any]) -> AuditEntry:
    """Read a row of `audit`."""
    return AuditEntry(
        time=row.time,
        who=row.who,
        where=row.origin,
        deed=Deed(row.deed),
        team=row.team,
        experiment=row.experiment,
        run=row.run_id,
        details=row.details,
    )


def attempt_of(row: Row[Any]) -> Attempt:
    """Read a row of `attempts`."""
    return Attempt(
        id=row.id,
        run_id=row.run_id,
        trial=row.trial,
        number=row.number,
        resource=row.resource,
        handle=row.handle,
        state=AttemptState(row.state),
        started_at=row.started_at,
        cause=None if row.cause is None else Cause(row.cause),
        reason=row.reason,
        exit_code=row.exit_code,
        ended_at=row.ended_at,
        log_tail=row.log_tail,
    )


def observation_of(row: Row[Any]) -> Observation:
    """Read a row of `observations`."""
    return Observation(row.metric, row.value, step=row.step, time=row.time)


def observation_rows(attempt_id: int, series: Iterable[Observation]) -> list[dict[str, Any]]:
    """Write rows of `observations` in their order.

    A step beyond 64 bits and a time that is not finite say nothing and are dropped.
    """
    return [
        {
            "attempt_id": attempt_id,
            "position": position,
            "metric": seen.metric,
            "value": seen.value,
            "step": None if seen.step is None or abs(seen.step) > _LARGEST_STEP else seen.step,
            "time": None if seen.time is None or not math.isfinite(seen.time) else seen.time,
        }
        for position, seen in enumerate(series)
    ]


def assignment_of(row: Row[Any]) -> Assignment:
    """Read a row of `leases` that has a trial, joined with its `params`, `origin` and `repeat`."""
    return Assignment(
        row.trial,
        row.params,
        origin=Origin(row.origin),
        resource=row.resource,
        resume_from=None if row.resume_from is None else int(row.resume_from),
        repeat=row.repeat,
        partial=row.partial,
        reason=row.reason or "",
    )


def trial_decision_of(row: Row[Any]) -> TrialDecision:
    """Read a row of `decisions`."""
    action, resource = Action(row.action), row.resource
    return TrialDecision(row.trial, action, row.reason, resource, row.created_at)


def decision_of(row: Row[Any]) -> Decision:
    """Read a row of `leases` that has an action."""
    return Decision(Action(row.action), row.reason, row.failed)


def assignment_row(assignment: Assignment) -> dict[str, Any]:
    """Write what a row of `leases` keeps of an assignment; its trial has the rest."""
    return _answer(
        trial=assignment.trial,
        resource=assignment.resource,
        resume_from=assignment.resume_from,
        partial=assignment.partial,
        reason=assignment.reason or None,
    )


def decision_row(decision: Decision | None) -> dict[str, Any]:
    """Write the row of `leases` that ends an answer; without a decision it holds its place."""
    if decision is None:
        return _answer()
    return _answer(action=decision.action, reason=decision.reason, failed=decision.failed)


def _answer(**values: Any) -> dict[str, Any]:
    """Fill up a row: rows that are inserted together need the same columns."""
    names = ("trial", "resource", "resume_from", "action", "reason", "failed")
    return dict.fromkeys(names) | {"partial": False} | values
