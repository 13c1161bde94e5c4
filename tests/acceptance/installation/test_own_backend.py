"""A backend of one's own on a real Airflow: added by a folder on the path and one row."""

from __future__ import annotations

import os

import pytest

from hpo_lib.core.trial import TrialState
from hpo_lib.records import RunStatus
from tests.acceptance.conftest import Stack, until
from tests.acceptance.runs.test_run import conf

pytestmark = pytest.mark.airflow


def test_a_row_is_enough_and_a_broken_one_breaks_alone(stack: Stack) -> None:
    for dag in ("hpo_nice", "hpo_gone"):
        until(lambda dag=dag: stack.client().is_ready(dag), f"DAG {dag}")
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
