"""A backend of one's own on a real Airflow: added by a folder on the path and one row."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpo_lib.core.trial import TrialState
from hpo_lib.errors import HpoError
from hpo_lib.records import RunStatus
from tests.acceptance.conftest import ROOT, Stack, airflow, until
from tests.acceptance.runs.test_run import conf

pytestmark = pytest.mark.airflow

FOLDER = ROOT / "tests" / "integration" / "own_backend"
SETTINGS = {
    "HPO_BACKENDS": "nice=acme_nice:NiceBackend, gone=acme_gone:GoneBackend",
    "PYTHONPATH": os.pathsep.join(str(path) for path in (ROOT / "config", ROOT, FOLDER)),
}


def is_there(stack: Stack, dag: str) -> bool:
    """Say whether Airflow has a DAG."""
    try:
        return stack.client().is_ready(dag)
    except HpoError:
        return False


def test_a_row_is_enough_and_a_broken_one_breaks_alone(tmp_path: Path) -> None:
    with airflow(tmp_path, {"nice": {"level": 7}}, SETTINGS) as stack:
        for dag in ("hpo_nice", "hpo_gone"):
            until(lambda dag=dag: is_there(stack, dag), f"DAG {dag}")
        trial = conf("echo loss=$(nice)")["trial"]
        spec = conf(limits={"max_trials": 1}, trial=trial | {"backend": "nice"})
        key = stack.trigger(spec, "hpo_nice")
        broken = stack.trigger({}, "hpo_gone")
        (view,) = stack.complete(key).trials
        assert view.trial.state is TrialState.COMPLETE
        assert view.trial.value == min(19, os.nice(0) + 7)
        assert stack.wait(broken) == "failed"
        assert stack.run(broken).status is RunStatus.REFUSED
        assert "No module named 'acme_gone'" in str(stack.run(broken).reason)
