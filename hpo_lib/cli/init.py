"""`hpo init`: a spec for a script that is there, from words or, on a terminal, from answers."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.cli.console import program, say, site
from hpo_lib.cli.spec_file import read_text
from hpo_lib.cli.umask import asked_for
from hpo_lib.errors import SpecError
from hpo_lib.validation import shown, told

if TYPE_CHECKING:
    from hpo_lib.spec.script_flags import Flag, Script
    from hpo_lib.spec.starter import Asked

_MAX_SCRIPT = 1 << 20
#: Stems that say nothing of what is tuned.
_NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Place:
    """The script, where its spec goes, and how the spec's command names it."""

    script: Path
    output: Path

    @property
    def file(self) -> str:
        """The script as seen from the spec's folder, where its trials run."""
        script, folder = self.script.resolve(), self.output.absolute().parent.resolve()
        return str(script.relative_to(folder) if script.is_relative_to(folder) else script)


def init(options: argparse.Namespace) -> int:
    """Write a spec for a script, check it, and say what comes next."""
    from hpo_lib.spec import starter

    place = Place(options.script, options.output or Path(f"{options.script.stem}.yaml"))
    script = _read(place.script)
    asked = _asked(options, place, script)
    made = starter.spec(asked, script)
    notes = starter.on_space(made, script)
    text = starter.written(made, place.file, str(place.output), notes)
    read_text(text, place.output)
    _write(place.output, text, force=options.force)
    say(f"{place.output}: written\n\n{text}")
    for note in _notes(place, script, asked):
        say(f"note: {note}")
    say(f"next: hpo try {place.output}  # one trial, here and now, without Airflow")
    say(f"      hpo run {place.output}  # all trials; starts an Airflow if none is up")
    return 0


def _read(path: Path) -> Script:
    """Read the script; of another language nothing is known."""
    from hpo_lib.spec import script_flags

    try:
        with path.open("rb") as file:
            text = file.read(_MAX_SCRIPT).decode()
    except UnicodeDecodeError:
        raise SpecError(f"{path}: must be a text file in UTF-8") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"{path}: must be a script that can be read: {why}") from None
    if path.suffix != ".py":
        raise SpecError(f"{path}: must be a Python script, with .py; write a spec for others")
    return script_flags.read(text, str(path))


def _asked(options: argparse.Namespace, place: Place, script: Script) -> Asked:
    """Take what was said, and ask for the rest on a terminal; elsewhere SpecError tells it."""
    from hpo_lib.spec.starter import Asked, better

    said = Asked(
        name=options.name or _name(place),
        file=place.file,
        metric=options.metric or "",
        direction=options.direction or better(options.metric or ""),
        words=options.space,
        trials=options.trials,
        parallel=options.parallel,
        place=_interpreter(options, place),
    )
    if sys.stdin.isatty() and sys.stdout.isatty():
        return answered(said, script, input)
    problems = list(_lacking(said, script))
    if problems:
        raise SpecError("\n".join(f"{place.script}: {line}" for line in problems))
    return said


def _lacking(said: Asked, script: Script) -> Iterator[str]:
    """Yield what nobody has said, and what is wrong with what was said."""
    from hpo_lib.spec.starter import better, spec

    guess = f"; its Keras seems to print {script.metric}" if script.metric else ""
    if not said.metric:
        yield f"--metric NAME is required, as the script prints it{guess}"
    if not said.direction and not (not said.metric and better(script.metric)):
        yield "--maximize or --minimize is required, to say which way the metric is better"
    if not said.words:
        yield f"name what to search, such as {' '.join(_words(script)) or 'lr=1e-5..0.1:log'}"
    else:
        yield from told(spec, said, script)


def _words(script: Script) -> Iterator[str]:
    """Offer a word for each flag that is searched, or has to be told."""
    from hpo_lib.spec.starter import offer, stays

    for flag in script.flags:
        if not stays(flag):
            yield f"{flag.name}={offer(flag) or 'LOW..HIGH'}"
        elif flag.required:
            yield f"{flag.name}=VALUE"


def answered(said: Asked, script: Script, ask: Callable[[str], str]) -> Asked:
    """Ask for what is not said, with what the script shows as the answer of who presses Enter."""
    from hpo_lib.spec.starter import better

    metric = said.metric or _answer(ask, "metric, as the script prints it", script.metric)
    direction = said.direction or _direction(ask, better(metric))
    words = said.words or list(_space(ask, script.flags))
    return replace(said, metric=metric, direction=direction, words=words)


def _direction(ask: Callable[[str], str], guess: str) -> str:
    way = _answer(ask, "maximize or minimize", guess)
    return next((one for one in ("maximize", "minimize") if way and one.startswith(way)), way)


