"""The page: sections in the order in which one asks, and the document that carries them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_lib.records import RunView
from hpo_lib.report import (
    assets,
    drift,
    final,
    front,
    modes,
    rungs,
    sections,
    timeline,
    trials,
)
from hpo_lib.report.advice import Next
from hpo_lib.report.axes import Axis
from hpo_lib.report.data import data_of
from hpo_lib.report.facts import Facts
from hpo_lib.report.importance import Importance
from hpo_lib.report.markup import Markup, data, el, join, script, shortened
from hpo_lib.report.narrower import Narrower
from hpo_lib.report.style import CSS
from hpo_lib.words import count


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    id: str
    title: str
    body: Markup
    lead: str | Markup = ""

    def place(self) -> Markup:
        """Give the section's element."""
        lead = el("p", self.lead, class_="lead") if self.lead else None
        return el("section", el("h2", self.title), lead, self.body, id=self.id)


def html(view: RunView, importance: Sequence[Importance] = ()) -> str:
    """Write the report as one file without any reference to another; for every kind of run.

    `importance` is what `importance_of` has found, if it was asked.
    """
    facts = Facts.of(view)
    found = Found(facts, importance, data_of(view, importance))
    parts = [made for part in _order(facts) if (made := part(found)) is not None]
    links = [el("a", part.title, href=f"#{part.id}") for part in parts]
    main = el(
        "main",
        sections.header(facts),
        el("nav", *links, aria_label="sections") if len(links) > 1 else None,
        el("noscript", el("p", _WITHOUT_SCRIPT, class_="note")),
        *(part.place() for part in parts),
    )
    scripts = [] if facts.refused else [assets.script(), assets.report_script()]
    stored = [] if facts.refused else [data("data", found.document)]
    body = el("body", main, *stored, *map(script, scripts))
    return f"<!DOCTYPE html>\n{el('html', _head(facts, scripts), body, lang='en')}\n"


_WITHOUT_SCRIPT = "Charts and the table of trials need JavaScript; trials.csv has every trial."


@dataclass(frozen=True)
class Found:
    """What the sections are made of."""

    facts: Facts
    importance: Sequence[Importance]
    document: Mapping[str, Any]


def _order(facts: Facts) -> list[Callable[[Found], Section | None]]:
    """List the sections; if no trial has succeeded, the failures come first."""
    middle = [_importance, _parameters, _parallel, _correlation, _rungs, _learning, _overfitting]
    last = [_bought, _timeline, _earlier, _provenance]
    if facts.complete:
        first = [_best, _front, _next, _final, _drift, _progress, _top, _trials]
        return [*first, *middle, _failures, *last]
    return [_failures, _trials, _parameters, _rungs, _learning, *last]


def _chart(kind: str, title: str = "", **options: int) -> Markup:
    """Give the place of a chart, which the page's script draws when it comes into view."""
    told = json.dumps(options, separators=(",", ":")) if options else None
    box = el("div", id=f"chart-{kind}", data_chart=kind, data_options=told)
    return el("div", el("h3", title) if title else None, box, class_="drawn")


def _front(found: Found) -> Section | None:
    facts = found.facts
    if not facts.several or not facts.ranked:
        return None
    lead = (
        "None of these is beaten: no other trial is as good in every objective and better in one."
    )
    if not facts.front:
        lead = "It is empty: every complete trial breaks a constraint."
        return Section("front", "Pareto front", _chart("front"), lead)
    body = join([_chart("front"), front.table(facts), front.commands(facts)])
    title = f"Pareto front: {count(len(facts.front), 'trial')}"
    return Section("front", title, body, lead)


def _best(found: Found) -> Section | None:
    """Show the best trial, or the one that comes nearest to being feasible."""
    facts = found.facts
    if not facts.ranked or (facts.several and facts.front):
        return None
    first = facts.ranked[0]
    body = sections.best(facts, first)
    if facts.front:
        return Section("best", f"Best trial: {first.trial.number}", body)
    lead = f"Trial {first.trial.number} comes nearest: {' and '.join(facts.broken(first))}."
    return Section("best", "No trial keeps the constraints", body, lead)


def _final(found: Found) -> Section | None:
    facts = found.facts
    if not facts.view.finals:
        return None
    body = join([final.verdict(facts), final.table(facts)])
    lead = "The best configuration, and the champion's beside it, trained again on the same data."
    lead += " ◆ is the model." if facts.view.model and facts.view.model.trial else ""
    return Section("final", final.title(facts), body, lead)


def _drift(found: Found) -> Section | None:
    check = drift.check(found.facts)
    if check is None:
        return None
    champion = found.document["champion"]
    drawn = _chart("champion") if champion and champion["checks"] else None
    body = join([drift.words(check), drawn, drift.table(check)])
    lead = "Its configuration, trained again on this run's data, beside when the model was made."
    return Section("drift", f"The champion: version {check.version}", body, lead)


def _next(found: Found) -> Section | None:
    """Say what to do next, and give the space of a narrower run that follows."""
    told = Next(found.facts, found.importance)
    groups = {
        "What mattered": told.mattered,
        "Where the bounds cut": told.edges,
        "More trials": [told.left.told] if told.left else [],
        "Resources": told.resources,
        "What is unsure": told.unsure,
    }
    parts = [
        el("div", el("h3", title), *(el("p", sentence) for sentence in said))
        for title, said in groups.items()
        if said
    ]
    if told.narrower:
        parts.append(_follow_up(told.narrower))
    return Section("next", "What to do next", join(parts)) if parts else None


