"""From a script that knows nothing of this project to a tuned one, in two commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpo_lib.cli.embedded import Embedded
from hpo_lib.core.trial import TrialState
from hpo_lib.records import RunKey
from hpo_lib.store import Store
from tests.acceptance.conftest import PATIENCE_S, ROOT

pytestmark = pytest.mark.airflow
SCRIPT = """\
import argparse
import pathlib

asked = argparse.ArgumentParser()
asked.add_argument("--learning-rate", type=float, required=True)
asked.add_argument("--optimizer", choices=["adam", "sgd"], required=True)
given = asked.parse_args()
offset = float(pathlib.Path("data.txt").read_text())
print(f"val_accuracy: {offset - given.learning_rate:.4f}")
"""


def hpo(checkout: Path, folder: Path, *words: str) -> tuple[int, str]:
    """Run a command in a folder, and give its exit code and what it printed."""
    env = {name: one for name, one in os.environ.items() if name not in ("VIRTUAL_ENV", "HPO_HOME")}
    done = subprocess.run(
        [sys.executable, "-u", "-m", "hpo_lib.cli", *words],
        cwd=folder,
        env={**env, "HPO_ROOT": str(checkout)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=3 * PATIENCE_S,
    )
    return done.returncode, done.stdout


def test_a_script_elsewhere_is_tuned_unchanged_without_an_airflow_that_is_up(
    tmp_path: Path,
) -> None:
    checkout, folder = tmp_path / "checkout", tmp_path / "my project"
    checkout.mkdir()
    folder.mkdir()
    for name in ("config", "dags", "docker", "hpo_lib", "plugins"):
        (checkout / name).symlink_to(ROOT / name)
    (folder / "train.py").write_text(SCRIPT)
    (folder / "data.txt").write_text("0.9")
    words = "train.py --metric val_accuracy --maximize --trials 8 learning_rate=1e-3..1e-1:log"
    python = ["--python", sys.executable]
    code, said = hpo(checkout, folder, "init", *words.split(), "optimizer", *python)
    assert code == 0, said
    try:
        code, said = hpo(checkout, folder, "run", "train.yaml")
        assert code == 0, said
        assert "no Airflow runs here: starting one" in said
        assert "Airflow is coming up: " in said
        assert "8/8 trials done" in said
        assert "it stays up for the next run; hpo down stops it" in said
        embedded = Embedded(checkout, checkout / ".airflow", {})
        assert embedded.running()
        run_id = said.partition("/runs/")[2].split()[0]
        with Store.open(embedded.store_url) as store:
            run = store.run(RunKey("hpo_local", run_id))
            trials = store.view(run.id).trials
        assert run.spec.trial.dir == str(folder)
        assert [one.trial.state for one in trials] == [TrialState.COMPLETE] * 8
    finally:
        hpo(checkout, folder, "down")
    assert not embedded.running()
