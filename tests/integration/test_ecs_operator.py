"""The operator on Airflow's own, unmodified, against a fake that ends tasks as AWS does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError

from hpo_lib.backends import AttemptName, Request
from hpo_lib.backends.ecs import EcsBackend
from hpo_lib.backends.ecs_request import EcsRules
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.records import Attempt, AttemptState
from tests.integration.backend_contract import LABELS, STORE, VanishedContract
from tests.integration.fake_ecs import FakeEcs, Fate, fake_ecs

SUBNET = "us-east-1a"
OOM = "OutOfMemoryError: Container killed due to memory usage"
PULL = "CannotPullContainerError: pull image manifest has been retried 5 time(s)"
#: A run of its own for each bench: the fake keeps the tasks of those before.
_RUNS = count(1)
HOST = "Host EC2 (instance i-0123456789abcdef0) terminated."


@pytest.fixture(scope="module")
def server() -> Iterator[FakeEcs]:
    """The fake, with a cluster, a log group and a subnet."""
    with fake_ecs() as fake:
        client(fake, "ecs").create_cluster(clusterName="default")
        client(fake, "logs").create_log_group(logGroupName="/hpo/trials")
        yield fake


def client(fake: FakeEcs, service: str) -> Any:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return boto3.client(service, endpoint_url=fake.address, region_name="us-east-1", **keys)


class Bench:
    """An operator that is about to launch an attempt of its own."""

    def __init__(self, fake: FakeEcs, home: Path) -> None:
        from hpo_airflow.operators import ecs

        self.fake = fake
        (subnet, *_) = client(fake, "ec2").describe_subnets()["Subnets"]
        rules = EcsRules(
            connection=None,
            region="us-east-1",
            subnets=(subnet["SubnetId"],),
            spot=("FARGATE_SPOT",),
            on_demand=("FARGATE",),
        )
        self.backend = EcsBackend(home, partial(client, fake), rules)
        handle = self.backend.handle(AttemptName(STORE, f"{next(_RUNS):06d}-x", 1, 1, {}))
        now = datetime.now(UTC)
        self.attempt = Attempt(1, 1, 1, 1, handle, AttemptState.RUNNING, now)
        self.operator = ecs.EcsTrialOperator(task_id="trial", assignment={}, backend="ecs")
        context = {"ti": Mock(map_index=0), "task": self.operator}
        self.operator._backend, self.operator._context = self.backend, context
        self.operator.aws_conn_id, self.operator.region_name = None, "us-east-1"

    def launch(self, script: str, *fates: Fate, **changes: Any) -> Exit:
        """See a script through to its end."""
        self.fake.fates[:] = fates
        known: dict[str, Any] = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 60.0, "image": "x"}
        known |= {"labels": LABELS, "command": ["sh", "-c"], "args": [script]}
        return self.operator._launch(self.attempt, Request(**(known | changes)))


@pytest.fixture
def bench(server: FakeEcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    from airflow.sdk.bases.operator import ExecutorSafeguard

    from hpo_airflow.operators import ecs

    keys = {"AWS_ENDPOINT_URL": server.address, "AWS_ACCESS_KEY_ID": "a"}
    for name, value in (keys | {"AWS_SECRET_ACCESS_KEY": "b"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    monkeypatch.setattr(ecs, "_CHECK_S", 0.2)
    monkeypatch.setattr(ecs, "_PLACE_S", 0.2)
    return Bench(server, tmp_path)


@pytest.mark.parametrize(
    ("script", "fate", "ending", "code"),
    [
        ("true", Fate(), Ending.EXITED, 0),
        ("exit 3", Fate(), Ending.EXITED, 3),
        (
            "exec sleep 60",
            Fate("SpotInterruption", "Your Spot Task was interrupted.", after_s=0.5),
            *(Ending.PREEMPTED, 137),
        ),
        ("kill -9 $$", Fate(container=OOM), Ending.OUT_OF_MEMORY, 137),
        ("kill -9 $$", Fate(), Ending.EXITED, 137),
        ("exec sleep 60", Fate("", HOST, after_s=0.5), Ending.NODE_LOST, 137),
        ("", Fate("TaskFailedToStart", PULL, begins=False), Ending.IMAGE_NOT_PULLABLE, None),
        (
            "",
            Fate("TaskFailedToStart", "", "CannotStartContainerError: no such file", begins=False),
            *(Ending.UNSTARTABLE, None),
        ),
        (
            "",
            Fate("TaskFailedToStart", "Capacity is unavailable at this time.", begins=False),
            *(Ending.UNSCHEDULABLE, None),
        ),
        ("", Fate("", "", begins=False), Ending.LOST, None),
    ],
)
def test_every_end_has_its_name(
    bench: Bench, script: str, fate: Fate, ending: Ending, code: int | None
) -> None:
    found = bench.launch(script, fate)
    assert (found.ending, found.code) == (ending, code)
    assert bench.backend.poll(bench.attempt.handle) == found


def test_the_log_is_airflows_and_ours(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    assert bench.launch("echo trial $HPO_TRIAL; echo loss=0.5") == Exit(Ending.EXITED, 0)
    bench.backend.fetch(bench.attempt.handle)
    assert bench.backend.log(bench.attempt.handle).read_text() == "trial 1\nloss=0.5\n"
    assert bench.operator.task_log_fetcher.get_last_log_message() == "loss=0.5"


@pytest.mark.parametrize(("spot", "provider"), [(True, "FARGATE_SPOT"), (False, "FARGATE")])
def test_spot_and_on_demand_go_where_the_deployment_says(
    bench: Bench, spot: bool, provider: str
) -> None:
    bench.launch("true", spot=spot)
    asked = bench.fake.asked[-1]
    assert asked["capacityProviderStrategy"] == [{"capacityProvider": provider, "weight": 1}]
    assert asked["launchType"] is None


def test_the_timeout_ends_it(bench: Bench) -> None:
    assert bench.launch("exec sleep 60", timeout_s=1.0).ending is Ending.TIMEOUT


def test_where_all_is_taken_it_asks_again(bench: Bench) -> None:
    bench.fake.crowded = 2
    assert bench.launch("true") == Exit(Ending.EXITED, 0)
    bench.fake.crowded = 0


def test_it_does_not_ask_for_longer_than_it_may_wait(bench: Bench) -> None:
    bench.fake.crowded = 1_000
    found = bench.launch("true", start_timeout_s=0.5)
    bench.fake.crowded = 0
    assert (found.ending, found.detail) == (Ending.UNSCHEDULABLE, "RESOURCE:GPU")


def test_a_cluster_that_is_not_there_is_the_confs_fault(bench: Bench) -> None:
    attempt = dataclasses.replace(bench.attempt, handle=bench.attempt.handle | {"cluster": "no"})
    bench.attempt = attempt
    found = bench.launch("true")
    assert found.ending is Ending.UNSTARTABLE
    assert "ClusterNotFoundException" in found.detail
    bench.backend.fetch(attempt.handle)
    bench.backend.discard(attempt.handle)


def test_a_log_that_airflow_may_not_read_is_no_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "x")
    last = "airflow.providers.amazon.aws.utils.task_log_fetcher.AwsTaskLogFetcher"
    monkeypatch.setattr(f"{last}.get_last_log_message", Mock(side_effect=denied))
    assert bench.launch("true") == Exit(Ending.EXITED, 0)


def test_a_retry_takes_the_task_over_also_when_it_has_ended(bench: Bench, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    script = f"echo x >> {marks}"
    first = bench.launch(script)
    bench.operator.arn = None
    assert bench.launch(script) == first
    assert marks.read_text() == "x\n", "it ran once"


def test_a_task_that_ecs_has_forgotten_is_lost_and_not_started_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"echo x >> {tmp_path / 'marks'}"
    assert bench.launch(script) == Exit(Ending.EXITED, 0)
    monkeypatch.setattr("hpo_lib.backends.ecs._UNSEEN_S", 0.0)
    bench.fake.forget()
    bench.operator.arn = None
    found = bench.launch(script, taken_over=True)
    why = "an earlier task was to begin it, and its ECS task is gone or was never made"
    assert found == bench.backend.poll(bench.attempt.handle) == Exit(Ending.LOST, detail=why)
    assert (tmp_path / "marks").read_text() == "x\n", "it ran once"


def test_a_tasks_time_is_measured_by_the_clock_of_aws(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours was stepped forward by an hour."""
    known: dict[str, Any] = {"env": {}, "timeout_s": 60.0, "image": "x", "labels": LABELS}
    bench.backend.submit(bench.attempt.handle, Request(["sleep"], args=["60"], **known))
    ahead = Mock(now=lambda zone: datetime.now(zone) + timedelta(hours=1))
    monkeypatch.setattr("hpo_lib.backends.server_time.datetime", ahead)
    for _ in range(2):
        assert bench.backend.poll(bench.attempt.handle) is None
    bench.backend.stop(bench.attempt.handle)