def _follow_up(proposed: Narrower) -> Markup:
    changes = [f"{name}: {told}" for name, told in proposed.changes.items()]
    button = el("button", "copy", type="button", data_copy="narrower", class_="copy no-print")
    summary = el("summary", "as YAML, in place of the spec's own")
    yaml = el("details", summary, button, el("pre", proposed.yaml, id="narrower", tabindex="0"))
    lead = el("p", f"What the best tenth used, with some room. {'; '.join(changes)}.")
    return el("div", el("h3", "A narrower space for a run that follows"), lead, yaml)


def _progress(found: Found) -> Section:
    facts, lead = found.facts, ""
    if not facts.front and facts.infeasible:
        lead = "None counts as best, since all of them break a constraint."
    return Section("progress", "Best so far", _chart("best"), lead)


def _top(found: Found) -> Section | None:
    if len(found.facts.complete) < 2:
        return None
    title = "The ten best, without overfitting" if found.document["pairs"] else "The ten best"
    return Section("top", title, _chart("top"))


def _trials(found: Found) -> Section | None:
    facts = found.facts
    if not facts.trials:
        return None
    lead = "Click a column to sort by it, a state for more of a trial that has more to tell."
    if facts.front:
        lead += " ◆ is on the Pareto front." if facts.several else " ◆ is the best trial."
    lead = " ".join([lead, *found.document["left_out"]])
    hidden = len(facts.parameters) - len(found.document["parameters"])
    if hidden or found.document["left_out"]:
        lead += " trials.csv has everything."
    return Section("trials", "Every trial", trials.table(facts), lead)


def _importance(found: Found) -> Section | None:
    if not found.importance:
        return None
    lead = "By more than one method; the whiskers are the least and greatest on trials drawn again."
    return Section("importance", "Which parameters mattered", _chart("importance"), lead)


def _parameters(found: Found) -> Section | None:
    facts = found.facts
    if not facts.parameters or not (facts.complete or facts.failed):
        return None
    if not facts.complete:
        return Section("parameters", "Parameters", _chart("slices"), _scales(facts))
    two = _chart("map", "Two at once") if len(facts.parameters) > 1 else None
    body = join([_chart("slices"), two, _chart("boxes", "Boxes and bars")])
    return Section("parameters", "Parameters", body, _scales(facts))


def _scales(facts: Facts) -> str:
    """Say which parameters have a scale or a distribution of their own, and which a condition."""
    words = {"log": "log scale", "reverse_log": "log scale towards 1"}
    told = []
    for name in facts.parameters:
        said = facts.dimension(name)
        scale = words.get(Axis.of(facts, name).scale)
        conditional = "conditional" if said.conditional else None
        parts = [part for part in (scale, said.distribution, conditional) if part]
        if parts:
            told.append(f"{shortened(name, 60)}: {', '.join(parts)}")
    return f"{'; '.join(told[:12])}." if told else ""


def _parallel(found: Found) -> Section | None:
    facts = found.facts
    if len(facts.complete) < 2 or not facts.parameters:
        return None
    return Section("parallel", "All parameters at once", _chart("parallel"))


def _correlation(found: Found) -> Section | None:
    if len(found.facts.complete) < 3:
        return None
    two = _chart("metrics", "A metric against another")
    body = join([_chart("correlation"), two if len(found.document["metrics"]) > 1 else None])
    return Section("correlation", "Correlation", body)


def _learning(found: Found) -> Section | None:
    if not found.document["curves"]:
        return None
    return Section("learning", "Learning curves", _chart("curves"))


def _overfitting(found: Found) -> Section | None:
    if not found.document["pairs"] or not found.facts.complete:
        return None
    lead = "What is left out here is left out of every chart and of the ten best."
    return Section("overfitting", "Training against validation", _chart("overfit"), lead)


def _bought(found: Found) -> Section | None:
    if len(found.facts.complete) < 2:
        return None
    body = join([_chart("bought"), _chart("distribution", "How the values are distributed")])
    return Section("bought", "What each hour has bought", body)


def _failures(found: Found) -> Section | None:
    if not found.facts.failed:
        return None
    lead = "By cause. Open a trial for the last lines of its log."
    return Section("failures", "Failures", sections.failures(found.facts), lead)


def _rungs(found: Found) -> Section | None:
    facts = found.facts
    if not rungs.have_any(facts):
        return None
    drawn = _chart("rungs") if len(found.document["rungs"]["ladder"]) > 1 else None
    body = join([drawn, rungs.table(facts), rungs.decisions(facts)])
    return Section("rungs", rungs.title(facts), body, rungs.lead(facts))


def _timeline(found: Found) -> Section | None:
    facts = found.facts
    placed = timeline.bars(facts)
    if not placed:
        return None
    idle = timeline.idle(placed, facts.slots)
    told = [idle.meaning if idle else None, modes.told_of(facts.view), timeline.left_out(facts)]
    lead = " ".join(word for word in [*told, sections.repeated(facts)] if word)
    return Section("timeline", "Timeline", _chart("timeline"), lead)


def _earlier(found: Found) -> Section | None:
    facts = found.facts
    advice = facts.run.advice
    if not advice.runs and not advice.dropped:
        return None
    lead = f"Advised by {advice.summary}." if advice.runs else "No earlier run advised this one."
    return Section("earlier", "Earlier runs", sections.earlier(facts), lead)


def _provenance(found: Found) -> Section:
    return Section("provenance", "Provenance", sections.provenance(found.facts))


def _head(facts: Facts, codes: list[str]) -> Markup:
    allowed = " ".join(f"'sha256-{_digest(code)}'" for code in codes)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{facts.run.experiment} · run {facts.run.id} · {facts.run.outcome}"),
        el("style", Markup(CSS + assets.style())),
    )


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
