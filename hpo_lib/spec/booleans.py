"""What a spec says of its booleans and of choices that look like them on a command line."""

from __future__ import annotations

from collections.abc import Iterator

from hpo_lib.core.trial import Value
from hpo_lib.errors import nearest
from hpo_lib.spec import flags, placeholders
from hpo_lib.spec.flags import Spelling
from hpo_lib.spec.model import Spec


def unknown(spec: Spec, *, at: str = "trial") -> Iterator[str]:
    """Yield the names for which `flags` has a spelling, although none of them is a boolean's."""
    known = _booleans(spec)
    for name in spec.trial.flags if isinstance(spec.trial.flags, dict) else ():
        if name not in known:
            those = ", ".join(known) or "none"
            yield (
                f"{at}.flags: must name parameters that can be true or false, got {name}"
                f"{nearest(name, known)}; known: {those}"
            )


def alike(spec: Spec) -> Iterator[str]:
    """Yield for each parameter the first of its choices that programs are told like another."""
    for name in spec.space:
        for line in list(flags.alike(_choices(spec, name), spec.trial.spelling(name)))[:1]:
            yield f"space.{name}.choices: {line}"


def misplaced(spec: Spec, part: str, *, at: str = "trial") -> Iterator[str]:
    """Yield where a part of the trial asks for the text of a boolean that is told without one."""
    spelled = {name: spec.trial.spelling(name) for name in _booleans(spec)}
    alone = {name: spelling for name, spelling in spelled.items() if spelling.alone}
    return placeholders.misplaced(getattr(spec.trial, part), alone, at=f"{at}.{part}")


def notes(spec: Spec) -> list[str]:
    """Say what is right, but perhaps not what is meant, a line each."""
    return [*_told_by_default(spec), *_told_as_text(spec)]


def _told_by_default(spec: Spec) -> Iterator[str]:
    """Say which booleans have no spelling of their own."""
    trial = spec.trial
    told = [name for name in _booleans(spec) if trial.appends or _asked(name, trial.words)]
    chosen = trial.flags if isinstance(trial.flags, dict) else dict.fromkeys(told, trial.flags)
    silent = [name for name in told if chosen.get(name) is None]
    if silent:
        first = flags.argument(f"--{silent[0]}", False, Spelling.TRUE_FALSE)
        yield (
            f"{', '.join(silent)}: told as true or false, such as {first}, which argparse's "
            "type=bool takes for true, and store_true refuses; trial.flags has other ways"
        )


def _told_as_text(spec: Spec) -> Iterator[str]:
    """Say which values are text that was a boolean or a number in YAML 1.1."""
    from hpo_lib.spec.yaml_core import formerly

    values = {name: _choices(spec, name) for name in spec.space}
    values |= {name: (value,) for name, value in spec.fixed.items()}
    for name, them in values.items():
        was = {one: formerly(one) for one in them if isinstance(one, str)}
        old = {one: flags.text(value) for one, value in was.items() if value is not None}
        if old:
            meant = ", ".join(dict.fromkeys(old.values()))
            are = "is" if len(old) == 1 else "are"
            said = f"{', '.join(old)} {are} text in YAML 1.2"
            yield f"{name}: {said}; write {meant} if that is meant"


def _booleans(spec: Spec) -> list[str]:
    searched = [name for name in spec.space if _is_boolean(*_choices(spec, name))]
    return [*searched, *(name for name, value in spec.fixed.items() if _is_boolean(value))]


def _choices(spec: Spec, name: str) -> tuple[Value, ...]:
    return tuple(getattr(spec.space[name], "choices", ()))


def _is_boolean(*values: Value) -> bool:
    return any(isinstance(value, bool) for value in values)


def _asked(name: str, words: tuple[str, ...]) -> bool:
    return any(f"${{params.{name}}}" in word for word in words)
