"""What tests of the stack need: a Docker engine, and Docker Compose."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def _is_there() -> bool:
    if shutil.which("docker") is None:
        return False
    version = ["docker", "compose", "version"]
    return subprocess.run(version, capture_output=True, check=False).returncode == 0


needed = [
    pytest.mark.needs("DOCKER_HOST"),
    pytest.mark.skipif(not _is_there(), reason="there is no docker compose"),
]
