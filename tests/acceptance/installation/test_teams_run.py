"""A team on a real Airflow: its own DAG, whose run is the team's and takes turns for its places."""

from __future__ import annotations

import pytest

from hpo_lib.records import RunStatus
from hpo_lib.records.audit import Deed
from tests.acceptance.conftest import Stack, until
from tests.acceptance.runs.test_run import conf

pytestmark = pytest.mark.airflow


def test_a_teams_dag_runs_as_the_team(stack: Stack) -> None:
    until(lambda: stack.client().is_ready("hpo_vision.local"), "the team's DAG")
    known = {one["dag_id"] for one in stack.ask("GET", "/dags?limit=200")["dags"]}
    assert {one for one in known if one.startswith("hpo_vision.")} == {
        "hpo_vision.local",
        "hpo_vision.local_waves",
    }
    assert "hpo_docker" in known, "what the team may not use is there for others"
    spec = conf("sleep 2; echo loss=$1", limits={"max_trials": 2, "parallel_trials": 2})
    key = stack.trigger(spec, "hpo_vision.local")
    wrong = stack.trigger(spec | {"name": "No Name"}, "hpo_vision.local")
    view = stack.complete(key)
    assert stack.wait(wrong) == "failed"
    run, refused = view.run, stack.run(wrong)
    assert (run.team, run.experiment) == ("vision", f"vision.{run.spec.name}")
    assert (refused.team, refused.status) == ("vision", RunStatus.REFUSED)
    (first,), (second,) = sorted(
        (one.attempts for one in view.trials), key=lambda attempts: attempts[0].started_at
    )
    assert first.ended_at is not None
    assert first.ended_at <= second.started_at, "one at a time is the team's quota"
    of_the_team = (one for one in stack.store.audit.entries() if one.team == "vision")
    assert {(one.who, one.where, one.deed) for one in of_the_team} == {
        ("admin", "manual", Deed.SUBMITTED),
        ("admin", "manual", Deed.REFUSED),
    }
