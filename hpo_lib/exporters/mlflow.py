"""MLflow's tracking: a parent run per run, a child per trial, over the server's REST API.

Runs are found again by tags: `hpo.run` names the run in its store, `hpo.trial` a trial of it. A
trial that has changed since gets a new run, and MLflow's old one is deleted: what is logged cannot
be taken back. A metric's curve has the metric's name, what the trial has come to `trial/` in front.
Whom it speaks as is said by MLflow's own variables: MLFLOW_TRACKING_TOKEN, or
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from hpo_lib import report
from hpo_lib.core.trial import Origin, TrialState
from hpo_lib.deployers.mlflow_rest import Json, MlflowServer, Refused, metric_keys
from hpo_lib.errors import SpecError
from hpo_lib.exporters import Exported, Series, results_of
from hpo_lib.records import Run, RunStatus, RunView, TrialView, attempt_uri
from hpo_lib.words import utc

if TYPE_CHECKING:
    import httpx

RUN, TRIAL, _DIGEST = "hpo.run", "hpo.trial", "hpo.digest"
_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"
_RESULT = "trial/"
_TIMEOUT_S = 60.0
#: How much MLflow takes at once, and of one parameter or tag.
_METRICS, _PARAMS, _TEXT, _PAGE = 1_000, 100, 5_000, 1_000
_STATES = {
    TrialState.RUNNING: "RUNNING",
    TrialState.WAITING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.STOPPED: "KILLED",
    TrialState.FAILED: "FAILED",
}
_STATUS = {RunStatus.RUNNING: "RUNNING", RunStatus.COMPLETE: "FINISHED"}


@dataclass(frozen=True, slots=True)
class _Logged:
    """What a run of MLflow is to hold."""

    name: str
    status: str
    began_ms: int
    ended_ms: int | None
    params: Mapping[str, str]
    metrics: Sequence[Mapping[str, Any]]
    tags: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Name all that is in it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


class MlflowExporter:
    """Logs to a tracking server; Refused and TransientError say what it says."""

    def __init__(self, target: str) -> None:
        """Take the server's address."""
        if not target.startswith(("http://", "https://")):
            raise SpecError(f"mlflow: must be a server's address, http://…, got {target}")
        if "@" in target.split("://", 1)[1].split("/", 1)[0]:
            raise SpecError(
                "mlflow: must be an address without a user; MLFLOW_TRACKING_USERNAME names one"
            )
        self._address = target.rstrip("/")

    def export(self, run: Exported) -> str:
        """Log the run and its trials, and the report as artifacts of the parent."""
        with _connected(self._address) as client:
            server, view = MlflowServer(client), run.view
            experiment = _experiment(server, view.run.experiment or "hpo")
            key = f"{view.run.provenance.store or 'store'}/{view.run.id}"
            known = {_tag(one, TRIAL): one for one in _found(server, experiment, key)}
            parent = known.get("") or _create(server, experiment, _whole(view), {RUN: key})
            folder, number = parent["info"]["artifact_uri"], parent["info"]["run_id"]
            for one, series in run.trials():
                mine = _trial(view, one, series)
                tags = {RUN: key, TRIAL: str(one.trial.number), _PARENT: number}
                _log_anew(server, experiment, mine, tags, known.get(str(one.trial.number)))
            _update(server, number, _whole(view))
            _upload(server, folder, view)
        return f"{self._address}/#/experiments/{experiment}/runs/{number}"


@contextmanager
def _connected(address: str) -> Iterator[httpx.Client]:
    import httpx

    said = os.environ.get
    token, user = said("MLFLOW_TRACKING_TOKEN"), said("MLFLOW_TRACKING_USERNAME")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    auth = (user, said("MLFLOW_TRACKING_PASSWORD", "")) if user and not token else None
    with httpx.Client(base_url=address, headers=headers, auth=auth, timeout=_TIMEOUT_S) as client:
        yield client


def _experiment(server: MlflowServer, name: str) -> str:
    """Give the number of an experiment, which is made if it is not there."""
    found = server.find("experiments/get-by-name", experiment_name=name)
    if not found:
        server.make("experiments/create", name=name)
        found = server.get("experiments/get-by-name", experiment_name=name)
    return str(found["experiment"]["experiment_id"])


def _found(server: MlflowServer, experiment: str, key: str) -> Iterator[Json]:
    """Give MLflow's runs of a run: of its trials, and the parent."""
    asked = {"experiment_ids": [experiment], "filter": f"tags.`{RUN}` = '{key}'"}
    token: str | None = None
    while True:
        more = {"page_token": token} if token else {}
        page = server.post("runs/search", **asked, max_results=_PAGE, **more)
        yield from page.get("runs", [])
        token = page.get("next_page_token")
        if not token:
            return


def _tag(run: Json, name: str) -> str:
    tags = run.get("data", {}).get("tags", [])
    return next((str(one["value"]) for one in tags if one["key"] == name), "")


