"""New configurations: initial points, then the sampler's, none of them twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import (
    History,
    Origin,
    Params,
    Suggestion,
    Trial,
    TrialState,
)
from hpo_lib.errors import PartFailed, SpecError
from hpo_lib.registry import AUTO, load
from hpo_lib.samplers import Sampler, random_params, shuffled
from hpo_lib.samplers.auto import CHOICES, choose, chosen
from hpo_lib.search.parts import answering, made, settings_of
from hpo_lib.spec import Draft, Spec
from hpo_lib.spec.hints import elsewhere
from hpo_lib.validation import MOST, Strict, told, unknown_key

#: Reads a field of thousands of trials, each time that a slot asks.
_DIGEST, _RUNGS, _STATE = attrgetter("digest"), attrgetter("rungs"), attrgetter("state")
_OF_EVERY_SAMPLER = ("name", "seed")
_ASKS = 3
_DRAWS = 20
_DRAWS_CONTINUOUS = 200
#: The fields of a spec that a search is made of.
_MADE_OF = ("space", "objective", "constraints", "sampler", "initial_points")


@dataclass(frozen=True, slots=True)
class Search:
    """What suggestions are made from; `initial` holds canonical configurations that go first."""

    space: Space
    sampler: Sampler
    seed: int
    initial: Sequence[Params] = ()


def configurations(spec: Spec) -> int | None:
    """Count the distinct configurations that a run can try; None if there is no end to them."""
    found = search(spec)
    try:
        with answering(f"sampler {spec.sampler.name}"):
            room = found.sampler.configurations(found.initial)
    except PartFailed as error:
        raise SpecError(f"sampler.name: {error}") from None
    if room is not None and not isinstance(room, int):
        raise SpecError(f"sampler.name: configurations must be a number or None, got {room!r}")
    return room


def blind(spec: Spec) -> int | None:
    """Count the first trials that depend on no result; None if none does."""
    made = search(spec).sampler
    try:
        with answering(f"sampler {spec.sampler.name}"):
            return made.blind
    except PartFailed as error:
        raise SpecError(f"sampler.name: {error}") from None


def search(spec: Spec) -> Search:
    """Build what a spec asks for; SpecError names a setting that its sampler does not take."""
    space = spec.search_space
    sampler = make_sampler(
        chosen(spec)[0],
        space,
        spec.goal,
        seed=spec.sampler.seed,
        settings=spec.sampler.settings,
    )
    initial = [space.canonical(point) for point in spec.initial_points]
    return Search(space, sampler, spec.sampler.seed, initial)


def make_sampler(
    name: str, space: Space, goal: Goal, *, seed: int, settings: Mapping[str, Any]
) -> Sampler:
    """Build a sampler from plain settings; SpecError says what they must be.

    `auto` chooses as for a run of unknown length.
    """
    if name == AUTO:
        name, _ = choose(space, goal, trials=None, parallel=None, fidelity=False)
    sampler: Sampler = made("sampler", name, settings, space, goal, seed, besides=_OF_EVERY_SAMPLER)
    return sampler


def sampler_problems(draft: Draft) -> list[str]:
    """Give what is wrong with a sampler's settings; if they are sound, why it does not fit."""
    asked = draft.spec.sampler
    named = asked.name != AUTO and draft.sound("sampler.name")
    wrong = told(_settings, asked.name, asked.settings) if named else []
    if wrong:
        return wrong
    if searchable(draft):
        return told(search, draft.spec)
    return [] if named or not draft.sound("sampler") else _unknown_to_auto(asked.settings)


def searchable(draft: Draft) -> bool:
    """Say whether all is sound that decides which sampler there is, and what it is made of."""
    named = draft.spec.sampler.name != AUTO and draft.sound("sampler.name")
    chosen_by = () if named else ("limits", "warm_start", "scheduler")
    return draft.sound(*_MADE_OF, *chosen_by)


def _unknown_to_auto(settings: Mapping[str, Any]) -> list[str]:
    """Give the keys that no sampler knows of which `auto` may choose."""
    models = [load("sampler", name).Settings for name in CHOICES]
    known = [*_OF_EVERY_SAMPLER, *(key for model in models for key in model.model_fields)]
    wrong = [key for key in settings if key not in known]
    return [f"sampler: {unknown_key(key, known, elsewhere)}" for key in wrong[:MOST]]


def _settings(name: str, settings: Mapping[str, Any]) -> Strict:
    return settings_of("sampler", name, settings, besides=_OF_EVERY_SAMPLER)


def suggest(search: Search, history: History, count: int) -> list[Suggestion]:
    """Propose `count` configurations, none twice and none of the history's.

    Initial points come first, then the sampler's; what it repeats is replaced by random draws and,
    in a finite space, by whatever is unused. Fewer come only when the space (or the part of it
    that the sampler wants) is used up.
    """
    used, history = used_keys(search.space, history), as_samplers_know(history, search.sampler)
    batch = list(_fresh(search, _initial(search), used, count))
    for _ in range(_ASKS):
        wanted = count - len(batch)
        if wanted <= 0:
            return batch
        offered = _offered(search, _with(history, batch), wanted)
        fresh = list(_fresh(search, offered, used, wanted))
        batch += fresh
        if len(offered) < wanted:
            return batch
        if not fresh:
            break
    number = len(history.trials) + len(batch) + 1
    return batch + list(_fresh(search, _fallback(search, number), used, count - len(batch)))


