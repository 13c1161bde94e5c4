"""Whether a Docker engine and Docker Compose are there to be tested with."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def _is_there() -> bool:
    if not os.environ.get("DOCKER_HOST") or shutil.which("docker") is None:
        return False
    version = ["docker", "compose", "version"]
    return subprocess.run(version, capture_output=True, check=False).returncode == 0


needed = pytest.mark.skipif(
    not _is_there(), reason="needs a Docker engine, DOCKER_HOST, and docker compose"
)
