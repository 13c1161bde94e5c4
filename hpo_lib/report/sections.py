"""The parts of the page that are words: what came out, the best trial, failures, provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import median

from hpo_lib.core.trial import Cause, Direction, TrialState
from hpo_lib.records import AttemptState, RunStatus, TrialView
from hpo_lib.report import again
from hpo_lib.report.facts import Facts, files, value_of
from hpo_lib.report.markup import Markup, clean, el, join, shortened
from hpo_lib.samplers.auto import chosen
from hpo_lib.spec.yaml_core import dumped
from hpo_lib.words import NOTHING, count, duration, moment, number, spoken

_MAX_LOGS, _MAX_LINES, _MAX_LINE = 50, 30, 500
_ARROW = {Direction.MINIMIZE: "↓ minimize", Direction.MAXIMIZE: "↑ maximize"}


def header(facts: Facts) -> Markup:
    """Say what ran, how it ended and why, and the figures that matter."""
    run = facts.run
    status = el("span", run.outcome, class_=f"badge {run.status}")
    described = facts.said.description
    tiles = [] if run.status is RunStatus.REFUSED else _tiles(facts)
    return el(
        "header",
        el("p", "hyperparameter tuning · run ", str(run.id), class_="kicker"),
        el("div", el("h1", run.experiment or "unnamed experiment"), status, class_="title"),
        el("p", described, class_="muted") if described else None,
        el("p", run.reason, class_="reason") if run.reason not in (None, run.outcome) else None,
        el("div", *tiles, class_="tiles") if tiles else None,
    )


def best(facts: Facts, view: TrialView) -> Markup:
    """Show a trial, such as the best: parameters, metrics, and how to train it again."""
    source = view.trial.reused
    params = {name: number(value, 8) for name, value in view.trial.params.items()}
    found = {facts.metric: view.trial.value, **view.trial.metrics}
    metrics = {name: number(value, 6) for name, value in found.items()}
    fixed_list = {name: number(value) for name, value in facts.said.fixed.items()}
    return join(
        [
            el(
                "div",
                _pairs("Parameters", params),
                _pairs("Metrics", metrics),
                _pairs("Constraints", kept) if (kept := _kept(facts, view)) else None,
                _pairs("Fixed", fixed_list) if fixed_list else None,
                _pairs("Artifacts", {"folder": folder}) if (folder := files(facts, view)) else None,
                _pairs("Not trained", {"reused from": str(source)}) if source else None,
                class_="columns",
            ),
            _again(facts, view),
        ]
    )


def failures(facts: Facts) -> Markup:
    """Count failed trials by cause and show the end of each one's log."""
    causes = Counter(_cause(view) for view in facts.failed)
    most = max(causes.values())
    meters = [_meter(cause, found, found / most) for cause, found in causes.most_common()]
    logged = facts.failed[:_MAX_LOGS]
    rest = len(facts.failed) - len(logged)
    more = f"{count(rest, 'more failed trial')} in the table above and in trials.csv."
    return join(
        [
            el("div", *meters, class_="meters"),
            *(_failure(view, open_=not (i or facts.complete)) for i, view in enumerate(logged)),
            el("p", more, class_="note") if rest else None,
        ]
    )


def repeated(facts: Facts) -> str | None:
    """Say how many attempts the infrastructure lost without failing their trial."""
    lost = sum(
        attempt.state is AttemptState.FAILED
        for view in facts.trials
        for attempt in view.attempts[:-1]
    )
    return f"{count(lost, 'attempt')} failed and the trial was tried again." if lost else None