def as_samplers_know(history: History, sampler: Sampler) -> History:
    """Show trials that wait at a rung, or were stopped there, as running: with their rungs.

    Their value at full resource is not known. A sampler that reads values only is told those of one
    rung, as if trials had ended there: of the highest at which enough trials are for a model. That
    is the rule of BOHB (Falkner, Klein and Hutter, ICML 2018), so that any sampler is of its kind.
    """
    open_ = (TrialState.WAITING, TrialState.STOPPED)
    waits = not set(open_).isdisjoint(map(_STATE, history.trials))
    if sampler.reads == "number" or not (waits or any(map(_RUNGS, history.trials))):
        return history
    rung = _telling_rung(history, sampler) if sampler.reads == "values" else None
    if rung is not None:
        return replace(history, trials=tuple(_at_rung(trial, rung) for trial in history.trials))
    trials = tuple(
        replace(trial, state=TrialState.RUNNING) if trial.state in open_ else trial
        for trial in history.trials
    )
    return replace(history, trials=trials)


def _telling_rung(history: History, sampler: Sampler) -> float | None:
    """Name the highest rung with enough trials; None if that is the end, or if values are several.

    Enough are three more than there are parameters, the least that BOHB builds a model of.
    """
    if sampler.goal.several:
        return None
    at = Counter(rung for trial in history.trials for rung in trial.rungs)
    enough = [rung for rung, trials in at.items() if trials >= len(sampler.space) + 3]
    rung = max(enough, default=None)
    return None if rung == max(at, default=None) and _is_end(history, rung) else rung


def _is_end(history: History, rung: float | None) -> bool:
    """Say whether trials that have reached a rung are complete."""
    return any(rung in t.rungs and t.state is TrialState.COMPLETE for t in history.trials)


def _at_rung(trial: Trial, rung: float) -> Trial:
    """Show a trial as it was at a rung: complete, failed, or on its way there."""
    if rung in trial.rungs:
        return replace(trial, state=TrialState.COMPLETE, value=trial.rungs[rung])
    if trial.state is TrialState.FAILED:
        return trial
    return replace(trial, state=TrialState.RUNNING, value=None)


def _offered(search: Search, history: History, count: int) -> list[Suggestion]:
    """Ask the sampler; PartFailed if it fails, or gives what is no suggestion."""
    name = type(search.sampler).__name__
    with answering(f"the sampler {name}"):
        offered = list(search.sampler.suggest(history, count))
    for one in offered:
        if not isinstance(one, Suggestion):
            raise PartFailed(f"the sampler {name} failed: it suggests {one!r}, no Suggestion")
    return offered


def _initial(search: Search) -> Iterator[Suggestion]:
    return (Suggestion(params, Origin.INITIAL) for params in search.initial)


def _fresh(
    search: Search, offered: Iterable[Suggestion], used: set[str], count: int
) -> Iterator[Suggestion]:
    """Let through up to `count` that are not used, and mark them as used."""
    if count <= 0:
        return
    for suggestion in offered:
        params = search.space.canonical(suggestion.params)
        digest = key(params)
        if digest in used:
            continue
        used.add(digest)
        yield replace(suggestion, params=params)
        count -= 1
        if count == 0:
            return


def _fallback(search: Search, number: int) -> Iterator[Suggestion]:
    """Draw at random for a while, then go through a finite space in random order."""
    space, seed = search.space, search.seed
    draws = _DRAWS if space.size else _DRAWS_CONTINUOUS
    # From 1: numpy's seed sequences take (seed, number, 0) for (seed, number).
    for draw in range(1, draws + 1):
        yield Suggestion(random_params(space, seed, number, draw), Origin.FALLBACK)
    if space.size:
        for index in shuffled(space.size, seed, number):
            yield Suggestion(space.grid[index], Origin.FALLBACK)


def _with(history: History, batch: Sequence[Suggestion]) -> History:
    """Add a batch to the history as trials under way."""
    first = len(history.trials) + 1
    trials = [Trial(number, s.params, origin=s.origin) for number, s in enumerate(batch, first)]
    return replace(history, trials=(*history.trials, *trials))


def used_keys(space: Space, history: History) -> set[str]:
    """Hash the configurations of the history, also those that the space no longer allows."""
    keys = set(map(_DIGEST, history.trials))
    if "" in keys:
        keys = {trial.digest or _key_of(space, trial) for trial in history.trials}
    return keys


def _key_of(space: Space, trial: Trial) -> str:
    try:
        return key(space.canonical(trial.params))
    except SpecError:
        return key(trial.params)
