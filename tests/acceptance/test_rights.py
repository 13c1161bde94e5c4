"""Who may do what: each cell of the table in docs/teams.md, on a real Airflow with two teams."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_airflow.api import PREFIX
from hpo_lib.cli.airflow_api import Airflow
from hpo_lib.cli.embedded import Embedded
from hpo_lib.errors import HpoError, TransientError
from hpo_lib.records import RunKey, RunStatus
from hpo_lib.store import Store
from tests.acceptance.conftest import ROOT, SETTINGS, Stack, no_housekeeping, until
from tests.acceptance.runs.test_run import conf

pytestmark = pytest.mark.airflow

DAG, CLAIMED = "hpo_vision.local", "hpo_claimed"
#: In the bundle of the team speech: a DAG that says that it is vision's.
_CLAIM = """
from hpo_airflow.on_demand import on_demand
from hpo_lib.registry import backends

dag = on_demand("hpo_claimed", "local", backends()["local"], "vision")
"""
_RIGHTS = (ROOT / "docs" / "teams.md").read_text().partition("\n## Who may do what\n")[2]
TABLE = _RIGHTS.partition("\n### With FAB\n")[0]
#: By column: a user, and how Airflow's simple auth manager is told of its role and team.
USERS = {
    "other team": ("sam", "op:speech"),
    "viewer": ("vera", "viewer:vision"),
    "member": ("mia", "user:vision"),
    "owner": ("olga", "op:vision"),
    "admin": ("admin", "admin"),
}
ALL = ("anonymous", *USERS)
_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
_PATH = os.pathsep.join(str(path) for path in (ROOT / "config", ROOT))


def cells() -> dict[str, dict[str, bool]]:
    """Read the table: by action and column, whether it may be."""
    rows = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")]
    head, *others = rows
    assert head == ["action", *ALL]
    return {
        row[0]: {
            who: {"yes": True, "no": False}[said] for who, said in zip(ALL, row[1:], strict=True)
        }
        for row in others
    }


@dataclass
class Teams:
    """An Airflow with the teams vision and speech, a run of vision's, and somebody of each kind."""

    stack: Stack
    key: RunKey
    clients: Mapping[str, httpx.Client]
    passwords: Mapping[str, str]

    def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask Airflow's API as somebody, again while its SQLite is too busy to answer."""
        return self._asked(who, method, f"/api/v2{path}", body)

    def hpo(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """Do as `ask`, of the API of this project.

        Who is told that the state of a run does not allow it was allowed to ask.
        """
        answer = self._asked(who, method, f"{PREFIX}{path}", body)
        return httpx.Response(200, text=answer.text) if answer.status_code == 409 else answer

    def _asked(self, who: str, method: str, path: str, body: Any) -> httpx.Response:
        def answered() -> httpx.Response | None:
            with suppress(httpx.HTTPError):
                answer = self.clients[who].request(method, path, json=body)
                return answer if answer.status_code < 500 else None
            return None

        return until(answered, f"an answer to {method} {path}")

    def new_run(self) -> str:
        """Trigger a run that waits for ever, as the DAG is paused, and give its path."""
        return f"/dags/{DAG}/dagRuns/{self.stack.trigger(conf(), DAG).dag_run_id}"


def _bundle(home: Path, team: str) -> dict[str, Any]:
    folder = home / "bundles" / team
    folder.mkdir(parents=True)
    code = (
        f"from hpo_airflow.team_dags import dags_of_team\nglobals().update(dags_of_team({team!r}))"
    )
    (folder / f"hpo_{team}.py").write_text(code)
    return {
        "name": team,
        "classpath": _BUNDLE,
        "kwargs": {"path": str(folder)},
        "team_name": team,
    }


@pytest.fixture(scope="module")
def teams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teams]:
    """Run an Airflow with two teams, each with a bundle of its own, and one run to its end."""
    home = tmp_path_factory.mktemp("airflow")
    shared = {"name": "shared", "classpath": _BUNDLE, "kwargs": {"path": str(ROOT / "dags")}}
    config = home / "deployment.yaml"
    backends = {"backends": ["local"]}
    config.write_text(json.dumps({"teams": {"vision": backends, "speech": backends}}))
    users = ",".join(f"{user}:{role}" for user, role in USERS.values())
    settings = {
        "HPO_CONFIG": str(config),
        "PYTHONPATH": _PATH,
        "AIRFLOW__CORE__MULTI_TEAM": "True",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
            [shared, _bundle(home, "vision"), _bundle(home, "speech")]
        ),
    }
    (home / "bundles" / "speech" / "claimed.py").write_text(_CLAIM)
    embedded = Embedded(ROOT, home, SETTINGS | settings)
    embedded.airflow("db", "migrate")
    for team in ("vision", "speech"):
        embedded.airflow("teams", "create", team)
    try:
        embedded.up(lambda _: None)
        with Store.open(embedded.store_url) as store:
            stack = Stack(embedded, store)
            until(lambda: stack.client().is_ready(DAG), DAG)
            key = stack.trigger(conf(limits={"max_trials": 1}), DAG)
            stack.complete(key)
            known = {"connection_id": "known", "conn_type": "generic"}
            stack.client().call("POST", "/connections", known)
            with no_housekeeping(stack):
                stack.pause(DAG, True)
                yield Teams(stack, key, _clients(embedded), _passwords(embedded))
    finally:
        embedded.down()


