"""`hpo nights`: an experiment's nights one after the other, without waiting for them to come.

For each night it puts the experiment's file of that night in place, waits until Airflow has read
it, triggers its DAG and follows that to the verdict. Then it asks what serves, as a user would.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.cli import airflow, console
from hpo_lib.cli.console import say
from hpo_lib.cli.spec_file import read_night
from hpo_lib.deployers import checking
from hpo_lib.deployers.package import ALIAS, LOADER, interpreter, loading
from hpo_lib.errors import HpoError, SpecError, TransientError
from hpo_lib.records import Model, ModelStatus, RunKey
from hpo_lib.spec import Draft, Spec
from hpo_lib.spec.schedule import Schedule
from hpo_lib.words import number

if TYPE_CHECKING:
    from hpo_lib.cli.airflow_api import Airflow
    from hpo_lib.cli.embedded import Embedded
    from hpo_lib.store import Store

#: Airflow sees a changed file within seconds; elsewhere it takes a minute or two.
_SOON = {
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
}
_READ_S, _POLL_S, _ASK_S = 300.0, 0.5, 300


def nights(options: argparse.Namespace) -> int:
    """Play the nights on an Airflow of their own; 0 only if every run went well."""
    specs = [tonight(read_night(path)) for path in options.files]
    _check(options.files, specs)
    embedded = _fresh()
    with airflow.started(embedded, keep=options.keep) as client:
        for count, (path, spec) in enumerate(zip(options.files, specs, strict=True), start=1):
            say(f"\nnight {count} of {len(specs)}: {path}")
            if not _night(embedded, client, spec):
                say(f"night {count} has failed: no further one is played")
                return 1
        say("")
        _tell(embedded, lambda store: story(store, specs[0].name))
    return 0


def tonight(spec: Spec) -> Spec:
    """Give a file's spec as it is played: with a paused schedule, so that only we start it."""
    schedule = spec.schedule or Schedule(cron="0 3 * * *")
    return spec.model_copy(update={"schedule": schedule.model_copy(update={"paused": True})})


def _check(paths: Sequence[Path], specs: Sequence[Spec]) -> None:
    """Refuse nights of several experiments, and specs that could have no DAG."""
    from hpo_lib.runs import scheduled_files

    names = sorted({spec.name for spec in specs})
    if names[1:]:
        raise SpecError(f"name: nights are those of one experiment, got {', '.join(names)}")
    lines = [
        f"{path}: {line}"
        for path, spec in zip(paths, specs, strict=True)
        for line in scheduled_files.problems(Path(f"{spec.name}.yaml"), Draft(spec))
    ]
    if lines:
        raise SpecError("\n".join(lines))


def _fresh() -> Embedded:
    """Give an Airflow that knows of nothing: what was played before is removed."""
    (console.root() / ".airflow").mkdir(mode=0o700, exist_ok=True)
    home = console.embedded(console.NIGHTS).home
    embedded = console.embedded(
        console.NIGHTS, {**_SOON, "HPO_EXPERIMENTS": str(home / "experiments")}
    )
    with console.moving("an earlier Airflow goes down"):
        embedded.down()
    if home.exists():
        say(f"removing what was played before in {home}")
        shutil.rmtree(home)
    (home / "experiments").mkdir(mode=0o700, parents=True)
    return embedded


def _night(embedded: Embedded, client: Airflow, spec: Spec) -> bool:
    """Put the file in place, run its DAG, and say how things stand; False if the run failed."""
    with console.moving("Airflow reads the file"):
        dag_id = _put(embedded.home / "experiments", client, spec)
        key = RunKey(dag_id, client.trigger(dag_id, {}))
    went_well = airflow.follow(embedded, client, key)
    _tell(embedded, lambda store: standing(store, spec, embedded.results, _python()))
    return went_well


