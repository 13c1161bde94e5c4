"""What draws a run's charts in a browser: a program and its style, the same in report and pages.

`window.hpoCharts.draw(element, kind, data, options)` draws the document of `report.data`; the
first lines of `charts.js` say what the options are. ECharts does the drawing, on a canvas.
Everything that a document says is put on the page as text, never as markup, and nothing is
evaluated or loaded: a content security policy may forbid both.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

#: In the order in which a browser has to read them. `requirements/charts` makes the first.
PARTS = (
    "echarts.js",
    "charts.js",
    "columns.js",
    "trials.js",
    "parameters.js",
    "relations.js",
    "run.js",
)


@cache
def script() -> str:
    """Give the program, fit to stand inside a script element."""
    return "".join(_text(part) for part in PARTS)


@cache
def report_script() -> str:
    """Give what the report needs besides: its table of trials, and what draws its charts."""
    return _text("report.js")


@cache
def style() -> str:
    """Give the style sheet of what surrounds the canvas."""
    return _text("charts.css")


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
