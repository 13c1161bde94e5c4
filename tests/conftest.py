"""Hypothesis profiles and MiniStack, for all tests.

The profile `dev` is quick, `ci` searches longer; HYPOTHESIS_PROFILE chooses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("dev", max_examples=30, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test of an engine or a cluster that no variable names."""
    names = [name for mark in item.iter_markers("needs") for name in mark.args]
    missing = [name for name in dict.fromkeys(names) if not os.environ.get(name)]
    if missing:
        pytest.skip(f"not set: {', '.join(missing)}")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MiniStack, started once for a module."""
    from tests.ministack import ministack

    with ministack(tmp_path_factory.mktemp("ministack")) as address:
        yield address
