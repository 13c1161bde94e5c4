"""24 trials on wine quality through a real Airflow: what a user gets from 1 in 960 points."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hpo_lib.cli.embedded import Embedded
from hpo_lib.cli.progress import watch
from hpo_lib.records import RunKey
from hpo_lib.spec.yaml_file import from_yaml
from hpo_lib.store import Store

ROOT = Path(__file__).resolve().parents[1]
SPEC = ROOT / "config" / "experiments" / "wine-quality.yaml"
DATA = "winequality-red.csv"


def main() -> None:
    """Print validation accuracy and held-out AUC of the best trial."""
    data = os.environ.get("HPO_DATA", "")
    if not (Path(data) / DATA).is_file():
        print(f"skipped: HPO_DATA must name the folder that holds {DATA}, got {data!r}")
        return
    spec = from_yaml(SPEC.read_text())
    with tempfile.TemporaryDirectory() as folder:
        embedded = Embedded(ROOT, Path(folder), {"HPO_DATA": data})
        try:
            client = embedded.up(print)
            key = RunKey("hpo_local", client.trigger("hpo_local", spec.dump()))
            with Store.open(embedded.store_url) as store:
                watch(client, store, key, print, embedded.running)
                tell(store, key)
        finally:
            embedded.down()


def tell(store: Store, key: RunKey) -> None:
    """Print the best trial's figures."""
    run = store.run(key)
    spec = from_yaml(SPEC.read_text())
    trials = store.history(run.id)
    best = spec.goal.best(trials.trials)
    if best is None:
        raise SystemExit(f"no trial is complete: {run.reason}")
    print(f"{len(trials.trials)} trials of {spec.search_space.size:,} points: {run.reason}")
    print(f"best trial {best.number}: {dict(best.params)}")
    print(f"validation accuracy {best.value:.4f}")
    for name in ("val_auc", "test_accuracy", "test_auc"):
        print(f"{name} {best.metrics.get(name, float('nan')):.4f}")
    print("published scan of 5,760 points: AUC 0.89, scored on data with its training rows")
