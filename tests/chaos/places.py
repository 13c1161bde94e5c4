"""Where a chaos run takes place: an Airflow, a store, and a backend of the trials, one row each."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from hpo_lib.cli.embedded import Embedded
from hpo_lib.errors import TransientError
from hpo_lib.store import Store
from tests.acceptance.conftest import DEPLOYMENT, ROOT, SETTINGS, Stack, aws
from tests.chaos import clock
from tests.chaos.proxy import Proxy
from tests.chaos.world import Place, World
from tests.postgres import PASSWORD, installations, postgresql

#: Words that may be found nowhere: they are in a connection, in a variable, in the environment.
SECRETS = {
    "connection": "marker-of-a-connection-5f1c",
    "variable": "marker-of-a-variable-9d02",
    "environment": "marker-of-the-environment-77ab",
    "key of S3": "marker-of-a-key-of-s3-31c8",
}
_ROOM = "192m"
_TRIES = 10

#: An image with Python; where there is an engine, the tests have it.
_IMAGE = os.environ.get("HPO_TEST_PYTHON", "python:3.12-slim")
#: What carries a pod's output to S3; of the image for trials, which has what that needs.
_CARRIER = ("python", "-m", "hpo_lib.runtime.upload", "--every", "3", "--")
_POD = {
    "backend": "kubernetes",
    "image": os.environ.get("HPO_TRIAL_IMAGE", "hpo-trial:test"),
    "resources": {"cpu": 0.1, "memory": "512Mi"},
}
_OFFERED = {"docker": {"images": [_IMAGE]}, "artifacts": {"s3://chaos": "s3"}}
PLACES = {
    "sqlite": Place("sqlite"),
    "postgresql": Place("postgresql", store="postgresql"),
    "s3": Place("s3", artifacts="s3://chaos/runs"),
    "docker": Place("docker", backend="docker", trial={"backend": "docker", "image": _IMAGE}),
    "kubernetes": Place(
        "kubernetes",
        backend="kubernetes",
        trial=_POD,
        artifacts="s3://chaos/runs",
        carrier=_CARRIER,
    ),
}


def here() -> list[str]:
    """Name the places that this machine has."""
    has_moto = find_spec("moto") is not None
    there = {
        "sqlite": True,
        "postgresql": bool(installations()),
        "s3": has_moto,
        "docker": "DOCKER_HOST" in os.environ,
        "kubernetes": has_moto and {"KUBECONFIG", "HPO_TRIAL_IMAGE"} <= os.environ.keys(),
    }
    return [name for name in PLACES if there[name]]


@contextmanager
def made(place: Place, home: Path, say: Callable[[str], None]) -> Iterator[World]:
    """Start a place's Airflow, with secrets in it that nobody may find, and stop it in the end."""
    with ExitStack() as undo:
        embedded: Embedded
        proxy = Proxy(lambda: _port(embedded))
        undo.callback(proxy.close)
        server = undo.enter_context(postgresql()) if place.store == "postgresql" else None
        database = server.new_database() if server else ""
        s3 = undo.enter_context(_s3(_host(place))) if place.artifacts else None
        settings = _settings(home, proxy, _offered(place, s3)) | (
            {"HPO_STORE": server.url(database)} if server else {}
        )
        steps = clock.Clock(home) if clock.is_installed() else None
        if steps is not None:
            undo.enter_context(clock.swept())
            settings |= steps.settings()
        embedded = Embedded(ROOT, home, SETTINGS | settings)
        has_disk = undo.enter_context(_disk(embedded.results))
        undo.callback(embedded.down)
        embedded.up(say)
        store = undo.enter_context(Store.open(embedded.store_url))
        world = World(Stack(embedded, store), place, proxy, server, database, s3, has_disk, steps)
        _hide_secrets(world)
        yield world


def _port(embedded: Embedded) -> int:
    """Give the port of Airflow's API server; OSError if there is none yet, or any more."""
    facts = embedded._facts()
    if facts is None:
        raise OSError("there is no Airflow")
    return int(facts["port"])


