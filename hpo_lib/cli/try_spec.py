"""`hpo try`: one trial of a spec, here and now, by the parts that Airflow's trials go through."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from hpo_lib.cli.console import leave, moving, program, say, site, user
from hpo_lib.cli.spec_file import read_conf
from hpo_lib.core.trial import Cause
from hpo_lib.errors import SpecError
from hpo_lib.records import AttemptState
from hpo_lib.words import count, duration, number

if TYPE_CHECKING:
    from hpo_lib.installation import Installation
    from hpo_lib.runs.one_trial import Tried
    from hpo_lib.spec import Spec

#: A trial that nobody follows any more, as after a crash of this command, ends by itself.
_GRACE_S = "30"
#: Where a program has ended well, so that its metrics decide.
_OF_METRICS = (None, Cause.OBJECTIVE_MISSING, Cause.OBJECTIVE_NOT_FINITE)


def try_spec(options: argparse.Namespace) -> int:
    """Run one trial and show all of it; 0 only if the store would have it as complete."""
    from hpo_lib.runs import one_trial

    with moving(f"{options.spec} is checked"):
        spec = read_conf(options.spec)
        spec = one_trial.alone(spec, _given(spec, options.params))
    with _folder(keep=options.keep) as home:
        tried = _performed(spec, home)
        for line in page(spec, tried):
            say(line)
        if options.keep:
            say(f"kept        {home}")
    return 0 if tried.view.trial.value is not None else 1


def _performed(spec: Spec, home: Path) -> Tried:
    from hpo_lib.runs import one_trial
    from hpo_lib.store import Store, upgrade

    _announce(spec)
    url = f"sqlite:///{home / 'try.db'}"
    for number_of in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_of, leave)
    with moving("the trial runs") as show:
        upgrade(url)
        with Store.open(url) as store:
            return one_trial.perform(store, spec, _installation(home), show, user().who)


def _announce(spec: Spec) -> None:
    """Say what is run, and where."""
    from hpo_lib.core.trial import Origin, Trial
    from hpo_lib.spec.command_line import preview

    point = spec.initial_points[0]
    made = preview(spec, Trial(1, point, origin=Origin.INITIAL))
    say(f"trial       {', '.join(f'{name}={number(value)}' for name, value in point.items())}")
    words, where = [*made.command, *made.args], ""
    if spec.trial.image is None:
        words[:1] = map(program, words[:1])
        where = f" in {spec.trial.dir or site().workdir}"
    say(f"runs        {shlex.join(words)}{where}\n")


def _installation(home: Path) -> Installation:
    """Give this machine's installation, with a folder for results that is the trial's own."""
    from hpo_lib.installation import installation_of

    here = site()
    own = {"HPO_HOME": str(home), "HPO_GRACE_S": _GRACE_S}
    return installation_of(
        replace(here, connections=_NoAirflow(), variables={**here.variables, **own})
    )


class _NoAirflow:
    """Refuses what needs a connection of Airflow."""

    def cluster(self, connection: str | None) -> Never:  # noqa: ARG002 - as connections are
        """Refuse."""
        _refuse()

    def aws(self, connection: str | None, region: str | None, service: str) -> Never:  # noqa: ARG002
        """Refuse."""
        _refuse()

    def storage_options(self, connection: str) -> Never:  # noqa: ARG002
        """Refuse."""
        _refuse()


def _refuse() -> Never:
    raise SpecError(
        "trial.backend: hpo try runs a trial on this machine, as local and docker do; others need "
        "Airflow's connections, so use hpo run"
    )


def _given(spec: Spec, words: Sequence[str]) -> Mapping[str, Any]:
    """Read parameters: NAME=VALUE each, or all as one JSON mapping."""
    from hpo_lib.runs.one_trial import said

    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            given = json.loads(words[0])
        except ValueError as error:
            raise SpecError(f"--params: must be JSON or NAME=VALUE: {error}") from None
        return dict(given)
    pairs = [word.partition("=") for word in words]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise SpecError(f"--params: must be NAME=VALUE, got {', '.join(wrong)}")
    return said(spec, {name: value for name, _, value in pairs})


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """Make a folder for the trial's log and output, for as long as they are looked at."""
    if keep:
        yield Path(tempfile.mkdtemp(prefix="hpo-try-"))
        return
    with tempfile.TemporaryDirectory(prefix="hpo-try-") as made:
        yield Path(made)


