"""A real MLflow server, in an environment of its own, with SQLite and a folder for artifacts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

PROGRAM = Path(__file__).resolve().parents[1] / ".venv-mlflow" / "bin" / "mlflow"
needs_mlflow = pytest.mark.skipif(not PROGRAM.exists(), reason="no MLflow: make setup")
_START_S = 180.0


@contextmanager
def mlflow(folder: Path) -> Iterator[str]:
    """Run a server and give its address; end it with all of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--serve-artifacts"]
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    places += ["--artifacts-destination", str(folder / "artifacts")]
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = folder / "mlflow.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [PROGRAM, "server", *words, *places],
            cwd=folder,
            env={"PATH": f"{PROGRAM.parent}{os.pathsep}{os.defpath}", "HOME": str(folder)} | own,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process, log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=_START_S)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{address}/health", timeout=5).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(f"MLflow does not answer: {log.read_text(errors='replace')[-2000:]}")
