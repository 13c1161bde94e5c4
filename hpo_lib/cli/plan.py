"""`hpo validate` and `hpo plan`: what is wrong with a spec, and what a run of it would do."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.cli.console import complain, program, say, site
from hpo_lib.cli.spec_file import notes_on_flags, read_file
from hpo_lib.errors import SpecError
from hpo_lib.words import count, duration, number

if TYPE_CHECKING:
    from hpo_lib.core.trial import Assignment
    from hpo_lib.spec import Spec

_SHOWN_RUNS = 3


def validate(options: argparse.Namespace) -> int:
    """Check every file, and print all problems of all files."""
    code = 0
    for path in options.files:
        try:
            spec = read_file(path)
        except SpecError as error:
            code = complain(error)
        else:
            say(f"{path}: ok{_chosen(spec)}{_due(spec)}")
            for line in _notes_of(spec):
                say(f"{path}: note: {line}")
    return _checked_site() or code


def _checked_site() -> int:
    """Check what the operator says of the installation, as far as that can be done here."""
    try:
        site().check()
    except SpecError as error:
        return complain(error)
    return 0


def plan(options: argparse.Namespace) -> int:
    """Print what a run of the file would do, without doing it."""
    spec = read_file(options.file)
    facts = _facts(spec, options.suggestions)
    say(json.dumps(facts, indent=2, ensure_ascii=False) if options.json else _page(facts))
    return 0


def _due(spec: Spec) -> str:
    if spec.schedule is None:
        return ""
    return f" ({', '.join([spec.schedule.words(), *_next_runs(spec)[:1]])})"


def _next_runs(spec: Spec) -> list[str]:
    times = spec.schedule.upcoming(datetime.now(UTC), _SHOWN_RUNS) if spec.schedule else []
    return [f"{time:%a %Y-%m-%d %H:%M %Z}" for time in times]


def _chosen(spec: Spec) -> str:
    from hpo_lib.samplers.auto import chosen
    from hpo_lib.search import mode

    told = [("sampler", *chosen(spec)), ("mode", *mode.chosen(spec))]
    said = [f" ({part} auto: {name}, {reason})" for part, name, reason in told if reason]
    return "".join(said)


def _facts(spec: Spec, count: int) -> dict[str, Any]:
    from hpo_lib.samplers.auto import chosen
    from hpo_lib.search import engine, mode, suggesting

    room, limits = suggesting.configurations(spec), spec.limits
    name, reason = chosen(spec)
    mode_name, why_mode = mode.chosen(spec)
    shown = list(_first(spec, count))
    return {
        "experiment": spec.name,
        "objective": ", ".join(f"{one.direction} {one.metric}" for one in spec.objectives),
        "constraints": list(spec.constraints),
        "trials": limits.max_trials,
        "mode": mode_name,
        "mode_chosen_because": why_mode,
        "waves": engine.waves(spec),
        "tasks": _tasks(spec),
        "parallel_trials": limits.parallel_trials,
        "max_failed_trials": limits.max_failed_trials,
        "space_size": spec.search_space.size,
        "continuous": spec.search_space.continuous,
        "configurations": room,
        "sampler": name,
        "sampler_chosen_because": reason,
        "seed": spec.sampler.seed,
        "warm_start": _advisers(spec),
        "results_matter_after": _blind(spec),
        "duplicates": _duplicates(spec, room),
        "worst_case_s": engine.waves(spec) * spec.trial.timeout_s,
        "max_duration": limits.max_duration,
        "schedule": spec.schedule.words() if spec.schedule else None,
        "next_runs": _next_runs(spec),
        "command": _command(spec, shown[0]) if shown else None,
        "dir": spec.trial.dir,
        "program": _program(spec),
        "notes": _notes_of(spec),
        "suggestions": [_row(assignment) for assignment in shown],
    }


def _tasks(spec: Spec) -> str:
    """Say by which tasks of Airflow a run's trials are run, and in which DAG."""
    from hpo_lib.runs.scheduled_files import MAX_WAVES
    from hpo_lib.runs.shape import dag_id_of, needs_slots

    has_own = spec.schedule is not None
    if has_own and not needs_slots(spec, MAX_WAVES):
        return "one for each trial, in the file's own DAG"
    dag = "the file's own DAG" if has_own else dag_id_of(spec.trial.backend)
    slots = min(spec.limits.parallel_trials, spec.limits.max_trials)
    return f"{count(slots, 'slot')}, each of which runs trial after trial, in {dag}"


