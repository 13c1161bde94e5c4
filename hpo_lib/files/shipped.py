"""What comes with this package: DAG files, settings for Airflow, and examples.

In a checkout they are its folders dags/ and config/; a wheel holds copies of both, in a folder
beside this one, so that nothing needs a checkout.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PACKED = Path(__file__).resolve().parents[1] / "shipped"
_TOP = _PACKED.parents[1]


def folder() -> Path:
    """Give the folder that holds dags/ and config/ as they come with this version."""
    return _PACKED if _PACKED.is_dir() else _TOP


def examples() -> Path:
    """Give the folder of the specs that fill the forms of DAGs."""
    return folder() / "config" / "experiments"


def checkout() -> Path | None:
    """Give the checkout that this code runs from; None if it was installed from a wheel."""
    return None if _PACKED.is_dir() else _TOP


def airflow_home(variables: Mapping[str, str]) -> Path:
    """Give the folder that Airflow itself takes for its home."""
    return Path(variables.get("AIRFLOW_HOME") or "~/airflow").expanduser()


def home() -> Path:
    """Give the folder of attempts and reports: HPO_HOME, or that of this folder's Airflow.

    Where `hpo up` has made none here, it is that of the Airflow whose AIRFLOW_HOME is set.
    """
    own = root(Path.cwd()) / ".airflow"
    if named := os.environ.get("HPO_HOME"):
        return Path(named).absolute()
    if "AIRFLOW_HOME" in os.environ and not own.exists():
        return airflow_home(os.environ).absolute() / "hpo"
    return own / "hpo"


def root(otherwise: Path) -> Path:
    """Give the folder in which local trials run and whose config/ holds: HPO_ROOT, or the checkout.

    Where there is neither, it is another one.
    """
    named = os.environ.get("HPO_ROOT")
    return Path(named).absolute() if named else checkout() or otherwise
