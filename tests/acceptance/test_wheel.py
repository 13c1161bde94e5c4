"""The wheel beside an Airflow, no checkout: a run, two nights, the report, and a way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_lib.cli.embedded import Embedded
from hpo_lib.records import RunView
from hpo_lib.store import Store
from tests.acceptance.conftest import Stack, until
from tests.acceptance.promotion.test_promotion import UNASKED, champion, served
from tests.wheel import built, called, installed, sources, surroundings

pytestmark = [pytest.mark.airflow]

#: As `hpo up` does, but with the DAG files of this folder, in a subfolder of Airflow's.
UP = """
from pathlib import Path
from hpo_lib.cli.embedded import Embedded
here = Path.cwd()
Embedded(here, here / ".airflow", {"AIRFLOW__CORE__DAGS_FOLDER": str(here / "dags")}).up(print)
"""
#: The loss is |x - goal|; the goal is the data, in the folder where local trials run.
TRIAL = """
mkdir -p "$HPO_OUTPUT/model" && echo "$1" > "$HPO_OUTPUT/model/weights"
awk -v x="$1" -v goal="$(cat goal)" -v seed="$HPO_SEED" 'BEGIN {
  loss = x > goal ? x - goal : goal - x
  print "loss=" loss " test_loss=" loss + (seed % 7) / 1000
}'
"""
SPEC: dict[str, Any] = {
    "name": "first",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "ordinal", "choices": [0.3, 0.9]}},
    "sampler": {"name": "grid"},
    "limits": {"max_trials": 2, "parallel_trials": 2},
    "trial": {"command": ["sh", "trial.sh", "${params.x}"], "timeout": "5m"},
}
NIGHTLY = SPEC | {
    "name": "nightly",
    "schedule": {"cron": "0 3 * * *", "paused": True},
    "final": {"seeds": 2},
    "deploy": {"to": "package"} | UNASKED,
}


@pytest.fixture
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = [tmp_path_factory.mktemp(name) for name in ("src", "out", "venv")]
    return installed(built("wheel", sources(folders[0]), folders[1]), folders[2])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder: a program, its data, the spec of a run, and one for every night."""
    (tmp_path / "trial.sh").write_text(TRIAL)
    (tmp_path / "goal").write_text("0.3")
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(SPEC))
    experiments = tmp_path / ".airflow" / "hpo" / "experiments"
    experiments.mkdir(parents=True)
    (experiments / "nightly.yaml").write_text(yaml.safe_dump(NIGHTLY))
    return tmp_path


@pytest.fixture
def stack(python: Path, project: Path) -> Iterator[Stack]:
    hpo, env = python.parent / "hpo", surroundings()
    called([hpo, "init-airflow", "--dags", project / "dags" / "tools" / "hpo"], project, env)
    embedded = Embedded(project, project / ".airflow", {})
    try:
        called([python, "-c", UP], project, env)
        with Store.open(embedded.store_url) as store:
            yield Stack(embedded, store)
    finally:
        called([hpo, "down"], project, env)


def test_run_nights_report_and_rollback_need_no_checkout(
    python: Path, project: Path, stack: Stack
) -> None:
    hpo, env = python.parent / "hpo", surroundings()
    said = called([hpo, "run", "first.yaml"], project, env)
    (report,) = stack.embedded.results.glob("**/report.html")
    assert str(report) in said
    assert "trial 1" in report.read_text()

    until(lambda: stack.client().has("hpo_scheduled_nightly"), "the DAG of the file")
    assert night(stack).run.spec.name == "nightly"
    assert (champion(stack, "nightly"), served(stack, "nightly")) == (1, 1)
    (project / "goal").write_text("0.9")
    night(stack)
    assert (champion(stack, "nightly"), served(stack, "nightly")) == (2, 2)

    assert "version 1 is the champion" in called([hpo, "rollback", "nightly"], project, env)
    assert (champion(stack, "nightly"), served(stack, "nightly")) == (1, 1)
    known = {one["dag_id"] for one in stack.ask("GET", "/dags?limit=200")["dags"]}
    ours = {"hpo_housekeeping", "hpo_local", "hpo_local_waves", "hpo_scheduled_nightly"}
    assert known == ours


def night(stack: Stack) -> RunView:
    """Run the DAG of the file, as it would be when it is due."""
    return stack.complete(stack.trigger({}, "hpo_scheduled_nightly"))
