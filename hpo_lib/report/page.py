"""The page: sections in the order in which one asks, and the document that carries them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from hpo_lib.records import RunView
from hpo_lib.report import (
    curves,
    drift,
    final,
    front,
    modes,
    overfitting,
    parameters,
    rungs,
    sections,
    timeline,
    trials,
)
from hpo_lib.report.axes import Axis
from hpo_lib.report.charts import Chart, hover
from hpo_lib.report.facts import Facts
from hpo_lib.report.markup import Markup, data, el, join, script
from hpo_lib.report.script import JS
from hpo_lib.report.style import CSS
from hpo_lib.words import count


@dataclass(frozen=True)
class Section:
    """A part of the page with the charts that are drawn in it."""

    id: str
    title: str
    body: Markup
    lead: str | Markup = ""
    charts: tuple[Chart, ...] = ()

    def place(self) -> Markup:
        """Give the section's element."""
        lead = el("p", self.lead, class_="lead") if self.lead else None
        return el("section", el("h2", self.title), lead, self.body, id=self.id)


def html(view: RunView) -> str:
    """Write the report as one file without any reference to another; for every kind of run."""
    facts = Facts.of(view)
    parts = [found for part in _order(facts) if (found := part(facts)) is not None]
    charts = [chart for part in parts for chart in part.charts]
    code = _plotly() if charts else ""
    links = [el("a", part.title, href=f"#{part.id}") for part in parts]
    main = el(
        "main",
        sections.header(facts),
        el("nav", *links, aria_label="sections") if len(links) > 1 else None,
        el("noscript", el("p", "The charts need JavaScript.", class_="note")),
        *(part.place() for part in parts),
    )
    hovers = {str(one.trial.number): hover(facts, one) for one in view.trials} if charts else {}
    figures = [chart.figure() for chart in charts]
    scripts = [data("charts", figures), data("hover", hovers), script(code) if code else None]
    body = el("body", main, *scripts, script(JS))
    head = _head(facts, [part for part in (code, JS) if part])
    return f"<!DOCTYPE html>\n{el('html', head, body, lang='en')}\n"


def _order(facts: Facts) -> list[Callable[[Facts], Section | None]]:
    """List the sections; if no trial has succeeded, the failures come first."""
    rest = [_trials, _rungs, _panels, _parallel, _learning, _overfitting]
    last = [_timeline, _earlier, _provenance]
    if facts.complete:
        return [_best, _final, _drift, _front, _progress, *rest, _failures, *last]
    return [_failures, *rest, *last]


def _front(facts: Facts) -> Section | None:
    if not facts.several or not facts.ranked:
        return None
    charts = tuple(front.charts(facts))
    drawn = join(chart.place() for chart in charts)
    body: list[Markup | None] = [el("div", drawn, class_="pair") if len(charts) > 1 else drawn]
    lead = (
        "None of these is beaten: no other trial is as good in every objective and better in one."
    )
    if not facts.front:
        lead = "It is empty: every complete trial breaks a constraint."
        return Section("front", "Pareto front", join(body), lead, charts)
    lead += " ◆ is on the front"
    lead += ", ○ breaks a constraint." if facts.infeasible else "."
    lead += " A triangle on the edge is a trial far off." if front.cut(facts) else ""
    body += [front.table(facts), front.commands(facts)]
    title = f"Pareto front: {count(len(facts.front), 'trial')}"
    return Section("front", title, join(body), lead, charts)


def _best(facts: Facts) -> Section | None:
    """Show the best trial, or the one that comes nearest to being feasible."""
    if not facts.ranked or (facts.several and facts.front):
        return None
    first = facts.ranked[0]
    body = sections.best(facts, first)
    if facts.front:
        return Section("best", f"Best trial: {first.trial.number}", body)
    lead = f"Trial {first.trial.number} comes nearest: {' and '.join(facts.broken(first))}."
    return Section("best", "No trial keeps the constraints", body, lead)


def _final(facts: Facts) -> Section | None:
    if not facts.view.finals:
        return None
    body = join([final.verdict(facts), final.table(facts)])
    lead = "The best configuration, and the champion's beside it, trained again on the same data."
    lead += " ◆ is the model." if facts.view.model and facts.view.model.trial else ""
    return Section("final", final.title(facts), body, lead)


