"""What the commands share: where this checkout's Airflow and its store are, and how they speak."""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.errors import HpoError, SpecError

if TYPE_CHECKING:
    from hpo_lib.cli.embedded import Embedded
    from hpo_lib.installation import Environment, Installation
    from hpo_lib.records.audit import Actor
    from hpo_lib.spec import Spec

REFUSED, FAILED = 2, 1
#: The folder of the Airflow on which `hpo nights` plays.
NIGHTS = "nights"
#: What the embedded Airflow takes from the environment; places and names are its own.
_SETTINGS = (
    "HPO_BACKENDS",
    "HPO_COLLECTORS",
    "HPO_CONFIG",
    "HPO_DATA",
    "HPO_DEPLOYERS",
    "HPO_EXPERIMENTS",
    "HPO_GRACE_S",
    "HPO_MAX_PARALLEL",
    "HPO_MAX_WAVES",
    "HPO_SAMPLERS",
    "HPO_SCHEDULERS",
    "HPO_STORE",
    "HPO_TRIAL_DIR",
    "HPO_TRIAL_PATH",
    "HPO_UMASK",
)
_PLACES = ("HPO_EXPERIMENTS", "HPO_STORE")


def store_url(options: argparse.Namespace) -> str:
    """Give the store's address: the option, HPO_STORE, or that of the checkout's Airflow."""
    return str(options.url or os.environ.get("HPO_STORE") or embedded().store_url)


def home() -> Path:
    """Give the folder of attempts and reports: HPO_HOME, or that of the checkout's Airflow."""
    named = os.environ.get("HPO_HOME")
    return Path(named).absolute() if named else embedded().results


def embedded(folder: str = "", own: Mapping[str, str] | None = None) -> Embedded:
    """Give the checkout's Airflow, or one in a `folder` of it that shares no store or files.

    `own` are further settings, which override those of the environment.
    """
    from hpo_lib.cli.embedded import Embedded

    passed_on = [name for name in _SETTINGS if not folder or name not in _PLACES]
    settings = {name: os.environ[name] for name in passed_on if name in os.environ}
    return Embedded(root(), root() / ".airflow" / folder, settings | dict(own or {}))


def root() -> Path:
    """Give the checkout that the commands are about."""
    found = _place()
    if not (found / "dags" / "hpo_on_demand.py").exists():
        raise HpoError(f"no checkout of this project at {found}; name one in HPO_ROOT")
    return found


def _place() -> Path:
    return Path(os.environ.get("HPO_ROOT") or Path(__file__).resolve().parents[2])


def installation() -> Installation:
    """Give the installation that the DAGs have, from the same variables and file, or the defaults.

    Its connections lead nowhere from here.
    """
    from hpo_lib.installation import Environment, installation_of

    return installation_of(Environment(_place()), _check_options)


def _check_options(_: Environment, spec: Spec, store: str) -> Any:  # noqa: ARG001 - as DAGs' own
    """Check `deploy.options` only: a deployer can be built only in a DAG."""
    from hpo_lib.registry import load
    from hpo_lib.validation import parse

    if spec.deploy is not None:
        kind = load("deployer", spec.deploy.to)
        parse(kind.Options, spec.deploy.options, at="deploy.options")


def user() -> Actor:
    """Name the user at the keyboard, who may have no name in a container, and the machine."""
    from hpo_lib.records.audit import Actor

    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"user {os.getuid()}"
    return Actor(f"{name}@{platform.node()}", "cli")


def complain(error: HpoError) -> int:
    """Print an error; give 2 if the user has to correct something, else 1."""
    print(error, file=sys.stderr)
    return REFUSED if isinstance(error, SpecError) else FAILED


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