def _notes_of(spec: Spec) -> list[str]:
    from hpo_lib.spec.booleans import notes

    return [*spec.notes(), *notes(spec), *notes_on_flags(spec), *_no_program(spec)]


def _program(spec: Spec) -> str | None:
    """Name the program of a local trial; None for an image's, or if it differs between trials."""
    from hpo_lib.spec.command_line import with_python

    words = with_python(spec.trial.command or (), spec.trial.interpreter)
    if spec.trial.backend != "local" or not words or "${" in words[0]:
        return None
    return program(words[0])


def _no_program(spec: Spec) -> Iterator[str]:
    name = _program(spec)
    if name is not None and not Path(spec.trial.dir or site().workdir, name).exists():
        yield f"trial.command: there is no program {name} on this machine, to run trials by"


def _advisers(spec: Spec) -> str | None:
    """Say which runs would advise a run of the spec; only the store knows which of them exist."""
    asked = spec.warm_start
    if asked is None:
        return None
    runs = f"the newest {count(asked.runs, 'complete run')} of {', '.join(spec.advised_by)}"
    return (
        f"{count(asked.top, 'trial')} of each of {runs}, weight {number(asked.weight)}, half after "
        f"{asked.half_life}; not in the suggestions below"
    )


def _blind(spec: Spec) -> int | None:
    """Count the first trials that depend on no result, at least the first wave; None for all."""
    from hpo_lib.search import suggesting

    blind = suggesting.blind(spec)
    if blind is None:
        return None
    return min(max(blind, spec.limits.parallel_trials), spec.limits.max_trials)


def _first(spec: Spec, count: int) -> Iterator[Assignment]:
    """Go through the first waves as far as they depend on no result."""
    from hpo_lib.core.trial import History, Trial
    from hpo_lib.search import engine

    blind = _blind(spec)
    most = min(count, spec.limits.max_trials if blind is None else blind)
    trials: list[Trial] = []
    while len(trials) < most:
        slots = min(spec.limits.parallel_trials, most - len(trials))
        wave = engine.step(spec, History(tuple(trials)), slots).assignments
        if not wave:
            return
        trials += [Trial(a.trial, a.params, origin=a.origin) for a in wave]
        yield from wave


def _row(assignment: Assignment) -> dict[str, Any]:
    return {
        "trial": assignment.trial,
        "origin": str(assignment.origin),
        "params": dict(assignment.params),
    }


def _command(spec: Spec, assignment: Assignment) -> list[str]:
    from hpo_lib.core.trial import Trial
    from hpo_lib.spec.command_line import preview

    trial = Trial(assignment.trial, assignment.params, origin=assignment.origin)
    made = preview(spec, trial, resource=assignment.resource)
    return [*made.command, *made.args]


def _duplicates(spec: Spec, room: int | None) -> str:
    replaced = "a configuration that was tried is never tried again"
    if room is None:
        return f"none: {replaced}"
    return f"none: {spec.limits.max_trials} trials of {room:,} configurations, {replaced}"