def _passwords(embedded: Embedded) -> dict[str, str]:
    """Read the passwords by user; those of others than admin are Airflow's choice."""
    return dict(json.loads((embedded.home / "passwords.json").read_text()))


def _clients(embedded: Embedded) -> dict[str, httpx.Client]:
    """Log everybody in."""
    url, passwords = embedded.client().url, _passwords(embedded)
    clients = {"anonymous": httpx.Client(base_url=url, trust_env=False, timeout=60)}
    for who, (user, _) in USERS.items():
        client = httpx.Client(base_url=url, trust_env=False, timeout=60)
        login = {"username": user, "password": passwords[user]}

        def token(client: httpx.Client = client, login: dict[str, str] = login) -> str | None:
            with suppress(httpx.HTTPError, KeyError, ValueError):
                return str(client.post("/auth/token", json=login).json()["access_token"])
            return None

        client.headers["Authorization"] = f"Bearer {until(token, f'the login of {user}')}"
        clients[who] = client
    return clients


Ask = Callable[[Teams, str], httpx.Response]


def _run(teams: Teams) -> str:
    return f"/dags/{DAG}/dagRuns/{teams.key.dag_run_id}"


def _trial(teams: Teams) -> str:
    return f"{_run(teams)}/taskInstances/slot"


def _trigger(teams: Teams, who: str) -> httpx.Response:
    body = {"logical_date": None, "conf": conf()}
    return teams.ask(who, "POST", f"/dags/{DAG}/dagRuns", body)


def _clear(teams: Teams, who: str) -> httpx.Response:
    body = {"dry_run": True, "dag_run_id": teams.key.dag_run_id, "task_ids": ["report"]}
    return teams.ask(who, "POST", f"/dags/{DAG}/clearTaskInstances", body)


def _mark(teams: Teams, who: str) -> httpx.Response:
    """Give the trial's task another state than it has."""
    (state,) = teams.stack.states(teams.key, "slot")
    body = {"new_state": "failed" if state == "success" else "success"}
    return teams.ask(who, "PATCH", f"{_trial(teams)}/0", body)


def _listed(teams: Teams, who: str) -> httpx.Response:
    answer = teams.ask(who, "GET", "/dags?limit=100")
    found = [one["dag_id"] for one in answer.json().get("dags", [])]
    return answer if DAG in found or answer.is_error else httpx.Response(403)


def _by_command(teams: Teams, who: str) -> httpx.Response:
    """Trigger the DAG with the client of `hpo run`, which logs in by itself."""
    user = USERS.get(who, ("nobody", ""))[0]
    client = Airflow(teams.stack.client().url, user, teams.passwords.get(user, ""))

    def answered() -> httpx.Response | None:
        try:
            client.trigger(DAG, conf())
        except TransientError:
            return None
        except HpoError as error:
            if "refused the login" in str(error):
                return httpx.Response(401, text=str(error))
            if ": 403 " not in str(error):
                raise
            return httpx.Response(403, text=str(error))
        return httpx.Response(200)

    return until(answered, "an answer to `hpo run`")


def _run_of_hpo(teams: Teams) -> str:
    return f"/runs/{teams.stack.run(teams.key).id}"


def _shown(teams: Teams, who: str) -> httpx.Response:
    """Ask for all that is shown of a run; the first refusal counts."""
    parts = ["trials", "best", "spec", "report", "trials.csv", "summary", "table", "charts"]
    run = _run_of_hpo(teams)
    answers = [teams.hpo(who, "GET", one) for one in (run, *(f"{run}/{part}" for part in parts))]
    assert len({one.is_success for one in answers}) == 1
    return answers[0]


