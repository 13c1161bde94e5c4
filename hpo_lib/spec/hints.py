"""What is meant by a key that is not known where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, get_args

from hpo_lib.core.space import MAX_PARAMETERS, Parameter
from hpo_lib.errors import meant, nearest
from hpo_lib.spec.model import Spec
from hpo_lib.spec.reuse import Reuse
from hpo_lib.spec.schedule import Schedule
from hpo_lib.spec.sections import (
    Artifacts,
    Deploy,
    FinalTraining,
    Limits,
    Metrics,
    Objective,
    SamplerSpec,
    WarmStart,
)
from hpo_lib.spec.trial_section import Resources, TrialSpec
from hpo_lib.validation import MOST, Strict, unknown_key

#: Where a key may belong that is not known where it stands; of several places the first.
_PLACES: tuple[tuple[str, type[Strict]], ...] = (
    ("", Spec),
    ("objective", Objective),
    ("sampler", SamplerSpec),
    ("limits", Limits),
    ("trial", TrialSpec),
    ("trial.resources", Resources),
    ("metrics", Metrics),
    ("artifacts", Artifacts),
    ("final", FinalTraining),
    ("deploy", Deploy),
    ("schedule", Schedule),
    ("reuse", Reuse),
    ("warm_start", WarmStart),
)
#: Keys of many places, which say nothing of the one that is meant.
_ANYWHERE = ("name", "description", "options", "type", "kind")
_ALSO = {"timeout": " (of one trial; the run's is limits.max_duration)"}
#: What other tools call the number of attempts, which is no setting here.
_ATTEMPTS = ("retries", "max_retries", "num_retries", "retry", "attempts", "max_attempts")
_BY_CAUSE = (
    ", which is no setting: its cause decides if it is tried again (docs/operating.md#causes)"
)
_TYPES: dict[str, type[Strict]] = {
    model.model_fields["type"].default: model for model in get_args(get_args(Parameter)[0])
}


def elsewhere(key: str) -> str:
    """Say to which section a key belongs, by its name or what others call it; else nothing."""
    last = key.rpartition(".")[2]
    if last in _ANYWHERE:
        return ""
    if last in _ATTEMPTS:
        return _BY_CAUSE
    exact = [(place, last) for place, model in _PLACES if last in _keys(model)]
    called = ((place, one) for place, model in _PLACES for one in meant(last, _keys(model)))
    found = next(iter(exact), None) or next(called, None)
    if found is None:
        return ""
    place, name = found
    where = f"in {place}" if place else "at the top"
    return f", which belongs {where}, as {name}{_ALSO.get(name, '')}"


@cache
def _keys(model: type[Strict]) -> Sequence[str]:
    return [name for name in model.key_names() if name not in _ANYWHERE]


def without_type(space: Any) -> Iterator[str]:
    """Yield the unknown keys of parameters whose type says nothing of the keys that they take."""
    listed = space.items() if isinstance(space, Mapping) else ()
    for name, said in islice(listed, MAX_PARAMETERS):
        if isinstance(said, Mapping) and str(said.get("type")) not in _TYPES:
            known = _keys_of_parameter(said)
            for key in [one for one in said if one not in known][:MOST]:
                yield f"space.{name}: {unknown_key(key, known, elsewhere)}"


def _keys_of_parameter(said: Mapping[Any, Any]) -> list[str]:
    """Give the keys of the type that is meant, or of all types."""
    wanted = [one for one in _TYPES if repr(one) in nearest(str(said.get("type")), _TYPES)]
    models = [_TYPES[one] for one in wanted or _TYPES]
    return list(dict.fromkeys(key for model in models for key in model.key_names()))
