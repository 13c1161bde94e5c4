"""One trial of a spec on the spot, by the parts that run and record those of Airflow's DAGs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from hpo_lib.backends import Backend, Request
from hpo_lib.backends.usage import Usage
from hpo_lib.core.ending import Exit
from hpo_lib.core.trial import History, Value
from hpo_lib.errors import HpoError, TransientError, nearest
from hpo_lib.installation import Installation
from hpo_lib.records import Attempt, Provenance, Run, RunKey, TrialView
from hpo_lib.runs import lifecycle
from hpo_lib.search import engine
from hpo_lib.spec import Spec
from hpo_lib.spec.flags import text
from hpo_lib.spec.sections import SchedulerSpec
from hpo_lib.spec.space_words import parameter
from hpo_lib.store import Store
from hpo_lib.trials import runner
from hpo_lib.validation import as_error

_KEY = RunKey("hpo_try", "try")
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Tried:
    """What the store has of a trial by now, where its files are, and what it has used at most."""

    view: TrialView
    backend: Backend
    used: Usage | None
    trouble: str = ""

    @property
    def attempt(self) -> Attempt | None:
        """The trial's only attempt; None if it could not begin."""
        return self.view.attempts[-1] if self.view.attempts else None


def alone(spec: Spec, given: Mapping[str, Any]) -> Spec:
    """Give the spec of a run of one trial: what was `given`, the rest as trial 1 would have it.

    What is about several trials, about later ones or about what comes after them is left out.
    SpecError names what is not right in what was given.
    """
    wrong = [
        f"--params {name}: is no parameter{nearest(name, [*spec.space, *spec.fixed])}"
        for name in given
        if name not in spec.space and name not in spec.fixed
    ]
    fixed = {**spec.fixed, **{name: one for name, one in given.items() if name in spec.fixed}}
    params, point = {**spec.search_space.nested(_first(spec)), **given}, dict[str, Value]()
    searched = {name: one for name, one in params.items() if name in spec.space}
    wrong += [f"--params {line}" for line in spec.search_space.problems(searched, point)]
    if wrong:
        raise as_error(wrong)
    limits = {"max_trials": 1, "parallel_trials": 1, "max_duration": None, "patience": None}
    left_out = ("artifacts", "warm_start", "reuse", "final", "deploy", "schedule")
    changes = {
        "fixed": fixed,
        "initial_points": (point,),
        "limits": spec.limits.model_copy(update=limits),
        "scheduler": SchedulerSpec(),
    }
    if spec.trial.backend == "local":  # whose template would serve further trials
        options = {**spec.trial.options, "fork": False}
        changes["trial"] = spec.trial.model_copy(update={"options": options})
    return spec.changed(**changes, **dict.fromkeys(left_out))


def _first(spec: Spec) -> Mapping[str, Value]:
    step = engine.step(spec, History(), 1)
    return step.assignments[0].params if step.assignments else {}


def said(spec: Spec, words: Mapping[str, str]) -> dict[str, Any]:
    """Read parameters that were said as text: a choice is the one that is told so to programs."""
    return {name: _value(spec, name, word) for name, word in words.items()}


def _value(spec: Spec, name: str, word: str) -> Any:
    choices = getattr(spec.space.get(name), "choices", None)
    if choices is None:
        kind = type(spec.fixed[name]) if name in spec.fixed else None
        return parameter(name, word, kind if kind in (float, str) else None)
    return next((one for one in choices if text(one) == word), word)


def perform(
    store: Store,
    spec: Spec,
    installation: Installation,
    show: Callable[[str], None],
    by: str,
) -> Tried:
    """Run the spec's one trial to its end, and give what the store has of it.

    `show` gets its lines. Whatever interrupts this, nothing of the trial is left running.
    """
    provenance = Provenance(store=store.id, way="try")
    run = store.start_run(_KEY, spec, triggered_by=by, provenance=provenance)
    (assignment,) = lifecycle.next_wave(store, _KEY, 1, installation).assignments
    backend, meter, trouble = installation.backend(spec), _Meter(), ""
    usage = getattr(backend, "usage", lambda _: None)

    def launch(attempt: Attempt, request: Request) -> Exit:
        with meter.watching(lambda: usage(attempt.handle)):
            return runner.follow(backend, attempt, request, show)

    try:
        runner.perform(store, run, assignment.trial, backend, lambda _: None, launch)
    except TransientError as error:  # as when the world is at fault, and Airflow would try again
        trouble = str(error)
    finally:
        _end(store, run, backend)
    return Tried(store.view(run.id).trials[0], backend, meter.used, trouble)


def _end(store: Store, run: Run, backend: Backend) -> None:
    """Leave nothing running, and nothing held."""
    for attempt in store.attempts(run.id, 1):
        with suppress(HpoError):
            backend.stop(attempt.handle)
            backend.discard(attempt.handle)


class _Meter:
    """Keeps the most of what an attempt is seen to use, again and again while a block lasts."""

    def __init__(self) -> None:
        self.used: Usage | None = None

    @contextmanager
    def watching(self, look: Callable[[], Usage | None]) -> Iterator[None]:
        """Look during a block, and once after it."""
        done = threading.Event()
        thread = threading.Thread(target=self._watch, args=(look, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._note(look)

    def _watch(self, look: Callable[[], Usage | None], done: threading.Event) -> None:
        while not done.wait(_LOOK_S):
            self._note(look)

    def _note(self, look: Callable[[], Usage | None]) -> None:
        with suppress(HpoError):
            seen = look()
            if seen is not None:
                self.used = seen if self.used is None else self.used.most(seen)
