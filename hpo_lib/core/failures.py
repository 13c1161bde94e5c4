"""Which trials have failed alike: of one cause, with the same words but for numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from hpo_lib.core.trial import Cause, Trial, TrialState

_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(?:[.e+-]*\d)*", re.IGNORECASE)
#: What hardly depends on a trial's parameters: if several fail of it alike, so will the others.
_OF_ALL = frozenset(
    {Cause.USER_ERROR, Cause.OBJECTIVE_MISSING, Cause.IMAGE_NOT_PULLABLE, Cause.UNSCHEDULABLE}
)


def why(trial: Trial) -> str:
    """Say why a trial has failed: its cause and its reason."""
    return ": ".join(str(one) for one in (trial.cause, trial.reason) if one) or "unknown"


def kinds(trials: Iterable[Trial]) -> Mapping[str, Sequence[Trial]]:
    """Group the failed trials among these by what they have in common; the words are no message."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED:
            found.setdefault(_NUMBER.sub("#", why(trial)), []).append(trial)
    return found


def doomed(trials: Sequence[Trial]) -> bool:
    """Say whether all of several trials have failed alike, of what would fail any other."""
    alike = list(kinds(trials).values())
    several = len(alike) == 1 and len(alike[0]) == len(trials) > 1
    return several and bool(trials[0].reason) and trials[0].cause in _OF_ALL
