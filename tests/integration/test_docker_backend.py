"""Attempts as containers of a real Docker engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import hpo_lib.backends
from hpo_lib.backends import AttemptName, Request, docker
from hpo_lib.backends.docker import DockerBackend, DockerRules, exit_of
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.spec.trial_section import TrialSpec
from tests.integration.backend_contract import LABELS, STORE, WAIT, BackendContract, ReturnsContract

IMAGE = os.environ.get("HPO_TEST_IMAGE", "debian:bookworm-slim")


def request(script: str, **changes: Any) -> Request:
    """Ask for a shell script in a container."""
    known = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 120.0, "image": IMAGE}
    known |= {"labels": LABELS}
    return Request(**({"command": ["sh", "-c", script]} | known | changes))


@pytest.mark.needs("DOCKER_HOST")
class TestDockerBackend(ReturnsContract, BackendContract):
    """The contract, and what containers may not do."""

    no_program = Ending.EXITED

    @pytest.fixture
    def backend(self, tmp_path: Path) -> DockerBackend:
        return DockerBackend(home=tmp_path)

    def request(self, script: str, **changes: Any) -> Request:
        return request(script, **changes)

    def test_a_container_may_do_little(self, backend: DockerBackend, handle: Any) -> None:
        script = (
            "id -u; touch /here 2>&1; touch $HOME/there && echo home; touch $HPO_OUTPUT/x && "
            "echo output; grep -E 'CapEff|NoNewPrivs' /proc/self/status"
        )
        output = str(backend.output(handle))
        backend.submit(handle, request(script, env={"HPO_OUTPUT": output}))
        self.end(backend, handle)
        said = backend.log(handle).read_text()
        assert int(said.split()[0]) != 0
        assert "Read-only file system" in said
        assert "home\noutput\n" in said
        assert "CapEff:\t0000000000000000" in said
        assert "NoNewPrivs:\t1" in said
        assert (backend.output(handle) / "x").exists()

    def test_one_that_prints_too_much_is_ended(
        self, backend: DockerBackend, handle: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (hpo_lib.backends, docker):
            monkeypatch.setattr(module, "MAX_LOG_BYTES", 2**20)
        backend.submit(handle, request("while true; do echo noise; done"))
        *_, last = backend.follow(handle)
        assert last == Exit(Ending.LOG_TOO_LARGE, detail="printed more than 1 MiB")

    def test_an_image_that_nobody_has(self, backend: DockerBackend, handle: Any) -> None:
        backend.submit(handle, request("true", image="localhost:9/no-such-image:1"))
        assert self.end(backend, handle).ending is Ending.IMAGE_NOT_PULLABLE

    def test_a_container_of_another_store_is_left_alone(
        self, backend: DockerBackend, handle: Any
    ) -> None:
        backend.submit(handle, request(WAIT))
        with pytest.raises(TransientError, match="is not of store ffff"):
            backend.stop(handle | {"store": "ffff"})
        assert backend.poll(handle) is None


def test_a_container_that_was_never_started_is_neither_ended_nor_late() -> None:
    never = "0001-01-01T00:00:00Z"
    state = {"Status": "created", "StartedAt": never, "FinishedAt": never, "ExitCode": 0}
    assert exit_of(state | {"OOMKilled": False}, 1.0) is None


def test_no_engine_is_the_worlds_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    backend = DockerBackend(home=tmp_path)
    with pytest.raises(TransientError, match="docker: "):
        backend.submit(backend.handle(AttemptName(STORE, "000001-x", 1, 1)), request("true"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "evil/miner:1"}, r"trial.image: must match one of team/\*, debian:\*"),
        ({"image": None, "command": ["x"]}, "trial.image: is required by backend docker"),
        ({"spot": True}, "trial.spot: backend docker has none"),
        ({"options": {"privileged": True}}, 'trial.options: unknown key "privileged"'),
    ],
)
def test_a_conf_cannot_ask_for_more(changes: dict, message: str, tmp_path: Path) -> None:
    rules = DockerRules(images=("team/*", "debian:*"))
    backend = DockerBackend(home=tmp_path, rules=rules)
    asked = {"backend": "docker", "image": "team/model:3"}
    backend.permit(TrialSpec(**asked))
    with pytest.raises(SpecError, match=message):
        backend.permit(TrialSpec(**(asked | changes)))
