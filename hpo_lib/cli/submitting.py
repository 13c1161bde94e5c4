"""`hpo run` on any Airflow, and what Ctrl-C means while a run is followed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hpo_lib.cli.airflow_api import DONE, paused
from hpo_lib.cli.console import moving, remark, say
from hpo_lib.cli.remote import again, follow
from hpo_lib.errors import HpoError
from hpo_lib.records import RunKey

if TYPE_CHECKING:
    from hpo_lib.cli.airflow_api import Airflow
    from hpo_lib.spec import Spec

_POLL_S, _SECOND_S = 1.0, 3.0
_INTERRUPTED = 130


def run(client: Airflow, spec: Spec, team: str = "", *, as_json: bool = False) -> int:
    """Submit a spec, as a team's if one is named, and follow its run; 0 if it is complete."""
    name = f"manual__{datetime.now(UTC).isoformat()}"
    conf, query = spec.unscheduled().dump(), {"dag_run_id": name, "team": team or None}
    with moving("Airflow is told", remark):
        told = again(lambda: client.hpo("POST", "/runs", conf, **query))
    key = RunKey(told["dag_id"], told["dag_run_id"])
    if not as_json:
        say(f"triggered {key.dag_id}: {client.run_url(key.dag_id, key.dag_run_id)}")
    return interruptible(client, key, lambda: _followed(client, key, as_json=as_json))


def wait_while_paused(client: Airflow, key: RunKey) -> None:
    """Say that the DAG of a DAG run is paused, and wait as long as it is; else do nothing."""
    if not client.is_paused(key.dag_id):
        return
    remark(paused(key.dag_id))
    with moving(f"{key.dag_id} is paused", remark):
        while client.is_paused(key.dag_id):
            if client.state(key.dag_id, key.dag_run_id) in DONE:
                return
            time.sleep(_POLL_S)


def _followed(client: Airflow, key: RunKey, *, as_json: bool) -> int:
    wait_while_paused(client, key)
    with moving("the conf is being checked", remark):
        number = begun(client, key)
    return follow(client, number, as_json=as_json)


def begun(client: Airflow, key: RunKey) -> int:
    """Wait until a DAG run's conf has been checked, and give the number of its run."""
    while True:
        state = client.state(key.dag_id, key.dag_run_id)
        if (number := number_of(client, key)) is not None:
            return number
        if state in DONE:
            url = client.run_url(key.dag_id, key.dag_run_id)
            raise HpoError(f"the DAG run failed before it began; see {url}")
        time.sleep(_POLL_S)


def number_of(client: Airflow, key: RunKey) -> int | None:
    """Give the number of a DAG run's run; None as long as there is none."""
    query = {"dag_id": key.dag_id, "dag_run_id": key.dag_run_id}
    found: list[dict[str, Any]] = client.hpo("GET", "/runs", **query)["runs"]
    return int(found[0]["id"]) if found else None


def interruptible(client: Airflow, key: RunKey, follows: Callable[[], int]) -> int:
    """Follow a run; Ctrl-C leaves it to itself, a second one within three seconds stops it."""
    try:
        return follows()
    except KeyboardInterrupt:
        number = number_of(client, key)
    if number is None:
        url = client.run_url(key.dag_id, key.dag_run_id)
        say(f"\nthe run goes on as soon as Airflow has checked its conf: {url}")
        return _INTERRUPTED
    say(
        f"\nrun {number} goes on: `hpo watch {number}` follows it, `hpo stop {number}` stops it; "
        f"so does Ctrl-C again, within {_SECOND_S:.0f} seconds"
    )
    try:
        time.sleep(_SECOND_S)
    except KeyboardInterrupt:
        ended = again(lambda: client.hpo("POST", f"/runs/{number}/stop"))
        say(f"run {number} stops: {ended['reason']}; a report follows")
    return _INTERRUPTED