def page(spec: Spec, tried: Tried) -> Iterator[str]:
    """Write what the trial's metrics were, what the store has of it, and what it has used."""
    from hpo_lib.trials import check_metrics
    from hpo_lib.trials.live import source_of

    attempt = tried.attempt
    if attempt is not None and attempt.cause in _OF_METRICS:
        yield ""
        yield from check_metrics.page(
            check_metrics.examine(spec, source_of(tried.backend, attempt))
        )
    yield ""
    yield from _recorded(tried)
    yield from _used(tried)
    yield from _left(tried)


def _recorded(tried: Tried) -> Iterator[str]:
    trial, attempt = tried.view.trial, tried.attempt
    ended = trial.reason or (attempt.reason if attempt else "") or tried.trouble
    cause = trial.cause or (attempt.cause if attempt else None)
    yield f"recorded    {trial.state}{f', {cause}' if cause else ''}: {ended}"
    if tried.trouble:
        yield f"            Airflow would try again: {tried.trouble}"
    if "ModuleNotFoundError" in ended:
        yield "            trial.venv: FOLDER in the spec names the environment that has the module"
    if attempt is not None:
        code = "none" if attempt.exit_code is None else attempt.exit_code
        seen = count(len(tried.view.observations), "observation")
        metrics = (f"{name} = {number(value)}" for name, value in trial.metrics.items())
        yield f"            {', '.join([f'exit code {code}', seen, *metrics])}"


def _used(tried: Tried) -> Iterator[str]:
    used, attempt = tried.used, tried.attempt
    took_s = None
    if attempt is not None and attempt.ended_at is not None:
        took_s = (attempt.ended_at - attempt.started_at).total_seconds()
    if used is None:
        yield f"used        {duration(took_s)}; the backend does not say of what"
        return
    memory = f"{used.memory_bytes / 2**20:,.0f} MiB"
    yield f"used        {duration(took_s)}, CPU {duration(used.cpu_s)}, memory at most {memory}"


def _left(tried: Tried) -> Iterator[str]:
    """Say what is left of it, or how something would be: without that there is no model."""
    from hpo_lib.files.places import files

    if tried.attempt is None or tried.attempt.state is not AttemptState.SUCCEEDED:
        return
    output = tried.backend.output(tried.attempt.handle)
    names = sorted({str(one).removeprefix(f"{output}/").split("/")[0] for one in files(output)})
    if names:
        yield f"left        {', '.join(names)} in HPO_OUTPUT"
        return
    yield "left        nothing: a model is kept if the program saves it in the folder that the"
    yield "            variable HPO_OUTPUT names, below model, as model/model.keras"


def _add_try(commands: Any) -> None:
    parser = commands.add_parser(
        "try",
        help="run one trial of a spec here and now, without Airflow",
        description=(
            "Run one trial of a spec on this machine, without Airflow, and show its log, its "
            "metrics by step, what the store would record, and what it has used. Nothing is kept. "
            "Exit code 1 if the trial would have failed."
        ),
        epilog="example: hpo try train.yaml --params lr=0.01 units=64 epochs=1",
    )
    parser.add_argument("spec", metavar="SPEC", type=Path, help="a spec in YAML or JSON")
    parser.add_argument(
        "--params",
        metavar="NAME=VALUE",
        nargs="+",
        default=[],
        help="parameters, or constants of fixed; the rest is as trial 1 of a run would have it",
    )
    parser.add_argument("--keep", action="store_true", help="keep the log and the output")
    parser.set_defaults(run=try_spec)


COMMANDS: list[Callable[[Any], None]] = [_add_try]