def _put(folder: Path, client: Airflow, spec: Spec) -> str:
    """Put the file in place at once, wait until Airflow has read it, and give its DAG."""
    from hpo_lib.runs.scheduled_files import dag_id_of
    from hpo_lib.spec.yaml_file import to_yaml

    path, text = folder / f"{spec.name}.yaml", to_yaml(spec)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    dag_id, end = dag_id_of(path), time.monotonic() + _READ_S
    while text.rstrip() not in (shown := client.documentation(dag_id)):
        if time.monotonic() > end:
            raise TransientError(f"Airflow has not read {path} in {_READ_S:.0f} s: {shown[:2_000]}")
        time.sleep(_POLL_S)
    return dag_id


def _tell(embedded: Embedded, what: Callable[[Store], Sequence[str]]) -> None:
    from hpo_lib.store import Store

    with Store.open(embedded.store_url) as store:
        for line in what(store):
            say(line)


def standing(store: Store, spec: Spec, home: Path, python: Path | None) -> list[str]:
    """Say who is champion, and what the place that serves it answers."""
    champion = store.models.champion(spec.name)
    if champion is None:
        return ["champion    none"]
    params = ", ".join(f"{name}={number(value)}" for name, value in champion.params.items())
    lines = [f"champion    version {champion.version}: {params}"]
    deploy = store.run_by_id(champion.run_id).spec.deploy
    if deploy is None:
        return [*lines, "served      nowhere: its spec has no `deploy`"]
    if deploy.to != "package" or deploy.options:
        return [*lines, f"served      by {deploy.to}"]
    return [*lines, f"served      {ask(home / 'models' / spec.name, python)}"]


def ask(folder: Path, python: Path | None) -> str:
    """Follow the alias to the package, have it predict its sample, and give what it says."""
    try:
        package = folder / json.loads((folder / ALIAS).read_text(encoding="utf-8"))["package"]
        if python is None:
            return f"{package.name}; nothing here can load it: HPO_TRIAL_PATH names no Python"
        with tempfile.TemporaryDirectory(prefix="hpo-nights-") as unpacked:
            with zipfile.ZipFile(package) as archive:
                archive.extractall(unpacked)
            words = [str(python), LOADER, "--check"]
            env = loading(python, Path(unpacked))
            done = checking.run(words, Path(unpacked), _ASK_S, env)
    except (OSError, ValueError, zipfile.BadZipFile, subprocess.TimeoutExpired) as error:
        raise HpoError(f"{folder}: what is served cannot be asked: {error}") from None
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode != 0 or not said:
        raise HpoError(f"{package}: load.py --check: {said[-1] if said else 'no answer'}")
    return f"{package.name}, asked for its sample: {said[-1]}"


def _python() -> Path | None:
    """Find the Python of local trials."""
    path = os.environ.get("HPO_TRIAL_PATH") or str(console.root() / ".venv-trial" / "bin")
    return interpreter(path)


def story(store: Store, experiment: str) -> list[str]:
    """Say what each night's model is by now, and what the gate said of it, the oldest first."""
    return [_line(model) for model in reversed(store.models.of(experiment))]


def _line(model: Model) -> str:
    retired = model.status is ModelStatus.RETIRED
    said = model.verdict_reason if retired else model.reason
    return f"version {model.version}  {model.status:<8}  {said}"


def _add_nights(commands: Any) -> None:
    parser = commands.add_parser(
        "nights",
        help="play an experiment's nights in a row",
        description=(
            "Start an Airflow with nothing in it and play nights of one experiment on it, one "
            "after the other: each FILE is what the experiment's file says on that night. Shows "
            "progress, the gate's verdict and what serves; stops Airflow."
        ),
        epilog="example: hpo nights mine.yaml mine-with-a-wider-space.yaml",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help="a spec, in YAML")
    parser.add_argument("--keep", action="store_true", help="leave Airflow running afterwards")
    parser.set_defaults(run=nights)


COMMANDS: list[Callable[[Any], None]] = [_add_nights]
