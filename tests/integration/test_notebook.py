"""docs/notebooks/analysis.ipynb: its cells, one after the other, on a store with real trials."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_lib.core.trial import History
from hpo_lib.records import Model, Run, RunKey
from hpo_lib.runs import lifecycle
from hpo_lib.search import engine
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade
from tests.integration.loop import Loop
from tests.integration.store_contract import begin

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "analysis.ipynb"
SPEC = Path("config") / "experiments" / "wine-quality.yaml"
SCRIPT = Path("docker") / "trial" / "train.py"
#: Large nets learn their wines by heart; one trial has nothing to say.
PROGRAM = """
import json, os
params = json.loads(os.environ["HPO_PARAMS"])
size, rate = params["units"] * params["layers"], params["learning_rate"]
for step in range(1, 5):
    loss = 0.4 / step / (1 + rate)
    val_loss = loss + size / 8000 * step
    print(f"step={step} loss={loss} val_loss={val_loss} val_accuracy={0.9 - val_loss / 10}")
print(f"val_auc={0.9 - rate} val_mcc={0.5 - rate} accuracy=0.9 test_accuracy=0.8 test_auc=0.8")
print("test_mcc=0.4")
"""


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


def night(loop: Loop, number: int) -> Run:
    """Do a run of the example whose winner is made the champion."""
    plain = yaml.safe_load((ROOT / SPEC).read_text(encoding="utf-8"))
    plain |= {"sampler": {"name": "random", "seed": number}, "final": {}}
    plain |= {"limits": {"max_trials": 6, "parallel_trials": 2}, "deploy": {"to": "package"}}
    plain["trial"] |= {"command": [sys.executable, "-c", PROGRAM]}
    spec = load(plain)
    run = begin(loop.store, RunKey("wine-quality", f"night-{number}"), spec)
    loop.waves(run)

    def ask(history: History, best: Model | None) -> engine.FinalStep:
        return engine.final_step(spec, history, best.params if best else None)

    loop.store.next_final_batch(run.id, "final", ask)
    model = loop.store.models.of_run(run.id)
    assert model is not None
    loop.store.models.promote(model, "it was better.")
    return lifecycle.finish(loop.store, run.key, loop.installation)


def test_it_is_kept_without_what_it_has_printed() -> None:
    of_code = [one for one in cells() if one["cell_type"] == "code"]
    assert of_code
    assert not any(one["outputs"] or one["execution_count"] for one in of_code)


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Do two runs in a store that the notebook finds, in a folder with the example's files."""
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        loop = Loop(store, tmp_path)
        found = [night(loop, 1), night(loop, 2)]
    for name in (SPEC, SCRIPT):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_STORE", url)
    for name in ("HPO_HOME", "HPO_ROOT"):
        monkeypatch.setenv(name, str(tmp_path))
    return found


def test_it_goes_from_trials_to_a_champion_and_back(
    nights: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells():
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace("TAKE_IT_BACK = False", "TAKE_IT_BACK = True")
            exec(compile(source, NOTEBOOK.name, "exec"), known)
    said = capsys.readouterr().out
    trials, good, best = known["trials"], known["good"], known["best"]
    assert len(trials) == 12
    assert 1 < len(good) < 12, "some overfit"
    assert best.metric_val_accuracy == good.metric_val_accuracy.max()
    assert best.loss_diff <= 0.1
    assert known["wrong"] == 0
    made = load(yaml.safe_load((tmp_path / "wine-quality-deploy.yaml").read_text()))
    assert made.initial_points[0]["units"] == best.param_units
    assert "wine-quality v2  champion" in said
    assert "wine-quality: version 1 is the champion" in said
    with Store.open(f"sqlite:///{tmp_path}/hpo.db") as store:
        champion = store.models.champion("wine-quality")
        assert champion is not None
        assert (champion.version, champion.run_id) == (1, nights[0].id)
