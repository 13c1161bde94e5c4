"""Nights that fail: the real store, engine and sampler with its warm start, and the gate.

A night is a few steps that may each be repeated. Between any two of their calls the process may
die, before the call or with its answer lost; the store or the object store may be down for a
moment or for the rest of the night; all trials may fail; two nights may overlap. Final trials are
computed, not stored: whoever repeats them gets the same scores.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.nights.landscape import SPACE, Landscape
from benchmarks.nights.models import Entry, InMemoryModels, Models
from benchmarks.nights.play import Decide, Night
from benchmarks.nights.world import METRIC, NIGHTS, Final, Shown
from hpo_lib import engine
from hpo_lib.errors import AlreadyFinished, TransientError
from hpo_lib.gate import Verdict
from hpo_lib.record import AttemptState, ModelStatus, Outcome, Run, RunKey, RunStatus
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade
from hpo_lib.trial import Assignment, Cause, Earlier

_TRIALS, _ATTEMPTS = 8, 4
SPEC = load(
    {
        "name": "nights",
        "objective": {"metric": METRIC, "direction": "maximize"},
        "space": SPACE,
        "sampler": {"name": "bayesian"},
        "limits": {"max_trials": _TRIALS, "parallel_trials": _TRIALS, "max_failed_trials": _TRIALS},
        "trial": {"command": ["true"]},
    }
)
T = TypeVar("T")


class Fault(StrEnum):
    """What happens to a night."""

    NOTHING = "nothing"
    CRASH = "crash"
    HICCUP = "hiccup"
    STORE_DOWN = "store down"
    S3_DOWN = "S3 down"
    ALL_FAILED = "all trials failed"
    OVERLAP = "overlap"


#: After these a night has to end as if nothing had happened.
HARMLESS = (Fault.NOTHING, Fault.CRASH, Fault.HICCUP)
_OUTAGES = {Fault.STORE_DOWN: ("store", "models"), Fault.S3_DOWN: ("outputs",)}
_CALLS = 50


class Crashed(BaseException):
    """The night's process has died: no handler of its own sees this."""


@dataclass
class Weather:
    """What befalls a night's calls, by their count over all its attempts."""

    fault: Fault = Fault.NOTHING
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    calls: int = 0

    def __post_init__(self) -> None:
        """Draw the calls at which something happens."""
        self.begin = self.draw.randint(1, _CALLS)
        self.fatal = set(self.draw.sample(range(1, _CALLS), _ATTEMPTS - 1))

    def around(self, place: str, call: Callable[[], T]) -> T:
        """Let a call through, or not, or lose its answer."""
        self.calls += 1
        crash = self.fault is Fault.CRASH and self.calls in self.fatal
        late = self.draw.random() < 0.5
        if self.fault is Fault.HICCUP and self.calls in self.fatal:
            raise TransientError(f"{place} does not answer")
        if place in _OUTAGES.get(self.fault, ()) and self.calls >= self.begin:
            raise TransientError(f"{place} is down")
        if crash and not late:
            raise Crashed
        answer = call()
        if crash:
            raise Crashed
        return answer


class Exposed:
    """Something whose methods are called through the weather."""

    def __init__(self, target: object, place: str, weather: Weather) -> None:
        """Wrap."""
        self._target, self._place, self._weather = target, place, weather

    def __getattr__(self, name: str) -> Any:
        """Give a method that may not answer."""
        method = getattr(self._target, name)
        return lambda *args, **kwargs: self._weather.around(
            self._place, lambda: method(*args, **kwargs)
        )


@dataclass(frozen=True)
class Outputs:
    """A fake object store: gives what the final trials of a configuration left there."""

    landscape: Landscape
    final: Final

    def read(self, params: Any, night: int) -> Shown:
        """Give it."""
        return self.landscape.shows(params, night, self.final)


@dataclass(frozen=True)
class Site:
    """What a night's steps touch."""

    store: Store
    models: Models
    outputs: Outputs
    landscape: Landscape
    decide: Decide

    def under(self, weather: Weather) -> Site:
        """Give the same, exposed to the weather."""
        exposed: dict[str, Any] = {
            name: Exposed(getattr(self, name), name, weather)
            for name in ("store", "models", "outputs")
        }
        return replace(self, **exposed)


def propose(site: Site, night: int, fault: Fault) -> Entry | None:
    """Tune, and register the winner against tonight's champion; nothing if no trial is complete."""
    run = tune(site, night, fault)
    best = SPEC.goal.best(site.store.history(run.id).trials)
    if run.status is not RunStatus.COMPLETE or best is None:
        return None
    champion = site.models.champion()
    return site.models.register(run.id, best.params, champion and champion.version)


