"""`hpo init-airflow` and `hpo airflow check`: bring this package to an Airflow of one's own."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hpo_lib.cli.console import say
from hpo_lib.errors import HpoError
from hpo_lib.files import shipped
from hpo_lib.registry import imported

#: For everybody: a component of Airflow may run as another user than who calls this.
_FILE, _FOLDER = 0o644, 0o755


def init_airflow(options: argparse.Namespace) -> int:
    """Write the DAG files into a folder, and say which."""
    folder = options.dags or _of_airflow("hpo_airflow.checks:dags_folder")()
    for line in write_dags(folder):
        say(line)
    return 0


def write_dags(folder: Path) -> Iterator[str]:
    """Write those DAG files that are not there; say of each what became of it."""
    _make(folder)
    for source in sorted((shipped.folder() / "dags").glob("*.py")):
        yield _put(source.read_text(encoding="utf-8"), folder / source.name)


def _put(text: str, file: Path) -> str:
    try:
        if not file.exists():
            file.write_text(text, encoding="utf-8")
            file.chmod(_FILE)
            return f"wrote {file}"
        if file.read_text(encoding="utf-8") == text:
            return f"{file} is there"
    except (OSError, UnicodeError) as error:
        raise HpoError(f"{file}: cannot be read or written: {error}") from error
    return f"left {file} as it is, which is not what comes along: delete it and call this again"


def _make(folder: Path) -> None:
    """Make a folder and those above it, whatever the umask, if they are not there."""
    try:
        new = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(new):
            one.mkdir(exist_ok=True)
            one.chmod(_FOLDER)
    except OSError as error:
        raise HpoError(f"{folder}: cannot be made: {error}") from error


def check(options: argparse.Namespace) -> int:
    """Say what an Airflow lacks for this package, one thing a line; 1 if something is missing."""
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")  # else among the findings
    findings = _of_airflow("hpo_airflow.checks:findings")
    lacking = 0
    for name, state, text in findings(fix=options.fix, write_dags=write_dags):
        say(f"{state:<8} {name:<34} {text}")
        lacking += state in ("missing", "wrong")
    return 1 if lacking else 0


def _of_airflow(target: str) -> Any:
    """Import what needs Airflow, if it is there."""
    try:
        return imported(target)
    except ModuleNotFoundError as error:
        raise HpoError(
            f"there is no Airflow here, or a part of it is missing ({error}): install "
            "this package beside Airflow and call the `hpo` beside that `airflow`"
        ) from error


def _add_init(commands: Any) -> None:
    parser = commands.add_parser(
        "init-airflow",
        help="write the DAG files into a folder of an Airflow of your own",
        description=(
            "Write the DAG files, two lines each, into a folder in which Airflow looks for DAGs. "
            "A file that is there already stays as it is."
        ),
        epilog="example: hpo init-airflow --dags /opt/airflow/dags/hpo",
    )
    parser.add_argument(
        "--dags", type=Path, metavar="FOLDER", help="where (default: Airflow's folder of DAGs)"
    )
    parser.set_defaults(run=init_airflow)


def _add_airflow(commands: Any) -> None:
    parser = commands.add_parser(
        "airflow",
        help="check the Airflow that this is installed beside",
        description=(
            "Say what the Airflow beside which this is installed lacks: DAGs, pool, store, "
            "settings, permissions. Call it as the user and with the variables of Airflow's "
            "components."
        ),
        epilog="example: hpo airflow check --fix",
    )
    parser.add_argument("action", choices=["check"])
    parser.add_argument(
        "--fix",
        action="store_true",
        help="write DAG files, make the pool, prepare the store, unpause hpo_local",
    )
    parser.set_defaults(run=check)


COMMANDS: list[Callable[[Any], None]] = [_add_init, _add_airflow]
