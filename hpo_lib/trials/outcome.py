"""What became of a trial: from its exit and its metrics to a value, or a cause of failure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from hpo_lib.backends import incomplete
from hpo_lib.collectors import Source, plain, wanted
from hpo_lib.collectors.summary import summary
from hpo_lib.core.ending import CAUSES, Ending, Exit
from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import Cause, Observation
from hpo_lib.errors import (
    HpoError,
    TrialFailed,
)
from hpo_lib.files.places import Place, left_alone, tail
from hpo_lib.records import AttemptState, Outcome
from hpo_lib.registry import COLLECTORS
from hpo_lib.registry import load as load_part
from hpo_lib.spec import Spec, stored
from hpo_lib.trials.last_words import last_words
from hpo_lib.trials.near_names import asked, listed, names_seen

#: The module that uploads outputs to object stores, and its exit code if it could not.
_UPLOAD, _NOT_COPIED = "hpo_lib.runtime.upload", 74
_TAIL_BYTES = 8_192
#: How many files that are left alone in an output are named.
_NAMED = 3
#: What a metric is probably called, unlike `file.cc:12`.
_NAME = re.compile(r"[A-Za-z_][\w/-]*")


def outcome(spec: Spec, end: Exit, source: Source) -> Outcome:
    """Read an ended attempt's metrics and say what became of it."""
    log = _end_of(source.log)
    failed = _failure(spec, end, log)
    collector = load_part("collector", spec.metrics.collector)(spec.metrics)
    found, metrics, trouble = collected(spec, collector, source)
    seen = partial(names_seen, spec, source)
    cause, reason = failed or trouble or judged(spec.goal, metrics, seen)
    if cause is Cause.OBJECTIVE_MISSING and end.log_gap:
        # What it printed may have been there: no fault of its own, and no name to guess at.
        cause, reason = failed = Cause.LOST, end.log_gap
    if failed is None:
        told = [end.detail] if end.detail else []
        told += getattr(collector, "remarks", ()) if cause is None else ()
        reason = "; ".join([reason, *told, *_remarks(spec, source, cause, trouble)])
    return Outcome(
        state=AttemptState.SUCCEEDED if cause is None else AttemptState.FAILED,
        reason=reason,
        value=metrics[spec.objective.metric] if cause is None else None,
        cause=cause,
        exit_code=end.code,
        metrics=metrics,
        observations=found,
        log_tail=log,
    )


_Failure = tuple[Cause, str]


def _end_of(log: Place) -> str:
    """Give how a log ends, or say that it leads elsewhere."""
    try:
        return tail(log, _TAIL_BYTES).decode(errors="replace")
    except TrialFailed as error:
        return f"[hpo] {error}"


def collected(
    spec: Spec, collector: Any, source: Source
) -> tuple[Sequence[Observation], Mapping[str, float], _Failure | None]:
    """Read the metrics that the spec names, or say why its collector could not."""
    name, names = spec.metrics.collector, wanted(spec)
    try:
        found = collector.collect(source, names)
        if name not in COLLECTORS:  # one's own may give NumPy's numbers, and metrics of more names
            found = (plain(one) for one in found if one.metric in names)
        kept, metrics = summary(found, spec.objectives)
    except TrialFailed as error:
        return (), {}, (Cause.OBJECTIVE_MISSING, str(error))
    except HpoError:
        raise
    except Exception as error:
        why = f"the collector {name} failed: {type(error).__name__}: {error}"
        return (), {}, (Cause.OBJECTIVE_MISSING, why)
    return reliable(collector, spec.goal, kept, metrics)


def reliable(
    collector: Any, goal: Goal, kept: Sequence[Observation], metrics: Mapping[str, float]
) -> tuple[Sequence[Observation], Mapping[str, float], _Failure | None]:
    """Leave out metrics with a value that the collector could not read wholly.

    The trial has failed if the goal needs one, or one that is not known of the best's model, or one
    that may stand in a line that was too long.
    """
    unread: Mapping[str, str] = getattr(collector, "unreadable", {})
    kept = [one for one in kept if one.metric not in unread]
    metrics = {name: value for name, value in metrics.items() if name not in unread}
    missing = [name for name in goal.metrics if name not in metrics]
    reasons = [unread[name] for name in missing if name in unread]
    if not reasons:
        best, elsewhere = goal.objectives[0][0], {one.metric for one in kept}
        reasons = [
            f"{name} is there, but not of the model whose {best} is best (reduce: best)"
            for name in missing
            if name in elsewhere
        ]
    if missing and not reasons:
        remarks = getattr(collector, "remarks", ())
        reasons = [f"{judged(goal, metrics)[1]}; {one}" for one in remarks]
    failure = (Cause.OBJECTIVE_MISSING, "; ".join(reasons)) if reasons else None
    return kept, metrics, failure


