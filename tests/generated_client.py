"""Make a client from the OpenAPI document of a running Airflow, and use it: CONTRIBUTING.md.

It is no test of `make test`: openapi-python-client wants an older typer than Airflow has.
HPO_AIRFLOW is Airflow's address, HPO_TOKEN a token; a run with trials has to be there.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

PACKAGE = "hpo_client"


def generated(document: dict[str, Any], folder: Path) -> None:
    """Write the client's package into a folder; whatever the generator warns of is an error."""
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.yaml").write_text(f"package_name_override: {PACKAGE}\npost_hooks: []\n")
    words = ["generate", "--path", "openapi.json", "--config", "config.yaml", "--meta", "none"]
    command = [sys.executable, "-m", "openapi_python_client", *words, "--fail-on-warning"]
    subprocess.run(command, cwd=folder, check=True)
    sys.path.insert(0, str(folder))


def used(address: str, token: str) -> None:
    """Read what there is of the newest run with trials, submit its spec again, stop it twice."""
    client = importlib.import_module(f"{PACKAGE}.client")
    who = client.AuthenticatedClient(f"{address}/hpo/api/v1", token=token)

    def ask(operation: str, *given: Any, **query: Any) -> Any:
        tag, _, name = operation.partition(".")
        module = importlib.import_module(f"{PACKAGE}.api.{tag}.{name}")
        answer = module.sync_detailed(*given, client=who, **query)
        sys.stdout.write(f"{answer.status_code.value} {operation} {given}\n")
        assert answer.status_code < 300, answer.content
        assert answer.parsed is not None, operation
        return answer.parsed

    assert ask("read.list_experiments").experiments
    runs = ask("read.list_runs", limit=1000).runs
    run = next(one.id for one in runs if ask("read.list_trials", one.id).trials)
    detail = ask("read.get_run", run)
    assert sum(detail.trials.additional_properties.values()) > 0
    trial = ask("read.list_trials", run).trials[0]
    assert ask("read.get_trial", run, trial.number) == trial
    ask("read.list_observations", run, trial.number)
    ask("read.get_log", run, trial.number)
    ask("read.get_best", run)
    assert "<html" in ask("read.get_report", run)
    assert ask("read.get_csv", run).startswith("number,")
    spec = ask("read.get_spec", run)
    assert ask("act.submit_run", body=spec).dag_run_id
    assert ask("act.stop_run", run) == ask("act.stop_run", run), "it may be asked again"


if __name__ == "__main__":
    airflow, bearer = os.environ["HPO_AIRFLOW"], os.environ["HPO_TOKEN"]
    headers = {"Authorization": f"Bearer {bearer}"}
    made = httpx.get(f"{airflow}/hpo/api/v1/openapi.json", headers=headers, timeout=60)
    with TemporaryDirectory() as place:
        generated(made.raise_for_status().json(), Path(place))
        used(airflow, bearer)
