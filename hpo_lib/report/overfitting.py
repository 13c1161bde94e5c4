"""Training against validation: pairs of metrics such as loss and val_loss."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_lib.core.trial import TrialState
from hpo_lib.records import TrialView
from hpo_lib.report.axes import spans_decades
from hpo_lib.report.charts import BEST, GRID, MUTED, STATE, Chart, axis, points, sample
from hpo_lib.report.facts import Facts, metric_of

_VALIDATION = re.compile(r"(val|valid|validation)([_./-])(.+)")
_LOWER_IS_BETTER = re.compile(r"loss|err|mse|mae|rms|mape|perplex|deviance|entropy", re.I)
_MAX_PAIRS, _MAX_TRIALS = 3, 500


@dataclass(frozen=True)
class Pair:
    """The same quantity on training and on validation data."""

    train: str
    validation: str

    @property
    def lower_is_better(self) -> bool:
        """Guess from its name which way it improves."""
        return bool(_LOWER_IS_BETTER.search(self.train))

    @property
    def sign(self) -> str:
        """Say how overfitting shows in this pair."""
        side = "above" if self.lower_is_better else "below"
        return (
            f"On the diagonal a trial does as well on validation as on training data; far {side} "
            "it, it has learned the training data by heart (overfitting)."
        )


def pairs(facts: Facts) -> list[Pair]:
    """List the pairs of which some trial has both values, losses first."""
    names = [*(objective.metric for objective in facts.objectives), *facts.metrics]
    found = []
    for name in names:
        match = _VALIDATION.fullmatch(name)
        for base in _bases(match) if match else ():
            if base in names and _both(facts, Pair(base, name)):
                found.append(Pair(base, name))
                break
    return sorted(found, key=lambda pair: "loss" not in pair.train)[:_MAX_PAIRS]


def scatter(facts: Facts, pair: Pair, number: int) -> Chart:
    """Draw validation over training, with the diagonal where they are equal."""
    drawn = sample(facts, _both(facts, pair), _MAX_TRIALS).views
    views = sorted(drawn, key=lambda view: view.trial.number in facts.leading)
    x, y = _values(facts, pair.train, views), _values(facts, pair.validation, views)
    ends = [min(*x, *y), max(*x, *y)]
    kind = "log" if spans_decades([*x, *y]) else "linear"
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": ends,
        "line": {"color": MUTED, "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }
    layout = {
        "xaxis": axis(title=pair.train, type=kind),
        "yaxis": axis(title=pair.validation, type=kind),
    }
    about = f"{pair.validation} over {pair.train}, a mark per trial"
    colors = _colors(facts, views)
    symbols = ["diamond" if color == BEST else "circle" for color in colors]
    sizes = [12 if color == BEST else 8 for color in colors]
    marks = points(views, x, y, color=colors, symbol=symbols, size=sizes)
    return Chart(f"overfit-{number}", about, [diagonal, marks], layout)


def gap(facts: Facts, pair: Pair, number: int) -> Chart:
    """Draw validation minus training per trial."""
    views = sample(facts, _both(facts, pair), _MAX_TRIALS).views
    x, y = _values(facts, pair.train, views), _values(facts, pair.validation, views)
    bars = {
        "type": "bar",
        "x": [view.trial.number for view in views],
        "y": [right - left for left, right in zip(x, y, strict=True)],
        "customdata": [view.trial.number for view in views],
        "hoverinfo": "text",
        "marker": {"color": _colors(facts, views)},
    }
    layout = {
        "xaxis": axis(title="trial", showgrid=False),
        "yaxis": axis(title=f"{pair.validation} − {pair.train}")
        | {"zeroline": True, "zerolinecolor": GRID},
        "bargap": 0.35,
    }
    about = f"{pair.validation} minus {pair.train}, by trial"
    return Chart(f"gap-{number}", about, [bars], layout)


def _bases(match: re.Match[str]) -> list[str]:
    rest, dash = match[3], match[2]
    return [rest, f"train{dash}{rest}", f"training{dash}{rest}"]


def _both(facts: Facts, pair: Pair) -> list[TrialView]:
    return [
        view
        for view in facts.trials
        if metric_of(facts, view, pair.train) is not None
        and metric_of(facts, view, pair.validation) is not None
    ]


def _values(facts: Facts, name: str, views: Sequence[TrialView]) -> list[float]:
    return [metric_of(facts, view, name) or 0.0 for view in views]


def _colors(facts: Facts, views: Sequence[TrialView]) -> list[str]:
    return [
        BEST if view.trial.number in facts.leading else STATE[TrialState(view.trial.state)]
        for view in views
    ]