def _drift(facts: Facts) -> Section | None:
    found = drift.check(facts)
    if found is None:
        return None
    drawn = drift.chart(facts, found)
    body = join([drift.words(found), drawn.place() if drawn else None, drift.table(found)])
    lead = "Its configuration, trained again on this run's data, beside when the model was made."
    title = f"The champion: version {found.version}"
    return Section("drift", title, body, lead, (drawn,) if drawn else ())


def _progress(facts: Facts) -> Section:
    drawn = [curves.progress(facts, one, index) for index, one in enumerate(facts.objectives)]
    charts = tuple(chart for chart, _ in drawn)
    notes = dict.fromkeys(note for _, note in drawn if note)
    if not facts.front and facts.infeasible:
        notes["None counts as best, since all of them break a constraint."] = None
    if not facts.several:
        return Section("progress", "Best so far", charts[0].place(), " ".join(notes), charts)
    body = el("div", *(chart.place() for chart in charts), class_="pair")
    lead = " ".join(["Each objective by itself.", *notes])
    return Section("progress", "Best so far", body, lead, charts)


def _trials(facts: Facts) -> Section | None:
    if not facts.trials:
        return None
    lead = "Click a column to sort by it"
    lead += ", a failed trial for its reason." if facts.failed else "."
    if facts.infeasible:
        lead += " Open a “no” to see which constraint is exceeded by how much."
    if facts.front:
        lead += " ◆ is on the Pareto front." if facts.several else " ◆ is the best trial."
    hidden = max(len(facts.parameters) - trials.MAX_PARAMETERS, 0)
    hidden += max(len(facts.metrics) - trials.MAX_METRICS, 0)
    if hidden:
        lead += f" {count(hidden, 'more column')} in trials.csv."
    return Section("trials", "Every trial", trials.table(facts), lead)


