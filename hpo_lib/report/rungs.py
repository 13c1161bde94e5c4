"""Rungs: how far the scheduler let trials go, whom it promoted or stopped, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import median

from hpo_lib.core.trial import Action
from hpo_lib.records import TrialDecision
from hpo_lib.report import savings
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.spec.sections import SchedulerSpec
from hpo_lib.words import count, number, spoken

#: Of more decisions than these the newest are listed.
_LISTED = 200


def title(facts: Facts) -> str:
    """Say how many trials went on, and how many did not."""
    promoted = sum(one.action is Action.PROMOTE for one in facts.view.decisions)
    stopped = sum(one.action is Action.STOP for one in facts.view.decisions)
    return f"Rungs: {promoted:,} promoted, {stopped:,} stopped"


def lead(facts: Facts) -> str:
    """Say what the table is about, and what the scheduler has saved."""
    said = "How far the scheduler let trials go; one that was stopped is no failure."
    found = savings.saved(facts)
    return f"{said} {found.told}" if found else said


def unit(facts: Facts) -> str:
    """Give the word for what rungs count."""
    return spoken(savings.unit_of(savings.scheduler_of(facts)))


def table(facts: Facts) -> Markup:
    """List the rungs, lowest first: who reached it, what they had there, who was promoted to it."""
    metric = facts.objective.metric
    heads = (unit(facts), "reached", f"best {metric}", f"median {metric}", "promoted to it")
    head = el("tr", *(el("th", text, class_="num") for text in heads))
    rows = [el("tr", *(el("td", text, class_="num") for text in row)) for row in _rows(facts)]
    return el(
        "div", el("table", el("thead", head), el("tbody", *rows)), class_="scroll", tabindex="0"
    )


def _rows(facts: Facts) -> Iterator[list[str]]:
    trials = [view.trial for view in facts.trials]
    for resource in sorted({rung for trial in trials for rung in trial.rungs}):
        values = [trial.rungs[resource] for trial in trials if resource in trial.rungs]
        direction, finite = facts.objective.direction, list(filter(math.isfinite, values))
        best = min(finite, key=direction.loss) if direction and finite else None
        promoted = [one for one in facts.view.decisions if one.resource == resource]
        yield [
            number(resource),
            count(len(values), "trial"),
            number(best, 6),
            number(median(finite) if finite else None, 6),
            f"{len(promoted):,}" if promoted else "",
        ]


def decisions(facts: Facts) -> Markup:
    """List what was decided of trials, in order, each with its reason; alike ones as one."""
    told, place = facts.view.decisions[-_LISTED:], unit(facts)
    alike = groupby(told, key=lambda one: (one.action, one.reason, one.resource))
    items = [el("li", _said(list(found), place)) for _, found in alike]
    left_out = len(facts.view.decisions) - len(told)
    note = el("p", f"{left_out:,} earlier ones are left out.", class_="note") if left_out else None
    summary = el("summary", count(len(facts.view.decisions), "decision"))
    return el("details", summary, join([note, el("ul", *items)]))


def _said(alike: Sequence[TrialDecision], place: str) -> str:
    one, numbers = alike[0], ", ".join(str(other.trial) for other in alike)
    who = f"trial{'' if len(alike) == 1 else 's'} {numbers}"
    if one.action is Action.STOP:
        return f"{who} stopped: {one.reason}"
    to = "its end" if one.resource is None else f"{place} {number(one.resource)}"
    return f"{who} promoted to {to}: {one.reason}"


def have_any(facts: Facts) -> Sequence[object]:
    """Give what there is to tell: rungs that were reached, or a scheduler's decisions.

    What people have stopped is told with their trials.
    """
    reached = [view for view in facts.trials if view.trial.rungs]
    return reached or (facts.view.decisions if _has_scheduler(facts) else [])


def _has_scheduler(facts: Facts) -> bool:
    return facts.spec is None or facts.spec.scheduler != SchedulerSpec()
