"""Three nights of the digits on an Airflow of their own, as `make demo-nightly` plays them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpo_lib.cli.embedded import Embedded
from hpo_lib.records import ModelStatus
from hpo_lib.store import Store
from tests.acceptance.conftest import PATIENCE_S, ROOT, checkout_in

pytestmark = pytest.mark.airflow
TRIAL = os.environ.get("HPO_TRIAL_PATH") or str(ROOT / ".venv-trial" / "bin")
#: One wave a night; else the files are those of the demo.
SHORT = {"max_trials": 3, "parallel_trials": 3}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Airflow is the test's own."""
    return checkout_in(tmp_path)


def files(folder: Path) -> list[str]:
    """Write the demo's nights, shorter."""
    names = []
    for path in sorted((ROOT / "config" / "nights").glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())
        (folder / path.name).write_text(yaml.safe_dump(spec | {"limits": SHORT}))
        names.append(path.name)
    return names


def nights(checkout: Path) -> str:
    """Play them to a good end, and give what was printed."""
    words = [sys.executable, "-m", "hpo_lib.cli", "nights", *files(checkout)]
    env = {**os.environ, "HPO_ROOT": str(checkout), "HPO_TRIAL_PATH": TRIAL}
    with subprocess.Popen(
        words, cwd=checkout, env=env, stdout=subprocess.PIPE, text=True
    ) as played:
        try:
            said, _ = played.communicate(timeout=4 * PATIENCE_S)
        except BaseException:
            played.send_signal(signal.SIGINT)
            raise
    assert played.returncode == 0, said
    return said


@pytest.mark.skipif(not Path(TRIAL, "python").exists(), reason="needs the trial environment")
def test_a_champion_a_worse_challenger_and_a_better_one_that_serves(checkout: Path) -> None:
    said = nights(checkout)
    embedded = Embedded(checkout, checkout / ".airflow" / "nights", {})
    assert not embedded.running(), "it was stopped"
    with Store.open(embedded.store_url) as store:
        found = {model.version: model for model in store.models.of("digits-nights")}
    assert {version: model.status for version, model in found.items()} == {
        1: ModelStatus.RETIRED,
        2: ModelStatus.REJECTED,
        3: ModelStatus.CHAMPION,
    }
    assert found[2].verdict.improvement < -0.1
    assert found[3].verdict.improvement > 0.1
    for model in found.values():
        assert model.verdict.reason in said
    told = [line for line in said.splitlines() if line.startswith(("champion ", "served "))]
    assert [line.partition(":")[0] for line in told[::2]] == [
        f"champion    version {version}" for version in (1, 1, 3)
    ]
    for line, version in zip(told[1::2], (1, 1, 3), strict=True):
        assert line.startswith(
            f"served      digits-nights-v{version}.zip, asked for its sample: 5 "
        )
    alias = embedded.results / "models" / "digits-nights" / "champion.json"
    assert json.loads(alias.read_text())["version"] == 3
