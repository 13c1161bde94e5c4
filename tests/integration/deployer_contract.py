"""What every deployer has to keep: inherit one of these, and supply its fixtures."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.deployers import Release
from hpo_lib.errors import NotFound, SpecError, TransientError

EXPERIMENT = "iris"
SAMPLE = {"instances": [[5.1, 3.5], [6.2, 2.9]], "predictions": [[0.9, 0.1], [0.2, 0.8]]}
MANIFEST = {"params": {"units": 8, "optimizer": "adam"}, "metrics": {"val_loss": 0.25}, "run": 7}
#: More steps than any deployer takes.
_MANY = 500
_PATIENCE_S = 120.0

MakeRelease = Callable[..., Release]


class Crash(BaseException):
    """The process ends here: nothing handles it."""


def serve(deployer: Any, release: Release) -> None:
    """Do as a rollout does; a cluster's node may lose sight of a pod that it has started, once."""
    deployer.stage(release)
    trouble = deployer.try_out(release)
    if "is not ready after" in trouble:
        deployer.drop(release.version)
        deployer.stage(release)
        trouble = deployer.try_out(release)
    assert trouble == ""
    deployer.switch(release.version)
    assert deployer.verify(release.version).passed


def settled(deployer: Any) -> int | None:
    """Ask what is served until there is an answer."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            found: int | None = deployer.serving()
        except TransientError:
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.1)
        else:
            return found


class DeployerContract:
    """Idempotent in every step, from any process; what is served changes by `switch` alone."""

    @pytest.fixture
    def deployer(self) -> Any:
        """A deployer on something real, with nothing of its experiment there."""
        raise NotImplementedError

    @pytest.fixture
    def release(self) -> MakeRelease:
        """Make a version; with `good=False` one that does not answer its sample as it should."""
        raise NotImplementedError

    @pytest.fixture
    def served(self, deployer: Any, release: MakeRelease) -> Any:
        """A deployer that serves version 1."""
        serve(deployer, release(1))
        return deployer

    def test_at_first_nothing_is_served(self, deployer: Any) -> None:
        assert deployer.serving() is None
        assert not deployer.verify(1).passed

    def test_what_is_only_staged_is_not_served(self, deployer: Any, release: MakeRelease) -> None:
        release = release(1)
        deployer.stage(release)
        deployer.stage(release)
        assert deployer.serving() is None
        assert deployer.try_out(release) == "", "it works"
        assert deployer.try_out(release) == "", "also when asked again"
        assert deployer.serving() is None

    def test_a_switch_serves_it_and_may_be_repeated(self, served: Any) -> None:
        for _ in range(2):
            assert served.serving() == 1
            assert served.verify(1) == ""
            wrong = served.verify(2)
            assert not wrong.passed
            assert "2" in wrong
            served.switch(1)

    def test_every_step_again_changes_nothing(self, served: Any, release: MakeRelease) -> None:
        serve(served, release(1))
        assert served.serving() == 1
        assert served.verify(1) == ""

    def test_the_next_version_takes_over_and_another_process_sees_it(
        self, served: Any, release: MakeRelease
    ) -> None:
        serve(served, release(2))
        another = dataclasses.replace(served)
        assert another.serving() == 2
        assert another.verify(2) == ""
        assert not another.verify(1).passed

    def test_one_may_go_back_and_forth(self, served: Any, release: MakeRelease) -> None:
        serve(served, release(2))
        for version in (1, 2, 1):
            served.switch(version)
            assert served.serving() == version
            assert served.verify(version) == ""

    def test_a_version_that_does_not_work_says_so_and_the_old_one_stays(
        self, served: Any, release: MakeRelease
    ) -> None:
        bad = release(2, good=False)
        served.stage(bad)
        problem = served.try_out(bad)
        assert not problem.passed
        assert "\n" not in problem
        assert served.serving() == 1
        assert served.verify(1) == ""
        served.drop(2)
        assert served.serving() == 1

    def test_a_number_may_be_staged_anew_after_it_was_dropped(
        self, served: Any, release: MakeRelease
    ) -> None:
        bad = release(2, good=False)
        served.stage(bad)
        assert not served.try_out(bad).passed
        served.drop(2)
        serve(served, release(2))
        assert served.verify(2) == ""

    def test_what_is_served_cannot_be_dropped(self, served: Any) -> None:
        with pytest.raises(SpecError, match="version 1"):
            served.drop(1)
        assert served.verify(1) == ""

    def test_what_is_dropped_is_gone_and_may_be_dropped_again(
        self, served: Any, release: MakeRelease
    ) -> None:
        serve(served, release(2))
        served.drop(1)
        served.drop(1)
        assert served.verify(2) == ""
        with pytest.raises(NotFound, match="version 1"):
            served.switch(1)
        assert served.serving() == 2

    def test_what_is_withdrawn_is_served_to_nobody_until_it_is_switched_to(
        self, served: Any, release: MakeRelease
    ) -> None:
        for _ in range(2):
            served.withdraw()
            assert served.serving() is None
            assert not served.verify(1).passed
        serve(served, release(1))
        assert served.serving() == 1
        served.withdraw()
        served.drop(1)
        with pytest.raises(NotFound, match="version 1"):
            served.switch(1)

    def test_where_nothing_is_served_nothing_is_withdrawn(self, deployer: Any) -> None:
        deployer.withdraw()
        assert deployer.serving() is None

    def test_what_was_never_staged_cannot_be_switched_to(self, deployer: Any) -> None:
        with pytest.raises(NotFound, match="version 3"):
            deployer.switch(3)
        deployer.drop(3)
        assert deployer.serving() is None


class CrashContract(DeployerContract):
    """The same, crashed at any point, for deployers whose every request can be counted."""

    @pytest.fixture
    def crashing(self) -> Callable[[int], Any]:
        """Make one to the same place that raises Crash at its n-th request, counted from 0."""
        raise NotImplementedError

    @pytest.fixture
    def unreachable(self) -> Any:
        """A deployer to a place that does not answer."""
        raise NotImplementedError

    @pytest.fixture
    def release(self, tmp_path: Path) -> MakeRelease:
        """Make a version of a model, as training leaves it."""

        def make(version: int, *, good: bool = True, **files: bytes) -> Release:
            folder = tmp_path / f"model-{version}"
            content = {
                "saved_model/1/saved_model.pb": f"model {version}".encode(),
                "saved_model/1/variables/variables.index": b"\x00\xff" * 70_000,
                "sample.json": json.dumps(SAMPLE).encode() if good else b"[]",
            }
            for name, data in (content | files).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
            return Release(EXPERIMENT, version, folder, MANIFEST)

        return make

    def test_every_step_may_be_done_again_by_another_process(
        self, deployer: Any, crashing: Callable[[int], Any], release: MakeRelease
    ) -> None:
        serve(deployer, release(1))
        for again in (deployer, crashing(_MANY), crashing(_MANY)):
            serve(again, release(2))
            assert again.serving() == 2
        for again in (deployer, crashing(_MANY)):
            again.drop(1)
        assert deployer.serving() == 2
        assert deployer.verify(2).passed

    def test_and_back(self, deployer: Any, release: MakeRelease) -> None:
        for version in (1, 2):
            serve(deployer, release(version))
        deployer.switch(1)
        assert deployer.serving() == 1
        assert deployer.verify(1).passed
        deployer.drop(2)
        serve(deployer, release(2))
        assert deployer.serving() == 2, "also when it was dropped between"

    def test_versions_do_not_have_to_be_staged_in_order(
        self, deployer: Any, release: MakeRelease
    ) -> None:
        for version in (12, 2, 1):
            deployer.stage(release(version))
        deployer.switch(2)
        assert deployer.serving() == 2
        assert deployer.verify(2).passed

    @pytest.mark.parametrize("sample", [b"", b"[]", b'{"instances": [[1]], "predictions": []}'])
    def test_a_bad_model_fails_its_trial_and_leaves_the_old_one(
        self, deployer: Any, release: MakeRelease, sample: bytes
    ) -> None:
        serve(deployer, release(1))
        bad = release(2, **{"sample.json": sample})
        deployer.stage(bad)
        assert not deployer.try_out(bad).passed
        assert deployer.serving() == 1
        deployer.drop(2)
        assert deployer.verify(1).passed

    def test_what_is_not_staged_is_neither_tried_nor_switched_to(
        self, deployer: Any, release: MakeRelease
    ) -> None:
        serve(deployer, release(1))
        assert not deployer.try_out(release(2)).passed
        with pytest.raises(NotFound, match="not staged"):
            deployer.switch(2)
        assert deployer.serving() == 1

    def test_what_is_dropped_is_gone(self, deployer: Any, release: MakeRelease) -> None:
        deployer.drop(2)
        serve(deployer, release(1))
        deployer.stage(release(2))
        for _ in range(2):
            deployer.drop(2)
        assert not deployer.try_out(release(2)).passed

    def test_a_crash_at_any_point_loses_nothing(
        self, deployer: Any, crashing: Callable[[int], Any], release: MakeRelease
    ) -> None:
        """Crash at the first request, do it all again, crash at the second, and so on."""
        serve(deployer, release(1))
        two = release(2)
        for end in itertools.count():
            try:
                serve(crashing(end), two)
                break
            except Crash:
                assert settled(deployer) in (1, 2)
        assert deployer.serving() == 2
        for end in itertools.count():
            try:
                crashing(end).drop(1)
                break
            except Crash:
                assert settled(deployer) == 2
        assert not deployer.try_out(release(1)).passed
        assert deployer.verify(2).passed
        for end in itertools.count():
            try:
                crashing(end).withdraw()
                break
            except Crash:
                assert settled(deployer) in (2, None)
        assert deployer.serving() is None

    def test_a_world_that_does_not_answer_is_not_the_models_fault(
        self, unreachable: Any, release: MakeRelease
    ) -> None:
        one = release(1)
        for call in (
            lambda: unreachable.stage(one),
            lambda: unreachable.try_out(one),
            lambda: unreachable.switch(1),
            unreachable.serving,
            lambda: unreachable.verify(1),
            lambda: unreachable.drop(1),
            unreachable.withdraw,
        ):
            with pytest.raises(TransientError):
                call()
