"""Airflow over its REST API, and this project's beside it: trigger a DAG and see how it fares."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hpo_lib.errors import HpoError, NotFound, SpecError, TransientError

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S, _PAUSE_S = 30.0, 1.0
_TRIES = 5
_AIRFLOW, _HPO = "/api/v2", "/hpo/api/v1"
_HEALTHY = ("metadatabase", "scheduler", "dag_processor")
DONE = ("success", "failed")
#: Airflows of this machine: no proxy leads there.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Airflow:
    """A client of one Airflow; logs in when it has to, again when the token has expired."""

    def __init__(self, url: str, user: str, password: str, *, token: str | None = None) -> None:
        """Take the address without a slash at its end, e.g. http://127.0.0.1:8080.

        With a `token`, user and password are not needed.
        """
        self.url, self.user, self.password = url, user, password
        self._given, self._token = token, token
        self._client: httpx.Client | None = None

    def is_ready(self, dag_id: str) -> bool:
        """Say whether all components are healthy and the DAG is known."""
        try:
            health = self._send("GET", "/api/v2/monitor/health").json()
            if any((health.get(part) or {}).get("status") != "healthy" for part in _HEALTHY):
                return False
            self.call("GET", f"/dags/{dag_id}")
        except (HpoError, ValueError):
            return False
        return True

    def serves_tasks(self) -> bool:
        """Say whether tasks would be answered.

        Airflow 3.3.2 makes its API for them at their first question. For these seconds it answers
        nobody, and whoever was writing into its database keeps all others from it.
        """
        try:
            return self._send("GET", "/execution/health").is_success
        except HpoError:
            return False

    def has(self, dag_id: str) -> bool:
        """Say whether Airflow knows a DAG; TransientError if it does not answer."""
        try:
            self.call("GET", f"/dags/{dag_id}")
        except TransientError:
            raise
        except HpoError:
            return False
        return True

    def is_paused(self, dag_id: str) -> bool:
        """Say whether a DAG starts nothing until it is unpaused; not if that cannot be told."""
        try:
            found = self.call("GET", f"/dags/{dag_id}")
        except HpoError:
            return False
        return bool(found.get("is_paused"))

    def import_errors(self) -> str:
        """Give the errors of DAG files; empty if there are none, or while Airflow is not up."""
        try:
            found = self.call("GET", "/importErrors")["import_errors"]
        except HpoError:
            return ""
        return "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in found)

    def trigger(self, dag_id: str, conf: Any) -> str:
        """Start a DAG run with a conf, once; gives its run id.

        Airflow on SQLite may be too busy to write it down: then ask again, with the same run id.
        """
        run_id = f"manual__{datetime.now(UTC).isoformat()}"
        body = {"logical_date": None, "conf": conf, "dag_run_id": run_id}
        for rest in reversed(range(_TRIES)):
            try:
                self.call("POST", f"/dags/{dag_id}/dagRuns", body)
            except TransientError:
                if self._has(dag_id, run_id):
                    break
                if not rest:
                    raise
                time.sleep(_PAUSE_S)
            else:
                break
        return run_id

    def _has(self, dag_id: str, run_id: str) -> bool:
        try:
            self.state(dag_id, run_id)
        except HpoError:
            return False
        return True

    def state(self, dag_id: str, run_id: str) -> str:
        """Give the state of a DAG run: queued, running, success or failed."""
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        """Name a DAG run's failed tasks, except trials: a run may end well in spite of them."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?state=failed&limit=100"
        found = {str(task["task_id"]) for task in self.call("GET", path)["task_instances"]}
        return sorted(name for name in found if name.rpartition(".")[2] != "trial")

    def documentation(self, dag_id: str) -> str:
        """Give a DAG's documentation as Airflow shows it; empty if it does not know the DAG."""
        try:
            return str(self.call("GET", f"/dags/{dag_id}/details")["doc_md"] or "")
        except HpoError:
            return ""

    def run_url(self, dag_id: str, run_id: str) -> str:
        """Give the page of a DAG run."""
        return f"{self.url}/dags/{dag_id}/runs/{run_id}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API; TransientError if Airflow does not answer, HpoError if it refuses."""
        answer = self._asked(method, f"{_AIRFLOW}{path}", body)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TransientError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        if answer.status_code >= 400:
            raise HpoError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def hpo(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Call this project's own API, and give its JSON; errors are in its words."""
        answer = self.hpo_raw(method, path, body, **query)
        return answer.json() if answer.content else None

    def hpo_raw(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """Do as `hpo`, for an answer that is no JSON. A question is asked some times.

        TransientError if it does not answer, SpecError for what the caller has to correct, NotFound
        for what is not there, HpoError for any other refusal.
        """
        asked = {name: value for name, value in query.items() if value is not None}
        for _ in range(_TRIES - 1 if method == "GET" else 0):
            answer = self._asked(method, f"{_HPO}{path}", body, asked)
            if answer.status_code < 500:
                break
            time.sleep(_PAUSE_S)
        else:
            answer = self._asked(method, f"{_HPO}{path}", body, asked)
        if answer.is_success:
            return answer
        raise _refusal(self.url, answer)

    def download(self, path: str) -> Iterator[bytes]:
        """Give a file of this project's own API, in pieces; errors as in `hpo_raw`."""
        import httpx

        url = f"{self.url}{_HPO}{path}"
        self._token = self._token or self.login()
        for last in (False, True):
            headers = {"Authorization": f"Bearer {self._token}"}
            try:
                with self._connection().stream("GET", url, headers=headers) as answer:
                    if answer.status_code != 401 or last:
                        yield from _pieces(self.url, answer)
                        return
            except httpx.HTTPError as error:
                raise TransientError(f"Airflow at {self.url} does not answer: {error}") from None
            self._token = self.login()

    def _asked(
        self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """Ask as who has logged in, and log in again if that is over."""
        self._token = self._token or self.login()
        answer = self._send(method, path, body, self._token, query)
        if answer.status_code == 401:
            self._token = self.login()
            answer = self._send(method, path, body, self._token, query)
        return answer

    def login(self) -> str:
        """Give a token; HpoError if Airflow lets nobody in by what it was told."""
        if self._given is not None:
            raise HpoError(f"Airflow at {self.url} refused the token: it may have expired")
        body = {"username": self.user, "password": self.password}
        answer = self._send("POST", "/auth/token", body)
        if answer.status_code >= 400:
            raise HpoError(f"Airflow at {self.url} refused the login of {self.user}")
        return str(answer.json()["access_token"])

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        import httpx

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return self._connection().request(
                method, self.url + path, json=body, headers=headers, params=query or None
            )
        except httpx.HTTPError as error:
            raise TransientError(f"Airflow at {self.url} does not answer: {error}") from None

    def _connection(self) -> httpx.Client:
        import httpx

        if self._client is None:
            own = httpx.URL(self.url).host in _LOOPBACK
            self._client = httpx.Client(timeout=_TIMEOUT_S, trust_env=not own)
        return self._client


def _pieces(url: str, answer: httpx.Response) -> Iterator[bytes]:
    """Give the content of a good answer as it comes."""
    if not answer.is_success:
        answer.read()
        raise _refusal(url, answer)
    yield from answer.iter_bytes()


def paused(dag_id: str) -> str:
    """Say what it means that a DAG is paused, and how that ends."""
    return (
        f"{dag_id} is paused in Airflow: nothing starts until it is unpaused "
        f"(airflow dags unpause {dag_id}, or the switch in the UI)"
    )


def _refusal(url: str, answer: httpx.Response) -> HpoError:
    """Make the error that an answer of this project's API stands for."""
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{answer.status_code} {answer.text[:200]}"
        if answer.status_code in (404, 405):
            detail = f"the Airflow at {url} does not have this project's plugin ({detail})"
    kinds: dict[int, type[HpoError]] = {404: NotFound, 422: SpecError, 429: TransientError}
    kind = TransientError if answer.status_code >= 500 else kinds.get(answer.status_code, HpoError)
    return kind(detail)
