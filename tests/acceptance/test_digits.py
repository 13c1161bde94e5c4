"""The real trial image on a real cluster and on ECS, with metrics and models through S3.

S3 is moto, made to check signatures; ECS is MiniStack. Needs the image HPO_TRIAL_IMAGE
(`make images TENSORFLOW=cpu`) where KUBECONFIG, or DOCKER_HOST, leads; pods and containers reach
this machine at HPO_TEST_HOST.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import moto.settings
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from moto.server import ThreadedMotoServer

from hpo_lib.core.trial import Cause, TrialState
from hpo_lib.records import Attempt, ModelStatus, RunKey, RunStatus, RunView
from tests.acceptance.conftest import ROOT, Stack, airflow, aws, until
from tests.acceptance.epochs import trained_in
from tests.ministack import client, needs_ecs

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.needs("HPO_TRIAL_IMAGE"),
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]
needs_cluster = pytest.mark.needs("KUBECONFIG")

COMMAND = ["python", "-m", "hpo_lib.runtime.upload", "--every", "3", "--", "python", "train.py"]
BUCKET, SECRET = "hpo", "hpo-test-artifacts"
#: The file of an experiment that is searched on this machine and trained at the end on the cluster.
BOTH = "digits-both"
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
        s3 = boto3.client("s3", **self.keys, endpoint_url=self.address, region_name="us-east-1")
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [one["Key"].removeprefix(prefix) for one in found]


def own_address() -> str:
    """Find the address at which pods and containers reach this machine."""
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


def cluster() -> Any:
    """Give a client of the cluster that KUBECONFIG names."""
    from kubernetes import client, config

    configuration = client.Configuration()
    config.load_kube_config(client_configuration=configuration)
    return client.CoreV1Api(client.ApiClient(configuration))


@pytest.fixture(scope="module")
def secret(s3: S3) -> Iterator[None]:
    """The credentials, as a secret of the cluster: what the installation's pod template names."""
    core = cluster()
    data = {name.upper(): value for name, value in s3.keys.items()}
    data |= {"AWS_ENDPOINT_URL": s3.address, "AWS_DEFAULT_REGION": "us-east-1"}
    body = {"metadata": {"name": SECRET}, "stringData": data}
    with suppress(ApiException):  # of tests that were killed
        core.delete_namespaced_secret(SECRET, "default")
    core.create_namespaced_secret("default", body)
    yield
    core.delete_namespaced_secret(SECRET, "default")


@pytest.fixture
def ecs_secrets(s3: S3, ecs: Any, endpoint: str) -> list[dict[str, str]]:
    """The credentials, as secrets of the account that a conf may name, by environment variable."""
    manager = client("secretsmanager", endpoint)
    found = []
    for name, value in s3.keys.items():
        made = manager.create_secret(Name=f"{SECRET}/{name}", SecretString=value)
        found.append({"env": name.upper(), "arn": made["ARN"]})
    return found


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with a DAG of their own."""
    folder = tmp_path_factory.mktemp("experiments")
    example = yaml.safe_load((ROOT / "config" / "experiments" / "digits.yaml").read_text())
    final = {
        "backend": "kubernetes",
        "image": os.environ["HPO_TRIAL_IMAGE"],
        "command": COMMAND,
        "resources": {"cpu": 0.5, "memory": "3Gi"},
    }
    changes = {
        "name": BOTH,
        "schedule": {"assets": ["file:///never"]},
        "limits": {"max_trials": 2, "parallel_trials": 2, "max_failed_trials": 0},
        "fixed": example["fixed"] | {"epochs": 6},
        "final": {"seeds": 2, "trial": final},
        "deploy": {"to": "package", "metric": "test_accuracy", "direction": "maximize"},
        "artifacts": {"uri": f"s3://{BUCKET}/right/both", "keep": "best"},
    }
    (folder / f"{BOTH}.yaml").write_text(yaml.safe_dump(example | changes))
    return folder


@pytest.fixture(scope="module")
def stack(s3: S3, experiments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An Airflow whose deployment offers artifacts on that S3."""
    container = {"name": "trial", "envFrom": [{"secretRef": {"name": SECRET}}]}
    installation = {
        "artifacts": {f"s3://{BUCKET}/right": "right", f"s3://{BUCKET}/wrong": "wrong"},
        "kubernetes": {"images": ["*"], "pod_template": {"spec": {"containers": [container]}}},
        "ecs": {
            "images": ["*"],
            "default": "EC2",
            "secrets": [f"arn:aws:secretsmanager:*:secret:{SECRET}/*"],
        },
    }
    key, secret = s3.keys.values()
    settings = {
        "HPO_EXPERIMENTS": str(experiments),
        "AIRFLOW_CONN_RIGHT": json.dumps(aws(s3.address, key, secret)),
        "AIRFLOW_CONN_WRONG": json.dumps(aws(s3.address, key, "not-the-secret")),
    }
    with airflow(tmp_path_factory.mktemp("airflow"), installation, settings) as started:
        yield started


