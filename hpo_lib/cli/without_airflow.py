"""What commands that only read are answered where this folder's Airflow is down: by its store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from hpo_lib.cli import of_store
from hpo_lib.errors import HpoError
from hpo_lib.files.artifacts import Offers, offers
from hpo_lib.records import Run, RunStatus
from hpo_lib.runs.trial_files import Left, left_by
from hpo_lib.store import Store
from hpo_lib.store.listing import Wanted

if TYPE_CHECKING:
    from pydantic import BaseModel


_FILE = re.compile(r"/runs/(\d+)/trials/(\d+)/files/(.+)")


class Content(Protocol):
    """An answer that is no JSON."""

    @property
    def content(self) -> bytes:
        """What it is."""
        ...


class Reader(Protocol):
    """Whoever answers what the REST API answers to GET: an Airflow, or a store without one."""

    def hpo(self, method: str, path: str, **query: Any) -> Any:
        """Give the JSON of an answer."""
        ...

    def hpo_raw(self, method: str, path: str, **query: Any) -> Content:
        """Give an answer that is no JSON."""
        ...

    def download(self, path: str) -> Iterator[bytes]:
        """Give an answer that is a file, in pieces."""
        ...

    def run_url(self, dag_id: str, run_id: str) -> str:
        """Say where Airflow shows a DAG run."""
        ...


@dataclass(frozen=True, slots=True)
class Bytes:
    """An answer that is no JSON."""

    content: bytes


@dataclass(frozen=True, slots=True)
class OfStore:
    """Answers of a store whose Airflow is down, to whoever may read all of it."""

    url: str

    def hpo(self, method: str, path: str, **query: Any) -> Any:
        """Answer a question about runs; HpoError for all else, which needs Airflow."""
        with Store.open(self.url) as store:
            found = _answer(store, path, query) if method == "GET" else None
        if found is None:
            raise _needs_airflow(method, path)
        return found.model_dump(mode="json")

    def hpo_raw(self, method: str, path: str, **_: Any) -> Bytes:
        """Answer with a report, or with a table."""
        from hpo_lib import report

        *_before, number, what = path.split("/")
        make = {"report": report.with_importance, "trials.csv": report.csv}.get(what)
        if method != "GET" or make is None:
            raise _needs_airflow(method, path)
        with Store.open(self.url) as store:
            return Bytes(make(store.view(int(number), report.looked_at)).encode())

    def download(self, path: str) -> Iterator[bytes]:
        """Read a file that a trial has left."""
        found = _FILE.fullmatch(path)
        if found is None:
            raise _needs_airflow("GET", path)
        with Store.open(self.url) as store:
            left = _left(store, store.run_by_id(int(found[1])), int(found[2]))
            yield from left.read(unquote(found[3]))[1]

    def run_url(self, dag_id: str, run_id: str) -> str:
        """Say why there is no page to look at."""
        return f"{dag_id} {run_id}; `hpo up` starts Airflow, which shows it"


def _answer(store: Store, path: str, query: Mapping[str, Any]) -> BaseModel | None:
    """Answer as the routes of the REST API do; None to what is none of these."""
    limit, dags = max(1, query.get("limit", 1)), store.listing.dag_ids()
    kind, *more = path.strip("/").split("/")
    if kind == "experiments":
        return of_store.experiments(store, dags, query.get("after") or "", limit)
    if not more:
        status = RunStatus(query["status"]) if query.get("status") else None
        wanted = Wanted(dags, query.get("experiment"), status)
        return of_store.runs(store, wanted, query.get("before"), limit)
    run = store.run_by_id(int(more[0]))
    match more[1:]:
        case []:
            return of_store.run(store, run)
        case ["trials"]:
            after, finals = query.get("after"), query.get("final") == "true"
            return of_store.trials(store, run, -1 if after is None else after, limit, finals=finals)
        case ["trials", number, "files"]:
            left = _left(store, run, int(number))
            return of_store.files(left, query.get("after") or "", limit)
        case ["best"]:
            return of_store.best(store, run)
        case ["spec"]:
            return of_store.spec(run)
    return None


def _left(store: Store, run: Run, number: int) -> Left:
    return left_by(store, run, number, own_artifacts(run))


def own_artifacts(run: Run) -> Offers:
    """Offer what a shell can reach: where a run's artifacts lie, with the shell's own keys.

    That was allowed when the run began; the connections of Airflow are not known here.
    """
    kept = run.spec.artifacts
    return offers({} if kept is None else {kept.uri: None}, lambda _: {})


def _needs_airflow(method: str, path: str) -> HpoError:
    return HpoError(f"{method} {path} needs Airflow, which is down here: `hpo up` starts it")
