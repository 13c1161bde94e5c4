"""Nights that fail, played with everything that is real but for training, Airflow and S3.

A night is the steps that its DAG run has, each of which may be repeated. Between any two of their
calls on the store, the backend, the object store and the deployer the process may die, before the
call or with its answer lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.nights.backend import FakeBackend
from benchmarks.nights.landscape import SPACE, Landscape
from benchmarks.nights.play import Night
from benchmarks.nights.weather import MOMENTS, STEPS, Crashed, Exposed, Fault, Weather
from benchmarks.nights.world import METRIC, NIGHTS, Final
from hpo_lib import housekeeping
from hpo_lib.backends import Request
from hpo_lib.core.ending import Exit
from hpo_lib.deployers.package import PackageDeployer
from hpo_lib.errors import TransientError
from hpo_lib.installation import Installation
from hpo_lib.promotion import challenger, deployment
from hpo_lib.records import Attempt, Model, ModelStatus, Provenance, RunKey, RunStatus
from hpo_lib.runs import admission, lifecycle, outputs
from hpo_lib.spec import Spec
from hpo_lib.store import Store, upgrade
from hpo_lib.store.batches import Batch
from hpo_lib.trials import runner

NAME = "nights"
_TRIALS, _PARALLEL = 8, 4
_ATTEMPTS = MOMENTS + 1
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """Tells the time to the store: one night is one day."""

    night: int = 0

    def now(self) -> datetime:
        """Give it."""
        return _FIRST + timedelta(days=self.night)


@dataclass(frozen=True)
class Site:
    """What a night's steps touch, in the weather that it has; `rule` is `deploy`'s own."""

    store: Store
    home: Path
    backend: FakeBackend
    rule: Mapping[str, float]
    weather: Weather = field(default_factory=Weather)

    def under(self, weather: Weather) -> Site:
        """Give the same, exposed to the weather."""
        store: Any = Exposed(self.store, "store", weather)
        return replace(self, store=store, weather=weather)

    @property
    def uri(self) -> str:
        """Name where artifacts go: a folder that stands for a bucket."""
        return f"file://{self.home}/bucket"

    @property
    def installation(self) -> Installation:
        """Give what an installation would offer."""
        backend: Any = Exposed(self.backend, "backend", self.weather)
        return Installation(
            self.home,
            {"local": lambda: backend},
            artifacts={self.uri: lambda: self.weather.around("artifacts", dict)},
            deployers=self._exposed,
        )

    @property
    def deployer(self) -> PackageDeployer:
        """Give the deployer."""
        return PackageDeployer(NAME, self.home / "models")

    def conf(self) -> dict[str, Any]:
        """Give what every night is asked to do."""
        broken = {"broken": True} if self.weather.fault is Fault.ALL_FAILED else {}
        limits = {"max_trials": _TRIALS, "parallel_trials": _PARALLEL}
        return {
            "name": NAME,
            "objective": {"metric": METRIC, "direction": "maximize"},
            "space": SPACE,
            "fixed": broken,
            "sampler": {"name": "bayesian", "initial": _PARALLEL},
            "limits": {**limits, "max_failed_trials": _TRIALS},
            "trial": {"command": ["true"]},
            "artifacts": {"uri": self.uri},
            "warm_start": {},
            "final": {"seeds": self.backend.final.seeds},
            "deploy": {"to": "package", "approval": "none", **self.rule},
        }

    def _exposed(self, spec: Spec, store: str) -> Any:  # noqa: ARG002 - there is one deployer
        return Exposed(self.deployer, "deployer", self.weather)


def begin(site: Site, key: RunKey, night: int) -> None:
    """Begin the run, on the data of the night."""
    run = admission.begin(
        site.store,
        key,
        site.conf(),
        site.installation,
        backend="local",
        triggered_by="schedule",
        provenance=Provenance(),
    )
    site.backend.nights[run.id] = night


def search(site: Site, key: RunKey, _: int) -> None:
    """Do the waves of the search."""
    for wave in range(1, _TRIALS + 1):
        lease = lifecycle.next_wave(site.store, key, wave, site.installation)
        perform(site, key, lease)
        if lease.stop is not None:
            return


def final(site: Site, key: RunKey, _: int) -> None:
    """Choose the challenger and do the final trials."""
    perform(site, key, challenger.choose(site.store, key, site.installation))


def gate(site: Site, key: RunKey, _: int) -> None:
    """Judge the challenger."""
    challenger.decide(site.store, key, site.installation)


def report(site: Site, key: RunKey, _: int) -> None:
    """End the run; the page itself is left out."""
    run = lifecycle.finish(site.store, key, site.installation)
    outputs.keep_artifacts(site.store, run, site.installation)


def deploy(site: Site, key: RunKey, _: int) -> None:
    """Deploy the challenger, or make what serves what the store names."""
    deployment.deploy(site.store, key, site.installation, _quietly)


_DO: Mapping[str, Callable[[Site, RunKey, int], None]] = {
    "begin": begin,
    "search": search,
    "final": final,
    "gate": gate,
    "report": report,
    "deploy": deploy,
}


def perform(site: Site, key: RunKey, lease: Batch) -> None:
    """Do the trials of a lease."""
    backend = site.installation.backends["local"]()

    def launch(attempt: Attempt, request: Request) -> Exit:
        return runner.follow(backend, attempt, request, _quietly)

    run = site.store.run(key)
    for assignment in lease.assignments:
        runner.perform(site.store, run, assignment.trial, backend, _quietly, launch)


def _quietly(line: str) -> None:
    """Say nothing."""


@dataclass
class Played:
    """What became of a world's nights: those with a verdict that counts, the champions one by one.

    A verdict is stale if the champion that it is about was none any more when it was there. `torn`
    counts nights after which something else served than the champion.
    """

    nights: list[Night] = field(default_factory=list)
    champions: list[Mapping[str, Any]] = field(default_factory=list)
    failed: int = 0
    stale: int = 0
    torn: int = 0


def play(
    folder: Path,
    seed: int,
    rule: Mapping[str, float],
    final: Final,
    faults: Sequence[Fault],
    *,
    nights: int = NIGHTS,
) -> Played:
    """Play a world's nights, each with a fault drawn from `faults`, in a store of their own.

    Night 0, to which nothing happens, makes the first champion. Housekeeping comes by after every
    other night, by chance, and at the end.
    """
    home, clock = folder.resolve(), Clock()
    upgrade(f"sqlite:///{home}/hpo.db")
    with Store.open(f"sqlite:///{home}/hpo.db", now=clock.now) as store:
        site = Site(store, home, FakeBackend(home, Landscape(seed), final), rule)
        draw, played = random.Random(seed), Played()
        while clock.night <= nights:
            fault = draw.choice(faults) if clock.night else Fault.NOTHING
            both = fault is Fault.OVERLAP and clock.night < nights
            group = [clock.night, clock.night + 1] if both else [clock.night]
            weather = Weather(fault, random.Random(f"{seed} {clock.night}"))
            _play(site.under(weather), site, group, played)
            clock.night += len(group)
            if draw.random() < 0.5 or clock.night > nights:
                keep_house(site)
    return played


def keep_house(site: Site) -> None:
    """Do what housekeeping does while no DAG run is going on, and see that it is done."""
    said = list(housekeeping.sweep(site.store, site.installation, lambda _: True))
    _assert(not any("could not" in one for one in said), f"housekeeping failed: {said}")
    _check_serving(site)
    waiting = [one for one in site.store.models.of(NAME) if one.status is ModelStatus.CHALLENGER]
    _assert(not waiting, f"challengers are left: {waiting}")


def _play(exposed: Site, site: Site, group: Sequence[int], played: Played) -> None:
    """Play nights: one, or two that both do some steps before the last of them goes on first."""
    names = list(STEPS)
    cut = names.index(exposed.weather.draw.choice(["final", "gate", "report", "deploy"]))
    done = {night: _do(exposed, night, names[:cut]) for night in group}
    for night in reversed(group):
        before = site.store.models.champion(NAME)
        whole = done[night] and _do(exposed, night, names[cut:])
        now = site.store.models.champion(NAME)
        _check(site, before, now)
        if whole:
            _check_whole(site, night)
        _count(site, night, before, played, whole=whole)
        played.torn += now is not None and site.deployer.serving() != now.version
        if now is not None and now.version != (before and before.version):
            played.champions.append(now.params)


def _do(site: Site, night: int, steps: Sequence[str]) -> bool:
    """Do steps of a night until one fails for good; say whether all have been done."""
    for step in steps:
        site.weather.step = step
        if not any(_survives(site, night, step) for _ in range(_ATTEMPTS)):
            return False
    return True


def _survives(site: Site, night: int, step: str) -> bool:
    with suppress(Crashed, TransientError):
        _DO[step](site, _key(night), night)
        return True
    return False


def _key(night: int) -> RunKey:
    return RunKey(NAME, f"night-{night:02d}")


def _count(site: Site, night: int, before: Model | None, played: Played, *, whole: bool) -> None:
    """Count a night with what is true of it."""
    model = _model(site, night)
    promoted = model is not None and model.status is ModelStatus.CHAMPION
    if not promoted and (not whole or _failed(site, night)):
        played.failed += 1
    elif before is None:
        return  # The first champion is compared with nothing.
    elif model is None:
        played.nights.append(Night(0.0, promoted=False))  # The champion itself has won again.
    elif model.against != before.version:
        played.stale += 1
    else:
        worth = [site.backend.landscape.quality(one.params, night) for one in (model, before)]
        played.nights.append(Night(worth[0] - worth[1], promoted))


def _model(site: Site, night: int) -> Model | None:
    known = {run.key: run.id for run in site.store.runs()}
    return site.store.models.of_run(known[_key(night)]) if _key(night) in known else None


def _failed(site: Site, night: int) -> bool:
    return site.store.run(_key(night)).status is RunStatus.FAILED


def _check(site: Site, before: Model | None, now: Model | None) -> None:
    """Check what must hold after every night, however it went."""
    champions = [one for one in site.store.models.of(NAME) if one.status is ModelStatus.CHAMPION]
    _assert(len(champions) <= 1, f"there are two champions: {champions}")
    _assert(now is not None or before is None, f"{before} was not replaced, and is gone")
    if now is not None and now.version != (before and before.version):
        _assert(now.against == (before and before.version), f"{now} has replaced {before}")
        _assert(now.promising, f"{now} was not to be promoted")


def _check_whole(site: Site, night: int) -> None:
    """Check what must hold after a night whose steps have all been done."""
    _check_serving(site)
    model = _model(site, night)
    waits = model is not None and model.status is ModelStatus.CHALLENGER
    _assert(not waits, f"nothing became of {model}")


def _check_serving(site: Site) -> None:
    champion, serving = site.store.models.champion(NAME), site.deployer.serving()
    if champion is not None:
        _assert(
            champion.served and serving == champion.version, f"{serving} serves, not {champion}"
        )
        _assert(site.deployer.verify(champion.version).passed, f"{champion} does not serve")


def _assert(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"broken promise: {what}")