def test_a_task_that_ecs_does_not_list_yet_is_taken_over(bench: Bench) -> None:
    bench.backend.keep(bench.attempt.handle, "arn:aws:ecs:us-east-1:123456789012:task/new")
    assert bench.backend.started(bench.attempt.handle) == (
        "arn:aws:ecs:us-east-1:123456789012:task/new"
    )
    assert bench.backend.poll(bench.attempt.handle) is None


def test_a_retry_starts_what_found_no_place(bench: Bench) -> None:
    bench.fake.crowded = 1_000
    assert bench.launch("true", start_timeout_s=0.5).ending is Ending.UNSCHEDULABLE
    bench.fake.crowded = 0
    assert bench.launch("true", taken_over=True) == Exit(Ending.EXITED, 0)


class TestVanishedTask(VanishedContract):
    """What `submit` does, which Airflow's operator does not need."""

    @pytest.fixture
    def backend(self, bench: Bench) -> EcsBackend:
        return bench.backend

    @pytest.fixture
    def handle(self, bench: Bench) -> Iterator[Any]:
        yield bench.attempt.handle
        bench.backend.stop(bench.attempt.handle)

    @pytest.fixture(autouse=True)
    def _forgetful(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake = bench.fake
        monkeypatch.setattr("hpo_lib.backends.ecs._UNSEEN_S", 0.0)

    def vanish(self, backend: Any, handle: Any) -> None:
        super().vanish(backend, handle)
        self.fake.forget()

    def request(self, script: str, **changes: Any) -> Request:
        known = {"env": {}, "timeout_s": 60.0, "image": "x", "labels": LABELS}
        return Request(**({"command": ["sh", "-c"], "args": [script]} | known | changes))