def _panels(facts: Facts) -> Section | None:
    if not facts.trials or not facts.parameters or not (facts.complete or facts.failed):
        return None
    objectives = facts.objectives if facts.complete else [facts.objective]
    names = facts.parameters[: max(parameters.MAX_PANELS // len(objectives), 1)]
    charts: list[Chart] = []
    groups: list[Markup] = []
    for objective in objectives:
        first = len(charts)
        charts += [
            parameters.panel(facts, objective, name, index)
            for index, name in enumerate(names, first)
        ]
        pairs = zip(names, charts[first:], strict=True)
        drawn = [_captioned(facts, name, chart) for name, chart in pairs]
        title = el("h3", objective.metric) if len(objectives) > 1 else None
        groups.append(join([title, el("div", *drawn, class_="panels")]))
    lead = _about_panels(facts, names)
    return Section("parameters", "Parameters", join(groups), lead, tuple(charts))


def _about_panels(facts: Facts, names: list[str]) -> str:
    what = "Each objective" if facts.several else facts.metric
    lead = f"{what} over each parameter, a mark per trial."
    if not facts.complete:
        lead = "Where the failed trials lie (×)."
    elif facts.front:
        marks = ["◆ is on the Pareto front" if facts.several else "◆ is the best one"]
        marks += ["○ breaks a constraint"] if facts.infeasible else []
        marks += ["× a failed one"] if facts.failed else []
        lead += f" {', '.join(marks)}."
    if facts.complete and any(Axis.of(facts, name).scale == "choice" for name in names):
        lead += " A line is a choice's median; marks are spread sideways to be seen."
    if len(facts.complete) > parameters.MAX_POINTS:
        lead += (
            f" {parameters.MAX_POINTS} of {len(facts.complete):,} are drawn, the best among them."
        )
    if len(facts.parameters) > len(names):
        lead += f" The first {len(names)} of {len(facts.parameters)} parameters."
    return lead


def _captioned(facts: Facts, name: str, chart: Chart) -> Markup:
    scale = Axis.of(facts, name).scale
    words = {"log": " log scale", "reverse_log": " log scale towards 1"}
    told = [words[scale]] if scale in words else []
    if distribution := facts.dimension(name).distribution:
        told.append(f" {distribution}")
    if facts.dimension(name).conditional:
        told.append(" conditional")
    caption = el("figcaption", name, el("span", " ·".join(["", *told])), title=name)
    return el("figure", caption, chart.place())


def _parallel(facts: Facts) -> Section | None:
    found = parameters.parallel(facts)
    if found is None:
        return None
    chart, note = found
    ramp = el(
        "span", *(el("i", style=f"background:var(--ramp{i})") for i in range(6)), class_="ramp"
    )
    which = f" {facts.metric}; the thick lines are the Pareto front."
    better = f"to better{which if facts.several else '; the thick line is the best.'}"
    lead = ["A line per complete trial, from worse", ramp, better]
    if any(facts.dimension(name).conditional for name in facts.parameters):
        lead.append(" Below an axis: the trial does not have that parameter.")
    if len(facts.parameters) > parameters.MAX_LINES_AXES:
        lead.append(
            f" The first {parameters.MAX_LINES_AXES} of {len(facts.parameters)} parameters."
        )
    if note:
        lead.append(f" {note}")
    return Section("parallel", "All parameters at once", chart.place(), join(lead), (chart,))


def _learning(facts: Facts) -> Section | None:
    metrics = [objective.metric for objective in facts.objectives]
    drawn = [curves.learning(facts, metric, index) for index, metric in enumerate(metrics)]
    found = [pair for pair in drawn if pair is not None]
    if not found:
        return None
    charts = tuple(chart for chart, _ in found)
    notes = dict.fromkeys(note for _, note in found if note)
    what = "Objectives" if facts.several else facts.metric
    lead = " ".join([f"{what} by step, a line per trial.", *notes])
    return Section("learning", "Learning curves", join(c.place() for c in charts), lead, charts)


def _overfitting(facts: Facts) -> Section | None:
    found = overfitting.pairs(facts)
    if not found:
        return None
    charts: list[Chart] = []
    rows: list[Markup] = []
    for index, pair in enumerate(found):
        both = [overfitting.scatter(facts, pair, index), overfitting.gap(facts, pair, index)]
        charts += both
        lead = el("p", pair.sign, class_="lead")
        rows.append(el("div", lead, *(chart.place() for chart in both), class_="pair"))
    return Section("overfitting", "Training against validation", join(rows), "", tuple(charts))


def _failures(facts: Facts) -> Section | None:
    if not facts.failed:
        return None
    lead = "By cause. Open a trial for the last lines of its log."
    return Section("failures", "Failures", sections.failures(facts), lead)


def _rungs(facts: Facts) -> Section | None:
    if not rungs.have_any(facts):
        return None
    found = curves.by_rung(facts, rungs.unit(facts))
    chart = found[0] if found else None
    note = found[1] if found else ""
    drawn = chart.place() if chart else None
    body = join([drawn, rungs.table(facts), rungs.decisions(facts)])
    lead = " ".join(part for part in (rungs.lead(facts), note) if part)
    return Section("rungs", rungs.title(facts), body, lead, (chart,) if chart else ())


def _timeline(facts: Facts) -> Section | None:
    placed = timeline.bars(facts)
    if not placed:
        return None
    chart = timeline.chart(facts, placed)
    found = timeline.idle(placed, facts.slots)
    told = [found.meaning if found else None, modes.told_of(facts.view), timeline.left_out(facts)]
    words = [*told, sections.repeated(facts)]
    lead = " ".join(word for word in words if word)
    return Section("timeline", "Timeline", chart.place(), lead, (chart,))


def _earlier(facts: Facts) -> Section | None:
    advice = facts.run.advice
    if not advice.runs and not advice.dropped:
        return None
    lead = f"Advised by {advice.summary}." if advice.runs else "No earlier run advised this one."
    return Section("earlier", "Earlier runs", sections.earlier(facts), lead)


def _provenance(facts: Facts) -> Section:
    return Section("provenance", "Provenance", sections.provenance(facts))


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
        el("style", Markup(CSS)),
    )


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def _plotly() -> str:
    """Give plotly's own code, fit to stand inside a script element."""
    from plotly.offline import get_plotlyjs

    code = str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
