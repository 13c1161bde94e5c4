"""What people want to be told of an experiment, and the operator's rules of who is told what."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field, field_validator

from hpo_lib.validation import Strict, rule, shown

_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_MAX_RULES_ON = 20


class Event(StrEnum):
    """What has happened.

    FAILED is also a conf that was refused, BROKEN a file or a backend that no run can begin with,
    LATE a run that goes on beyond its deadline, SKIPPED a night on which no run began.
    """

    ENDED = "ended"
    FAILED = "failed"
    APPROVAL = "approval"
    CHAMPION = "champion"
    BROKEN = "broken"
    SKIPPED = "skipped"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to be told: a `subject` of one line, and sentences.

    `experiment` is the full name, or that of a DAG that could not begin; `report` the path of the
    run's report, if there is one.
    """

    event: Event
    experiment: str
    subject: str
    text: str
    report: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Give what templates of a notifier find as `hpo`; `html` is the text for an HTML mail."""
        lines = [html.escape(line) for line in self.text.splitlines()]
        return {
            "event": str(self.event),
            "experiment": self.experiment,
            "subject": self.subject,
            "text": self.text,
            "html": "<br>\n".join(lines),
            "report": self.report,
            **self.details,
        }


class NotifyRule(Strict):
    """Whom to tell: `by` is one of Airflow's notifiers, a class, made with `options`.

    `options` may be templates, with `hpo` beside what Airflow's own templates have. `experiments`
    are patterns of full names.
    """

    on: tuple[Event, ...] = Field(strict=False, min_length=1, max_length=_MAX_RULES_ON)
    by: str
    options: dict[str, Any] = Field(default_factory=dict)
    experiments: tuple[str, ...] = Field(default=("*",), strict=False)

    @field_validator("on", mode="before")
    @classmethod
    def _check_events(cls, value: Any) -> Any:
        given = value if isinstance(value, list | tuple) else [value]
        wrong = [one for one in given if one not in tuple(Event)]
        if wrong:
            raise rule(f"must be of {', '.join(Event)}, got {shown(wrong[0])}")
        return tuple(Event(one) for one in given)

    @field_validator("by")
    @classmethod
    def _check_class(cls, path: str) -> str:
        if not _CLASS.fullmatch(path):
            raise rule(f"must be a notifier's class, package.module.Class, got {shown(path)}")
        return path

    def wants(self, notice: Notice) -> bool:
        """Say whether the rule is about a notice."""
        named = any(fnmatchcase(notice.experiment, one) for one in self.experiments)
        return named and notice.event in self.on


def wanting(rules: Mapping[str, NotifyRule], notice: Notice) -> Iterable[tuple[str, NotifyRule]]:
    """Give the rules that are about a notice, by their names."""
    return ((name, one) for name, one in rules.items() if one.wants(notice))
