"""What every deployer has to keep: inherit it, and supply `deployer` and `release`."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from hpo_lib.deployers import Release
from hpo_lib.errors import NotFound, SpecError


class DeployerContract:
    """Idempotent in every step, from any process; what is served changes by `switch` alone."""

    @pytest.fixture
    def deployer(self) -> Any:
        """A deployer on something real, with nothing of its experiment there."""
        raise NotImplementedError

    def release(self, version: int, *, good: bool = True) -> Release:
        """Give a version; one that is not good does not answer its sample as it should."""
        raise NotImplementedError

    @pytest.fixture
    def served(self, deployer: Any) -> Any:
        """A deployer that serves version 1."""
        bring(deployer, self.release(1))
        return deployer

    def test_at_first_nothing_is_served(self, deployer: Any) -> None:
        assert deployer.serving() is None
        assert not deployer.verify(1).passed

    def test_what_is_only_staged_is_not_served(self, deployer: Any) -> None:
        release = self.release(1)
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
            assert not served.verify(2).passed
            served.switch(1)

    def test_every_step_again_changes_nothing(self, served: Any) -> None:
        bring(served, self.release(1))
        assert served.serving() == 1
        assert served.verify(1) == ""

    def test_the_next_version_takes_over_and_another_process_sees_it(self, served: Any) -> None:
        bring(served, self.release(2))
        another = dataclasses.replace(served)
        assert another.serving() == 2
        assert another.verify(2) == ""
        assert not another.verify(1).passed

    def test_one_may_go_back_and_forth(self, served: Any) -> None:
        bring(served, self.release(2))
        for version in (1, 2, 1):
            served.switch(version)
            assert served.serving() == version
            assert served.verify(version) == ""

    def test_a_version_that_does_not_work_says_so_and_the_old_one_stays(self, served: Any) -> None:
        bad = self.release(2, good=False)
        served.stage(bad)
        problem = served.try_out(bad)
        assert not problem.passed
        assert "\n" not in problem
        assert served.serving() == 1
        assert served.verify(1) == ""
        served.drop(2)
        assert served.serving() == 1

    def test_a_number_may_be_staged_anew_after_it_was_dropped(self, served: Any) -> None:
        bad, good = self.release(2, good=False), self.release(2)
        served.stage(bad)
        assert not served.try_out(bad).passed
        served.drop(2)
        bring(served, good)
        assert served.verify(2) == ""

    def test_what_is_served_cannot_be_dropped(self, served: Any) -> None:
        with pytest.raises(SpecError, match="version 1"):
            served.drop(1)
        assert served.verify(1) == ""

    def test_what_is_dropped_is_gone_and_may_be_dropped_again(self, served: Any) -> None:
        bring(served, self.release(2))
        served.drop(1)
        served.drop(1)
        assert served.verify(2) == ""
        with pytest.raises(NotFound, match="version 1"):
            served.switch(1)
        assert served.serving() == 2

    def test_what_was_never_staged_cannot_be_switched_to(self, deployer: Any) -> None:
        with pytest.raises(NotFound, match="version 3"):
            deployer.switch(3)
        deployer.drop(3)
        assert deployer.serving() is None


def bring(deployer: Any, release: Release) -> None:
    """Take a version all the way."""
    deployer.stage(release)
    assert deployer.try_out(release) == ""
    deployer.switch(release.version)
