"""The commands about models: `hpo models` lists them, `hpo rollback` brings an earlier one back."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.cli.console import home, opened_store, say, user
from hpo_lib.core.teams import owner_of, within
from hpo_lib.errors import HpoError
from hpo_lib.records import ModelStatus
from hpo_lib.words import moment, number, utc

if TYPE_CHECKING:
    from hpo_lib.deployers import Deployer
    from hpo_lib.installation import Installation
    from hpo_lib.records import Model, ModelEvent
    from hpo_lib.spec import Spec


def models(options: argparse.Namespace) -> int:
    """List the models of an experiment, or the champions of all; 1 if there are none."""
    with opened_store(options) as store:
        if options.experiment is None:
            names = store.models.experiments()
            found = [one for name in names if (one := store.models.champion(name)) is not None]
        else:
            found = store.models.of(options.experiment)
        for model in found:
            say(_line(model))
        if options.history and options.experiment:
            for said in _history(store.models.events(options.experiment), found):
                say(said)
    if not found:
        say("no models")
    return 0 if found else 1


def _history(events: Sequence[ModelEvent], known: Sequence[Model]) -> Iterator[str]:
    """Say what became of models and what runs saw of champions, in the order of time."""
    told = [(utc(one.time), f"v{one.version} {one.status}: {one.reason}") for one in events]
    for model in known:
        for check in model.checks:
            told += [(check.time, f"run {check.run}: {said}") for said in check.sentences()]
    for time, said in sorted(told, key=lambda one: one[0]):
        yield f"{moment(time)}  {said}"


def rollback(options: argparse.Namespace) -> int:
    """Make an earlier champion the champion again, and serve it if that can be done from here."""
    from hpo_lib.promotion import deployment

    with opened_store(options) as store:
        why = options.why or ""
        champion = deployment.roll_back(store, options.experiment, options.to, user(), why)
        say(f"{options.experiment}: version {champion.version} is the champion")
        try:
            here = _installation(owner_of(options.experiment))
            deployment.serve(store, options.experiment, here, say)
        except HpoError as error:
            say(f"it is not served from here: {error}")
            say(
                "what served before goes on; the DAG hpo_housekeeping, or the next run, makes "
                "the champion serve as soon as it can"
            )
        say("hpo_housekeeping tells DAGs that wait for its asset, and whoever is notified")
    return 0


def _line(model: Model) -> str:
    metrics = " ".join(f"{name}={number(value, 6)}" for name, value in model.metrics.items())
    when = moment(model.changed_at)
    name = f"{model.experiment} v{model.version}"
    said = f"{_open(model)}{_place(model)}"
    return f"{name}  {model.status}  {when}  run {model.run_id}  {metrics}{said}"


def _open(model: Model) -> str:
    """Say so if the gate leaves a model to people, who have not answered."""
    asks = model.verdict is not None and model.verdict.asks and model.approved is None
    return "  (waits to be approved)" if asks and model.status is ModelStatus.CHALLENGER else ""


def _place(model: Model) -> str:
    """Say where a model is that serves or has served, or that it cannot be seen from here."""
    if model.status not in (ModelStatus.CHAMPION, ModelStatus.RETIRED):
        return ""
    if "://" in model.files or _is_there(model.files):
        return f"  {model.files}"
    return f"  (no files at {model.files})"


def _is_there(folder: str) -> bool:
    from hpo_lib.files.places import files

    try:
        return bool(files(Path(folder)))
    except HpoError:
        return False


def _installation(team: str) -> Installation:
    """Offer what this machine can deploy for a team by itself: packages on its disk."""
    from hpo_lib.installation import Installation

    return Installation(home(), {}, deployers=partial(_deployer, team), team=team)


def _deployer(team: str, spec: Spec, _: str) -> Deployer:
    from hpo_lib.deployers.package import PackageDeployer

    asked = spec.deploy
    if asked is None or asked.to != "package":
        raise HpoError(f"deploy.to is {asked.to if asked else 'not set'}")
    return PackageDeployer.at(within(team, spec.name), asked.options, home(), {})


def _add_models(commands: Any) -> None:
    parser = commands.add_parser(
        "models",
        help="list models: champions, challengers, and those of the past",
        description="List the models of an experiment, or without one the champions of all.",
    )
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT")
    parser.add_argument("--history", action="store_true", help="say how each became what it is")
    parser.add_argument("--url", help="the store's address (default: HPO_STORE)")
    parser.set_defaults(run=models)


def _add_rollback(commands: Any) -> None:
    parser = commands.add_parser(
        "rollback",
        help="make an earlier champion the champion again",
        description=(
            "Make an earlier champion the champion again: the last one, or --to VERSION. "
            "It serves at once where that can be done from here, and else as soon as Airflow's "
            "housekeeping comes by."
        ),
        epilog="example: hpo rollback churn --to 3 --why 'wrong labels since Tuesday'",
    )
    parser.add_argument("experiment", metavar="EXPERIMENT")
    parser.add_argument("--to", type=int, metavar="VERSION", help="which one (default: the last)")
    parser.add_argument("--why", metavar="REASON", help="kept in the history")
    parser.add_argument("--url", help="the store's address (default: HPO_STORE)")
    parser.set_defaults(run=rollback)


COMMANDS: list[Callable[[Any], None]] = [_add_models, _add_rollback]
