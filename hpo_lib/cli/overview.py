"""What pages show of runs and experiments, answered from a store; made to be asked often."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from hpo_lib.cli import overview_answers as told
from hpo_lib.cli.answers import Run as PlainRun
from hpo_lib.cli.answers import finite
from hpo_lib.core.failures import kinds, why
from hpo_lib.core.trial import Trial, TrialState
from hpo_lib.errors import NotFound, SpecError
from hpo_lib.records import Model, Run, RunStatus, TrialView
from hpo_lib.store import Store
from hpo_lib.store.overview import Sought, Totals, idle_share
from hpo_lib.store.table import OWN, Asked
from hpo_lib.store.usage import gpus
from hpo_lib.trials.last_words import last_words

_HOUR_S = 3_600.0
_MOST_LEADING, _MOST_FAILURES, _MOST_NAMED, _MOST_DEEDS = 50, 20, 10, 50
#: Trials whose metrics are looked at for names, from each end.
_LOOKED_AT = 5


class Rows:
    """Makes rows of runs, and remembers those of the newest runs that have ended."""

    def __init__(self, most: int = 2_000) -> None:
        """Remember so many."""
        self._most, self._lock = most, Lock()
        self._known: OrderedDict[tuple[str, int], tuple[Any, told.RunRow]] = OrderedDict()

    def of(self, store: Store, runs: Sequence[Run]) -> list[told.RunRow]:
        """Give the rows of some runs."""
        deeds = store.overview.deeds([run.id for run in runs])
        stamps = {run.id: _stamp(run, deeds[run.id]) for run in runs}
        looked = {run.id: self._remembered(store, run, stamps[run.id]) for run in runs}
        found = {number: row for number, row in looked.items() if row is not None}
        missing = [run for run in runs if run.id not in found]
        totals = store.overview.totals([run.id for run in missing]) if missing else {}
        for run in missing:
            found[run.id] = row_of(store, run, totals[run.id])
            self._remember(store, run, stamps[run.id], found[run.id])
        return [found[run.id] for run in runs]

    def _remembered(self, store: Store, run: Run, stamp: Any) -> told.RunRow | None:
        with self._lock:
            known = self._known.get((store.id, run.id))
        return known[1] if known is not None and known[0] == stamp else None

    def _remember(self, store: Store, run: Run, stamp: Any, row: told.RunRow) -> None:
        if run.status is RunStatus.RUNNING:
            return
        with self._lock:
            self._known[store.id, run.id] = (stamp, row)
            while len(self._known) > self._most:
                self._known.popitem(last=False)


def _stamp(run: Run, deed: int) -> Any:
    return (run.status, run.reason, run.ended_at, run.fingerprint, deed)


def row_of(
    store: Store, run: Run, totals: Totals, leading: Sequence[Trial] | None = None
) -> told.RunRow:
    """Sum up a run; `leading` are its best trials where they are known."""
    said, now = run.outline, datetime.now(UTC)
    found = store.overview.best(run) if leading is None and totals.highest is not None else leading
    found = found or []
    single = found[0] if found and len(said.objectives) == 1 else None
    gpu_s = totals.busy_s * gpus(run.document, final=False)
    gpu_s += totals.final_s * gpus(run.document, final=True)
    return told.RunRow(
        **PlainRun.of(run).model_dump(),
        outcome=run.outcome,
        objectives=[
            told.Objective(metric=one.metric, direction=one.direction, target=one.target)
            for one in said.objectives
        ],
        max_trials=said.max_trials,
        parallel_trials=said.parallel_trials,
        trials={state: totals.states.get(state, 0) for state in TrialState},
        done=totals.done,
        reused=totals.reused,
        finals=totals.finals,
        best=None if single is None else finite(single.value),
        best_trial=None if single is None else single.number,
        front=len(found),
        expected_end=expected_end(run, totals),
        idle=idle_share(run, totals, now),
        trial_hours=(totals.busy_s + totals.final_s) / _HOUR_S,
        gpu_hours=gpu_s / _HOUR_S,
    )


def expected_end(run: Run, totals: Totals) -> datetime | None:
    """Say when all trials of a run's search have ended, if these take as long as those before.

    It is reckoned as an attempt ends; None before the first, and unless the run goes on.
    """
    said = run.outline
    if run.status is not RunStatus.RUNNING or not totals.ended or totals.last_end is None:
        return None
    left = (said.max_trials or 0) - totals.done
    if left <= 0:
        return None
    rounds = math.ceil(left / max(said.parallel_trials or 1, 1))
    return totals.last_end + timedelta(seconds=rounds * totals.ended_s / totals.ended)


def runs(store: Store, rows: Rows, sought: Sought) -> told.RunRows:
    """Give a page of runs."""
    found, total = store.overview.runs(sought)
    return told.RunRows(runs=rows.of(store, found), total=total)


def experiments(store: Store, rows: Rows, sought: Sought) -> told.ExperimentRows:
    """Give a page of experiments, each with its newest run."""
    groups, total = store.overview.experiments(sought)
    newest = store.overview.runs_of([one.newest for one in groups])
    known = {row.id: row for row in rows.of(store, list(newest.values()))}
    listed = []
    for one in groups:
        champion = store.models.champion(one.name)
        listed.append(
            told.ExperimentRow(
                name=one.name,
                team=one.team,
                runs=one.runs,
                running=one.running,
                newest=known[one.newest],
                champion=champion.version if champion else None,
            )
        )
    return told.ExperimentRows(experiments=listed, total=total)


def summary(store: Store, run: Run, version: str) -> told.RunSummary:
    """Give a run at a glance."""
    totals = store.overview.totals([run.id])[run.id]
    leading = store.overview.best(run)
    row, said, stop = row_of(store, run, totals, leading), run.outline, store.stop_of(run.id)
    model = store.models.of_run(run.id)
    goal = said.goal
    return told.RunSummary(
        **row.model_dump(),
        version=version,
        description=said.description,
        sampler=said.sampler,
        seed=said.seed,
        constraints=[one.text for one in goal.constraints] if goal else [],
        fixed=dict(said.fixed),
        params=list(said.space),
        metrics=_metrics(store, run, totals),
        leading=[told.Leading.of(one, []) for one in leading[:_MOST_LEADING]],
        failures=list(_failures(store, run, totals)),
        stopping=stop.reason if stop and run.status is RunStatus.RUNNING else None,
        advice=list(run.advice.lines()),
        model=None if model is None else model_row(run, model),
        audit=[told.Deed.of(one) for one in store.audit.of_run(run.id)[-_MOST_DEEDS:]],
    )


def model_row(run: Run | None, model: Model) -> told.ModelRow:
    """Give a model; whether it awaits approval only its run can tell."""
    return told.ModelRow.of(model, awaits_approval=run is not None and _awaits(run, model))


def _awaits(run: Run, model: Model) -> bool:
    try:
        return model.approved is None and model.needs_approval(run.spec.deploy)
    except SpecError:
        return False


def _metrics(store: Store, run: Run, totals: Totals) -> list[str]:
    """Name the metrics that trials have: those of the spec, then what some trials have besides."""
    said = run.outline
    names = [one.metric for one in said.objectives] + list(said.extra_metrics)
    seen = [*(said.goal.metrics if said.goal else []), *names]
    if totals.trials:
        for descending in (False, True):
            asked = Asked(descending=descending, limit=_LOOKED_AT)
            for view in store.overview.table(run.id, asked)[0]:
                seen += [*view.trial.metrics, *view.shown.values]
    return list(dict.fromkeys(seen))


def _failures(store: Store, run: Run, totals: Totals) -> Iterator[told.Failure]:
    """Say in which ways trials have failed, the most frequent first."""
    if not totals.states.get(TrialState.FAILED):
        return
    found = sorted(kinds(store.failed(run.id).trials).values(), key=len, reverse=True)
    for alike in found[:_MOST_FAILURES]:
        tried = store.attempts(run.id, alike[0].number)
        yield told.Failure(
            cause=alike[0].cause,
            count=len(alike),
            trials=[one.number for one in alike[:_MOST_NAMED]],
            reason=alike[0].reason or why(alike[0]),
            line=last_words(tried[-1].log_tail) if tried else "",
        )


def table(store: Store, run: Run, asked: Asked, columns: Sequence[str]) -> told.TrialTable:
    """Give a page of a run's trials; SpecError for a column that there cannot be."""
    for name in columns:
        if name not in OWN and name.partition(".")[0] not in ("params", "metrics"):
            raise SpecError(f"columns: unknown column {name[:80]!r}; known: {', '.join(OWN)}, "
                            "params.NAME, metrics.NAME")  # fmt: skip
    views, total = store.overview.table(run.id, asked)
    return told.TrialTable(
        columns=list(columns),
        rows=[[_cell(view, name) for name in columns] for view in views],
        feasible=[_feasible(run, view.trial) for view in views],
        total=total,
    )


