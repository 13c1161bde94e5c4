"""Attempts as pods of a real cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends import INCOMPLETE, AttemptName, Request
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.backends.pod_rights import KubernetesRules
from hpo_lib.core.ending import Ending
from tests.integration.backend_contract import (
    LABELS,
    PATIENCE_S,
    STORE,
    WAIT,
    BackendContract,
    ReturnsContract,
)

IMAGE = os.environ.get("HPO_TEST_IMAGE", "debian:bookworm-slim")

#: Has its first line turned over by a kubelet that keeps 10 MiB and looks every ten seconds.
CHATTY = (
    "echo first; sleep 8; head -c 12000000 /dev/zero | tr '\\0' x | fold -w 3999; echo; sleep 15; "
    "echo last"
)


def connect() -> Any:
    """Connect to the cluster of KUBECONFIG."""
    from kubernetes import client, config

    configuration = client.Configuration()
    config.load_kube_config(client_configuration=configuration)
    return client.CoreV1Api(client.ApiClient(configuration))


def age_s(backend: KubernetesBackend, handle: Any, since: str) -> float:
    """Give the time since a pod's status says so, 0 while it does not."""
    when = backend.pod(handle)["status"].get(since)
    return (datetime.now(UTC) - datetime.fromisoformat(when)).total_seconds() if when else 0.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for a state."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@pytest.mark.needs("KUBECONFIG")
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
class TestKubernetesBackend(ReturnsContract, BackendContract):
    """The contract, and what only a cluster does."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> KubernetesBackend:
        return KubernetesBackend(home=tmp_path, connect=connect)

    def request(self, script: str, **changes: Any) -> Request:
        known = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 120.0, "image": IMAGE}
        known |= {"labels": LABELS}
        return Request(**({"command": ["sh", "-c", script]} | known | changes))

    def test_a_pod_may_do_little(self, backend: KubernetesBackend, handle: Any) -> None:
        script = (
            "id -u; touch /here 2>&1; touch $HOME/there && echo home; touch /hpo/output/x && "
            "echo output; grep -E 'CapEff|NoNewPrivs' /proc/self/status; ls /var/run/secrets 2>&1"
        )
        backend.submit(handle, self.request(script))
        self.end(backend, handle)
        said = backend.log(handle).read_text()
        assert int(said.split()[0]) != 0
        assert "Read-only file system" in said
        assert "home\noutput\n" in said
        assert "CapEff:\t0000000000000000" in said
        assert "NoNewPrivs:\t1" in said
        assert "cannot access" in said, "no service account's token"

    def test_a_log_that_is_turned_over_is_kept_whole(
        self, backend: KubernetesBackend, handle: Any
    ) -> None:
        backend.submit(handle, self.request(CHATTY))
        self.end(backend, handle)
        kept = backend.log(handle).read_text().splitlines()
        # A kubelet may go on following the old file: then it is not known whether the two meet.
        first, *noise, last = [line for line in kept if not line.startswith("[hpo] ")]
        assert (first, last) == ("first", "last")
        assert sum(map(len, noise)) == 12_000_000

    def test_a_log_that_nobody_read_in_time_says_so(
        self, backend: KubernetesBackend, handle: Any
    ) -> None:
        backend.submit(handle, self.request(CHATTY))
        until(lambda: backend.poll(handle) is not None)
        backend.fetch(handle)
        first, *_, last = backend.log(handle).read_text().splitlines()
        assert (first, last) == (INCOMPLETE, "last")

    def test_a_line_that_is_long_is_kept_without_times(
        self, backend: KubernetesBackend, handle: Any
    ) -> None:
        script = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end"
        backend.submit(handle, self.request(script))
        self.end(backend, handle)
        assert backend.log(handle).read_text() == "x" * 100_000 + "\nend\n"

    def test_a_message_that_is_too_long_is_cut(
        self, backend: KubernetesBackend, handle: Any
    ) -> None:
        script = "head -c 5000 /dev/zero | tr '\\0' x > /airflow/xcom/return.json"
        backend.submit(handle, self.request(script, returns=True))
        self.end(backend, handle)
        assert (backend.output(handle) / "return.json").read_text() == "x" * 4_096

    def test_an_image_that_nobody_has(self, backend: KubernetesBackend, handle: Any) -> None:
        backend.submit(handle, self.request("true", image="localhost:9/no-such-image:1"))
        assert self.end(backend, handle).ending is Ending.IMAGE_NOT_PULLABLE

    def test_no_place_for_it(self, backend: KubernetesBackend, handle: Any) -> None:
        backend.submit(handle, self.request("true", gpu=1_000, start_timeout_s=2.0))
        found = self.end(backend, handle)
        assert found.ending is Ending.UNSCHEDULABLE
        assert "nvidia.com/gpu" in found.detail

    def test_what_it_waits_for_takes_nothing_off_its_timeout(
        self, backend: KubernetesBackend, handle: Any
    ) -> None:
        """A volume that comes late stands for an image that does: a node has taken the pod."""
        name, limit_s = handle["pod"], 6
        options = {
            "volumes": [{"name": "late", "configMap": {"name": name}}],
            "volume_mounts": [{"name": "late", "mountPath": "/late"}],
        }
        script = "sleep 2; echo done; while true; do sleep 1; done"
        backend.submit(handle, self.request(script, options=options, timeout_s=float(limit_s)))
        until(lambda: age_s(backend, handle, "startTime") > limit_s + 2)
        pod = backend.pod(handle)
        assert pod["status"]["phase"] == "Pending"
        assert pod["spec"]["activeDeadlineSeconds"] == 900 + limit_s, "it ends without us too"
        core, where = backend.client, handle["namespace"]
        core.create_namespaced_config_map(where, {"metadata": {"name": name}, "data": {"a": "b"}})
        try:
            assert self.end(backend, handle).ending is Ending.TIMEOUT
        finally:
            core.delete_namespaced_config_map(name, where)
        assert backend.log(handle).read_text() == "done\n"
        assert limit_s + 2 < backend.pod(handle)["spec"]["activeDeadlineSeconds"] < 900

    def test_a_secret_that_is_not_there(self, backend: KubernetesBackend, handle: Any) -> None:
        options = {"secrets": [{"env": "TOKEN", "name": "no-such-secret", "key": "k"}]}
        backend.submit(handle, self.request("true", options=options))
        found = self.end(backend, handle)
        assert found.ending is Ending.UNSTARTABLE
        assert "no-such-secret" in found.detail

    def test_a_pod_deleted_from_outside_is_lost(
        self, backend: KubernetesBackend, handle: Any
    ) -> None:
        backend.submit(handle, self.request(WAIT))
        backend.client.delete_namespaced_pod(
            handle["pod"], handle["namespace"], grace_period_seconds=0
        )
        assert self.end(backend, handle).ending is Ending.LOST

    def test_spot_and_on_demand_go_where_the_deployment_says(self, tmp_path: Path) -> None:
        rules = KubernetesRules(
            spot={"spec": {"nodeSelector": {"lifecycle": "spot"}}},
            on_demand={"spec": {"nodeSelector": {"lifecycle": "normal"}}},
        )
        backend = KubernetesBackend(home=tmp_path, connect=connect, rules=rules)
        handle = backend.handle(AttemptName(STORE, "000001-x", 1, 1))
        for spot, expected in ((True, "spot"), (False, "normal")):
            pod = backend.wanted(handle, self.request("true", spot=spot))
            assert pod["spec"]["nodeSelector"] == {"lifecycle": expected}
