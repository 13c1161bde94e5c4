"""Pods of attempts are killed, or evicted as by an administrator who empties their node."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hpo_lib.backends.pods import LABEL, OWNER, server
from tests.chaos.victims import chosen
from tests.chaos.world import World

_EVICTION = "pods/eviction"


@contextmanager
def pod_killed(world: World, draw: float) -> Iterator[str]:
    """The API server forgets a pod at once, and its node kills it."""
    pod = _hit(world, draw)
    with server():
        _cluster().delete_namespaced_pod(*_named(pod), grace_period_seconds=0)
    yield pod.metadata.name


@contextmanager
def pod_evicted(world: World, draw: float) -> Iterator[str]:
    """The Eviction API is asked for a pod, which gets the time to end that its description says."""
    pod = _hit(world, draw)
    name, namespace = _named(pod)
    place = {"name": name, "namespace": namespace}
    with server():
        body = {"apiVersion": _eviction(), "kind": "Eviction", "metadata": place}
        _cluster().create_namespaced_pod_eviction(name, namespace, body)
    yield name


def running(world: World) -> list[Any]:
    """List the pods of attempts that run, and that nobody has asked to end."""
    found = left(world)
    return [
        one
        for one in found
        if one.status.phase == "Running" and not one.metadata.deletion_timestamp
    ]


def left(world: World) -> list[Any]:
    """List all pods of this store, in a certain order."""
    mine = f"{OWNER}={world.stack.store.id}"
    with server():
        found = _cluster().list_pod_for_all_namespaces(label_selector=mine).items
    return sorted(found, key=lambda one: str(one.metadata.name))


def _hit(world: World, draw: float) -> Any:
    """Choose a pod whose trial was not hit in this round, and note that it is now."""
    found = [(one, _folder(world, one)) for one in running(world)]
    pod, folder = chosen([one for one in found if not world.hits[_trial(one[1])]], draw)
    world.hits[_trial(folder)] += 1
    world.robbed.add(str(folder))
    return pod


def _folder(world: World, pod: Any) -> Path:
    """Give the attempt's folder, which the store knows before there is a pod."""
    view = world.stack.store.view(int(pod.metadata.labels[f"{LABEL}run"]))
    attempts = [one for trial in [*view.trials, *view.finals] for one in trial.attempts]
    handle = next(one.handle for one in attempts if one.handle["pod"] == pod.metadata.name)
    return Path(handle["folder"])


def _trial(folder: Path) -> str:
    return str(folder.parent)


def _named(pod: Any) -> tuple[str, str]:
    return pod.metadata.name, pod.metadata.namespace


@cache
def _eviction() -> str:
    """Name the version of the Eviction API that this cluster has: before 1.22 it is another."""
    listed = _cluster().get_api_resources().resources
    one = next(one for one in listed if one.name == _EVICTION)
    return f"{one.group}/{one.version}"


@cache
def _cluster() -> Any:
    from kubernetes import client, config

    warnings.filterwarnings("ignore", "Unverified HTTPS request")  # the cluster's own affair
    configuration = client.Configuration()
    config.load_kube_config(client_configuration=configuration)
    return client.CoreV1Api(client.ApiClient(configuration))