_APPROVED = {"chosen_options": ["Approve"], "params_input": {}}
_POOL = {"pool": "hpo_trials", "slots": 6, "description": "trials", "include_deferred": False}
ACTIONS: dict[str, Ask] = {
    "see the DAG": lambda t, who: t.ask(who, "GET", f"/dags/{DAG}"),
    "find the DAG in the list": _listed,
    "see its runs": lambda t, who: t.ask(who, "GET", f"/dags/{DAG}/dagRuns"),
    "see the trials of a run": lambda t, who: t.ask(who, "GET", f"{_run(t)}/taskInstances"),
    "read a task's log": lambda t, who: t.ask(who, "GET", f"{_trial(t)}/logs/1?map_index=0"),
    "read a task's result": lambda t, who: t.ask(
        who, "GET", f"{_trial(t)}/xcomEntries/return_value?map_index=0"
    ),
    "trigger a run": _trigger,
    "stop a run": lambda t, who: t.ask(who, "PATCH", t.new_run(), {"state": "failed"}),
    "stop a trial": _mark,
    "clear tasks": _clear,
    "delete a run": lambda t, who: t.ask(who, "DELETE", t.new_run()),
    "approve a challenger": lambda t, who: t.ask(
        who, "PATCH", f"{_run(t)}/taskInstances/approve/-1/hitlDetails", _APPROVED
    ),
    "pause the DAG": lambda t, who: t.ask(who, "PATCH", f"/dags/{DAG}", {"is_paused": True}),
    "change the pool of the trials": lambda t, who: t.ask(who, "PATCH", "/pools/hpo_trials", _POOL),
    "read a connection": lambda t, who: t.ask(who, "GET", "/connections/known"),
    "`hpo run` a file on it": _by_command,
    "`hpo status`, `trials`, `best`, `spec`, `report`, `export`": _shown,
    "`hpo model`": lambda t, who: t.hpo(who, "GET", f"{_run_of_hpo(t)}/trials/1/files"),
    "`hpo log`": lambda t, who: t.hpo(who, "GET", f"{_run_of_hpo(t)}/trials/1/log"),
    "`hpo run --airflow`": lambda t, who: t.hpo(who, "POST", "/runs?team=vision", conf()),
    "`hpo stop`": lambda t, who: t.hpo(who, "POST", f"{_run_of_hpo(t)}/stop"),
    "`hpo cancel`": lambda t, who: t.hpo(who, "POST", f"{_run_of_hpo(t)}/cancel"),
    "`hpo stop-trial`": lambda t, who: t.hpo(who, "POST", f"{_run_of_hpo(t)}/trials/1/stop"),
    "`hpo add-point`": lambda t, who: t.hpo(
        who, "POST", f"{_run_of_hpo(t)}/points", {"params": {"x": 0.5}}
    ),
    "`hpo extend`": lambda t, who: t.hpo(
        who, "POST", f"{_run_of_hpo(t)}/extend", {"max_trials": 1}
    ),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_cell_of_the_table_is_right(teams: Teams, action: str) -> None:
    answers = {who: ACTIONS[action](teams, who) for who in ALL}
    assert answers["anonymous"].status_code == 401
    told = {who: f"{one.status_code} {one.text[:200]}" for who, one in answers.items()}
    # Nobody is asked in this run: who may answer is told so, everybody else that they may not.
    missing = action == "approve a challenger"
    allowed = {
        who: one.is_success or (missing and one.status_code == 404 and "Human" in one.text)
        for who, one in answers.items()
    }
    refused = {who: one.status_code in (401, 403) for who, one in answers.items()}
    assert all(allowed[who] != refused[who] for who in ALL), told
    assert allowed == cells()[action], told


def test_the_table_has_every_action() -> None:
    assert cells().keys() == ACTIONS.keys()


def test_lists_hold_only_what_one_may_see(teams: Teams) -> None:
    lists = {who: teams.hpo(who, "GET", "/runs") for who in ALL}
    assert lists.pop("anonymous").status_code == 401
    seen = {who: [run["dag_id"] for run in one.json()["runs"]] for who, one in lists.items()}
    assert seen["other team"] == []
    assert all(DAG in dags for who, dags in seen.items() if who != "other team")


def test_a_bundle_runs_no_dag_of_another_team(teams: Teams) -> None:
    client = teams.stack.client()
    until(lambda: client.is_ready(CLAIMED), CLAIMED)
    key = teams.stack.trigger(conf(), CLAIMED)
    assert teams.stack.wait(key) == "failed"
    run = teams.stack.run(key)
    assert (run.team, run.status) == ("", RunStatus.REFUSED)
    assert "must be of one team, is of speech and vision" in run.reason


def test_a_run_is_of_the_team_of_its_bundle(teams: Teams) -> None:
    run = teams.stack.run(teams.key)
    assert (run.team, run.experiment, run.status) == ("vision", "vision.run", RunStatus.COMPLETE)