def _cell(view: TrialView, column: str) -> Any:
    """Give what a trial has in a column; of one that runs, what it has shown last."""
    trial, (prefix, _, name) = view.trial, column.partition(".")
    if prefix == "params" and name:
        value = trial.params.get(name)
        return finite(value) if isinstance(value, float) else value
    if prefix == "metrics" and name:
        return finite(trial.metrics.get(name, view.shown.values.get(name)))
    tried = view.attempts
    own = {
        "value": finite(trial.value),
        "duration_s": finite(trial.duration_s),
        "started_at": tried[0].started_at if tried else None,
        "ended_at": tried[-1].ended_at if tried else None,
        "attempts": len(tried),
        "slot": view.slot,
    }
    return own[column] if column in own else getattr(trial, column)


def _feasible(run: Run, trial: Trial) -> bool | None:
    goal = run.outline.goal
    if goal is None or not goal.constraints or trial.state is not TrialState.COMPLETE:
        return None
    return goal.feasible(trial)


def champions(store: Store, experiment: str, dags: Collection[str]) -> told.Champions:
    """Give the history of an experiment's models, as far as their runs are of these DAGs."""
    models = store.models.of(experiment)
    known = store.overview.runs_of([one.run_id for one in models])
    seen = [one for one in models if (run := known.get(one.run_id)) and run.key.dag_id in dags]
    if models and not seen:
        raise NotFound(f"experiment {experiment} has no model that you may see")
    versions = {one.version for one in seen}
    champion = store.models.champion(experiment)
    events = [one for one in store.models.events(experiment) if one.version in versions]
    return told.Champions(
        experiment=experiment,
        champion=champion.version if champion and champion.version in versions else None,
        models=[model_row(known.get(one.run_id), one) for one in seen],
        events=[told.Event.of(one) for one in events],
    )


