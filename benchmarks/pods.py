"""What a trial costs Airflow as a pod, beside the same pod under Airflow's own operator.

Needs KUBECONFIG and an image that the cluster has (HPO_TEST_IMAGE). One Airflow runs both DAGs in
turn, 16 pods in 4 waves of 4 each, and talks to the cluster through a proxy that counts its calls.
"""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import statistics
import tempfile
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit

import yaml

from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.cli.embedded import Embedded

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, PODS = 3, 16
DAGS = ("bare_pods", "hpo_kubernetes")
CONF: dict[str, Any] = {
    "name": "pods",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random"},
    "limits": {"max_trials": PODS, "parallel_trials": 4},
    "trial": {
        "backend": "kubernetes",
        "image": os.environ.get("HPO_TEST_IMAGE", "debian:bookworm-slim"),
        "command": ["sh", "-c", "sleep 2; echo loss=0.5"],
    },
}


class Counting(BaseHTTPRequestHandler):
    """Forwards everything to the API server and counts it."""

    protocol_version = "HTTP/1.1"
    calls: ClassVar[Counter[str]] = Counter()
    server_address: str
    token: str

    def _forward(self) -> None:
        Counting.calls[f"{self.command} {self._kind()}"] += 1
        length = int(self.headers.get("Content-Length") or 0)
        headers = {
            name: value for name, value in self.headers.items() if name.lower() != "host"
        } | {"Authorization": f"Bearer {self.token}"}
        context = ssl._create_unverified_context()
        upstream = http.client.HTTPSConnection(self.server_address, context=context)
        upstream.request(self.command, self.path, self.rfile.read(length), headers)
        answer = upstream.getresponse()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while chunk := answer.read1(1 << 16):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")
        upstream.close()

    def _kind(self) -> str:
        parts = urlsplit(self.path).path.split("/")
        named = "pods" in parts and len(parts) > parts.index("pods") + 1
        return parts[-1] if parts[-1] in ("log", "events") else "pod" if named else "pods"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


for _verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Counting, f"do_{_verb}", Counting._forward)


def main() -> None:
    """Print seconds and calls per pod of both, and their ratios."""
    if "KUBECONFIG" not in os.environ:
        print("pods: not measured, KUBECONFIG is not set")
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        dags = home / "dags"
        shutil.copytree(ROOT / "dags", dags / "dags")
        (dags / "config").symlink_to(ROOT / "config")
        shutil.copy(ROOT / "benchmarks" / "dags" / "pods.py", dags / "dags")
        settings = {"AIRFLOW__CORE__DAGS_FOLDER": str(dags / "dags"), "KUBECONFIG": proxy(home)}
        embedded = Embedded(ROOT, home, settings)
        try:
            client = embedded.up(print)
            while not all(client.is_ready(dag_id) for dag_id in DAGS):
                time.sleep(1)
            compare(client)
        finally:
            embedded.down()


def proxy(home: Path) -> str:
    """Start the counting proxy and write a kubeconfig that leads to it."""
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    Counting.server_address = urlsplit(config["clusters"][0]["cluster"]["server"]).netloc
    Counting.token = config["users"][0]["user"]["token"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    Thread(target=server.serve_forever, daemon=True).start()
    config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_port}"}
    path = home / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def compare(client: Airflow) -> None:
    """Run both in turn, once to warm up, and print medians and ratios."""
    rounds = [[measure(client, dag_id) for dag_id in DAGS] for _ in range(ROUNDS + 1)][1:]
    for place, dag_id in enumerate(DAGS):
        for index, what in enumerate(("wall s", "calls")):
            each = statistics.median(r[place][index] for r in rounds)
            ratio = statistics.median(r[place][index] / r[0][index] for r in rounds)
            print(f"{dag_id:<15} {what:<6} {each:.2f} per pod, ratio {ratio:.2f}")


def measure(client: Airflow, dag_id: str) -> tuple[float, float]:
    """Run a DAG; gives the median duration of its pods' tasks, and API calls per pod."""
    before = Counting.calls.copy()
    run_id = client.trigger(dag_id, CONF if dag_id == "hpo_kubernetes" else {})
    while (state := client.state(dag_id, run_id)) not in DONE:
        time.sleep(0.5)
    if state != "success":
        raise SystemExit(f"{dag_id} ended as {state}: nothing was measured")
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=500"
    tasks = client.call("GET", path)["task_instances"]
    pods = [task for task in tasks if task["map_index"] >= 0]
    if len(pods) != PODS:
        raise SystemExit(f"{dag_id} ran {len(pods)} pods, {PODS} were expected")
    calls = Counting.calls - before
    kinds = ", ".join(f"{kind} {number / PODS:.1f}" for kind, number in sorted(calls.items()))
    print(f"{dag_id:<15} {kinds}")
    return statistics.median(task["duration"] for task in pods), calls.total() / PODS
