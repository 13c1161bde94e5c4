"""The part of MLflow's REST API that a deployer needs, without MLflow's own client.

Artifacts go through the server (`mlflow server --serve-artifacts`, its default): whoever may call
it needs no credentials for where it keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hpo_lib.errors import SpecError, TransientError
from hpo_lib.files.places import said

if TYPE_CHECKING:
    import httpx

_API = "/api/2.0/mlflow"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_PROXIED = "mlflow-artifacts:"
#: Answers that say that the server is not well, or that there is too much to do.
_OUTAGES = (408, 429, 500, 502, 503, 504)

Json = Mapping[str, Any]


class Refused(SpecError):
    """MLflow refused a request; `code` is its word for why."""

    def __init__(self, message: str, code: str) -> None:
        """Take what to tell, and MLflow's own word."""
        super().__init__(message)
        self.code = code


class MlflowServer:
    """Calls a server; TransientError if it does not answer, Refused if it refuses."""

    def __init__(self, client: httpx.Client) -> None:
        """Take a client with the server's address and credentials."""
        self._client = client

    def get(self, path: str, **query: str | int) -> Json:
        """Read something."""
        return self._json("GET", f"{_API}/{path}", params=query)

    def find(self, path: str, **query: str) -> Json:
        """Read something; empty if it is not there."""
        try:
            return self.get(path, **query)
        except Refused as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}

    def post(self, path: str, **body: Any) -> Json:
        """Make or change something."""
        return self._json("POST", f"{_API}/{path}", json=body)

    def make(self, path: str, **body: Any) -> None:
        """Make something unless it is there."""
        try:
            self.post(path, **body)
        except Refused as error:
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise

    def remove(self, path: str, **body: Any) -> None:
        """Remove something, unless it is gone already."""
        try:
            self._json("DELETE", f"{_API}/{path}", json=body)
        except Refused as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def upload(self, folder: str, name: str, content: Iterable[bytes]) -> None:
        """Write a file of a run, replacing one of the same name."""
        with self._answer("PUT", f"{_FILES}/{_within(folder, name)}", content=content):
            pass

    def download(self, folder: str, name: str) -> Iterator[bytes]:
        """Yield a file's bytes; Refused if there is none."""
        with self._answer("GET", f"{_FILES}/{_within(folder, name)}") as answer, _reached():
            yield from answer.iter_bytes()

    def sizes(self, folder: str, below: str = "") -> dict[str, int]:
        """List the files of a run with their sizes, by their paths."""
        path = _within(folder, below, quoted=False)
        found: dict[str, int] = {}
        for one in self._json("GET", _FILES, params={"path": path}).get("files", []):
            name = f"{below}/{one['path']}" if below else one["path"]
            if one.get("is_dir"):
                found |= self.sizes(folder, name)
            else:
                found[name] = int(one.get("file_size", 0))
        return found

    def clear(self, folder: str) -> None:
        """Delete the files of a run."""
        with self._answer("DELETE", f"{_FILES}/{_within(folder)}"):
            pass

    def _json(self, verb: str, path: str, **asked: Any) -> Json:
        with self._answer(verb, path, **asked) as answer, _reached():
            answer.read()
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(f"mlflow: {verb} {path}: what answers there is no MLflow server", "")
        return found

    @contextmanager
    def _answer(self, verb: str, path: str, **asked: Any) -> Iterator[httpx.Response]:
        with _reached():
            request = self._client.build_request(verb, path, **asked)
            answer = self._client.send(request, stream=True)
        try:
            if not answer.is_success:
                with _reached():
                    answer.read()
                raise _error(verb, path, answer)
            yield answer
        finally:
            answer.close()


@contextmanager
def _reached() -> Iterator[None]:
    """Raise TransientError if the server cannot be reached."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        raise TransientError(f"mlflow: cannot be reached: {said(error)}") from None


def _error(verb: str, path: str, answer: httpx.Response) -> Exception:
    """Say what a server's answer means, in its own words if it has any."""
    try:
        found = answer.json()
        code, words = str(found["error_code"]), str(found["message"])
    except (ValueError, KeyError, TypeError):
        code, words = "", answer.reason_phrase
    message = f"mlflow: {verb} {path}: {answer.status_code}: {words[:500]}"
    if answer.status_code in _OUTAGES:
        return TransientError(message)
    return Refused(message, code)


def _within(folder: str, name: str = "", *, quoted: bool = True) -> str:
    """Give the path of a run's file from the URI of its artifacts; Refused if not proxied."""
    if not folder.startswith(_PROXIED):
        raise Refused(
            f"mlflow: artifacts must go through the server, got {folder}; start it with "
            "--serve-artifacts and no --default-artifact-root",
            "",
        )
    root = folder.removeprefix(_PROXIED).lstrip("/")
    path = f"{root}/{name}" if name else root
    return quote(path) if quoted else path


def metric_keys(names: Iterable[str]) -> dict[str, str]:
    """Give each metric a key that every MLflow takes, by name: `hit@10` becomes `hit_10`.

    It takes letters, digits, `_ - . /` and blanks, and no path that leads elsewhere. A name that
    is a key stays as it is; another whose key is taken gets a `_` behind it.
    """
    keys = {name: _key(name) for name in names}
    made = {name: name for name, key in keys.items() if key == name}
    taken = set(made)
    for name, key in keys.items():
        while name not in made and key in taken:
            key += "_"
        taken.add(made.setdefault(name, key))
    return made


def _key(name: str) -> str:
    parts = re.sub(r"[^\w./ -]", "_", name).split("/")
    return "/".join(part for part in parts if part.strip(".")).lstrip(".") or "_"