def _space(ask: Callable[[str], str], flags: Sequence[Flag]) -> Iterator[str]:
    """Ask for each flag, or, if none is known, for all parameters in one line."""
    from hpo_lib.spec.space_words import EXAMPLES

    if not flags:
        yield from _answer(ask, f"parameters, such as {EXAMPLES}").split()
        return
    say("For each flag a range (1e-5..0.1:log), choices (adam,sgd), or one value; - leaves it out.")
    for flag in flags:
        word = _answer(ask, *_question(flag))
        if word != "-":
            yield f"{flag.name}={word}"


def _question(flag: Flag) -> tuple[str, str]:
    """Give what is asked of a flag, and the answer of who presses Enter."""
    from hpo_lib.spec.starter import offer, stays

    name, said, otherwise = flag.word or flag.name, offer(flag), "" if flag.required else "-"
    needed = " (needed)" if flag.required else ""
    if not stays(flag):
        return f"{name}{needed}", said or otherwise
    hint = f" ({said} searches it)" if said else ""
    return f"{name}{needed}{hint}", otherwise


def _answer(ask: Callable[[str], str], question: str, default: str = "") -> str:
    try:
        said = ask(f"{question}{f' [{default}]' if default else ''}: ").strip()
    except EOFError:
        said = ""
    return said or default


def _name(place: Place) -> str:
    """Name the experiment after the folder and the script."""
    words = f"{place.script.resolve().parent.name} {place.script.stem}".lower()
    return _NO_NAME.sub("-", words).strip("-")[-63:].strip("-") or "experiment"


def _interpreter(options: argparse.Namespace, place: Place) -> dict[str, str]:
    """Find the Python that has what the script needs: said, beside it, or the shell's own."""
    if options.python:
        return {"python": options.python}
    if options.venv:
        return {"venv": options.venv}
    folder = place.output.absolute().parent
    beside = [name for name in (".venv", "venv") if _is_venv(folder / name)]
    active = [os.environ[one] for one in ("VIRTUAL_ENV", "CONDA_PREFIX") if one in os.environ]
    found = [one for one in (*beside, *active) if not _is_ours(folder / one)]
    return {"venv": found[0]} if found else {}


def _is_venv(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file() and (folder / "bin" / "python").exists()


def _is_ours(folder: Path) -> bool:
    """Say whether an environment is the one of this command, where trials have another."""
    python = Path(site().path.split(os.pathsep)[0], "python")
    return folder.resolve() == Path(sys.prefix).resolve() and python.exists()


def _notes(place: Place, script: Script, asked: Asked) -> Iterator[str]:
    if not script.complete:
        yield (
            f"not all flags of {place.script} could be read; whether it takes what is searched "
            "shows hpo try"
        )
    if script.metric and script.metric != asked.metric:
        yield (
            f"its Keras seems to print {script.metric}; whether it prints {asked.metric} too, as "
            "the spec has it, shows hpo try"
        )
    if not asked.place:
        yield f"its trials run by {program('python')}; --venv FOLDER names another environment"


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with asked_for(), path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SpecError(
            f"{path}: is there already; --force replaces it, --output names another file"
        ) from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be written: {error.strerror}") from None


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 1_000:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 to 1000, got {shown(text)}"
        )
    return number


def _add_init(commands: Any) -> None:
    parser = commands.add_parser(
        "init",
        help="write a spec for a script of yours",
        description=(
            "Write a spec for a Python script, which is read but neither imported nor run, and "
            "check it. What is left out is asked for on a terminal. A parameter is "
            "NAME=LOW..HIGH, NAME=LOW..HIGH:log (or normal, lognormal), NAME=LOW..HIGH:STEP, "
            "NAME=CHOICE,CHOICE, one value that is the same for every trial, or NAME alone for "
            "the script's own choices."
        ),
        epilog=(
            "example: hpo init train.py --metric val_accuracy --maximize lr=1e-5..1e-1:log "
            "units=32..512:32 optimizer=adam,sgd"
        ),
        words_between="space",
    )
    parser.add_argument("script", metavar="SCRIPT", type=Path, help="a Python script")
    parser.add_argument("space", metavar="PARAMETER", nargs="*", default=[], help="what to search")
    parser.add_argument("--metric", metavar="NAME", help="the metric, as the script prints it")
    way = parser.add_mutually_exclusive_group()
    for name in ("maximize", "minimize"):
        text = f"whether more, or less, of it is better: {name}"
        way.add_argument(f"--{name}", dest="direction", action="store_const", const=name, help=text)
    parser.add_argument("--trials", metavar="N", type=_count, default=20, help="default: 20")
    parser.add_argument(
        "--parallel", metavar="N", type=_count, default=2, help="trials at once (default: 2)"
    )
    parser.add_argument("--name", help="of the experiment (default: of the folder and the script)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--venv", metavar="FOLDER", help="the virtual environment of the script")
    which.add_argument("--python", metavar="PROGRAM", help="the interpreter of the script")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="default: the script's name with .yaml, here"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.set_defaults(run=init)


COMMANDS: list[Callable[[Any], None]] = [_add_init]
