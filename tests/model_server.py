"""A fake of the model server, for pods with nothing but Python: only its protocol is real."""

from __future__ import annotations

_SERVER = """
import json, os, pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

folder = pathlib.Path(os.environ["MODEL_DIR"])
version, name = os.environ["MODEL_VERSION"], os.environ["MODEL_NAME"]
{predict}
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("X-Model-Version", version)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        assert self.path == f"/v1/models/{{name}}"
        self.answer({{"model_version_status": [{{"version": version, "state": "AVAILABLE"}}]}})
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        self.answer({{"predictions": predict(rows)}})
    def log_message(self, *words):
        pass

ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


def fake_server(predict: str) -> list[str]:
    """Give the command of a server that answers rows with `predict`, which this code defines.

    The code may use `json`, `folder` (the model's pathlib.Path) and `version`.
    """
    return ["python", "-u", "-c", _SERVER.format(predict=predict)]
