"""One Airflow for all tests of what an installation adds: files, notifiers, a backend, a team."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_lib.core.notices import Event
from tests.acceptance.conftest import ROOT, Stack, airflow

CONSUMER = """
from airflow.sdk import DAG, Asset, task

with DAG("consumer", schedule=[Asset("hpo://champion/conventions")], catchup=False):

    @task
    def use(triggering_asset_events):
        for events in triggering_asset_events.values():
            print("told of", [event.extra for event in events])

    use()
"""
#: Backends of one's own, one of which cannot be imported.
BACKENDS = "nice=acme_nice:NiceBackend, gone=acme_gone:GoneBackend"
BACKENDS_FOLDER = ROOT / "tests" / "integration" / "own_backend"
#: Files are read again as often as the tests want to see it.
SOON = {
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__PARSING_CLEANUP_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "5",
}


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the installation is made of: DAGs, experiments, and what somebody was told."""
    return tmp_path_factory.mktemp("installation")


@pytest.fixture(scope="package")
def experiments(home: Path) -> Path:
    """The folder of the files of experiments."""
    folder = home / "experiments"
    folder.mkdir()
    return folder


@pytest.fixture(scope="package")
def stack(home: Path, experiments: Path) -> Iterator[Stack]:
    """An Airflow with all that, and a DAG that waits for a champion."""
    dags, paths = home / "dags", (ROOT / "config", ROOT, BACKENDS_FOLDER)
    dags.mkdir()
    (home / "airflow").mkdir(mode=0o700)
    for file in (ROOT / "dags").glob("*.py"):
        (dags / file.name).symlink_to(file)
    (dags / "consumer.py").write_text(CONSUMER)
    rule = {"on": list(map(str, Event)), "by": "tests.notifier.FileNotifier"}
    config = {
        "docker": {},
        "nice": {"level": 7},
        "notify": {"all": rule | {"options": {"file": str(home / "told.txt")}}},
        "teams": {"vision": {"backends": ["local"], "quotas": {"parallel_trials": 1}}},
    }
    settings = SOON | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "HPO_BACKENDS": BACKENDS,
        "HPO_EXPERIMENTS": str(experiments),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    with airflow(home / "airflow", config, settings) as started:
        yield started