def provenance(facts: Facts) -> Markup:
    """Show where all this comes from."""
    run = facts.run
    sampler, seed = _sampler(facts), number(facts.said.seed)
    rows = {
        "run": f"{run.id} · {run.key.dag_id} · {run.key.dag_run_id}",
        "triggered by": run.triggered_by,
        "started": moment(run.started_at),
        "ended": moment(run.ended_at),
        "sampler": f"{sampler}, seed {seed}" if sampler else NOTHING,
        "mode": _mode(facts),
        "spec digest": facts.spec.digest if facts.spec else NOTHING,
    }
    rows = {name: said for name, said in rows.items() if said != NOTHING}
    versions = {str(name): str(value) for name, value in run.provenance.dump().items()}
    stale = f"This version of the program cannot read the spec any more: {facts.problem}"
    return join(
        [
            el("p", stale, class_="note") if facts.problem else None,
            el(
                "div",
                _pairs("Run", rows),
                _pairs("Versions", versions) if versions else None,
                class_="columns wide",
            ),
            _pairs("Audit trail", _audited(facts)) if facts.view.audit else None,
            _spec(facts) if run.document else None,
        ]
    )


def _audited(facts: Facts) -> dict[str, str]:
    """Say who did what to the run, by time."""
    rows: dict[str, str] = {}
    for one in facts.view.audit:
        name, said = f"{one.deed}, {moment(one.time)}", f"{one.by}: {one.told}"
        rows[name] = f"{rows[name]}; {said}" if name in rows else said
    return rows


def earlier(facts: Facts) -> Markup:
    """Show which earlier runs advised this one, and what of them was dropped."""
    told = {
        f"run {one.run} of {one.experiment}": f"{count(len(one.trials), 'trial')}, weight "
        f"{number(one.weight, 2)}"
        for one in facts.run.advice.runs
    }
    notes = [el("p", sentence, class_="note") for sentence in facts.run.advice.dropped]
    return join([_pairs("Advice", told) if told else None, *notes])


def _tiles(facts: Facts) -> list[Markup]:
    return [tile for tile in (_goal_tile(facts), _trials_tile(facts), _time_tile(facts)) if tile]


def _goal_tile(facts: Facts) -> Markup:
    """Say what has been found: the best value, or the size of the Pareto front."""
    broken = f"{len(facts.infeasible)} of {len(facts.complete)} break a constraint"
    notes = [broken] if facts.infeasible else []
    if facts.several:
        return _front_tile(facts, notes)
    objective = facts.objective
    title = f"best {objective.metric}"
    arrow = _ARROW[objective.direction] if objective.direction else ""
    if not facts.front:
        why = "no trial keeps the constraints" if facts.infeasible else "no complete trial"
        return _tile(title, NOTHING, f"{arrow} · {why}", class_="wide")
    found = facts.front[0].trial
    middle = median(value for view in facts.complete if (value := value_of(view)) is not None)
    notes = [arrow, f"trial {found.number}", f"median {number(middle)}", *notes]
    if objective.target is not None:
        notes.append(f"target {number(objective.target)}")
    return _tile(title, number(found.value), " · ".join(notes), class_="wide goal")


def _front_tile(facts: Facts, notes: list[str]) -> Markup:
    size = len(facts.front)
    named = [f"{_ARROW[o.direction]} {o.metric}" for o in facts.objectives if o.direction]
    if not facts.complete:
        notes = ["no complete trial"]
    unit = " trial" if size == 1 else " trials"
    figure = f"{size:,}" if size else NOTHING
    said = " · ".join([*named, *notes])
    class_ = "wide goal" if size else "wide"
    return _tile("Pareto front", figure, said, unit=unit if size else "", class_=class_)


def _kept(facts: Facts, view: TrialView) -> dict[str, str]:
    """Say of each constraint by how much a trial keeps or exceeds it."""
    if facts.goal is None:
        return {}
    pairs = zip(facts.goal.constraints, facts.goal.excesses(view.trial), strict=True)
    return {
        constraint.text: f"{'kept' if excess <= 0 else 'exceeded'} by {number(abs(excess), 4)}"
        for constraint, excess in pairs
    }


