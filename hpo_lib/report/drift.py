"""Champion checks: the champion on this run's data and on others', and how the data changed."""

from __future__ import annotations

from hpo_lib.evaluation.drift import ChampionCheck
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, el, join
from hpo_lib.words import number


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
    return el("div", el("table", el("thead", head), body), class_="scroll", tabindex="0")
