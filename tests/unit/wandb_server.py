"""Plays what `wandb sync` needs of a Weights & Biases server; the library reads the files."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_NAME = re.compile(r"(?:query|mutation)\s+(\w+)")


class WandbServer(ThreadingHTTPServer):
    """Keeps what has been uploaded, by the ids of runs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        #: What a run is, what it has come to, how it has ended; and its history, in lines.
        self.runs: dict[str, dict[str, Any]] = defaultdict(dict)
        self.history: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def sync(self, folder: str, home: Path) -> None:
        """Have the library upload what is new in a folder."""
        home.mkdir(exist_ok=True)
        own = {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_address[1]}"}
        own |= {"WANDB_API_KEY": "a" * 40, "WANDB_ERROR_REPORTING": "false"}
        own |= {"HOME": str(home), "TMPDIR": str(home), "PATH": os.defpath}
        words = [sys.executable, "-m", "wandb", "sync", "--yes"]
        done = subprocess.run(
            words, cwd=folder, env=own, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def asked(self, name: str, said: dict[str, Any]) -> dict[str, Any]:
        """Answer a question of the GraphQL API."""
        if name != "UpsertBucket":
            return {}
        run = said["name"]
        self.runs[run] |= {key: value for key, value in said.items() if value is not None}
        project = {"id": "p", "name": said["project"], "entity": {"id": "e", "name": "ada"}}
        there = {
            "id": run,
            "name": run,
            "displayName": said["displayName"],
            "config": said["config"] or "{}",
            "historyLineCount": len(self.history[run]),
            "project": project,
        }
        return {"upsertBucket": {"bucket": there, "inserted": not self.history[run]}}

    def streamed(self, run: str, said: dict[str, Any]) -> None:
        """Take lines of a run's files, at their place."""
        files = said.get("files") or {}
        if "wandb-history.jsonl" in files:
            lines, told = self.history[run], files["wandb-history.jsonl"]
            lines[told["offset"] :] = map(json.loads, told["content"])
        if "wandb-summary.json" in files:
            self.runs[run]["summary"] = json.loads(files["wandb-summary.json"]["content"][-1])
        if said.get("complete"):
            self.runs[run]["exitcode"] = said["exitcode"]


class _Handler(BaseHTTPRequestHandler):
    server: WandbServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        said, answer = json.loads(body), {}
        if self.path.endswith("/file_stream"):
            self.server.streamed(self.path.split("/")[-2], said)
        elif found := _NAME.search(said.get("query", "")):
            answer = {"data": self.server.asked(found[1], said.get("variables", {}))}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Serve, on a thread."""
    with WandbServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