def conf(backend: str, place: str, **trial: Any) -> dict[str, Any]:
    """Take the backend's example without waves, with artifacts, and fewer and shorter trials."""
    path = ROOT / "config" / "experiments" / f"digits-{backend}.yaml"
    example = yaml.safe_load(path.read_text())
    fewer = {"max_trials": 4, "parallel_trials": 2, "max_failed_trials": 0}
    real = {"image": os.environ["HPO_TRIAL_IMAGE"], "command": COMMAND}
    return example | {
        "mode": "async",
        "limits": fewer,
        "fixed": example["fixed"] | {"epochs": 6},
        "trial": example["trial"] | real | trial,
        "metrics": {"collector": "jsonl"},
        "artifacts": {"uri": f"s3://{BUCKET}/{place}/digits", "keep": "best"},
    }


def check(stack: Stack, s3: S3, key: RunKey) -> RunView:
    """See four good trials, with all of their series and of the best one the model, on S3."""
    view = stack.complete(key)
    run = view.run
    assert [v.trial.state for v in view.trials] == [TrialState.COMPLETE] * 4
    assert max(v.trial.value or 0 for v in view.trials) > 0.8
    assert all(len(v.observations) > 6 for v in view.trials), "a series, not only its end"
    (best,) = view.front
    for number in range(1, 5):
        folder = f"run-{run.id:06d}-{stack.store.id[:6]}/trial-{number:04d}/"
        names = s3.names(f"right/digits/{run.experiment}/{folder}")
        kept = {name.split("/")[1] for name in names}
        assert ("model" in kept) == (number == best), names
        assert any(name.endswith("/result.json") for name in names)
    folder = stack.embedded.results / "runs" / f"{run.id:06d}-{run.experiment}"
    assert f"s3://{BUCKET}/right/digits" in (folder / "report.html").read_text()
    told = json.loads((folder / "report.json").read_text())["trials"]
    assert {one["number"]: one["value"] for one in told} == {
        v.trial.number: v.trial.value for v in view.trials
    }
    assert written(stack.embedded.home, s3.keys["aws_secret_access_key"]) == []
    return view


@needs_cluster
@pytest.mark.usefixtures("secret")
def test_a_wrong_secret_is_told_before_any_trial(stack: Stack) -> None:
    key = stack.trigger(conf("kubernetes", "wrong"), "hpo_kubernetes")
    assert stack.wait(key) == "failed"
    run = stack.run(key)
    assert run.status is RunStatus.REFUSED
    assert "credentials are missing, wrong, or do not allow it" in str(run.reason)
    assert "not-the-secret" not in str(run.reason)


@needs_cluster
@pytest.mark.usefixtures("secret")
def test_digits_are_tuned_through_s3_also_when_it_is_away_for_a_while(stack: Stack, s3: S3) -> None:
    key = stack.trigger(conf("kubernetes", "right"), "hpo_kubernetes")
    metrics = "trial-0001/attempt-1/metrics.jsonl"
    until(lambda: any(name.endswith(metrics) for name in s3.names("right/")), "first metrics")
    s3.down()
    time.sleep(60)  # As long as the outage is to be.
    s3.up()
    check(stack, s3, key)


def kill_pod(attempt: Attempt) -> None:
    """Take an attempt's pod away without any grace."""
    pod, namespace = attempt.handle["pod"], attempt.handle["namespace"]
    cluster().delete_namespaced_pod(pod, namespace, grace_period_seconds=0)


@needs_cluster
@pytest.mark.usefixtures("secret")
def test_digits_in_slots_survive_a_killed_pod(stack: Stack, s3: S3) -> None:
    key = stack.trigger(conf("kubernetes", "right"), "hpo_kubernetes")
    run = until(lambda: stack.find(key), "the run")
    of_run, metrics = f"/run-{run.id:06d}-", "/trial-0002/attempt-1/metrics.jsonl"

    def has_reported() -> bool:
        names = [name for name in s3.names("right/") if of_run in name]
        return any(name.endswith(metrics) for name in names)

    until(has_reported, "its first epoch")
    (attempt,) = stack.store.attempts(run.id, 2)
    kill_pod(attempt)
    view = check(stack, s3, key)
    assert {v.trial.number: len(v.attempts) for v in view.trials} == {1: 1, 2: 2, 3: 1, 4: 1}
    assert view.trials[1].attempts[0].cause in {Cause.LOST, Cause.PREEMPTED, Cause.NODE_LOST}
    assert stack.states(key, "slot") == ["success"] * 2


