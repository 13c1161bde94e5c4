"""The time by a server's clock, by which it also says when something began: ours may be stepped."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def server_time(date: str | None) -> datetime:
    """Read the header Date of an answer; where there is none, give the time by our own clock."""
    return parsedate_to_datetime(date) if date else datetime.now(UTC)