def _remarks(
    spec: Spec, source: Source, cause: Cause | None, trouble: _Failure | None
) -> Iterator[str]:
    """Yield what may have kept a trial's metrics from being read, and what of its output is not."""
    name = spec.metrics.collector
    if cause is Cause.OBJECTIVE_MISSING and trouble is None:
        explain = getattr(load_part("collector", name), "lacking", None)
        yield from filter(None, [explain(source)] if explain else [])
    reads_log = name not in COLLECTORS.keys() - {"stdout"}
    if reads_log and trouble is None and (why := incomplete(source.log)):
        yield why
    yield from _left_alone(source.output)


def _left_alone(output: Place) -> Iterator[str]:
    """Say what of an output is not read, packed or copied."""
    found = [str(one) for one in left_alone(output)]
    if found:
        more = len(found) - _NAMED
        rest = f" and {more:,} more" if more > 0 else ""
        yield f"left alone in its output: {', '.join(found[:_NAMED])}{rest}"


def with_metrics(spec: Spec, settings: Mapping[str, Any]) -> Spec:
    """Change how metrics are read; naming a collector drops the other old settings."""
    if not settings:
        return spec
    kept = {} if "collector" in settings else spec.dump()["metrics"]
    return stored(spec.dump() | {"metrics": kept | dict(settings)})


#: SIGHUP, SIGINT, SIGKILL, SIGTERM: signals that come from outside, also when seen by a shell.
_OUTSIDE = frozenset({-1, -2, -9, -15, 129, 130, 137, 143})


def _failure(spec: Spec, end: Exit, log: str) -> tuple[Cause, str] | None:
    """Say why an attempt failed if it did: its ending, and of a program's own failure its words."""
    if end.ending is not Ending.EXITED:
        return CAUSES[end.ending], end.detail
    if end.code in _OUTSIDE:
        signal = -end.code if end.code < 0 else end.code - 128
        return Cause.LOST, f"killed from outside by signal {signal}"
    if end.code == _NOT_COPIED and _UPLOAD in (spec.trial.command or ()):
        return Cause.LOST, "its output could not be copied to the object store"
    if end.code != 0:
        words = [f"exit code {end.code}", end.detail, last_words(log)]
        return Cause.USER_ERROR, ": ".join(filter(None, words))
    return None


def judged(
    goal: Goal, metrics: Mapping[str, float], others: Callable[[], Collection[str]] = tuple
) -> tuple[Cause | None, str]:
    """Say what becomes of a trial that ended well with these metrics: a cause if it failed.

    `others` names what else was printed or written; it is asked only if a metric is missing.
    """
    missing = [name for name in goal.metrics if name not in metrics]
    if missing:
        return Cause.OBJECTIVE_MISSING, f"exit code 0, but {_lack(missing, metrics, others())}"
    for name in goal.metrics:
        if not math.isfinite(metrics[name]):
            return Cause.OBJECTIVE_NOT_FINITE, f"{name} must be finite, got {metrics[name]}"
    values = [f"{name} = {metrics[name]:.6g}" for name, _ in goal.objectives]
    return None, "; ".join([", ".join(values), *goal.broken(metrics)])


def _lack(missing: Sequence[str], metrics: Collection[str], others: Collection[str]) -> str:
    """Say what is missing, what is there, and whether some of that is probably meant."""
    question = asked(missing, set(others).difference(metrics, missing))
    shown = others if question else filter(_NAME.fullmatch, set(others).difference(missing))
    names = {*metrics, *shown}
    seen = f"only {listed(names)}" if names else "no metric at all"
    was = "was" if len(missing) == 1 else "were"
    return f"{seen} where {', '.join(missing)} {was} expected{question}"
