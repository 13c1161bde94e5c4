"""The API server between us and what serves: its own refusals, and requests that go through it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from hpo_lib.backends.pod_status import refused
from hpo_lib.backends.pods import server
from hpo_lib.errors import SpecError

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

_TRIES, _PAUSE_S = 3, 0.5
_REQUEST_S = (5, 60)
_AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


@contextmanager
def asking() -> Iterator[None]:
    """Raise SpecError for what the cluster refuses, TransientError if the cluster is in trouble."""
    from kubernetes.client.exceptions import ApiException

    with server():
        try:
            yield
        except ApiException as error:
            if end := refused(error.status, error.body):
                raise SpecError(f"deploy: kubernetes refuses: {end.detail}") from error
            raise


def request_through(
    core: CoreV1Api, namespace: str, place: str, path: str, body: bytes | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Ask a pod or a Service; tried again while nobody answers.

    `place` is what the API server calls it, such as `pods/name:8080`. With a `body` it is a POST.
    """
    client = core.api_client
    headers = {**client.default_headers, "Accept": "application/json"}
    headers["Content-Type"] = "application/json"
    client.update_params_for_auth(headers, [], ["BearerToken"])
    prefix = f"/api/v1/namespaces/{namespace}/{place}/proxy"
    url = f"{client.configuration.host}{prefix}{path}"
    for rest in reversed(range(_TRIES)):
        with server():
            found = client.rest_client.pool_manager.request(
                "GET" if body is None else "POST",
                url,
                body=body,
                headers=headers,
                timeout=_timeout(),
                retries=False,
                redirect=False,
            )
        if found.status not in _AWAY or not rest:
            break
        time.sleep(_PAUSE_S)
    _refuse_denial(found.status, found.data)
    return found.status, found.headers, found.data


def _refuse_denial(code: int, body: bytes) -> None:
    """Tell the API server's own refusal from what a server behind it answers; SpecError."""
    if (
        code == HTTPStatus.FORBIDDEN
        and b'"kind":"Status"' in body
        and (end := refused(code, body.decode()))
    ):
        raise SpecError(f"deploy: kubernetes refuses: {end.detail}")


def _timeout() -> Any:
    from urllib3 import Timeout

    connect, read = _REQUEST_S
    return Timeout(connect=connect, read=read)
