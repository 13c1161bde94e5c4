"""Which attempt's checkpoint a trial goes on from, and which checkpoints nobody needs any more."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpo_lib.backends import Backend
from hpo_lib.core.trial import Assignment, Trial, TrialState
from hpo_lib.files import artifacts
from hpo_lib.files.places import Place, below, files
from hpo_lib.records import Attempt, AttemptState
from hpo_lib.runtime.checkpoints import MANIFEST

_FOLDER = "checkpoint"
#: A file of a checkpoint of ours: its folder, which begins with a dot while it is written.
_OURS = re.compile(r"([^/]+/(?:\d{8}|\.part-\d+))/(.+)")


def goes_on_from(asked: Assignment, tried: Sequence[Attempt], backend: Backend) -> Attempt | None:
    """Choose among the ended attempts of a trial the one whose checkpoint the next goes on from.

    It is the newest that has left one, however it ended. A scheduler that promotes a trial names it
    whether or not there is one where we look: then it is the last attempt that ended well.
    """
    ended = [one for one in tried if one.state is not AttemptState.RUNNING]
    for one in reversed(ended):
        if _is_usable(_names(backend, one)):
            return one
    if asked.resume_from is None:
        return None
    return next((one for one in reversed(ended) if one.state is AttemptState.SUCCEEDED), None)


def forget(trial: Trial, tried: Sequence[Attempt], backend: Backend) -> None:
    """Delete the checkpoints that no attempt will go on from; TransientError.

    While the trial may go on, its newest attempt that has one keeps its own. What was not written
    as a checkpoint of `hpo_lib.runtime.checkpoints` is the program's, and stays.
    """
    goes_on = trial.state in (TrialState.RUNNING, TrialState.WAITING)
    for one in reversed(tried):
        if one.state is AttemptState.RUNNING:
            continue
        if goes_on and _is_usable(_names(backend, one)):
            goes_on = False
            continue
        for folder in _ours(backend, one):
            artifacts.delete(folder)


def _is_usable(names: Sequence[str]) -> bool:
    """Say whether a whole checkpoint of ours is there, or something of the program's own."""
    ours = [_OURS.fullmatch(name) for name in names]
    return any(found is None or found[2] == MANIFEST for found in ours)


def _names(backend: Backend, attempt: Attempt) -> list[str]:
    home = _checkpoints(backend, attempt)
    return [str(place).removeprefix(f"{home}/") for place in files(home)]


def _checkpoints(backend: Backend, attempt: Attempt) -> Place:
    return below(backend.output(attempt.handle), _FOLDER)


def _ours(backend: Backend, attempt: Attempt) -> list[Place]:
    """Give the folders of an attempt's checkpoints, and of one that was under way."""
    found = [_OURS.fullmatch(name) for name in _names(backend, attempt)]
    folders = {one[1] for one in found if one and (one[2] == MANIFEST or "/." in one[1])}
    return [below(_checkpoints(backend, attempt), folder) for folder in sorted(folders)]
