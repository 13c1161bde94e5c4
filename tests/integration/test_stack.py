"""What Docker Compose makes of `docker-compose.yaml`; nothing is started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import compose

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yaml"
EXECUTORS = ["LocalExecutor", "CeleryExecutor"]

pytestmark = compose.plugin


def settings(folder: Path) -> dict[str, str]:
    """Give what `make up-stack` writes."""
    path = folder / "settings"
    command = ROOT / "docker" / "stack" / "environment.py"
    subprocess.run([sys.executable, command, path, "2", str(8 << 30)], check=True)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def docker_compose(
    folder: Path, values: Mapping[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    """Run it with an `.env`, and with an engine that is not there."""
    path = folder / "given"
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HPO_", "COMPOSE_"))}
    return subprocess.run(
        ["docker", "compose", f"--file={FILE}", f"--env-file={path}", *words],
        env=inherited | {"DOCKER_HOST": f"unix://{folder}/no-engine"},
        capture_output=True,
        text=True,
        check=False,
    )


def services(folder: Path, **changed: str) -> dict[str, Any]:
    done = docker_compose(folder, settings(folder) | changed, "config", "--format=json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


@pytest.fixture(params=EXECUTORS)
def all_services(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return services(tmp_path, HPO_EXECUTOR=request.param)


SECRETS = ["ADMIN_PASSWORD", "AIRFLOW_PASSWORD", "API_SECRET", "FERNET_KEY", "JWT_SECRET"]
SECRETS += ["POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"]
SECRETS += ["STORE_PASSWORD"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_does_not_start_without_a_secret(executor: str, tmp_path: Path) -> None:
    whole = settings(tmp_path) | {"HPO_EXECUTOR": executor}
    for name in SECRETS:
        unset = {key: value for key, value in whole.items() if key != f"HPO_{name}"}
        for given in (unset, unset | {f"HPO_{name}": ""}):
            done = docker_compose(tmp_path, given, "up", "--detach")
            assert done.returncode != 0
            assert f"HPO_{name}" in done.stderr
            assert "make up-stack" in done.stderr


def test_with_all_secrets_only_the_engine_is_missing(tmp_path: Path) -> None:
    done = docker_compose(tmp_path, settings(tmp_path), "up", "--detach")
    assert "no-engine" in done.stderr
    assert "HPO_" not in done.stderr


def test_whatever_looks_like_a_secret_is_a_variable() -> None:
    text = FILE.read_text()
    given = re.findall(
        r"(?:[A-Z_]*(?:PASSWORD|SECRET_KEY|SECRET|FERNET_KEY)|requirepass):? (.+)", text
    )
    assert len(given) > 8
    assert {
        value for value in given if not value.startswith("${HPO_") and value[:7] != '"${HPO_'
    } == set()
    assert re.findall(r"://[^/\s]*?:(?!\$\{HPO_)[^@\s]*@", text) == []


def test_ports_are_on_loopback_only(all_services: dict[str, Any]) -> None:
    ports = [port for one in all_services.values() for port in one.get("ports", [])]
    assert {port["target"] for port in ports} == {8080, 9000}
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert not [one for one in all_services.values() if one.get("network_mode")]


def test_every_service_has_limits_and_few_rights(all_services: dict[str, Any]) -> None:
    for name, one in all_services.items():
        limits = one["deploy"]["resources"]["limits"]
        assert set(limits) >= {"cpus", "memory"}, name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert one["cap_drop"] == ["ALL"], name
        assert not one.get("privileged"), name
        assert "docker.sock" not in json.dumps(one), name


def test_every_service_that_stays_is_watched_and_started_again(all_services) -> None:
    for name, one in all_services.items():
        if one["restart"] == "no":
            assert name in ("databases", "migrate")
            continue
        assert one["restart"] == "unless-stopped", name
        assert one["healthcheck"]["test"], name


def test_the_executor_decides_what_runs(tmp_path: Path) -> None:
    local, celery = (services(tmp_path, HPO_EXECUTOR=name) for name in EXECUTORS)
    assert set(celery) - set(local) == {"redis", "worker"}
    for name, found in zip(EXECUTORS, (local, celery), strict=True):
        told = {one["environment"].get("AIRFLOW__CORE__EXECUTOR") for one in found.values()}
        assert told - {None} == {name}


def test_a_bucket_of_ones_own_needs_no_service(tmp_path: Path) -> None:
    found = services(
        tmp_path, COMPOSE_PROFILES="${HPO_EXECUTOR}", HPO_S3_ENDPOINT="https://s3.example.org"
    )
    assert "s3" not in found
    connection = json.loads(found["scheduler"]["environment"]["AIRFLOW_CONN_HPO_S3"])
    assert connection["extra"]["endpoint_url"] == "https://s3.example.org"