def _page(facts: Mapping[str, Any]) -> str:
    lines = [f"{name:<13}{text}" for name, text in _lines(facts)]
    return "\n".join([*lines, "", *_table(facts["suggestions"]), *_notes(facts)])


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "experiment", facts["experiment"]
    yield "objective", facts["objective"]
    if facts["constraints"]:
        yield "constraints", ", ".join(facts["constraints"])
    yield "trials", _trials(facts)
    yield from _mode(facts)
    yield "tasks", facts["tasks"]
    tolerated = count(facts["max_failed_trials"], "failed trial")
    yield "failures", f"{tolerated} tolerated, one more ends the run"
    yield "space", _space(facts)
    yield "sampler", _sampler(facts)
    if facts["warm_start"]:
        yield "warm start", facts["warm_start"]
    yield "duplicates", facts["duplicates"]
    limit = f"; max_duration {facts['max_duration']}" if facts["max_duration"] else ""
    rounds = "trials, so many at once" if facts["mode"] == "async" else "waves"
    yield "at most", f"{duration(facts['worst_case_s'])} (trial.timeout x {rounds}{limit})"
    if facts["schedule"]:
        yield "schedule", facts["schedule"]
    if facts["next_runs"]:
        yield "next runs", ", ".join(facts["next_runs"])
    if facts["command"]:
        yield "trial 1", shlex.join(facts["command"])
    if facts["dir"]:
        yield "runs in", facts["dir"]
    if facts["program"]:
        yield "runs by", facts["program"]


def _trials(facts: Mapping[str, Any]) -> str:
    at_once = f"{facts['parallel_trials']} at once"
    if facts["mode"] == "async":
        return f"{facts['trials']}, {at_once}, the next one as soon as one has ended"
    return f"{facts['trials']} in {facts['waves']} waves, {at_once}"


def _mode(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say which mode `auto` chooses."""
    if reason := facts["mode_chosen_because"]:
        yield "mode", f"auto: {facts['mode']} ({reason})"


def _sampler(facts: Mapping[str, Any]) -> str:
    name, reason = facts["sampler"], facts["sampler_chosen_because"]
    told = f"auto: {name} ({reason})" if reason else name
    return f"{told}, seed {facts['seed']}"


def _space(facts: Mapping[str, Any]) -> str:
    if facts["continuous"]:
        return f"continuous ({', '.join(facts['continuous'])})"
    if facts["space_size"] is None:
        return "finite, too large to count"
    text = f"{facts['space_size']:,} configurations"
    same = facts["configurations"] == facts["space_size"]
    return text if same else f"{text}, of which {facts['configurations']:,} can be tried"


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = list(dict.fromkeys(name for row in rows for name in row["params"]))
    cells = [["trial", "origin", *names]]
    cells += [
        [str(row["trial"]), row["origin"], *(str(row["params"].get(name, "-")) for name in names)]
        for row in rows
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()


def _notes(facts: Mapping[str, Any]) -> Iterator[str]:
    blind = facts["results_matter_after"]
    if blind is not None and blind < facts["trials"]:
        yield ""
        yield f"Trials after {blind} depend on the results of those before them."
    for note in facts["notes"]:
        yield ""
        yield f"Note: {note}."


def _add_validate(commands: Any) -> None:
    parser = commands.add_parser(
        "validate",
        help="check spec files",
        description="Check spec files and tell every problem, one a line.",
        epilog="example: hpo validate config/experiments/*.yaml",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", type=Path, help="a spec in YAML or JSON"
    )
    parser.set_defaults(run=validate)


def _add_plan(commands: Any) -> None:
    parser = commands.add_parser(
        "plan",
        help="show what a run would do",
        description="Show trials, waves, space, first suggestions and command of a spec.",
        epilog="example: hpo plan config/experiments/digits.yaml --suggestions 10",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a spec in YAML or JSON")
    parser.add_argument(
        "--suggestions", type=_count, default=5, metavar="N", help="how many to show (default: 5)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=plan)


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if not 0 <= count <= 10_000:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 10000, got {text!r}")
    return count


COMMANDS: list[Callable[[Any], None]] = [_add_validate, _add_plan]
