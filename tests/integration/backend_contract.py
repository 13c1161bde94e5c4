"""What every backend has to keep: inherit it, and supply `backend` and `request`."""

from __future__ import annotations

import dataclasses
import shutil
import time
from typing import Any

import pytest

from hpo_lib.backends import AttemptName, Request
from hpo_lib.core.ending import Ending, Exit

PATIENCE_S = 120.0
MIB, STORE = 2**20, "0123456789ab"
#: What every request says of its attempt.
LABELS = {"store": STORE, "run": "1", "trial": "1", "attempt": "1"}
#: Waits for long, or until it is asked to end (which the first process of a container ignores).
WAIT = "trap 'exit 143' TERM; sleep 600 & wait"


class VanishedContract:
    """What is begun is begun once, also if somebody takes it away; for fakes of engines too."""

    def request(self, script: str, **changes: Any) -> Request:
        """Ask for a shell script, with LABELS."""
        raise NotImplementedError

    def vanish(self, backend: Any, handle: Any) -> None:
        """Take all that is there of an attempt away, as somebody may behind our back."""
        backend.stop(handle)
        backend.discard(handle)

    def check_lost(self, backend: Any, handle: Any) -> None:
        """Check that an attempt which is taken over, once and again, is not begun, and says why."""
        taken_over = self.request(WAIT, taken_over=True)
        for _ in range(2):
            backend.submit(handle, taken_over)
            found = backend.poll(handle)
            assert found is not None, "it was begun"
            assert (found.ending, bool(found.detail)) == (Ending.LOST, True)
        backend.fetch(handle)
        until_gone(backend, handle)

    def test_what_vanished_is_lost_and_not_begun_again_by_who_takes_it_over(
        self, backend: Any, handle: Any
    ) -> None:
        backend.submit(handle, self.request(WAIT))
        assert backend.poll(handle) is None
        self.vanish(backend, handle)
        self.check_lost(backend, handle)

    def test_what_no_task_is_known_to_have_begun_is_lost(self, backend: Any, handle: Any) -> None:
        """An earlier task opened it and died; it may as well have begun it on another worker."""
        self.check_lost(backend, handle)

    def test_what_runs_goes_on_when_it_is_taken_over(self, backend: Any, handle: Any) -> None:
        request = self.request(WAIT)
        backend.submit(handle, request)
        backend.submit(handle, dataclasses.replace(request, taken_over=True))
        assert backend.poll(handle) is None


