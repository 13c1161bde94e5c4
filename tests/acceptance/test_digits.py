"""The real trial image on a real cluster, with metrics and models through S3.

S3 is moto, made to check signatures. Needs KUBECONFIG and, on the nodes, the image HPO_TRIAL_IMAGE
(`make images TENSORFLOW=cpu`); pods reach this machine at HPO_TEST_HOST.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import moto.settings
import pytest
import yaml
from moto.server import ThreadedMotoServer

from hpo_lib.embedded import Embedded
from hpo_lib.record import RunKey, RunStatus
from hpo_lib.store import Store
from hpo_lib.trial import TrialState
from tests.acceptance.conftest import ROOT, SETTINGS, Stack, until

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.needs("KUBECONFIG", "HPO_TRIAL_IMAGE"),
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]

DAG = "hpo_kubernetes"
COMMAND = ["python", "-m", "hpo_lib.runtime.upload", "--every", "3", "--", "python", "train.py"]
BUCKET, SECRET = "hpo", "hpo-test-artifacts"
ALLOWED = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


@dataclass
class S3:
    """A server that can be taken away and brought back with all that it holds."""

    address: str
    port: int
    keys: dict[str, str]
    server: ThreadedMotoServer

    def down(self) -> None:
        """Stop answering."""
        self.server.stop()

    def up(self) -> None:
        """Answer again."""
        self.server = ThreadedMotoServer(ip_address="0.0.0.0", port=self.port)
        self.server.start()

    def names(self, prefix: str) -> list[str]:
        """List what lies below a prefix."""
        client = boto3.client("s3", **self.keys, endpoint_url=self.address, region_name="us-east-1")
        found = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [one["Key"].removeprefix(prefix) for one in found]


def own_address() -> str:
    """Find the address at which pods reach this machine."""
    if named := os.environ.get("HPO_TEST_HOST"):
        return named
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """Start S3 with a bucket and a user, and check signatures from then on."""
    server = ThreadedMotoServer(ip_address="0.0.0.0", port=0)
    server.start()
    _, port = server.get_host_and_port()
    address = f"http://{own_address()}:{port}"
    anybody = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "endpoint_url": address}
    boto3.client("s3", **anybody, region_name="us-east-1").create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", **anybody, region_name="us-east-1")
    iam.create_user(UserName="hpo")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [ALLOWED]})
    iam.put_user_policy(UserName="hpo", PolicyName="s3", PolicyDocument=policy)
    made = iam.create_access_key(UserName="hpo")["AccessKey"]
    keys = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
    }
    before = moto.settings.INITIAL_NO_AUTH_ACTION_COUNT
    moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0
    found = S3(address, port, keys, server)
    yield found
    moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = before
    found.down()


@pytest.fixture(scope="module")
def secret(s3: S3) -> Iterator[None]:
    """The credentials, as a secret of the cluster: what the deployment's pod template names."""
    from kubernetes import client, config

    configuration = client.Configuration()
    config.load_kube_config(client_configuration=configuration)
    core = client.CoreV1Api(client.ApiClient(configuration))
    data = {name.upper(): value for name, value in s3.keys.items()}
    data |= {"AWS_ENDPOINT_URL": s3.address, "AWS_DEFAULT_REGION": "us-east-1"}
    body = {"metadata": {"name": SECRET}, "stringData": data}
    core.create_namespaced_secret("default", body)
    yield
    core.delete_namespaced_secret(SECRET, "default")


@pytest.fixture(scope="module")
def stack(s3: S3, secret: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An Airflow whose deployment offers artifacts on that S3."""
    home = tmp_path_factory.mktemp("airflow")
    container = {"name": "trial", "envFrom": [{"secretRef": {"name": SECRET}}]}
    deployment = {
        "artifacts": {f"s3://{BUCKET}/right": "right", f"s3://{BUCKET}/wrong": "wrong"},
        "kubernetes": {"pod_template": {"spec": {"containers": [container]}}},
    }
    config = home / "deployment.yaml"
    config.write_text(yaml.safe_dump(deployment))
    settings = SETTINGS | {
        "HPO_CONFIG": str(config),
        "AIRFLOW_CONN_RIGHT": connection(s3, s3.keys["aws_secret_access_key"]),
        "AIRFLOW_CONN_WRONG": connection(s3, "not-the-secret"),
    }
    embedded = Embedded(ROOT, home, settings)
    try:
        embedded.up(lambda line: sys.stderr.write(f"{line}\n"))
        with Store.open(embedded.store_url) as store:
            yield Stack(embedded, store)
    finally:
        embedded.down()


def connection(s3: S3, secret: str) -> str:
    """Write an Airflow connection."""
    extra = {"endpoint_url": s3.address, "region_name": "us-east-1"}
    known = {"conn_type": "aws", "login": s3.keys["aws_access_key_id"], "password": secret}
    return json.dumps(known | {"extra": extra})


def conf(place: str) -> dict[str, Any]:
    """Take the example, with artifacts, and fewer and shorter trials."""
    path = ROOT / "config" / "experiments" / "digits-kubernetes.yaml"
    example = yaml.safe_load(path.read_text())
    fewer = {"max_trials": 4, "parallel_trials": 2, "max_failed_trials": 0}
    return example | {
        "limits": fewer,
        "fixed": example["fixed"] | {"epochs": 6},
        "trial": example["trial"] | {"image": os.environ["HPO_TRIAL_IMAGE"], "command": COMMAND},
        "metrics": {"collector": "jsonl"},
        "artifacts": {"uri": f"s3://{BUCKET}/{place}/digits", "keep": "best"},
    }


def test_a_wrong_secret_is_told_before_any_trial(stack: Stack) -> None:
    key = RunKey(DAG, stack.client().trigger(DAG, conf("wrong")))
    assert stack.wait(key) == "failed"
    run = stack.run(key)
    assert run.status is RunStatus.REFUSED
    assert "credentials are missing, wrong, or do not allow it" in str(run.reason)
    assert "not-the-secret" not in str(run.reason)


def test_digits_are_tuned_through_s3_also_when_it_is_away_for_a_while(stack: Stack, s3: S3) -> None:
    key = RunKey(DAG, stack.client().trigger(DAG, conf("right")))
    metrics = "trial-0001/attempt-1/metrics.jsonl"
    until(lambda: any(name.endswith(metrics) for name in s3.names("right/")), "first metrics")
    s3.down()
    time.sleep(60)  # As long as the outage is to be.
    s3.up()
    assert stack.wait(key) == "success"
    run = stack.run(key)
    assert run.status is RunStatus.COMPLETE, run.reason
    view = stack.store.view(run.id)
    assert [v.trial.state for v in view.trials] == [TrialState.COMPLETE] * 4
    assert max(v.trial.value or 0 for v in view.trials) > 0.8
    assert all(len(v.observations) > 6 for v in view.trials), "a series, not only its end"
    (best,) = view.front
    for number in range(1, 5):
        folder = f"run-{run.id:06d}-{stack.store.id[:6]}/trial-{number:04d}/"
        names = s3.names(f"right/digits/digits-kubernetes/{folder}")
        kept = {name.split("/")[1] for name in names}
        assert ("model" in kept) == (number == best), names
        assert any(name.endswith("/result.json") for name in names)
    report = stack.embedded.home / "hpo" / "runs" / f"{run.id:06d}-digits-kubernetes"
    assert f"s3://{BUCKET}/right/digits" in (report / "report.html").read_text()
    assert written(stack.embedded.home, s3.keys["aws_secret_access_key"]) == []


def written(home: Path, secret: str) -> list[Path]:
    """Find the files below a home that hold a secret."""
    return [
        path for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
