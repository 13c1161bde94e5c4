"""A pod's log by the real client of Kubernetes, from a fake API server that speaks real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from hpo_lib.backends import INCOMPLETE
from hpo_lib.backends.kept_log import MISSING
from hpo_lib.backends.pod_logs import PodLogs

BEGAN = "2031-05-06T07:08:09Z"
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "creationTimestamp": BEGAN},
    "status": {"containerStatuses": [{"name": "c", "state": {"running": {"startedAt": BEGAN}}}]},
}
LINES = [f"2031-05-06T07:08:{10 + number}.000000000Z line {number}\n" for number in range(9)]


class FakeServer(BaseHTTPRequestHandler):
    """Gives some lines at each call, in chunks; where `breaks` says so it hangs up in the next."""

    protocol_version = "HTTP/1.1"
    #: For each call: the lines that the node has, and whether the connection breaks.
    calls: ClassVar[list[tuple[list[str], bool]]] = []
    asked: ClassVar[list[dict[str, list[str]]]] = []

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        assert url.path == "/api/v1/namespaces/n/pods/p/log"
        FakeServer.asked.append(parse_qs(url.query))
        lines, breaks = FakeServer.calls.pop(0)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            self.wfile.write(f"{len(line):x}\r\n{line}\r\n".encode())
        if breaks:
            self.wfile.write(b"20\r\n2031-05")
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def core() -> Iterator[Any]:
    from kubernetes import client

    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeServer)
    Thread(target=server.serve_forever, daemon=True).start()
    FakeServer.asked.clear()
    settings = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    settings.retries = False
    yield client.CoreV1Api(client.ApiClient(settings))
    server.shutdown()
    server.server_close()


def test_a_log_that_breaks_off_and_is_turned_over_is_whole_where_it_meets(
    core: Any, tmp_path: Path
) -> None:
    logs = PodLogs(tmp_path / "pods")
    FakeServer.calls[:] = [(LINES[:3], True), (LINES[:5], True), (LINES[2:7], False)]
    seen = []
    for _ in range(3):
        logs.watch(core, POD, "c")
        seen += list(logs.lines(30.0, last=False))
    assert seen == [f"line {number}" for number in range(7)]
    FakeServer.calls[:] = [(LINES[8:], False)]
    logs.fetch(core, POD, "c")
    logs.put_together(tmp_path / "log.txt")
    whole = "".join(f"line {number}\n" for number in range(7))
    assert (tmp_path / "log.txt").read_text() == (
        f"{INCOMPLETE}\n{whole}{MISSING.decode()}line 8\n"
    )
    following = {"container": ["c"], "follow": ["True"], "timestamps": ["True"]}
    assert FakeServer.asked == [following] * 3 + [following | {"follow": ["False"]}]