class BackendContract(VanishedContract):
    """Idempotent in every step, from any process, and with nothing left at the end."""

    #: What an attempt ends with whose program does not exist.
    no_program = Ending.UNSTARTABLE

    @pytest.fixture
    def backend(self) -> Any:
        """A backend on something real."""
        raise NotImplementedError

    @pytest.fixture
    def handle(self, backend: Any) -> Any:
        """The place of an attempt, of which nothing is left afterwards."""
        made = backend.handle(AttemptName(STORE, "000001-contract", 1, 1))
        backend.discard(made)
        until_gone(backend, made)
        yield made
        backend.stop(made)
        backend.discard(made)

    def end(self, backend: Any, handle: Any) -> Exit:
        """Wait for an attempt's end and bring its log."""
        *_, last = backend.follow(handle)
        backend.fetch(handle)
        return last

    def test_a_handle_is_plain_and_always_the_same(self, backend: Any) -> None:
        made = backend.handle(AttemptName(STORE, "000012-abc", 3, 2))
        assert made == backend.handle(AttemptName(STORE, "000012-abc", 3, 2))
        assert made != backend.handle(AttemptName(STORE, "000012-abc", 3, 1))
        assert all(isinstance(value, str) for value in made.values())

    def test_output_and_exit_code_come_out(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request("echo a $HPO_TRIAL; echo b >&2; exit 3"))
        found = self.end(backend, handle)
        assert (found.ending, found.code) == (Ending.EXITED, 3)
        assert sorted(backend.log(handle).read_text().split("\n")) == ["", "a 1", "b"]
        assert backend.poll(handle) == found, "also when asked again"

    def test_success_is_an_exit_code_of_0(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request("true"))
        assert self.end(backend, handle) == Exit(Ending.EXITED, 0)

    def test_submitting_twice_runs_once(self, backend: Any, handle: Any) -> None:
        request = self.request("echo begun; sleep 2")
        backend.submit(handle, request)
        backend.submit(handle, request)
        self.end(backend, handle)
        backend.submit(handle, request)
        backend.fetch(handle)
        assert backend.log(handle).read_text() == "begun\n"

    def test_another_process_takes_over(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request("sleep 1; echo done"))
        another = dataclasses.replace(backend)
        assert self.end(another, handle) == Exit(Ending.EXITED, 0)
        assert another.log(handle).read_text() == "done\n"

    def test_a_running_attempt_has_no_exit(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request(WAIT))
        assert backend.poll(handle) is None

    def test_the_timeout_ends_it(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request(WAIT, timeout_s=2.0))
        assert self.end(backend, handle).ending is Ending.TIMEOUT

    def test_the_memory_limit_ends_it(self, backend: Any, handle: Any) -> None:
        greedy = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60"
        backend.submit(handle, self.request(greedy, memory_bytes=64 * MIB))
        assert self.end(backend, handle).ending is Ending.OUT_OF_MEMORY

    def test_a_program_that_does_not_exist_says_so(self, backend: Any, handle: Any) -> None:
        request = dataclasses.replace(self.request("true"), command=["no-such-program"])
        backend.submit(handle, request)
        found = self.end(backend, handle)
        assert found.ending is self.no_program
        assert found.code != 0

    def test_stop_ends_it_and_may_be_repeated(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request("trap '' TERM; while true; do sleep 1; done"))
        backend.stop(handle)
        assert backend.poll(handle) is not None
        backend.stop(handle)

    def test_end_does_not_wait_but_it_ends(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request(WAIT))
        backend.end(handle)
        assert self.end(backend, handle) != Exit(Ending.EXITED, 0)

    def test_what_was_never_started_is_lost(self, backend: Any, handle: Any) -> None:
        assert backend.poll(handle).ending is Ending.LOST
        backend.fetch(handle)
        backend.end(handle)
        backend.stop(handle)
        backend.discard(handle)

    def test_what_is_there_is_found(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request(WAIT))
        (found,) = backend.found(STORE)
        assert (found.run, found.trial, found.attempt) == (1, 1, 1)
        assert list(backend.found("ba9876543210")) == []
        assert backend.poll(handle) is None
        backend.stop(found.handle)
        assert backend.poll(handle) is not None

    def test_what_is_discarded_leaves_nothing_that_runs(self, backend: Any, handle: Any) -> None:
        backend.submit(handle, self.request("true"))
        self.end(backend, handle)
        backend.discard(handle)
        backend.discard(handle)
        until_gone(backend, handle)


class LocalVanishing:
    """For backends that keep an attempt in its folder alone; before BackendContract."""

    def vanish(self, backend: Any, handle: Any) -> None:
        """Take the folder away too."""
        super().vanish(backend, handle)  # type: ignore[misc]
        shutil.rmtree(handle["folder"])


class ReturnsContract:
    """For backends that bring what a container returns; beside BackendContract."""

    def test_what_a_container_returns_is_in_its_output(self, backend: Any, handle: Any) -> None:
        """Its root is read-only, its image has no such folder, and its user is not root."""
        script = """echo '{"loss": 0.25}' > /airflow/xcom/return.json && echo done"""
        backend.submit(handle, self.request(script, returns=True))  # type: ignore[attr-defined]
        assert self.end(backend, handle) == Exit(Ending.EXITED, 0)  # type: ignore[attr-defined]
        assert backend.log(handle).read_text() == "done\n"
        returned = backend.output(handle) / "return.json"
        assert returned.read_text() == '{"loss": 0.25}\n'
        backend.discard(handle)
        backend.fetch(handle)
        assert returned.exists(), "it outlives the container"


def until_gone(backend: Any, handle: Any) -> None:
    """Wait until an attempt holds nothing that needs a machine."""
    end = time.monotonic() + PATIENCE_S
    while backend.poll(handle) is None:
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
