"""From a conf to a spec, and all that is wrong with it at once.

A draft is a spec as far as a conf can be read. A check of several sections, here or later, names
the fields that it depends on, and is left out if one of them is broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pydantic import ValidationError

from hpo_lib.core import plain
from hpo_lib.core.constraint import Constraint
from hpo_lib.core.space import bad_names, key
from hpo_lib.core.trial import Value
from hpo_lib.errors import SpecError, misspelt
from hpo_lib.registry import AUTO, BACKENDS, TAKE_EARLIER
from hpo_lib.spec import booleans, placeholders
from hpo_lib.spec.foreign import foreign
from hpo_lib.spec.hints import elsewhere, without_type
from hpo_lib.spec.model import MAX_BYTES, MAX_CONSTRAINTS, Spec, final_trial
from hpo_lib.spec.outline import metrics_named
from hpo_lib.spec.sections import metric_name
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import LENIENT, MOST, UNKNOWN, dotted, each, lines, refusal, shown, told

#: The fields that a check depends on, and the check.
_Check = tuple[tuple[str, ...], Callable[[Spec], Iterable[str]]]
#: What stands for required sections that are broken.
_STAND_INS: Mapping[str, Any] = {
    "name": "name",
    "objective": {"metric": "metric", "direction": "minimize"},
    "space": {"parameter": {"type": "int", "low": 0, "high": 1}},
    "trial": {"command": ["command"]},
}
#: What stands for a constraint that is no text, which its section's own check tells.
_ANY = "metric <= 0"
#: What stands for a broken entry where the names of all entries matter.
_ENTRIES: Mapping[str, Any] = {"space": _STAND_INS["space"]["parameter"], "fixed": 0}


@dataclass(frozen=True, slots=True)
class Draft:
    """A spec as far as it can be read, and what is wrong with it, a line each.

    Sections and fields (`limits`, `limits.patience`) that are `broken` are at their defaults.
    """

    spec: Spec
    broken: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()

    def sound(self, *fields: str) -> bool:
        """Say whether none of these fields, nor anything in them or around them, is broken."""
        return not any(_touch(field, other) for field in fields for other in self.broken)

    def found(self, problems: Iterable[str]) -> Draft:
        """Give the draft with more problems: the fields that these are about are broken too."""
        more = tuple(problems)
        fields = {line.partition(":")[0] for line in more}
        every = dict.fromkeys((*self.problems, *more))
        return replace(self, broken=self.broken | fields, problems=tuple(every))

    def checked(self) -> Spec:
        """Give the spec; SpecError tells the problems if there are any, a great many cut short."""
        if not self.problems:
            return self.spec
        raise refusal(self.problems)


def _touch(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def load(data: Any) -> Spec:
    """Validate a conf; SpecError holds a line per problem: path, rule, value."""
    return draft(data).checked()


def stored(document: Any) -> Spec:
    """Read a spec that a store keeps: it is not asked whether a person could mean something else.

    SpecError if today's version does not know how to run it any more.
    """
    return draft(document, kept=True).checked()


def draft(data: Any, *, kept: bool = False) -> Draft:
    """Read a conf as far as it can be read; SpecError if it is no mapping, or too large."""
    if not isinstance(data, Mapping):
        raise SpecError(f"spec: must be a mapping, got {shown(data)}")
    if found := plain.excess(data):
        at = _field(found[0], data) if found[0] else ""
        raise refusal([f"{at or 'spec'}: {found[1]}"])
    try:
        size = len(json.dumps(data, ensure_ascii=False, skipkeys=True, default=str))
        given = plain.read(data) if size <= MAX_BYTES else {}
        text = json.dumps(given, ensure_ascii=False, skipkeys=True, default=str)
        size = max(size, len(text.encode(errors="replace")))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"spec: must be plain JSON: {error}") from None
    if size > MAX_BYTES:
        raise SpecError(f"spec: must be at most {MAX_BYTES:,} bytes of JSON, got {size:,}")
    if said := foreign(data):
        raise SpecError(f"spec: {said}")
    known = {name for name in metrics_named(given) if not told(metric_name, name)}
    made = _with_constraints(_sections(given), given, None if kept else known)
    return _together(made, [one for one in _CHECKS if not (kept and one[1] is booleans.alike)])


def _sections(data: Mapping[Any, Any]) -> Draft:
    """Check each section by itself; what is no JSON is told as that, where it stands."""
    odd = dict(islice(plain.problems(data), MOST))
    told, spelled = list[str](), Spec.spelled(data)
    broken = {_field(loc, spelled) for loc in odd}
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        told, broken = _told(error, data), broken | _fields(error, spelled)
    if not told and not odd:
        return Draft(spec)
    try:
        spec = Spec.model_validate(_mended(spelled, broken), context=LENIENT)
    except ValidationError as error:
        # A broken field was required, so its whole section counts as broken.
        broken |= {str(problem["loc"][0]) for problem in error.errors()}
        spec = Spec.model_validate(_mended(spelled, broken), context=LENIENT)
    paths = {dotted(loc): why for loc, why in odd.items()}
    others = (line for line in told if line.partition(": ")[0] not in paths)
    problems = (*others, *(f"{path}: {why}" for path, why in paths.items()))
    return Draft(spec, frozenset(broken), problems)


def _with_constraints(made: Draft, data: Mapping[Any, Any], known: Collection[str] | None) -> Draft:
    """Read the constraints by the metrics that the conf names elsewhere.

    These are looked for in the conf: where one section is broken, names in others still count.
    """
    said = data.get("constraints")
    listed = said[:MAX_CONSTRAINTS] if isinstance(said, list) else []
    problems, texts = list[str](), list[str]()
    for index, text in enumerate(listed):
        try:
            read = Constraint.parse(text if isinstance(text, str) else _ANY, known)
            wrong = each(metric_name, sorted(read.metrics))
        except SpecError as error:
            wrong = str(error).split("\n")
        else:
            texts.append(read.text)
        problems += [f"constraints.{index}: {line}" for line in wrong]
    sound = made.sound("constraints") and not problems
    spec = made.spec.model_copy(update={"constraints": tuple(texts) if sound else ()})
    return replace(made, spec=spec).found(problems)


def _told(error: ValidationError, data: Mapping[Any, Any]) -> list[str]:
    more = islice(without_type(data.get("space")), MOST)
    return [*lines(error, elsewhere=elsewhere), *more]


def _fields(error: ValidationError, data: Mapping[Any, Any]) -> set[str]:
    """Name the fields that a model refuses."""
    known = (one for one in error.errors() if one["loc"] and one["type"] != UNKNOWN)
    return {_field(problem["loc"], data) for problem in known}


def _field(loc: Sequence[object], data: Mapping[Any, Any]) -> str:
    """Name what is broken: a field of a section that is a mapping, otherwise the section."""
    section, *inner = loc
    whole = not inner or not isinstance(data.get(section), Mapping)
    return str(section) if whole else f"{section}.{inner[0]}"


def _mended(data: Mapping[Any, Any], broken: set[str]) -> dict[Any, Any]:
    """Leave out what is broken, or put a stand-in there."""
    made = {section: value for section, value in data.items() if section not in broken}
    fields: dict[str, set[str]] = {}
    for section, _, field in (name.partition(".") for name in broken):
        fields.setdefault(section, set()).add(field)
    # A key with a point in it, which is no section's field, is left out as a whole above.
    for section in (name for name in fields if isinstance(made.get(name), Mapping)):
        sound = {n: one for n, one in made[section].items() if not _stands(n, fields[section])}
        entries = dict.fromkeys(fields[section], _ENTRIES[section]) if section in _ENTRIES else {}
        made[section] = sound | entries
    return {**_STAND_INS, **made}


def _stands(key: Any, fields: set[str]) -> bool:
    """Say whether a key stands for one of these fields, be it misspelt."""
    return str(key) in fields or misspelt(str(key), sorted(fields)) is not None


def _together(made: Draft, checks: Iterable[_Check]) -> Draft:
    """Run the checks that look at several sections, or at a whole section."""
    sound = made.found(line for check in checks for line in _problems(made, *check))
    words = [line for check in _WORDS for line in _problems(made, *check)]
    return replace(sound, problems=tuple(dict.fromkeys((*sound.problems, *words))))


def _problems(
    made: Draft, fields: Sequence[str], check: Callable[[Spec], Iterable[str]]
) -> list[str]:
    return list(islice(check(made.spec), MOST)) if made.sound(*fields) else []


def _space_names(spec: Spec) -> Iterator[str]:
    return bad_names("space", spec.space)


def _space(spec: Spec) -> list[str]:
    return told(lambda: spec.search_space)


def _fixed_names(spec: Spec) -> Iterator[str]:
    return bad_names("fixed", spec.fixed)


def _fixed_and_searched(spec: Spec) -> Iterator[str]:
    both = (name for name in spec.fixed if name in spec.space)
    return (f"fixed.{name}: must not also be in the space" for name in both)


def _same_metrics(spec: Spec) -> Iterator[str]:
    metrics = [objective.metric for objective in spec.objectives]
    for index, metric in enumerate(metrics):
        first = metrics.index(metric)
        if first != index:
            yield f"objective.{index}.metric: is the same as objective.{first}: {metric}"


def _initial_points(spec: Spec) -> Iterator[str]:
    if _space(spec):
        return
    seen: dict[str, int] = {}
    for index, point in enumerate(spec.initial_points):
        at, canonical = f"initial_points.{index}", dict[str, Value]()
        sound = True
        for problem in spec.search_space.problems(point, canonical):
            sound = False
            yield f"{at}: {problem}"
        if not sound:
            continue
        if (digest := key(canonical)) in seen:
            yield f"{at}: is the same as initial_points.{seen[digest]}"
        seen.setdefault(digest, index)


def _placeholders(part: str) -> Callable[[Spec], Iterator[str]]:
    def check(spec: Spec) -> Iterator[str]:
        return _unknown_placeholders(spec, part, at="trial")

    return check


def _unknown_placeholders(spec: Spec, part: str, *, at: str) -> Iterator[str]:
    known = [*spec.space, *spec.fixed]
    return placeholders.unknown(getattr(spec.trial, part), known, at=f"{at}.{part}")


def _misplaced(part: str) -> Callable[[Spec], Iterator[str]]:
    return lambda spec: booleans.misplaced(spec, part)


def _final_flags(spec: Spec) -> Iterator[str]:
    """Check what `final.trial` changes of flags, and of the words that go by them."""
    if spec.final is None or _final(spec):
        return
    made = spec.for_final
    if "flags" in spec.final.trial:
        yield from booleans.unknown(made, at="final.trial")
        yield from (f"final.trial.flags: {line}" for line in booleans.alike(made))
    for part in ("command", "args", "options"):
        if spec.final.trial.keys() & {"flags", part}:
            yield from booleans.misplaced(made, part, at="final.trial")


def _startable(spec: Spec) -> Iterator[str]:
    return _not_startable(spec.trial, "trial")


def _not_startable(trial: TrialSpec, at: str) -> Iterator[str]:
    if trial.command is None and trial.image is None and not trial.options:
        yield f"{at}.command: is required where there is no image"


def _own_places(spec: Spec) -> Iterator[str]:
    return _misplaced_program(spec.trial, "trial")


def _misplaced_program(trial: TrialSpec, at: str) -> Iterator[str]:
    row = BACKENDS.get(trial.backend)
    for name in ("dir", "python", "venv"):
        if row is not None and not row.on_workers and getattr(trial, name) is not None:
            yield f"{at}.{name}: backend {trial.backend} runs an image, which has its own"
    if trial.python is not None and trial.venv is not None:
        yield f"{at}.venv: names the Python, as {at}.python does; leave one of them out"


def _warm_start(spec: Spec) -> Iterator[str]:
    own = ":" in spec.sampler.name  # one's own sampler may use a history's `earlier`
    if spec.warm_start and not own and spec.sampler.name not in (AUTO, *TAKE_EARLIER):
        able = " or ".join([AUTO, *TAKE_EARLIER])
        yield f"warm_start: sampler {spec.sampler.name} takes no earlier runs; use {able}"


def _reuse(spec: Spec) -> Iterable[str]:
    return spec.reuse.unfit(spec.trial.backend) if spec.reuse else ()


def _final(spec: Spec) -> list[str]:
    return told(final_trial, spec.trial, spec.final) if spec.final else []


def _final_startable(spec: Spec) -> Iterator[str]:
    if spec.final and not _final(spec):
        yield from _not_startable(spec.for_final.trial, "final.trial")
        if spec.final.trial.keys() & {"dir", "python", "venv"}:
            yield from _misplaced_program(spec.for_final.trial, "final.trial")


def _final_placeholders(spec: Spec) -> Iterator[str]:
    """Check the placeholders that `final.trial` brings in."""
    if spec.final is None or _final(spec):
        return
    for part in ("command", "args", "options"):
        if part in spec.final.trial:
            yield from _unknown_placeholders(spec.for_final, part, at="final.trial")


def _seeds_of_deploy(spec: Spec) -> Iterator[str]:
    if spec.deploy and (spec.final is None or spec.final.seeds < 2):
        got = "no final" if spec.final is None else f"{spec.final.seeds}"
        yield f"final.seeds: must be >= 2 with deploy, to know how sure scores are, got {got}"


def _direction_of_deploy(spec: Spec) -> Iterator[str]:
    asked = spec.deploy
    known = {objective.metric for objective in spec.objectives}
    if asked and asked.metric not in (None, *known) and asked.direction is None:
        yield f"deploy.direction: is required, as {asked.metric} is no objective"


def _direction_of_guards(spec: Spec) -> Iterator[str]:
    if spec.deploy is None:
        return
    known = {spec.deploy.metric, *(objective.metric for objective in spec.objectives)}
    for index, guard in enumerate(spec.deploy.guards):
        compared = guard.not_worse_than is not None and guard.direction is None
        if compared and guard.metric not in known:
            yield f"deploy.guards.{index}.direction: is required, as {guard.metric} is no objective"


_STARTS = ("trial.command", "trial.image", "trial.options")
#: For checks that need only names of parameters and constants: a wrong range leaves the name.
_NAMES = ("space.", "fixed.")
_CHECKS: list[_Check] = [
    (("space.",), _space_names),
    (("space",), _space),
    (("fixed.",), _fixed_names),
    (_NAMES, _fixed_and_searched),
    (("objective",), _same_metrics),
    (("space", "initial_points"), _initial_points),
    (("space.", "trial.flags"), booleans.alike),
    (("trial.flags", *_NAMES), booleans.unknown),
    (_STARTS, _startable),
    (("trial.backend", "trial.dir", "trial.python", "trial.venv"), _own_places),
    (("warm_start", "sampler.name"), _warm_start),
    (("reuse", "trial.backend"), _reuse),
    (("final.trial",), _final),
    (("final.trial", "trial.backend", *_STARTS), _final_startable),
    (("deploy.to", "final.seeds"), _seeds_of_deploy),
    (("deploy.metric", "deploy.direction", "objective"), _direction_of_deploy),
    (("deploy.metric", "deploy.guards", "objective"), _direction_of_guards),
]
#: The same for words with placeholders: no later check depends on what these find.
_WORDS: list[_Check] = [
    (("trial.command", *_NAMES), _placeholders("command")),
    (("trial.args", *_NAMES), _placeholders("args")),
    (("trial.options", *_NAMES), _placeholders("options")),
    (("final.trial", *_NAMES), _final_placeholders),
    (("trial.command", "trial.flags", *_NAMES), _misplaced("command")),
    (("trial.args", "trial.flags", *_NAMES), _misplaced("args")),
    (("trial.options", "trial.flags", *_NAMES), _misplaced("options")),
    (("final.trial", "trial", *_NAMES), _final_flags),
]
