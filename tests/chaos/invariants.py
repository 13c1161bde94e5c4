"""What has to hold after a round, one function each, which gives what is broken."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from hpo_lib.core.trial import Cause, TrialState
from hpo_lib.errors import NotFound
from hpo_lib.records import AttemptState, Model, ModelStatus, RunStatus, RunView, TrialView
from tests.acceptance.conftest import attempt_processes, cmdline
from tests.acceptance.promotion.test_kill_promotion import serving
from tests.chaos import on_containers, on_pods
from tests.chaos.experiments import Marks, Undisturbed, table
from tests.chaos.places import secrets
from tests.chaos.world import Going, Standstill, World
from tests.leftovers import cgroups

_LEFT_S = 60.0
#: Airflow's secrets are in these files of its home, and nowhere else.
_SAFES = {"embedded.json", "passwords.json"}


def all_went_well(world: World, _: Undisturbed) -> Iterator[str]:
    """Every DAG run is a success, every run of ours complete, with its report."""
    for one in world.runs:
        state = world.state(one.key)
        if state != "success":
            failed = sorted({t["task_id"] for t in world.tasks() if t["state"] == "failed"})
            yield f"{one.name}: the DAG run is {state}; failed: {', '.join(failed)}"
        run = world.stack.run(one.key)
        if run.status is not RunStatus.COMPLETE:
            yield f"{one.name}: run {run.id} is {run.status}: {run.reason}"
        if not list(world.embedded.results.glob(f"runs/{run.id:06d}-*/report.html")):
            yield f"{one.name}: there is no report"


def same_trials(world: World, undisturbed: Undisturbed) -> Iterator[str]:
    """The table of trials is that of the same night undisturbed, but for attempts."""
    for one in world.runs:
        found = table(_view(world, one))
        wanted, _ = undisturbed.night(one.mode, _marks(world, one))
        for number in sorted(found.keys() | wanted.keys()):
            if found.get(number) != wanted.get(number):
                yield (
                    f"{one.name}, night {one.night}, trial {number}: "
                    f"{found.get(number)}, undisturbed {wanted.get(number)}"
                )


def nothing_twice(world: World, _: Undisturbed) -> Iterator[str]:
    """No attempt runs twice; no trial is trained to its end twice, unless its end was lost.

    It was if its guard was killed, or had no room to write the end down, at that moment.
    """
    for one in world.runs:
        view = _view(world, one)
        for trial in [*view.trials, *view.finals]:
            for attempt, lines in _logs(trial):
                again = [line for line, times in Counter(lines).items() if times > 1]
                if again:
                    yield f"{one.name}: {attempt}: said twice: {again}"
            ended = Counter(end for _, lines in _logs(trial, but=world.robbed) for end in lines)
            for line, times in ended.items():
                if line.startswith("end") and times > 1:
                    yield f"{one.name}: trial {trial.trial.number} was trained {times} times"


def nothing_left(world: World, _: Undisturbed) -> Iterator[str]:
    """No process, cgroup, container or pod of an attempt is there any more."""
    try:
        world.until(lambda: not _left(world), "the last one", _LEFT_S)
    except Standstill:
        yield from _left(world)


def _left(world: World) -> list[str]:
    found = [f"process {one.pid}: {cmdline(one)[-1:]}" for one in attempt_processes(world.home)]
    found += [f"cgroup {one}" for one in cgroups(world.embedded.results)]
    if world.place.backend == "docker":
        found += [f"container {one.name} is {one.status}" for one in on_containers.left(world)]
    if world.place.backend == "kubernetes":
        found += [f"pod {one.metadata.name} is {one.status.phase}" for one in on_pods.left(world)]
    return found


def one_champion(world: World, undisturbed: Undisturbed) -> Iterator[str]:
    """An experiment has one champion, and it is the one of the undisturbed nights."""
    for one in world.runs:
        models = world.stack.store.models.of(one.name)
        champions = [model for model in models if model.status is ModelStatus.CHAMPION]
        _, wanted = undisturbed.night(one.mode, _marks(world, one))
        found = [(model.version, dict(model.params)) for model in champions]
        if found != ([(wanted.version, dict(wanted.params))] if wanted else []):
            yield f"{one.name}, night {one.night}: champions {found}, undisturbed {_named(wanted)}"


def _named(model: Model | None) -> str:
    return "none" if model is None else f"{model.version}, {dict(model.params)}"


def serves_what_the_store_names(world: World, _: Undisturbed) -> Iterator[str]:
    """The alias names the champion's package, which is whole."""
    for one in world.runs:
        champion = world.stack.store.models.champion(one.name)
        try:
            served = serving(world.embedded.results / "models", one.name)
        except (OSError, ValueError, AssertionError) as error:
            yield f"{one.name}: {error!r}"
            continue
        if champion is None or (champion.version, champion.served) != (served, True):
            yield f"{one.name}: version {served} serves, the store names {champion}"


