"""The command that writes the stack's `.env`."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / "docker" / "stack" / "environment.py"
SECRET = ("PASSWORD", "SECRET", "KEY")


def write(path: Path) -> str:
    """Run the command for an engine with 4 CPUs and 8 GiB; gives what it printed."""
    words = [sys.executable, COMMAND, path, "4", str(8 << 30)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def read(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def secrets(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name.endswith(SECRET)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_its_secrets_are_long_new_and_for_the_owner_only(path: Path, tmp_path: Path) -> None:
    write(path)
    write(tmp_path / "other")
    ours, others = secrets(read(path)), secrets(read(tmp_path / "other"))
    assert len(ours) == 10
    assert min(map(len, ours.values())) >= 20
    assert len({*ours.values(), *others.values()}) == 20
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_secrets_need_no_quotes_where_they_are_used(path: Path) -> None:
    write(path)
    for value in secrets(read(path)).values():
        assert quote(value.rstrip("=")) == value.rstrip("=")
        assert json.dumps(value) == f'"{value}"'
        assert "$" not in value


def test_it_tells_no_secret(path: Path) -> None:
    said = write(path)
    assert said
    assert not [value for value in secrets(read(path)).values() if value in said]


def test_it_adds_what_is_missing_and_leaves_the_rest(path: Path) -> None:
    path.write_text("HPO_PORT=9999\n# mine\nHPO_ADMIN_PASSWORD=chosen")
    write(path)
    first = path.read_text()
    assert first.startswith("HPO_PORT=9999\n# mine\nHPO_ADMIN_PASSWORD=chosen\n")
    assert {"HPO_PORT": "9999", "HPO_ADMIN_PASSWORD": "chosen"}.items() <= read(path).items()
    assert write(path) == ""
    assert path.read_text() == first


def test_it_chooses_ports_that_are_free(path: Path) -> None:
    with socket.socket() as other:
        with suppress(OSError):
            other.bind(("127.0.0.1", 8080))
            other.listen()
        write(path)
    ports = [int(read(path)[name]) for name in ("HPO_PORT", "HPO_S3_PORT")]
    assert ports[0] in range(8081, 9080)
    assert ports[1] in range(9000, 9999)


def test_it_refuses_a_secret_that_is_empty_and_changes_nothing(path: Path) -> None:
    path.write_text("HPO_PORT=9999\nHPO_JWT_SECRET=\nHPO_S3_ENDPOINT=\n")
    done = subprocess.run([sys.executable, COMMAND, path, "4", "8"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "HPO_JWT_SECRET is empty" in done.stderr
    assert "HPO_S3" not in done.stderr
    assert path.read_text().startswith("HPO_PORT=9999\nHPO_JWT_SECRET=\n")
    assert len(path.read_text().splitlines()) == 3


def test_the_stack_has_no_default_for_any_secret(path: Path) -> None:
    write(path)
    text = (ROOT / "docker-compose.yaml").read_text()
    for name in secrets(read(path)):
        used = re.findall(rf"\$\{{{name}\b(.*?)\}}", text)
        assert set(used) == {":?run make up-stack"}, name
        assert f"${name}" not in text.replace(f"$${name}", "")


def test_the_stack_is_published_on_loopback_and_has_a_network_of_its_own() -> None:
    """What listens inside, Airflow's servers of logs too, is reached from the stack alone."""
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert published.keys() == {"api-server", "s3"}
    assert [port.split(":")[0] for ports in published.values() for port in ports] == [
        "127.0.0.1"
    ] * 2
    for name, one in services.items():
        assert one.keys() & {"network_mode", "networks", "pid", "ipc", "privileged"} == set(), name


def test_a_new_stack_keeps_the_images_that_are_noted(path: Path) -> None:
    write(path)
    noted = (ROOT / "docker" / "images.txt").read_text().splitlines()
    for name in ("postgres", "redis"):
        assert f"{name}={read(path)[f'HPO_{name.upper()}_IMAGE']}" in noted


def test_tasks_leave_room_on_the_engine(path: Path) -> None:
    write(path)
    settings = read(path)
    assert (settings["HPO_TASKS_CPUS"], settings["HPO_TASKS_MEMORY"]) == ("4", "6144m")


def test_the_stacks_rules_are_those_of_a_deployment() -> None:
    rules = yaml.safe_load((ROOT / "docker" / "stack" / "deployment.yaml").read_text())
    known = yaml.safe_load((ROOT / "config" / "deployment.yaml").read_text())
    assert set(rules) <= set(known)
