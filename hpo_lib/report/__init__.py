"""The report of a run: `html`, a page that needs nothing else, `csv`, its trials, and `json`, all.

Pure: a RunView in, text out. Whatever a user, a log or a spec says is escaped in `markup` alone.
"""

from __future__ import annotations

from hpo_lib.report.document import json
from hpo_lib.report.page import html
from hpo_lib.report.sheet import csv

__all__ = ["csv", "html", "json"]
