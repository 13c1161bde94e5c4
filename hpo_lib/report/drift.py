"""Champion checks: the champion on this run's data and on others', and how the data changed."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_lib.core.trial import TrialState
from hpo_lib.evaluation.drift import ChampionCheck
from hpo_lib.records import Model
from hpo_lib.report.charts import BEST, LEGEND, STATE, TARGET, Chart, Trace, axis
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.words import moment, number, utc


def check(facts: Facts) -> ChampionCheck | None:
    """Give the run's champion check, None if it has made none."""
    champion = facts.view.champion
    return None if champion is None else champion.check_of(facts.run.id)


def words(found: ChampionCheck) -> Markup:
    """Say what has changed since the champion was made."""
    return join(el("p", sentence) for sentence in found.sentences())


def table(found: ChampionCheck) -> Markup | None:
    """List the features that have moved most."""
    if not found.data.shifts:
        return None
    names = ["feature", "mean then", "mean now", "moved by (std)", "missing then", "missing now"]
    head = el("tr", *(el("th", name) for name in names))
    rows = [
        [one.name, *(number(x, 4) for x in (one.then, one.now, one.by, *one.missing))]
        for one in found.data.shifts
    ]
    body = el("tbody", *(el("tr", *(el("td", text) for text in row)) for row in rows))
    return el("div", el("table", el("thead", head), body), class_="scroll")


def chart(facts: Facts, found: ChampionCheck) -> Chart | None:
    """Draw what every check of the champion has shown since it was made, up to this run's."""
    champion = facts.view.champion
    known = champion.checks if champion else ()
    shown = [one for one in known if one.run <= found.run and one.metric == found.metric]
    drawn = [one for one in shown if one.now is not None]
    if champion is None or not drawn:
        return None
    groups = {
        "final trials": [one for one in drawn if not one.search],
        "a trial of the search": [one for one in drawn if one.search],
    }
    traces = [_then(champion, found, drawn)] if found.then else []
    traces += [_points(name, group) for name, group in groups.items() if group]
    layout = {
        "xaxis": axis(title="night", showgrid=False, type="date"),
        "yaxis": axis(title=found.metric),
        "showlegend": True,
        "legend": LEGEND,
    }
    return Chart("drift", f"{found.metric} of the champion by night", traces, layout, height=260)


def _then(champion: Model, found: ChampionCheck, drawn: Sequence[ChampionCheck]) -> Trace:
    """Draw the champion's value when it was made as a line from then on."""
    value = number(found.then.mean if found.then else None)
    ends = [utc(champion.created_at), *(one.time for one in drawn)]
    times = [min(ends).isoformat(), max(ends).isoformat()]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "when it was made",
        "x": times,
        "y": [found.then.mean if found.then else None] * 2,
        "hoverinfo": "text",
        "hovertext": [f"when it was made<br><b>{value}</b>"] * 2,
        "line": {"width": 1.5, "dash": "dash", "color": TARGET},
        "marker": {"size": [11, 0], "symbol": "diamond", "color": BEST},
    }


def _points(name: str, group: Sequence[ChampionCheck]) -> Trace:
    color, final = STATE[TrialState.COMPLETE], not group[0].search
    errors = [one.now.error or 0.0 if one.now else 0.0 for one in group]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [one.time.isoformat() for one in group],
        "y": [one.now.mean if one.now else None for one in group],
        "error_y": {"type": "data", "array": errors, "color": color, "visible": final},
        "hoverinfo": "text",
        "hovertext": [_hover(one) for one in group],
        "marker": {"size": 9, "symbol": "circle" if final else "circle-open", "color": color},
    }


def _hover(one: ChampionCheck) -> str:
    return f"run {one.run} · {moment(one.time)}<br><b>{one.now.text if one.now else ''}</b>"