def _trials_tile(facts: Facts) -> Markup:
    counts = dict.fromkeys(TrialState, 0)
    for view in facts.trials:
        counts[view.trial.state] += 1
    said = [f"{found:,} {state}" for state, found in counts.items() if found]
    shares = [
        el("i", class_=state, style=f"flex-grow:{found}")
        for state, found in counts.items()
        if found
    ]
    budget = facts.said.max_trials
    total = "" if budget is None else f" of at most {budget:,}"
    done = len(facts.trials) - counts[TrialState.RUNNING] - counts[TrialState.WAITING]
    reused = sum(view.trial.reused is not None for view in facts.trials)
    said = [f"{reused:,} reused", *said] if reused else said
    return _tile(
        "trials done",
        f"{done:,}",
        " · ".join(reversed(said)) or f"none{total}",
        el("div", *shares, class_="shares", aria_hidden="true") if shares else None,
        unit=total,
    )


def _time_tile(facts: Facts) -> Markup:
    run = facts.run
    return _tile(
        "wall time" if run.ended_at else "wall time so far",
        duration(facts.wall_s),
        f"{moment(run.started_at)} · by {shortened(run.triggered_by, 40)}",
    )


def _tile(
    head: str, figure: str, note: str, *more: Markup | None, unit: str = "", class_: str = ""
) -> Markup:
    small = el("small", unit) if unit else None
    return el(
        "div",
        el("h2", head),
        el("p", figure, small, class_="figure"),
        *more,
        el("p", note, class_="note"),
        class_=f"tile {class_}".strip(),
    )


def _pairs(title: str, rows: Mapping[str, str]) -> Markup:
    cells = [el("div", el("dt", name), el("dd", value)) for name, value in rows.items()]
    return el("div", el("h3", title), el("dl", *cells) if cells else el("p", "none", class_="note"))


def _again(facts: Facts, view: TrialView) -> Markup | None:
    """Say how to train a trial again; nothing if its spec cannot be read."""
    if facts.spec is None:
        return None
    line = again.command(facts, view)
    if line is None:
        return el("div", el("h3", "Train it again"), el("p", again.WITHOUT, class_="note"))
    button = el("button", "copy", type="button", data_copy="command", class_="copy no-print")
    head = el("h3", "Train it again", " ", button)
    said = el("p", again.note(facts, view), class_="note")
    return el("div", head, el("pre", line, id="command", tabindex="0"), said)


def _cause(view: TrialView) -> str:
    return spoken(view.trial.cause or Cause.USER_ERROR) if view.trial.cause else "unknown"


def _meter(cause: str, found: int, share: float) -> Markup:
    bar = el("i", class_="failed", style=f"width:{max(share * 100, 1):.0f}%")
    return join([el("span", cause), el("span", bar, class_="rail"), el("b", f"{found:,}")])


def _failure(view: TrialView, *, open_: bool) -> Markup:
    trial = view.trial
    params = "  ".join(f"{name}={number(value)}" for name, value in trial.params.items())
    tail = _tail(view.attempts[-1].log_tail) if view.attempts else ""
    shown = el("pre", tail, tabindex="0") if tail else el("p", "It left no log.", class_="note")
    return el(
        "details",
        el(
            "summary",
            el("b", f"trial {trial.number}"),
            " ",
            el("span", _cause(view), class_="state failed"),
            " ",
            shortened(trial.reason or "", 160),
        ),
        el("p", params, class_="note mono"),
        shown,
        class_="failure",
        open=open_,
    )


def _tail(log: str) -> str:
    """Give a log's last lines; of a line that was written over, its last state."""
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in log.rstrip().split("\n")]
    return "\n".join(clean(line)[:_MAX_LINE] for line in lines[-_MAX_LINES:]).strip("\n")


def _sampler(facts: Facts) -> object:
    """Name the sampler, and the one that `auto` chose."""
    said = facts.said.sampler
    name, reason = chosen(facts.spec) if facts.spec else (said, None)
    return f"{said}: {name} ({reason})" if reason else said


def _mode(facts: Facts) -> str:
    """Name the mode, and why `auto` chose it."""
    if why := facts.run.advice.mode:
        return f"auto: {why}"
    return facts.spec.mode if facts.spec else NOTHING


def _spec(facts: Facts) -> Markup:
    text = dumped(dict(facts.run.document), width=100)
    return el(
        "details", el("summary", "Spec (YAML)"), el("pre", text, tabindex="0"), class_="failure"
    )
