"""Containers, pods and Jobs that vanish unseen: each is a counted attempt, and none trains twice.

On fakes of the engines here; the same contract is part of each backend's own, on a real engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from docker.errors import APIError
from kubernetes.client.exceptions import ApiException
from requests.exceptions import ReadTimeout
from urllib3.exceptions import ProtocolError

from hpo_lib.backends import AttemptName, Request
from hpo_lib.backends.docker import DockerBackend
from hpo_lib.backends.job import JobBackend
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.retry_policy import MAX_ATTEMPTS
from hpo_lib.core.trial import Cause, TrialState
from hpo_lib.errors import TransientError
from hpo_lib.records import Attempt, AttemptState
from hpo_lib.runs import lifecycle
from hpo_lib.store import Store, upgrade
from hpo_lib.trials import runner
from tests.integration.backend_contract import LABELS, STORE, VanishedContract
from tests.integration.fake_engines import FakeCluster, FakeDocker, Keeps
from tests.integration.loop import quietly
from tests.integration.test_runs import CONF, KEY, Bench

_POD = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}
_JOB = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": _POD}}


class OnFakes(VanishedContract):
    """The contract, and what only a fake can be told: trouble at the very moment of making."""

    #: What an engine says that it has not made a thing, and what leaves it open.
    refusal: Exception
    doubt: Exception

    @pytest.fixture
    def engine(self) -> Keeps:
        """The fake."""
        raise NotImplementedError

    @pytest.fixture
    def handle(self, backend: Any) -> Any:
        options = self.request("").options
        return backend.handle(AttemptName(STORE, "000001-x", 1, 1, options))

    def request(self, script: str, **changes: Any) -> Request:
        known = {"env": {}, "timeout_s": 1e9, "image": "i", "labels": LABELS}
        return Request(**({"command": ["sh", "-c", script]} | known | changes))

    def begin(self, backend: Any, handle: Any, request: Request) -> None:
        """Have an attempt begun, or taken over."""
        backend.submit(handle, request)

    def test_what_the_engine_refused_to_make_for_now_is_begun_by_the_retry(
        self, backend: Any, handle: Any, engine: Keeps
    ) -> None:
        engine.trouble = [self.refusal, self.refusal]
        for taken_over in (False, True):
            with pytest.raises(TransientError):
                self.begin(backend, handle, self.request("", taken_over=taken_over))
        self.begin(backend, handle, self.request("", taken_over=True))
        assert (engine.made, backend.poll(handle)) == (1, None)

    def test_what_may_have_been_made_is_not_made_again(
        self, backend: Any, handle: Any, engine: Keeps
    ) -> None:
        engine.trouble = [self.doubt]
        with pytest.raises(TransientError):
            backend.submit(handle, self.request(""))
        self.check_lost(backend, handle)
        assert engine.made == 0

    def test_an_outage_before_anything_was_made_costs_no_attempt(
        self, backend: Any, handle: Any, engine: Keeps
    ) -> None:
        things, engine.things = engine.things, _Away(self.doubt)
        with pytest.raises(TransientError):
            backend.submit(handle, self.request(""))
        engine.things = things
        self.begin(backend, handle, self.request("", taken_over=True))
        assert (engine.made, backend.poll(handle)) == (1, None)

    def test_where_the_end_cannot_be_noted_nothing_is_decided(
        self, backend: Any, handle: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk without room: the attempt is lost when there is room, one and not three."""
        with monkeypatch.context() as patch:
            patch.setattr("hpo_lib.backends.write", Mock(side_effect=OSError(28, "no room")))
            with pytest.raises(TransientError, match="no room"):
                backend.submit(handle, self.request("", taken_over=True))
        self.check_lost(backend, handle)

    def test_a_task_that_others_took_for_dead_does_not_begin_it_again(
        self, backend: Any, handle: Any, engine: Keeps
    ) -> None:
        """It slept just before it made the thing; the retry made it, and then it vanished."""
        made = self.request("")

        class Sleeps(dict):  # type: ignore[type-arg]
            def __contains__(_, name: object) -> bool:  # noqa: N805
                engine.things = {}
                self.begin(backend, handle, dataclasses.replace(made, taken_over=True))
                engine.things = {}
                return False

        engine.things = Sleeps()
        backend.submit(handle, made)
        assert (engine.made, backend.poll(handle).ending) == (1, Ending.LOST)


