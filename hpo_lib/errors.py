"""Errors, named by what the caller should do about them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HpoError(Exception):
    """Base of every error of this project."""


class SpecError(HpoError, ValueError):
    """The spec is wrong: tell the user, never retry.

    The message names path, rule and value, one problem a line.
    """


class StoreError(HpoError, RuntimeError):
    """The store cannot be used as it is: an operator has to act (upgrade, address, permission)."""


class TransientError(HpoError, RuntimeError):
    """The world failed, not the trial: try the same thing again, after `after_s` if that is set."""

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        """Take the message and how long to wait."""
        super().__init__(message)
        self.after_s = after_s


class TrialFailed(HpoError, RuntimeError):
    """The trial itself failed: its cause is recorded and the experiment goes on."""


class PartFailed(HpoError, RuntimeError):
    """A sampler or scheduler raised, or answered what it must not: the run stops, for this."""


class AlreadyFinished(HpoError, ValueError):
    """The trial or its run has ended: there is nothing left to start; read what became of it."""


class Superseded(HpoError, ValueError):
    """The champion is not the one that a model was compared with: compare again, do not promote."""


class NotFound(HpoError, KeyError):
    """What was asked for is not in the store."""

    def __str__(self) -> str:
        """Give the message itself, where KeyError would give its repr."""
        return str(self.args[0]) if self.args else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Give ", did you mean 'x'?" for the closest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