def compare(store: Store, rows: Rows, chosen: Sequence[Run]) -> told.Comparison:
    """Put runs side by side."""
    listed = zip(rows.of(store, chosen), chosen, strict=True)
    standings = [_standing(store, run, row) for row, run in listed]
    return told.Comparison(
        runs=standings, differences=list(_differences([run.document for run in chosen]))
    )


def _standing(store: Store, run: Run, row: told.RunRow) -> told.Standing:
    """Follow the best value of the first objective: a point where it improves, and the last."""
    leading, goal = store.overview.best(run), run.outline.goal
    trials: list[int] = []
    hours: list[float] = []
    best: list[float] = []
    ended = store.overview.values(run.id)
    for count, (value, at) in enumerate(ended, 1):
        better = goal is not None and (not best or goal.direction.better(value, best[-1]))
        if better or (best and count == len(ended)):
            trials.append(count)
            hours.append(run.open_s(at) / _HOUR_S)
            best.append(value if better else best[-1])
    first = told.Leading.of(leading[0], []) if leading else None
    return told.Standing(run=row, leading=first, trials=trials, hours=hours, best=best)


def _differences(documents: Sequence[Mapping[str, Any]]) -> Iterator[told.Difference]:
    flat = [dict(_leaves(document)) for document in documents]
    for path in dict.fromkeys(path for one in flat for path in one):
        values = [one.get(path) for one in flat]
        if any(value != values[0] for value in values):
            yield told.Difference(path=path, values=values)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
        return
    yield path, value