class _Away(dict):  # type: ignore[type-arg]
    """Cannot be asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __contains__(self, _: object) -> bool:
        raise self.error


class TestDocker(OnFakes):
    """Containers."""

    refusal = APIError("no", Mock(status_code=500, reason="no"))
    doubt = ReadTimeout("no answer")

    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
        made = FakeDocker()
        monkeypatch.setattr("docker.from_env", lambda: made)
        return made

    @pytest.fixture
    def backend(self, engine: FakeDocker, tmp_path: Path) -> DockerBackend:
        return DockerBackend(tmp_path)

    @pytest.mark.parametrize(("by_the_engine_s", "runs"), [(50, True), (70, False)])
    def test_its_time_is_measured_by_the_engines_clock(
        self, backend: Any, handle: Any, engine: FakeDocker, by_the_engine_s: int, runs: bool
    ) -> None:
        """Ours was stepped forward by an hour."""
        backend.submit(handle, self.request("", timeout_s=60.0))
        engine.began = datetime.now(UTC) - timedelta(hours=1)
        engine.now = engine.began + timedelta(seconds=by_the_engine_s)
        assert backend.poll(handle) is None
        assert (backend.poll(handle) is None) == runs

    def test_at_its_timeout_it_is_asked_to_end_before_it_is_killed(
        self, backend: Any, handle: Any, engine: FakeDocker
    ) -> None:
        backend.submit(handle, self.request("", timeout_s=60.0, stop_grace_s=30.0))
        engine.stubborn = True
        engine.began = datetime.now(UTC) - timedelta(hours=1)
        (container,) = engine.things.values()
        for age_s, signals in ((59, 0), (61, 1), (89, 1), (91, 2)):
            engine.now = engine.began + timedelta(seconds=age_s)
            assert backend.poll(handle) is None
            assert (age_s, container.signals) == (age_s, ["SIGTERM", "SIGKILL"][:signals])
            assert (backend.output(handle) / "stop").exists() == (signals > 0)
        found = backend.poll(handle)
        assert found == Exit(Ending.TIMEOUT, 143, "still running after 60 s")


class TestKubernetes(OnFakes):
    """Pods."""

    refusal = ApiException(500, "failed calling webhook")
    doubt = ProtocolError("connection broken")

    @pytest.fixture
    def engine(self) -> FakeCluster:
        return FakeCluster()

    @pytest.fixture
    def backend(self, engine: FakeCluster, tmp_path: Path) -> KubernetesBackend:
        return KubernetesBackend(tmp_path, connect=lambda: engine)  # type: ignore[return-value]

    @pytest.mark.parametrize(("by_the_server_s", "waits"), [(50, True), (70, False)])
    def test_its_time_is_measured_by_the_servers_clock(
        self, backend: Any, handle: Any, engine: FakeCluster, by_the_server_s: int, waits: bool
    ) -> None:
        """Ours was stepped: it has not begun for years."""
        backend.submit(handle, self.request("", start_timeout_s=60.0))
        engine.wait()
        engine.answered_at(by_the_server_s)
        assert (backend.poll(handle) is None) == waits


class TestJob(TestKubernetes):
    """Jobs."""

    def request(self, script: str, **changes: Any) -> Request:
        return super().request(script, options={"resource": _JOB}, **changes)

    @pytest.fixture
    def backend(
        self, engine: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> JobBackend:
        monkeypatch.setattr("kubernetes.client.CustomObjectsApi", lambda _: engine)
        return JobBackend(tmp_path, connect=lambda: engine)  # type: ignore[return-value]


class TestKubernetesOperator(TestKubernetes):
    """Pods, as Airflow's own operator makes them, which is not by `submit`."""

    def begin(self, backend: Any, handle: Any, request: Request) -> None:
        found = launch(backend, handle, request)
        assert found is None or found.ending is Ending.LOST

    def check_lost(self, backend: Any, handle: Any) -> None:
        found = launch(backend, handle, self.request("", taken_over=True))
        assert found is not None, "it was begun"
        assert found.ending is Ending.LOST
        assert (
            found.detail == "an earlier task was to begin it, and its pod is gone or was never made"
        )
        super().check_lost(backend, handle)


class _Waits(Exception):
    """The pod is there, and Airflow would wait for it."""


def launch(backend: KubernetesBackend, handle: Any, request: Request) -> Exit | None:
    """Have the operator see a pod through, up to where it would wait: None."""
    from hpo_airflow.operators.kubernetes import KubernetesTrialOperator

    operator: Any = KubernetesTrialOperator(task_id="trial", assignment={}, backend="kubernetes")
    operator._backend, operator._context, cluster = backend, {"ti": Mock()}, backend.client
    operator.client = cluster
    create: Any = partial(cluster.create_namespaced_pod, "")
    operator.pod_manager = Mock(create_pod=lambda pod: Mock(is_kept=create(pod.made)))
    operator.await_pod_start = Mock(side_effect=_Waits)
    operator.build_pod_request_obj = lambda _: Mock(made=operator.pod_template_dict)
    attempt = Attempt(1, 1, 1, 1, handle, AttemptState.RUNNING, datetime.now(UTC))
    try:
        found: Exit = operator._launch(attempt, request)
    except _Waits:
        return None
    return found


# --------------------------------------------------------------------- what becomes of the trial


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path / "home")


def test_a_container_that_vanished_between_two_tasks_is_a_counted_attempt(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeDocker()
    monkeypatch.setattr("docker.from_env", lambda: engine)
    backend = DockerBackend(tmp_path / "home")
    run = bench.begin(CONF)
    number = lifecycle.next_wave(bench.store, KEY, 1, bench.installation).assignments[0].trial

    def killed(attempt: Attempt, request: Request) -> Exit:
        backend.submit(attempt.handle, request)
        assert backend.poll(attempt.handle) is None
        raise KeyboardInterrupt

    def follow(attempt: Attempt, request: Request) -> Exit:
        return runner.follow(backend, attempt, request, quietly)

    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(KeyboardInterrupt):
            runner.perform(bench.store, run, number, backend, quietly, killed)
        engine.things.clear()
        with pytest.raises(TransientError, match="failed: lost: an earlier task was to begin it"):
            runner.perform(bench.store, run, number, backend, quietly, follow)
    with pytest.raises(KeyboardInterrupt):
        runner.perform(bench.store, run, number, backend, quietly, killed)
    engine.things.clear()
    trial = runner.perform(bench.store, run, number, backend, quietly, follow)
    assert (trial.state, trial.cause) == (TrialState.FAILED, Cause.LOST)
    tried = bench.store.attempts(run.id, number)
    assert [one.number for one in tried] == [1, 2, 3], "each of its own number, and no more"
    assert engine.made == MAX_ATTEMPTS, "none was made twice"
