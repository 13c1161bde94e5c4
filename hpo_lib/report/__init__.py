"""The report of a run: `html`, a page that needs nothing else, `csv`, its trials, and `json`, all.

`importance_of` takes seconds of CPU, and libraries of 200 MB: `html` alone leaves it out.

Pure: a RunView in, text out. Whatever a user, a log or a spec says is escaped in `markup` alone.
"""

from __future__ import annotations

from hpo_lib.records import RunView
from hpo_lib.report.document import json
from hpo_lib.report.importance import importance_of
from hpo_lib.report.page import html
from hpo_lib.report.series import looked_at
from hpo_lib.report.sheet import csv

__all__ = ["csv", "html", "importance_of", "json", "looked_at", "with_importance"]


def with_importance(view: RunView) -> str:
    """Write the page with all that there is to say."""
    return html(view, importance_of(view))
