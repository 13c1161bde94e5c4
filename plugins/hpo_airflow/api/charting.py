"""What a run's charts are drawn from, and what it advises, as in its report: kept while fresh."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from fastapi import APIRouter, Request, Response

from hpo_airflow.api.parts import RunWithTrials, StoreDep
from hpo_airflow.api.showing import fresh_s, is_known, tag_of, tagged, unchanged
from hpo_lib.cli import drawn, overview_answers
from hpo_lib.records import Run, RunStatus
from hpo_lib.store import Store

router = APIRouter(tags=["show"])


#: Of more trials the charts are made by a process of its own, which takes a second to begin.
_MANY = 1_000
#: What another process has made is worth this many times its CPU time: a percent of a core.
_WORTH_APART = 100


@dataclass(frozen=True, slots=True)
class _Made:
    """A document as JSON, of a version of its run; it is not made anew before `until`."""

    version: str
    text: str
    fresh_s: float
    until: float


class Documents:
    """Makes documents of runs, one at a time, and keeps the newest: viewers share them."""

    def __init__(self, make: Callable[[Store, Run], tuple[str, float]], most: int = 4) -> None:
        """Take what makes one, as JSON with the seconds for which it is fresh, and keep so many."""
        self._make, self._most, self._lock = make, most, Lock()
        self._made: OrderedDict[tuple[str, int], _Made] = OrderedDict()

    def of(self, store: Store, run: Run) -> _Made:
        """Give a run's document; of one that goes on, that of some time before while it is fresh.

        How long that is depends on what it costs: a run of many trials is drawn less often.
        """
        key, version = (store.id, run.id), store.overview.version(run.id)
        with self._lock:
            known = self._made.get(key)
            going = run.status is RunStatus.RUNNING
            if known and (known.version == version or (going and time.monotonic() < known.until)):
                return known
            made = self._made[key] = self._anew(store, run, version)
            self._made.move_to_end(key)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
            return made

    def _anew(self, store: Store, run: Run, version: str) -> _Made:
        text, worth_s = self._make(store, run)
        return _Made(version, text, worth_s, time.monotonic() + worth_s)


def _charts(store: Store, run: Run) -> tuple[str, float]:
    if store.overview.totals([run.id])[run.id].trials > _MANY:
        return _apart(store, run, "charts")
    began = time.thread_time()
    return drawn.charts(store, run.id), fresh_s(began)


def _advice(store: Store, run: Run) -> tuple[str, float]:
    return _apart(store, run, "advice")


def _apart(store: Store, run: Run, what: str) -> tuple[str, float]:
    text, took_s = drawn.made_apart(store, what, run.id)
    return text, _WORTH_APART * took_s


_CHARTS, _ADVICE = Documents(_charts), Documents(_advice)


@router.get("/runs/{run_id}/charts", response_model=dict[str, Any])
def get_charts(request: Request, run: RunWithTrials, store: StoreDep) -> Response:
    """Give what a run's charts are drawn from, columns of bounded size; 304 if that is known.

    The header HPO-Fresh-S says for how many seconds it is not made anew.
    """
    return _answer(request, _CHARTS.of(store, run))


@router.get("/runs/{run_id}/advice", response_model=overview_answers.NextSteps)
def get_advice(request: Request, run: RunWithTrials, store: StoreDep) -> Response:
    """Say what a run's trials advise, as its report does: it takes seconds to work out."""
    return _answer(request, _ADVICE.of(store, run))


def _answer(request: Request, found: _Made) -> Response:
    tag = tag_of(found.version)
    if is_known(request, tag):
        return unchanged(tag, found.fresh_s)
    return tagged(found.text, tag, found.fresh_s)