def _offered(place: Place, s3: Proxy | None) -> dict[str, Any]:
    """Give what a conf may ask for; pods reach S3 with a key of their own, which is no secret."""
    offered = DEPLOYMENT | _OFFERED
    if place.backend != "kubernetes" or s3 is None:
        return offered
    told = {
        "AWS_ACCESS_KEY_ID": "pod",
        "AWS_SECRET_ACCESS_KEY": "pod",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": _address(s3),
    }
    env = [{"name": name, "value": value} for name, value in told.items()]
    template = {"spec": {"containers": [{"name": "trial", "env": env}]}}
    return offered | {"kubernetes": {"images": [_POD["image"]], "pod_template": template}}


def _host(place: Place) -> str:
    """Give the address at which a place's trials reach this machine."""
    if place.backend != "kubernetes":
        return "127.0.0.1"
    from tests.acceptance.test_digits import own_address

    return own_address()


def _address(s3: Proxy) -> str:
    return f"http://{s3.host}:{s3.port}"


def _settings(home: Path, proxy: Proxy, offered: Mapping[str, Any]) -> dict[str, str]:
    """Give what makes Airflow's own folders, so that DAG files can be edited, and the network."""
    shutil.copytree(ROOT / "dags", home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "config").symlink_to(ROOT / "config")
    deployment = home / "deployment.yaml"
    deployment.write_text(yaml.safe_dump(dict(offered)))
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{proxy.port}/execution/",
        "CHAOS_TOKEN": SECRETS["environment"],
        "HPO_CONFIG": str(deployment),
        "HPO_MAX_WAVES": "6",
    }


@contextmanager
def _disk(folder: Path) -> Iterator[bool]:
    """Make the folder a small file system, so that it can be full; says whether that went."""
    folder.mkdir(parents=True, mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM},mode=700", "tmpfs", str(folder)]
    if not called(*mount):
        yield False
        return
    try:
        yield True
    finally:
        called("umount", "-l", str(folder))


@contextmanager
def _s3(at: str) -> Iterator[Proxy]:
    """Have moto play S3 in this process, and give the way there, which begins at an address."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "chaos", "aws_secret_access_key": "chaos"}
    address = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    boto3.client("s3", **address, **keys).create_bucket(Bucket="chaos")
    proxy = Proxy(lambda: port, at)
    try:
        yield proxy
    finally:
        proxy.close()
        server.stop()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have whatever is opened below a folder from now on be read-only; needs leave to mount.

    That cannot be said of a place where somebody has just begun to write, so it is said elsewhere.
    """
    with TemporaryDirectory() as made:
        elsewhere = str(folder), made
        subprocess.run(["mount", "--bind", *elsewhere], check=True, capture_output=True)
        try:
            for words in (["-o", "remount,bind,ro", made], ["--bind", made, str(folder)]):
                subprocess.run(["mount", *words], check=True, capture_output=True)
        finally:
            called("umount", "-l", made)
    try:
        yield
    finally:
        called("umount", "-l", str(folder))


def called(*words: str) -> bool:
    """Run a command; says whether it succeeded."""
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _hide_secrets(world: World) -> None:
    connection = {"connection_id": "secret", "conn_type": "http", "host": "localhost"}
    _make(world, "/connections", connection | {"password": SECRETS["connection"]})
    if world.s3 is not None:
        body = aws(_address(world.s3), "chaos", SECRETS["key of S3"])
        _make(world, "/connections", body | {"connection_id": "s3"})
    _make(world, "/variables", {"key": "hidden", "value": SECRETS["variable"]})


def _make(world: World, path: str, body: Mapping[str, str]) -> None:
    """Ask Airflow to make something; again if its database is locked, as when it has just begun."""
    for _ in range(_TRIES):
        with suppress(TransientError):
            world.stack.client().call("POST", path, body)
            return
        time.sleep(1)
    world.stack.client().call("POST", path, body)


def secrets(world: World) -> list[str]:
    """Give every word that may be found nowhere."""
    return [*SECRETS.values(), *([PASSWORD] if world.server else [])]