def no_secret(world: World, _: Undisturbed) -> Iterator[str]:
    """No log, report, output, store or database of Airflow holds a marked word."""
    words = [word.encode() for word in secrets(world)]
    for path in _files(world.home):
        content = path.read_bytes()
        yield from (f"{path} holds {word.decode()}" for word in words if word in content)
    if world.server is not None:
        yield from _in_database(world)


#: By name, as summaries show them.
INVARIANTS: dict[str, Callable[[World, Undisturbed], Iterator[str]]] = {
    "all went well": all_went_well,
    "same trials as undisturbed": same_trials,
    "nothing twice": nothing_twice,
    "nothing left running": nothing_left,
    "one champion": one_champion,
    "what serves is what the store names": serves_what_the_store_names,
    "no secret anywhere": no_secret,
}


def broken(world: World, undisturbed: Undisturbed) -> Mapping[str, Sequence[str]]:
    """Give what is broken by invariant; one that cannot be looked at is broken too."""
    return {name: list(_asked(check, world, undisturbed)) for name, check in INVARIANTS.items()}


def _asked(
    check: Callable[[World, Undisturbed], Iterator[str]], world: World, undisturbed: Undisturbed
) -> Iterator[str]:
    try:
        yield from check(world, undisturbed)
    except NotFound as error:
        yield f"not there: {error}"


def _view(world: World, one: Going) -> RunView:
    return world.stack.store.view(world.stack.run(one.key).id)


def _marks(world: World, one: Going) -> Marks:
    """Give the trials that were marked in an experiment's nights, this one included, as they ended.

    A trial that had ended before it was marked is as it would have been.
    """
    return tuple(frozenset(_marked(world, night)) for night in world.nights[one.name])


def _marked(world: World, one: Going) -> Iterator[tuple[int, Cause]]:
    for number in one.marked:
        trial = world.stack.store.trial(world.stack.run(one.key).id, number)
        if trial.state is TrialState.FAILED and trial.cause is not None:
            yield number, trial.cause


def _logs(trial: TrialView, but: Collection[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """Give by attempt when it said that it began and ended."""
    for attempt in trial.attempts:
        folder = str(attempt.handle["folder"])
        if folder in but and attempt.state is not AttemptState.SUCCEEDED:
            continue
        log = Path(folder, "log.txt")
        text = log.read_text(errors="replace") if log.exists() else ""
        said = [line for line in text.splitlines() if line.startswith(("begin ", "end "))]
        yield folder, [_without_attempt(line) for line in said]


def _without_attempt(line: str) -> str:
    what, trial, _, resource = line.split()
    return f"{what} {trial} {resource}"


def _files(home: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(home):
        for name in names:
            path = Path(folder, name)
            if name not in _SAFES and path.is_file() and not path.is_symlink():
                yield path


def _in_database(world: World) -> Iterator[str]:
    """Look at every row of the store as text."""
    assert world.server is not None
    with world.server.connect(world.database) as connection:
        listed = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        for (table_name,) in connection.execute(listed).fetchall():
            rows = connection.execute(f'SELECT t::text FROM "{table_name}" t').fetchall()
            text = json.dumps(rows)
            yield from (f"{table_name} holds {word}" for word in secrets(world) if word in text)