def tune(site: Site, night: int, fault: Fault) -> Run:
    """Run the search of a night, with the trials of the last complete run to begin with."""
    store = site.store
    key = RunKey("nights", f"night-{night:02d}")
    run = store.start_run(key, SPEC, triggered_by="scheduler", provenance={})
    past = [one for one in store.runs() if one.id < run.id and one.status is RunStatus.COMPLETE]
    earlier = tuple(Earlier(store.history(one.id).trials) for one in past[:1])
    for wave in ("wave-01", "wave-02"):
        lease = store.lease(
            run.id,
            wave,
            lambda history: engine.step(SPEC, replace(history, earlier=earlier), _TRIALS),
        )
        for assignment in lease.assignments:
            with suppress(AlreadyFinished):
                train(site, run, assignment, night, fault)
    verdict = engine.final(SPEC, store.history(run.id), store.stop_of(run.id))
    status = RunStatus.FAILED if verdict.failed else RunStatus.COMPLETE
    return store.finish_run(run.id, status, verdict.reason)


def train(site: Site, run: Run, assignment: Assignment, night: int, fault: Fault) -> None:
    """Do one trial; AlreadyFinished if it has been done."""
    attempt = site.store.open_attempt(run.id, assignment.trial, lambda _: {})
    value = site.landscape.seen(assignment.params, night)
    outcome = Outcome(AttemptState.SUCCEEDED, "exit code 0", value, metrics={METRIC: value})
    if fault is Fault.ALL_FAILED:
        outcome = Outcome(AttemptState.FAILED, "exit code 1", cause=Cause.USER_ERROR)
    site.store.close_attempt(attempt.id, outcome, final=True)


def settle(site: Site, night: int, entry: Entry) -> Entry:
    """Score challenger and champion on tonight's hold-out, and promote or reject."""
    challenger = site.outputs.read(entry.params, night).scores
    champion = None
    if entry.against is not None:
        champion = site.outputs.read(site.models.get(entry.against).params, night).scores
    return site.models.settle(entry.version, site.decide(challenger, champion))


def stubborn(step: Callable[[], T]) -> T | None:
    """Repeat a step that dies or whose world fails; after some attempts the night has failed."""
    for _ in range(_ATTEMPTS):
        with suppress(Crashed, TransientError):
            return step()
    return None


def clean_up(site: Site) -> None:
    """Do what housekeeping does in the morning: close what nights that failed have left open."""
    for run in site.store.running():
        site.store.finish_run(run.id, RunStatus.FAILED, "broken off")
    for run in site.store.runs():
        entry = site.models.challenger(run.id)
        if entry is not None and entry.status is ModelStatus.CHALLENGER:
            site.models.settle(entry.version, Verdict(False, "The night failed before a verdict."))


@dataclass
class Played:
    """What became of a world's nights: those with a verdict that counts, the champions one by one.

    A verdict is stale if the champion that it is about is none any more.
    """

    nights: list[Night] = field(default_factory=list)
    champions: list[int] = field(default_factory=list)
    failed: int = 0
    stale: int = 0


def play(
    folder: Path,
    seed: int,
    decide: Decide,
    final: Final,
    faults: Sequence[Fault],
    *,
    nights: int = NIGHTS,
) -> Played:
    """Play a world's nights, each with a fault drawn from `faults`, in a store of their own.

    Night 0, to which nothing happens, makes the first champion.
    """
    url = f"sqlite:///{folder.resolve()}/{seed}.db"
    upgrade(url)
    landscape = Landscape(seed)
    with Store.open(url) as store:
        outputs = Outputs(landscape, final)
        site = Site(store, InMemoryModels(), outputs, landscape, decide)
        draw, played, night = random.Random(seed), Played(), 0
        while night <= nights:
            fault = draw.choice(faults) if night else Fault.NOTHING
            both = fault is Fault.OVERLAP and night < nights
            group = [night, night + 1] if both else [night]
            _play(site, group, Weather(fault, random.Random(f"{seed} {night}")), played)
            night += len(group)
    return played


def _play(site: Site, group: list[int], weather: Weather, played: Played) -> None:
    """Play nights that all propose before the first of them is settled, the last one first."""
    exposed = site.under(weather)
    proposed = [
        (night, stubborn(partial(propose, exposed, night, weather.fault))) for night in group
    ]
    for night, entry in reversed(proposed):
        champion = site.models.champion()
        settled = entry and stubborn(partial(settle, exposed, night, entry))
        _check(site, champion, settled)
        if settled is None:
            played.failed += 1
        elif champion is not None and settled.against != champion.version:
            played.stale += 1
        elif champion is not None:
            played.nights.append(_judged(site, night, settled, champion))
        now = site.models.champion()
        if now is not None and now != champion:
            played.champions.append(now.version)
    clean_up(site)


def _judged(site: Site, night: int, settled: Entry, champion: Entry) -> Night:
    worth = [site.landscape.quality(one.params, night) for one in (settled, champion)]
    better_by = worth[0] - worth[1]
    return Night(better_by, settled.status is ModelStatus.CHAMPION)


def _check(site: Site, before: Entry | None, settled: Entry | None) -> None:
    """Check what must hold after every night, however it went."""
    now = site.models.champion()
    if now == before:
        return
    if settled is None and before is not None:
        raise SystemExit("a night that failed has changed the champion")
    if now is None or now.against != (before and before.version):
        raise SystemExit(f"{now} was promoted over {before}, with which it was not compared")