def _log_anew(
    server: MlflowServer, experiment: str, mine: _Logged, tags: Mapping[str, str], old: Json | None
) -> None:
    """Log a trial unless it is there as it is; what was there of it is deleted."""
    if old is not None and _tag(old, _DIGEST) == mine.digest:
        return
    if old is not None:
        server.post("runs/delete", run_id=old["info"]["run_id"])
    number = _create(server, experiment, mine, tags)["info"]["run_id"]
    for some in _batches(mine.params.items(), _PARAMS):
        told = [{"key": name, "value": value} for name, value in some]
        server.post("runs/log-batch", run_id=number, params=told)
    for these in _batches(mine.metrics, _METRICS):
        server.post("runs/log-batch", run_id=number, metrics=these)
    _update(server, number, mine)
    # Last, so that half a run is logged again.
    server.post("runs/set-tag", run_id=number, key=_DIGEST, value=mine.digest)


def _create(server: MlflowServer, experiment: str, mine: _Logged, tags: Mapping[str, str]) -> Json:
    told = {**mine.tags, **tags, _NAME: mine.name}
    made = server.post(
        "runs/create",
        experiment_id=experiment,
        start_time=mine.began_ms,
        run_name=mine.name,
        tags=[{"key": name, "value": value} for name, value in told.items()],
    )
    found: Json = made["run"]
    return found


def _update(server: MlflowServer, number: str, mine: _Logged) -> None:
    ended = {} if mine.ended_ms is None else {"end_time": mine.ended_ms}
    server.post("runs/update", run_id=number, status=mine.status, **ended)


def _upload(server: MlflowServer, folder: str, view: RunView) -> None:
    """Upload the report, if the server takes files."""
    forms = {
        "trials.csv": report.csv,
        "report.json": report.json,
        "report.html": report.with_importance,
    }
    for name, make in forms.items():
        try:
            server.upload(folder, name, [make(view).encode()])
        except Refused as refused:
            if refused.code:
                raise
            return


def _whole(view: RunView) -> _Logged:
    """Say what the parent holds: no more than how the run stands, its report has the rest."""
    run = view.run
    return _Logged(
        name=f"run {run.id}",
        status=_STATUS.get(run.status, "FAILED"),
        began_ms=_ms(run.started_at.timestamp()),
        ended_ms=None if run.ended_at is None else _ms(run.ended_at.timestamp()),
        params={},
        metrics=(),
        tags=_tags({"dag_id": run.key.dag_id, "dag_run_id": run.key.dag_run_id}),
    )


def _trial(view: RunView, one: TrialView, series: Series) -> _Logged:
    trial, run = one.trial, view.run
    starts = [utc(each.started_at).timestamp() for each in one.attempts]
    began = min(starts, default=utc(run.started_at).timestamp())
    ends = [utc(each.ended_at).timestamp() for each in one.attempts if each.ended_at is not None]
    open_ = trial.state in (TrialState.RUNNING, TrialState.WAITING)
    ended = max(ends, default=began)
    final = trial.origin is Origin.FINAL
    results = results_of(view, one)
    keys = metric_keys([*series, *(f"{_RESULT}{name}" for name in results)])
    last = max((seen.step or 0 for curve in series.values() for seen in curve), default=0)
    metrics = [
        _metric(keys[name], seen.value, began if seen.time is None else seen.time, seen.step or 0)
        for name, curve in series.items()
        for seen in curve
        if math.isfinite(seen.value)
    ]
    metrics += [
        _metric(keys[f"{_RESULT}{name}"], value, ended, last) for name, value in results.items()
    ]
    names = metric_keys(trial.params)
    return _Logged(
        name=f"{'final trial' if final else 'trial'} {trial.number}",
        status=_STATES[trial.state],
        began_ms=_ms(began),
        ended_ms=None if open_ else _ms(ended),
        params={names[name]: _text(value) for name, value in trial.params.items()},
        metrics=metrics,
        tags=_tags(
            {
                "state": trial.state.value,
                "origin": trial.origin.value,
                "cause": trial.cause,
                "reason": trial.reason,
                "files": _files(run, one),
            }
        ),
    )


def _metric(key: str, value: float, time: float, step: int) -> Mapping[str, Any]:
    return {"key": key, "value": value, "timestamp": _ms(time), "step": step}


def _tags(said: Mapping[str, Any]) -> dict[str, str]:
    return {f"hpo.{name}": str(value)[:_TEXT] for name, value in said.items() if value}


def _files(run: Run, one: TrialView) -> str | None:
    """Name the folder with what a trial has left, if it is kept."""
    uri = run.outline.artifacts_uri
    if uri is None or not one.attempts:
        return None
    return attempt_uri(uri, run, one.trial.number, one.attempts[-1].number)


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:_TEXT]


def _ms(seconds: float) -> int:
    return round(seconds * 1000) if math.isfinite(seconds) else 0


def _batches(found: Iterable[Any], size: int) -> Iterator[list[Any]]:
    waiting = iter(found)
    while some := list(islice(waiting, size)):
        yield some
