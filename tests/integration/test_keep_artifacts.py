"""What an ended run leaves where its spec says, and a spec that may not say so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpo_lib.errors import SpecError
from hpo_lib.records import RunStatus
from hpo_lib.runs import outputs
from hpo_lib.store import Store, upgrade
from tests.integration.test_runs import CONF, KEY, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path)


LEAVES_MODEL = """
import os, pathlib
output = pathlib.Path(os.environ["HPO_OUTPUT"])
(output / "model").mkdir()
(output / "model" / "weights").write_text(os.environ["HPO_PARAMS"])
print("size_mb=" + os.environ["HPO_TRIAL"], "val_loss=1")
"""


@pytest.mark.parametrize(("keep", "models"), [("best", [1]), ("all", [1, 2, 3]), ("none", [])])
def test_artifacts_of_an_ended_run_are_kept_as_the_spec_says(
    bench: Bench, tmp_path: Path, keep: str, models: list[int]
) -> None:
    uri = f"file://{tmp_path}/store"
    bench.installation = replace(bench.installation, artifacts={f"file://{tmp_path}": dict})
    run = bench.run(
        objective=CONF["objective"][1],
        constraints=[],
        trial={"command": [sys.executable, "-c", LEAVES_MODEL]},
        limits={"max_trials": 3, "parallel_trials": 3},
        artifacts={"uri": uri, "keep": keep},
    )
    for _ in range(2):
        outputs.keep_artifacts(bench.store, run, bench.installation)
    (folder,) = (tmp_path / "store" / "small-nets").glob("run-000001-*")
    records = {path.parent.parent.name for path in folder.rglob("result.json")}
    assert records == {"trial-0001", "trial-0002", "trial-0003"}
    left = sorted(path.parts[-4] for path in folder.rglob("weights"))
    assert left == [f"trial-000{number}" for number in models]
    assert not list((tmp_path / "store").glob(".*")), "the probe is gone"


def test_artifacts_that_the_deployment_does_not_offer_are_refused(bench: Bench) -> None:
    with pytest.raises(SpecError, match="this installation offers no place for them"):
        bench.run(artifacts={"uri": "s3://bucket/x"})
    assert bench.store.run(KEY).status is RunStatus.REFUSED
