"""What the reason of a run says of whoever has stopped it: written and read again here."""

from __future__ import annotations

import re

#: Behind what else there is to say of the run's end.
_BY = re.compile(r"(?:.*; )?(?:stopped|cancelled) by (.+)", re.DOTALL)


def stopped(who: str) -> str:
    """Say that somebody has stopped a run, or a trial."""
    return f"stopped by {who or 'somebody'}"


def cancelled(who: str) -> str:
    """Say that somebody has ended a run at once."""
    return f"cancelled by {who or 'somebody'}"


def by_whom(reason: str | None) -> str | None:
    """Name who has stopped or cancelled a run that ended for this reason; None if nobody has."""
    found = _BY.fullmatch(reason or "")
    return found[1] if found else None


def outcome(status: str, by: str | None) -> str:
    """Say where a run is: a stopped one has a result as a complete one has, and is called so."""
    return stopped(by) if by and status == "complete" else status
