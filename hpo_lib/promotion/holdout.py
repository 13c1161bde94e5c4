"""The hold-out file of a final trial: the scores of single examples, by metric."""

from __future__ import annotations

from hpo_lib.files.places import Place, below, json_or_why
from hpo_lib.validation import shown

#: A file in a final trial's output.
HOLDOUT = "holdout.json"
MAX_HOLDOUT = 64 * 1024 * 1024


def read(output: Place, metric: str) -> tuple[list[float], str]:
    """Read a metric's example scores in a trial's output, or say why those it left are none.

    There are neither scores nor words where the trial has left none of the metric.
    """
    place = below(output, HOLDOUT)
    found, why = json_or_why(place, MAX_HOLDOUT)
    if why or metric not in found:
        return [], f"{place} {why}" if why else ""
    scores, why = _scores(found[metric])
    return scores, f"{metric} in {place} {why}" if why else ""


def _scores(found: object) -> tuple[list[float], str]:
    """Give a list of numbers as floats, or say why it is none."""
    if not isinstance(found, list):
        return [], f"must be a list of numbers, got {shown(found)}"
    if not found:
        return [], "must be a list of numbers, got none"
    for at, one in enumerate(found, start=1):
        if not isinstance(one, int | float):
            return [], f"must be a list of numbers, got {shown(one)} at place {at:,}"
    try:
        return [float(one) for one in found], ""
    except OverflowError:  # an integer of hundreds of digits
        return [], "must be a list of numbers that a float can hold"