@needs_cluster
@pytest.mark.usefixtures("secret")
def test_a_pod_killed_in_mid_rung_costs_what_was_not_on_s3_yet(stack: Stack, s3: S3) -> None:
    """Two trials of 2 epochs; the better goes on to 20, and is killed on its way."""
    asha = {"name": "asha", "grace_period": 2, "reduction_factor": 10, "max": 20}
    spec = conf("kubernetes", "right") | {"scheduler": asha | {"resource": "epoch"}}
    spec["limits"] |= {"max_trials": 2}
    # Small batches, for an epoch to take its time: it is on S3 before the next has ended.
    spec["space"] |= {"batch_size": {"type": "ordinal", "choices": [4]}}
    del spec["initial_points"]
    spec["fixed"] |= {"epochs": 20, "patience": 0}
    key = stack.trigger(spec, "hpo_kubernetes")
    run = until(lambda: stack.find(key), "the run")
    saved = re.compile(
        rf".*/run-{run.id:06d}-[^/]+/trial-000(\d)/attempt-2/"
        r"checkpoint/training/0000(\d{4})/checkpoint\.json"
    )

    def beyond_the_rung() -> tuple[int, int] | None:
        found = map(saved.fullmatch, s3.names("right/"))
        there = [(int(one[1]), int(one[2])) for one in found if one and int(one[2]) > 2]
        return max(there, default=None)

    number, epoch = until(beyond_the_rung, "an epoch of the second rung")
    kill_pod(stack.store.attempts(run.id, number)[-1])
    view = stack.complete(key)
    trials = {one.trial.number: one for one in view.trials}
    best, other = trials.pop(number), trials.popitem()[1]
    assert (best.trial.state, other.trial.state) == (TrialState.COMPLETE, TrialState.STOPPED)
    assert [one.resource for one in best.attempts] == [2, 20, 20]
    assert [one.resource for one in other.attempts] == [2]
    assert best.attempts[1].cause in {Cause.LOST, Cause.PREEMPTED, Cause.NODE_LOST}
    first, _, last = (trained_in(one.log_tail) for one in best.attempts)
    assert first == [1, 2]
    assert last == list(range(last[0], 21))
    assert last[0] > epoch, "no epoch again that was on S3"
    steps = [one.step for one in best.observations if one.metric == "val_accuracy"]
    assert [step for step in steps if step] == list(range(1, 21)), "each epoch once"


@needs_cluster
@pytest.mark.usefixtures("secret")
def test_processes_search_and_pods_train_what_is_packed(stack: Stack, s3: S3) -> None:
    key = RunKey(f"hpo_scheduled_{BOTH}", stack.client().trigger(f"hpo_scheduled_{BOTH}", {}))
    view = stack.complete(key)
    assert ["pod" in v.attempts[-1].handle for v in view.trials] == [False] * 2
    assert ["pod" in v.attempts[-1].handle for v in view.finals] == [True] * 2
    (model,) = stack.store.models.of(BOTH)
    assert (model.status, model.params) == (ModelStatus.CHAMPION, view.finals[0].trial.params)
    folder = stack.embedded.results / "models" / BOTH
    package = folder / json.loads((folder / "champion.json").read_text())["package"]
    with zipfile.ZipFile(package) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert any(name.startswith("model/saved_model/") for name in archive.namelist())
    assert (manifest["run"], manifest["trial"]) == (model.run_id, model.trial)
    assert written(stack.embedded.home, s3.keys["aws_secret_access_key"]) == []


@needs_ecs
def test_digits_are_tuned_on_ecs(stack: Stack, s3: S3, ecs_secrets: list[dict[str, str]]) -> None:
    example = conf("ecs", "right")
    flags = [f"--{name}=${{params.{name}}}" for name in [*example["space"], *example["fixed"]]]
    key = stack.trigger(
        conf(
            "ecs",
            "right",
            command=None,  # MiniStack ignores the entry point that it would become.
            args=[*COMMAND, *flags],
            # AWS_ENDPOINT_URL is MiniStack's own.
            env={"AWS_ENDPOINT_URL_S3": s3.address, "AWS_DEFAULT_REGION": "us-east-1"},
            options={"secrets": ecs_secrets},
        ),
        "hpo_ecs",
    )
    for view in check(stack, s3, key).trials:
        (attempt,) = view.attempts
        assert "dataset: digits, 1797 rows" in attempt.log_tail, "what CloudWatch has"


def written(home: Path, secret: str) -> list[Path]:
    """Find the files below a home that hold a secret."""
    return [
        path for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
